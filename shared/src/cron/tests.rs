use std::time::{Duration, Instant};

use super::*;

fn schedule(expression: &str, timezone: &str) -> Schedule {
    let mut faults = Faults::default();
    let schedule = Schedule::parse(expression, timezone, "", &mut faults);
    schedule.unwrap_or_else(|| panic!("{expression} in {timezone}: {faults}"))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// The next fires, as a clock in the zone's place shows them in UTC.
fn next(expression: &str, timezone: &str, after: &str, fires: usize) -> Vec<String> {
    let schedule = schedule(expression, timezone);
    let mut after = at(after);
    std::iter::from_fn(|| {
        after = schedule.next_after(after)?;
        Some(after.to_string().replace(":00.000Z", "Z"))
    })
    .take(fires)
    .collect()
}

fn faults(expression: &str, timezone: &str) -> Vec<(String, String)> {
    let mut faults = Faults::default();
    let schedule = Schedule::parse(expression, timezone, "", &mut faults);
    assert!(schedule.is_none(), "{expression} in {timezone} is accepted");
    let faults = faults.as_slice().iter();
    faults
        .map(|fault| (fault.pointer.clone(), fault.message.clone()))
        .collect()
}

/// What is wrong with an expression that has one fault.
fn fault(expression: &str) -> String {
    let faults = faults(expression, "UTC");
    let [(pointer, message)] = &faults[..] else {
        panic!("{expression}: {faults:?}");
    };
    assert_eq!(pointer, "/cron_expression");
    message.clone()
}

mod reading {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_pointer() {
        let mut faults = Faults::default();
        let schedule = Schedule::parse(
            "61 24,25 0 FOO *",
            "Europe/Berlim",
            "/config/steps/0",
            &mut faults,
        );
        assert!(schedule.is_none());
        let found: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| (fault.pointer.as_str(), fault.message.as_str()))
            .collect();
        let expression = "/config/steps/0/cron_expression";
        assert_eq!(
            found,
            [
                (
                    expression,
                    "`61` in the minute field is out of range; write 0 to 59"
                ),
                (
                    expression,
                    "`24` in the hour field is out of range; write 0 to 23"
                ),
                (
                    expression,
                    "`25` in the hour field is out of range; write 0 to 23"
                ),
                (
                    expression,
                    "`0` in the day-of-month field is out of range; write 1 to 31"
                ),
                (
                    expression,
                    "`FOO` in the month field is not understood; write numbers from 1 to 12 or \
                     JAN to DEC, `*`, and `,`, `-` and `/` for lists, ranges and steps"
                ),
                (
                    "/config/steps/0/timezone",
                    "`Europe/Berlim` is not a time zone; write an IANA name such as \
                     `Europe/Berlin` or `UTC`; did you mean `Europe/Berlin`?"
                ),
            ]
        );
    }

    #[test]
    fn six_fields_are_refused_because_seconds_are_not_supported() {
        assert_eq!(
            fault("0 0 */6 * * *"),
            "has six fields; seconds and years are not supported: write five fields (minute, \
             hour, day of month, month, day of week)"
        );
    }

    #[test]
    fn another_number_of_fields_is_refused_with_the_form_expected() {
        for (expression, start) in [
            ("", "must not be empty; write five fields"),
            (" \t", "must not be empty; write five fields"),
            ("5", "has one field; write five fields"),
            ("* * * *", "has 4 fields; write five fields"),
            ("* * * * * * *", "has 7 fields; write five fields"),
        ] {
            let message = fault(expression);
            assert!(message.starts_with(start), "{expression:?}: {message}");
        }
    }

    #[test]
    fn nicknames_are_refused_with_what_to_write_instead() {
        assert_eq!(
            fault("@Daily"),
            "nicknames such as `@Daily` are not supported; write `0 0 * * *`"
        );
        for expression in ["@every 5m", "@reboot", "@every 1 2 3 4"] {
            let message = fault(expression);
            assert!(message.contains("such as `*/5 * * * *`"), "{message}");
        }
    }

    #[test]
    fn an_expression_longer_than_the_bound_is_refused_unread() {
        let minutes = |count| vec!["1"; count].join(",");
        assert_eq!(
            fault(&format!("{} * * * *", minutes(1000))),
            "must have at most 500 bytes"
        );
        let longest = format!("{} * * * *", minutes(246));
        assert!(longest.len() <= MAX_EXPRESSION_BYTES);
        schedule(&longest, "UTC");
    }

    #[test]
    fn what_vixie_cron_does_not_know_is_refused() {
        for expression in [
            "0 0 L * *",
            "0 0 15W * *",
            "0 0 LW * *",
            "0 0 * * 5#2",
            "0 0 * * 5L",
            "0 0 ? * MON",
            "0 0 1 * ?",
            "0 0 1 * +MON",
            "H * * * *",
            "0~9 * * * *",
            "MON * * * *",
            "0 0 * MON *",
            "0 0 * * JAN",
            "-5 * * * *",
            "5- * * * *",
            "1-2-3 * * * *",
            "*-5 * * * *",
            "** * * * *",
            "1.5 * * * *",
            "٣ * * * *",
            "+5 * * * *",
        ] {
            let message = fault(expression);
            assert!(
                message.contains("is not understood; write numbers from"),
                "{expression}: {message}"
            );
        }
    }

    #[test]
    fn a_name_written_out_is_refused_with_its_short_form() {
        for (expression, name) in [
            ("0 0 * * monday", "MON"),
            ("0 0 * * Thurs-FRI", "THU"),
            ("0 0 * sept *", "SEP"),
            ("0 0 * fev *", "FEB"),
        ] {
            let message = fault(expression);
            let hint = format!("; did you mean `{name}`?");
            assert!(message.ends_with(&hint), "{expression}: {message}");
        }
    }

    #[test]
    fn ranges_that_run_backwards_are_refused_with_both_halves() {
        assert_eq!(
            fault("0 22-3 * * *"),
            "`22-3` in the hour field runs backwards; write `22-23,0-3`"
        );
        assert_eq!(
            fault("0 0 * * FRI-MON"),
            "`FRI-MON` in the day-of-week field runs backwards; write `5-6,0-1`"
        );
    }

    #[test]
    fn steps_that_do_not_do_what_they_seem_to_are_refused() {
        assert_eq!(
            fault("*/90 * * * *"),
            "`*/90` in the minute field has a step that is no number from 1 to 60"
        );
        for expression in [
            "*/0 * * * *",
            "*/ * * * *",
            "*/x * * * *",
            "*/+5 * * * *",
            "*/2/2 * * * *",
        ] {
            let message = fault(expression);
            assert!(
                message.ends_with("has a step that is no number from 1 to 60"),
                "{message}"
            );
        }
        assert_eq!(
            fault("5/15 * * * *"),
            "`5/15` in the minute field has a step without a range; write `5-59/15`"
        );
    }

    #[test]
    fn a_list_with_a_hole_is_refused() {
        for expression in ["1,,2 * * * *", ",1 * * * *", "1, * * * *"] {
            assert_eq!(
                fault(expression),
                "the minute field has a comma without a value beside it"
            );
        }
    }

    #[test]
    fn days_that_never_come_are_refused() {
        assert_eq!(
            fault("0 0 30 2 *"),
            "never fires: none of the months given has a day 30"
        );
        assert_eq!(
            fault("0 0 31 4,JUN,9,11 *"),
            "never fires: none of the months given has a day 31"
        );
        // Sundays in February come.
        schedule("0 0 30 2 SUN", "UTC");
    }

    #[test]
    fn a_step_over_all_days_beside_the_other_day_field_is_refused_as_ambiguous() {
        assert_eq!(
            fault("0 0 */2 * MON"),
            "a step over `*` in the day-of-month field is ambiguous when both day fields are \
             given; write `1-31` instead of `*` to fire on days that match either field, or \
             leave the other field `*`"
        );
        assert!(fault("0 0 13 * */2").contains("write `0-6` instead of `*`"));
        schedule("0 0 1-31/2 * MON", "UTC");
        schedule("0 0 */2 * *", "UTC");
        schedule("0 0 * * */2", "UTC");
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_one_that_may_be_meant() {
        for (timezone, hint) in [
            ("Europe/Berln", "; did you mean `Europe/Berlin`?"),
            ("new york", "; did you mean `America/New_York`?"),
            ("Mars/Olympus_Mons", "`Europe/Berlin` or `UTC`"),
            ("+02:00", "`Europe/Berlin` or `UTC`"),
            ("Etc/Unknown", "`Europe/Berlin` or `UTC`"),
            (
                "",
                "must not be empty; write an IANA name such as `Europe/Berlin` or `UTC`",
            ),
            (
                &"x".repeat(10_000),
                "is not a time zone; write an IANA name such as `Europe/Berlin` or `UTC`",
            ),
        ] {
            let faults = faults("* * * * *", timezone);
            let [(pointer, message)] = &faults[..] else {
                panic!("{timezone}: {faults:?}");
            };
            assert_eq!(pointer, "/timezone");
            assert!(message.ends_with(hint), "{message}");
            assert!(message.len() < 200, "{message}");
        }
    }

    #[test]
    fn a_zone_is_found_in_any_case_and_has_its_name_as_the_iana_spells_it() {
        assert_eq!(
            schedule("* * * * *", "europe/berlin").timezone(),
            "Europe/Berlin"
        );
        assert_eq!(schedule("* * * * *", "utc").timezone(), "UTC");
    }
}

mod days {
    use super::*;

    #[test]
    fn every_six_hours_fires_at_midnight_six_noon_and_six() {
        assert_eq!(
            next("0 */6 * * *", "UTC", "2025-01-01T00:00:00Z", 4),
            [
                "2025-01-01T06:00Z",
                "2025-01-01T12:00Z",
                "2025-01-01T18:00Z",
                "2025-01-02T00:00Z"
            ]
        );
    }

    #[test]
    fn names_in_ranges_and_lists_and_any_case_are_their_numbers() {
        let after = "2025-01-03T10:00:00Z";
        assert_eq!(
            next("0 9 * * MON-FRI", "UTC", after, 3),
            next("0 9 * * 1-5", "UTC", after, 3)
        );
        assert_eq!(
            next("0 9 1 jan,Jun-AUG tue,4", "UTC", after, 30),
            next("0 9 1 1,6-8 2,4", "UTC", after, 30)
        );
        assert_eq!(
            next("0 9 * * MON-FRI", "UTC", after, 2),
            ["2025-01-06T09:00Z", "2025-01-07T09:00Z"]
        );
    }

    #[test]
    fn seven_is_sunday_and_sunday_ends_a_week_as_well_as_it_begins_one() {
        let after = "2025-01-03T00:00:00Z";
        let sundays = ["2025-01-05T09:00Z", "2025-01-12T09:00Z"];
        for expression in [
            "0 9 * * 7",
            "0 9 * * 0",
            "0 9 * * SUN",
            "0 9 * * SUN-SUN",
            "0 9 * * 7,0",
        ] {
            assert_eq!(next(expression, "UTC", after, 2), sundays, "{expression}");
        }
        assert_eq!(
            next("0 9 * * FRI-SUN", "UTC", after, 9),
            next("0 9 * * 5-7", "UTC", after, 9)
        );
        assert_eq!(
            next("0 9 * * SUN-TUE", "UTC", after, 9),
            next("0 9 * * 0-2", "UTC", after, 9)
        );
    }

    #[test]
    fn a_day_of_month_and_a_day_of_week_fire_on_days_that_match_either() {
        assert_eq!(
            next("0 0 13 * FRI", "UTC", "2025-01-01T00:00:00Z", 4),
            [
                "2025-01-03T00:00Z",
                "2025-01-10T00:00Z",
                "2025-01-13T00:00Z",
                "2025-01-17T00:00Z"
            ]
        );
    }

    #[test]
    fn a_step_of_one_is_every_value() {
        assert_eq!(
            next("0 0 */1 * FRI", "UTC", "2025-01-01T00:00:00Z", 2),
            ["2025-01-03T00:00Z", "2025-01-10T00:00Z"]
        );
        assert_eq!(
            next("0 0 *,13 * FRI", "UTC", "2025-01-01T00:00:00Z", 2),
            ["2025-01-03T00:00Z", "2025-01-10T00:00Z"]
        );
    }

    #[test]
    fn leap_days_are_found_across_a_century_without_one() {
        assert_eq!(
            next("0 0 29 2 *", "Europe/Berlin", "2096-03-01T00:00:00Z", 1),
            ["2104-02-28T23:00Z"]
        );
    }

    #[test]
    fn a_fire_is_after_the_instant_asked_for_and_never_at_it() {
        let every_minute = schedule("* * * * *", "UTC");
        for (after, fire) in [
            ("2025-01-01T00:00:00Z", "2025-01-01T00:01:00Z"),
            ("2025-01-01T00:00:00.001Z", "2025-01-01T00:01:00Z"),
            ("2025-01-01T00:00:59.999Z", "2025-01-01T00:01:00Z"),
            ("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(every_minute.next_after(at(after)), Some(at(fire)));
        }
    }

    #[test]
    fn wall_clock_times_are_those_of_the_zone() {
        assert_eq!(
            next("0 9 * * *", "Asia/Kathmandu", "2025-01-01T00:00:00Z", 1),
            ["2025-01-01T03:15Z"]
        );
        assert_eq!(
            next("0 9 * * *", "America/New_York", "2025-07-01T00:00:00Z", 1),
            ["2025-07-01T13:00Z"]
        );
        // On the 1st there, on the 31st in UTC.
        assert_eq!(
            next("0 9 1 * *", "Pacific/Auckland", "2025-01-05T00:00:00Z", 1),
            ["2025-01-31T20:00Z"]
        );
    }

    #[test]
    fn beyond_what_can_be_dated_nothing_fires() {
        let schedule = schedule("* * * * *", "Europe/Berlin");
        for time in [Timestamp(i64::MAX), Timestamp(i64::MAX - 1)] {
            assert_eq!(schedule.next_after(time), None);
            assert_eq!(schedule.last_between(Timestamp(0), time), None);
        }
        assert_eq!(schedule.next_after(Timestamp(i64::MIN)), None);
        let all = schedule.last_between(Timestamp(i64::MIN), at("2025-01-01T00:00:00Z"));
        assert_eq!(all.unwrap().last, at("2025-01-01T00:00:00Z"));
    }
}

/// In Europe/Berlin the clock goes from 02:00 to 03:00 on 2025-03-30 at 01:00 UTC, and from 03:00 back to 02:00 on
/// 2025-10-26 at 01:00 UTC.
mod daylight_saving {
    use super::*;

    #[test]
    fn a_fixed_time_that_is_skipped_fires_right_after_the_gap() {
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z", 2),
            ["2025-03-30T01:00Z", "2025-03-31T00:30Z"]
        );
    }

    #[test]
    fn just_before_a_change_it_still_lies_ahead() {
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-03-30T00:59:59.999Z", 1),
            ["2025-03-30T01:00Z"]
        );
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-10-26T00:59:59.999Z", 1),
            ["2025-10-27T01:30Z"]
        );
    }

    #[test]
    fn several_fixed_times_that_are_skipped_fire_once() {
        assert_eq!(
            next(
                "0,15,30 2 * * *",
                "Europe/Berlin",
                "2025-03-29T12:00:00Z",
                2
            ),
            ["2025-03-30T01:00Z", "2025-03-31T00:00Z"]
        );
        // 02:00 is made up at 03:00, where it is due again.
        let hours = schedule("0 1-4 * * *", "Europe/Berlin");
        assert_eq!(
            next("0 1-4 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z", 3),
            [
                "2025-03-30T00:00Z",
                "2025-03-30T01:00Z",
                "2025-03-30T02:00Z"
            ]
        );
        let fires = hours.last_between(at("2025-03-29T12:00:00Z"), at("2025-03-30T12:00:00Z"));
        assert_eq!(fires.unwrap().count, 3);
    }

    #[test]
    fn a_fixed_time_that_is_not_skipped_is_not_moved() {
        assert_eq!(
            next("0 2,14 * * 6", "Europe/Berlin", "2025-03-29T12:00:00Z", 2),
            ["2025-03-29T13:00Z", "2025-04-05T00:00Z"]
        );
        assert_eq!(
            next("59 1 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z", 2),
            ["2025-03-30T00:59Z", "2025-03-30T23:59Z"]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_fires_at_the_first() {
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", 2),
            ["2025-10-26T00:30Z", "2025-10-27T01:30Z"]
        );
        assert_eq!(
            next("0 1-3 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", 4),
            [
                "2025-10-25T23:00Z",
                "2025-10-26T00:00Z",
                "2025-10-26T02:00Z",
                "2025-10-27T00:00Z"
            ]
        );
        // Also when asked between the two.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-10-26T01:00:00Z", 1),
            ["2025-10-27T01:30Z"]
        );
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2025-10-26T01:10:00Z", 1),
            ["2025-10-27T01:30Z"]
        );
    }

    #[test]
    fn wildcards_run_evenly_in_real_time_over_both_changes() {
        for (expression, minutes) in [
            ("*/5 * * * *", 5),
            ("0 * * * *", 60),
            ("7 0-23 * * *", 60),
            ("0-59 * * * *", 1),
        ] {
            let schedule = schedule(expression, "Europe/Berlin");
            for start in ["2025-03-29T20:00:00Z", "2025-10-25T20:00:00Z"] {
                let end = Timestamp(at(start).0 + 12 * 3_600_000);
                let mut fire = schedule.next_after(at(start)).unwrap();
                while fire < end {
                    let following = schedule.next_after(fire).unwrap();
                    assert_eq!(
                        following.0 - fire.0,
                        minutes * 60_000,
                        "{expression} after {fire}"
                    );
                    fire = following;
                }
            }
        }
    }

    #[test]
    fn wildcards_within_a_skipped_hour_wait_for_the_next_day() {
        assert_eq!(
            next("*/30 2 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z", 2),
            ["2025-03-31T00:00Z", "2025-03-31T00:30Z"]
        );
    }

    #[test]
    fn wildcards_within_a_doubled_hour_fire_in_both() {
        assert_eq!(
            next("*/30 2 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", 4),
            [
                "2025-10-26T00:00Z",
                "2025-10-26T00:30Z",
                "2025-10-26T01:00Z",
                "2025-10-26T01:30Z"
            ]
        );
    }

    #[test]
    fn midnight_that_is_skipped_fires_at_one() {
        // Egypt goes from 00:00 to 01:00.
        assert_eq!(
            next("0 0 * * *", "Africa/Cairo", "2024-04-25T00:00:00Z", 2),
            ["2024-04-25T22:00Z", "2024-04-26T21:00Z"]
        );
    }

    #[test]
    fn a_change_of_half_an_hour_moves_by_half_an_hour() {
        // Lord Howe goes from 02:00 to 02:30.
        assert_eq!(
            next(
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2024-10-05T00:00:00Z",
                2
            ),
            ["2024-10-05T15:30Z", "2024-10-06T15:15Z"]
        );
    }

    #[test]
    fn a_day_that_is_skipped_fires_when_the_next_one_begins() {
        // Samoa went from the end of 2011-12-29 to the beginning of 2011-12-31.
        assert_eq!(
            next("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
            [
                "2011-12-29T22:00Z",
                "2011-12-30T10:00Z",
                "2011-12-30T22:00Z"
            ]
        );
    }
}

mod counting {
    use super::*;

    #[test]
    fn an_outage_has_a_last_fire_and_a_number() {
        let schedule = schedule("0 */6 * * *", "UTC");
        assert_eq!(
            schedule.last_between(at("2025-01-01T06:00:00Z"), at("2025-01-03T07:30:00Z")),
            Some(Fires {
                last: at("2025-01-03T06:00:00Z"),
                count: 8
            })
        );
    }

    #[test]
    fn the_beginning_of_the_span_does_not_count_and_its_end_does() {
        let schedule = schedule("0 * * * *", "UTC");
        let (six, seven) = (at("2025-01-01T06:00:00Z"), at("2025-01-01T07:00:00Z"));
        assert_eq!(
            schedule.last_between(six, seven),
            Some(Fires {
                last: seven,
                count: 1
            })
        );
        assert_eq!(schedule.last_between(six, Timestamp(seven.0 - 1)), None);
        assert_eq!(schedule.last_between(seven, seven), None);
        assert_eq!(schedule.last_between(seven, six), None);
    }

    #[test]
    fn a_month_of_every_minute_has_43200_fires() {
        let schedule = schedule("* * * * *", "UTC");
        assert_eq!(
            schedule.last_between(at("2025-04-01T00:00:00Z"), at("2025-05-01T00:00:00Z")),
            Some(Fires {
                last: at("2025-05-01T00:00:00Z"),
                count: 43_200
            })
        );
    }

    #[test]
    fn a_year_of_every_minute_is_as_long_in_every_zone() {
        for timezone in ["Europe/Berlin", "Africa/Casablanca", "Australia/Lord_Howe"] {
            let fires = schedule("* * * * *", timezone)
                .last_between(at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
            assert_eq!(fires.unwrap().count, 366 * 24 * 60, "{timezone}");
        }
    }

    #[test]
    fn a_year_of_a_skipped_and_doubled_time_has_a_fire_a_day() {
        let fires = schedule("30 2 * * *", "Europe/Berlin")
            .last_between(at("2024-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z"));
        assert_eq!(fires.unwrap().count, 366);
    }

    #[test]
    fn a_made_up_time_is_the_last_fire_until_the_next() {
        let schedule = schedule("30 2 * * *", "Europe/Berlin");
        let gap_ends = at("2025-03-30T01:00:00Z");
        for up_to in ["2025-03-30T01:00:00Z", "2025-03-30T23:00:00Z"] {
            assert_eq!(
                schedule.last_between(at("2025-03-29T12:00:00Z"), at(up_to)),
                Some(Fires {
                    last: gap_ends,
                    count: 1
                })
            );
        }
        assert_eq!(
            schedule.last_between(gap_ends, at("2025-03-30T23:00:00Z")),
            None
        );
    }

    #[test]
    fn what_is_older_than_the_horizon_is_not_counted() {
        let up_to = at("2025-01-01T00:00:00Z");
        let fires = schedule("* * * * *", "UTC").last_between(Timestamp(0), up_to);
        assert_eq!(
            fires,
            Some(Fires {
                last: up_to,
                count: u64::try_from(HORIZON_SECONDS).unwrap() / 60
            })
        );
    }

    #[test]
    fn ten_years_of_every_minute_are_counted_by_the_day() {
        let schedule = schedule("* * * * *", "Europe/Berlin");
        let began = Instant::now();
        for _ in 0..10 {
            let fires = schedule.last_between(Timestamp(0), at("2025-01-01T00:00:00Z"));
            assert!(fires.is_some_and(|fires| fires.count > 5_000_000));
        }
        // Some milliseconds each; fire by fire it would be seconds.
        let each = began.elapsed() / 10;
        assert!(each < Duration::from_millis(250), "{each:?}");
    }
}
