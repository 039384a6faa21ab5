//! Cron schedules against the Python package croniter, as it was recorded: `cron_cases/record.py` says how, and what
//! of daylight saving it leaves to our own rules.

use serde::Deserialize;
use shared::{
    clock::Timestamp,
    cron::{HORIZON_SECONDS, Schedule},
    fault::Faults,
};

const RECORDED: &str = include_str!("cron_cases/recorded.json");

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    expression: String,
    timezone: String,
    after: Timestamp,
    /// The next instants after `after`; none when the expression never fires.
    fires: Vec<Timestamp>,
    /// What croniter says instead, where it has another rule for daylight saving.
    croniter: Option<Vec<Timestamp>>,
}

fn cases() -> Vec<Case> {
    let recorded: Recorded =
        serde_json::from_str(RECORDED).expect("the recorded cases are as record.py writes them");
    recorded.cases
}

/// `None` when the expression is refused.
fn parse(case: &Case) -> Option<Schedule> {
    let mut faults = Faults::default();
    let schedule = Schedule::parse(&case.expression, &case.timezone, "", &mut faults);
    assert_eq!(schedule.is_none(), !faults.is_empty(), "{faults}");
    assert!(
        schedule.is_some() || faults.to_string().contains("never fires"),
        "{} is refused: {faults}",
        case.expression
    );
    schedule
}

#[test]
fn recorded_expressions_fire_when_croniter_says() {
    let cases = cases();
    let (mut compared, mut refused, mut differing) = (0, 0, 0);
    for case in &cases {
        let fires = parse(case).map_or(Vec::new(), |schedule| {
            let mut after = case.after;
            std::iter::from_fn(|| {
                after = schedule.next_after(after)?;
                Some(after)
            })
            .take(case.fires.len().max(1))
            .collect()
        });
        assert_eq!(
            fires, case.fires,
            "{} in {} after {}",
            case.expression, case.timezone, case.after
        );
        compared += 1;
        refused += usize::from(case.fires.is_empty());
        differing += usize::from(case.croniter.as_ref().is_some_and(|other| *other != fires));
    }
    assert!(compared >= 1000, "only {compared} cases");
    assert!(refused >= 3, "only {refused} cases that never fire");
    assert!(
        (10..100).contains(&differing),
        "{differing} cases in which croniter has another rule"
    );
}

#[test]
fn counting_the_fires_of_a_span_agrees_with_walking_them() {
    for case in cases() {
        let Some(schedule) = parse(&case) else {
            continue;
        };
        let horizon = Timestamp(case.after.0 + HORIZON_SECONDS * 1000);
        let within = case.fires.iter().take_while(|fire| **fire < horizon);
        for (index, up_to) in within.enumerate() {
            let fires = schedule
                .last_between(case.after, *up_to)
                .expect("the span has a fire");
            assert_eq!(
                (fires.last, fires.count),
                (*up_to, index as u64 + 1),
                "{} in {} after {}",
                case.expression,
                case.timezone,
                case.after
            );
            let just_before = Timestamp(up_to.0 - 1);
            let earlier = schedule.last_between(case.after, just_before);
            assert_eq!(
                earlier.map(|fires| fires.last),
                index.checked_sub(1).map(|index| case.fires[index]),
                "{} in {} up to just before {up_to}",
                case.expression,
                case.timezone
            );
        }
    }
}
