//! Reading a cron expression: five fields, each a list (`,`) of
//!
//! | element | fires on |
//! |---|---|
//! | `*` | every value |
//! | `*/n` | every n-th value, from the smallest |
//! | `v` | one value |
//! | `a-b` | the values from a up to and with b |
//! | `a-b/n` | every n-th of them, from a |
//!
//! Minutes go from 0 to 59, hours from 0 to 23, days of the month from 1 to 31,
//! months from 1 to 12 or `JAN` to `DEC`, days of the week from 0 to 7 (both 0
//! and 7 are Sunday) or `SUN` to `SAT`; names in any case, also in lists and
//! ranges.
//!
//! This file says what is wrong, in each field and with a way to mend it, and
//! refuses what is read differently elsewhere. What is left goes to `croner` in
//! numbers. Refused on purpose:
//!
//! - seconds, years and nicknames (`@daily`, `@every 5m`);
//! - `L`, `W`, `#`, `?`, `+`, `~` and `H`: Vixie cron and Python's croniter
//!   don't know them or disagree;
//! - `5/15` (some read 5, some 5-59/15) and ranges that run backwards (`22-3`);
//! - a step over `*` in one day field while the other one is given too
//!   (`0 0 */2 * MON`): Vixie cron fires on days that match both, croniter and
//!   croner on days that match either;
//! - a step longer than its field (`*/90` minutes): it would fire every hour;
//! - days that never come (`0 0 30 2 *`).

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::fault::{Faults, suggestion};

/// Longest expression, in bytes. Every minute written out has 169.
pub const MAX_EXPRESSION_BYTES: usize = 500;

const FORM: &str =
    "write five fields (minute, hour, day of month, month, day of week), such as `0 */6 * * *`";

/// The nicknames that have an expression, and it.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Days of the longest month of each number, January first.
const MONTH_LENGTHS: [u16; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    /// How many different values there are; 7 is the same day of the week as 0.
    values: u16,
    /// The names of the values, that of `min` first.
    names: &'static [&'static str],
}

const fn field(name: &'static str, min: u16, max: u16) -> Field {
    Field {
        name,
        min,
        max,
        values: max - min + 1,
        names: &[],
    }
}

const MINUTE: Field = field("minute", 0, 59);
const HOUR: Field = field("hour", 0, 23);
const DAY_OF_MONTH: Field = field("day-of-month", 1, 31);
const MONTH: Field = Field {
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
    ..field("month", 1, 12)
};
const DAY_OF_WEEK: Field = Field {
    values: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ..field("day-of-week", 0, 7)
};

/// An expression without fault.
pub(super) struct Expression {
    pub cron: Cron,
    /// Neither the minute nor the hour is a wildcard: see the parent module.
    pub fixed: bool,
}

/// A field that was read.
struct Read {
    /// In numbers, for `croner`.
    text: String,
    /// Has an element that starts with `*`.
    wildcard: bool,
}

impl Expression {
    /// `None`, with everything that is wrong with it as faults at `pointer`,
    /// when `text` is not an expression that fires.
    pub(super) fn read(text: &str, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut problems = Vec::new();
        let expression = read(text.trim(), &mut problems);
        for problem in &problems {
            faults.push(pointer, problem.as_str());
        }
        expression.filter(|_| problems.is_empty())
    }
}

fn read(text: &str, problems: &mut Vec<String>) -> Option<Expression> {
    if text.len() > MAX_EXPRESSION_BYTES {
        problems.push(format!("must have at most {MAX_EXPRESSION_BYTES} bytes"));
        return None;
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let &[minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
        problems.push(no_five_fields(&fields));
        return None;
    };
    if text.starts_with('@') {
        problems.push(no_five_fields(&fields));
        return None;
    }
    let minute = MINUTE.read(minute, problems);
    let hour = HOUR.read(hour, problems);
    let day_of_month = DAY_OF_MONTH.read(day_of_month, problems);
    let month = MONTH.read(month, problems);
    let day_of_week = DAY_OF_WEEK.read(day_of_week, problems);
    if !problems.is_empty() {
        return None;
    }
    refuse_ambiguous_days(&day_of_month, &day_of_week, problems);

    let numbers = [&minute, &hour, &day_of_month, &month, &day_of_week].map(|field| &*field.text);
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(&numbers.join(" "))
        .map_err(|error| problems.push(format!("is not understood: {error}; {FORM}")))
        .ok()?;
    refuse_never(&cron, problems);

    let pattern = &cron.pattern;
    let every_minute = pattern.minutes.values().len() == usize::from(MINUTE.values);
    let every_hour = pattern.hours.values().len() == usize::from(HOUR.values);
    let paced = minute.wildcard || hour.wildcard || every_minute || every_hour;
    Some(Expression {
        fixed: !paced,
        cron,
    })
}

fn no_five_fields(fields: &[&str]) -> String {
    match fields {
        [] => format!("must not be empty; {FORM}"),
        [first, ..] if first.starts_with('@') => {
            let instead = NICKNAMES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(first))
                .map_or_else(
                    || "five fields, such as `*/5 * * * *` for every five minutes".to_owned(),
                    |(_, expression)| format!("`{expression}`"),
                );
            format!("nicknames such as `{first}` are not supported; write {instead}")
        }
        [_, _, _, _, _, _] => "has six fields; seconds and years are not supported: write five \
             fields (minute, hour, day of month, month, day of week)"
            .to_owned(),
        [_] => format!("has one field; {FORM}"),
        _ => format!("has {} fields; {FORM}", fields.len()),
    }
}

fn refuse_ambiguous_days(day_of_month: &Read, day_of_week: &Read, problems: &mut Vec<String>) {
    let both = day_of_month.text != "*" && day_of_week.text != "*";
    for (field, read) in [(&DAY_OF_MONTH, day_of_month), (&DAY_OF_WEEK, day_of_week)] {
        if both && read.wildcard {
            problems.push(format!(
                "a step over `*` in the {} field is ambiguous when both day fields are given; \
                 write `{}-{}` instead of `*` to fire on days that match either field, or leave \
                 the other field `*`",
                field.name,
                field.min,
                field.min + field.values - 1,
            ));
        }
    }
}

fn refuse_never(cron: &Cron, problems: &mut Vec<String>) {
    let pattern = &cron.pattern;
    let longest = pattern
        .months
        .values()
        .iter()
        .filter_map(|month| MONTH_LENGTHS.get(usize::from(*month) - 1).copied())
        .max();
    let earliest = pattern.days.values().first().copied();
    if pattern.is_dow_wildcard()
        && let (Some(longest), Some(earliest)) = (longest, earliest)
        && earliest > longest
    {
        problems.push(format!(
            "never fires: none of the months given has a day {earliest}"
        ));
    }
}

impl Field {
    /// The field in numbers; what is wrong with it goes to `problems`.
    fn read(&self, text: &str, problems: &mut Vec<String>) -> Read {
        let mut elements = Vec::new();
        for element in text.split(',') {
            match self.element(element) {
                Ok(element) => elements.push(element),
                Err(problem) => problems.push(problem),
            }
        }
        let wildcard = elements.iter().any(|element| element.starts_with('*'));
        // Every value and some more is every value.
        let text = if elements.iter().any(|element| element == "*") {
            "*".to_owned()
        } else {
            elements.join(",")
        };
        Read { text, wildcard }
    }

    fn element(&self, text: &str) -> Result<String, String> {
        let name = self.name;
        if text.is_empty() {
            return Err(format!(
                "the {name} field has a comma without a value beside it"
            ));
        }
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        if range == "*" {
            let step = self.step(text, step, self.values)?;
            // `*/1` is `*`, also where a `*` makes a difference.
            return Ok(if step == 1 {
                "*".to_owned()
            } else {
                format!("*/{step}")
            });
        }
        let Some((from, to)) = range.split_once('-') else {
            let value = self.value(range, text)?;
            return match step {
                None => Ok(value.to_string()),
                Some(step) => Err(format!(
                    "`{text}` in the {name} field has a step without a range; write `{range}-{}/{step}`",
                    self.max
                )),
            };
        };
        let from = self.value(from, text)?;
        let mut end = self.value(to, text)?;
        // Sunday ends a week as well as it begins one.
        if end == 0 && from > 0 && to.eq_ignore_ascii_case("SUN") {
            end = 7;
        }
        if from > end {
            let (first, last) = (self.min, self.min + self.values - 1);
            return Err(format!(
                "`{text}` in the {name} field runs backwards; write `{from}-{last},{first}-{end}`"
            ));
        }
        let step = self.step(text, step, end - from + 1)?;
        Ok(format!("{from}-{end}/{step}"))
    }

    fn value(&self, value: &str, element: &str) -> Result<u16, String> {
        let (name, min, max) = (self.name, self.min, self.max);
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            return value
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| {
                    format!("`{element}` in the {name} field is out of range; write {min} to {max}")
                });
        }
        let named = (min..)
            .zip(self.names)
            .find(|(_, known)| known.eq_ignore_ascii_case(value));
        if let Some((number, _)) = named {
            return Ok(number);
        }
        let upper = value.to_ascii_uppercase();
        let hint = self
            .names
            .iter()
            // `MONDAY`, `Sept`
            .find(|known| upper.starts_with(**known))
            .map_or_else(
                || suggestion(&upper, self.names.iter().copied()),
                |known| format!("; did you mean `{known}`?"),
            );
        let words = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        Err(format!(
            "`{element}` in the {name} field is not understood; write numbers from {min} to \
             {max}{words}, `*`, and `,`, `-` and `/` for lists, ranges and steps{hint}"
        ))
    }

    /// The step of an element over `values` values, 1 when it has none.
    fn step(&self, element: &str, step: Option<&str>, values: u16) -> Result<u16, String> {
        let Some(step) = step else {
            return Ok(1);
        };
        step.parse()
            .ok()
            .filter(|number| (1..=values).contains(number) && !step.starts_with('+'))
            .ok_or_else(|| {
                format!(
                    "`{element}` in the {} field has a step that is no number from 1 to {values}",
                    self.name
                )
            })
    }
}
