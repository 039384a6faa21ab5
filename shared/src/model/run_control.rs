//! Fields of a sync job and of a run that decide whether, when and how long a run goes.

use super::{
    event::{EVENT_TYPES, OF_A_RUN},
    input::MAX_FREE_FORM_BYTES,
    sync_job::JobOptions,
};
use crate::{
    fault::{Faults, Fields, child, suggestion},
    submit::{args_schema::ArgsSchema, args_validation, mutex_key},
};

/// Minutes that a run may be allowed: a week.
pub const MAX_DURATION_MINUTES: u64 = 7 * 24 * 60;

/// Reads those of a job into `options`.
pub fn read_run_control(fields: &mut Fields<'_>, options: &mut JobOptions, faults: &mut Faults) {
    options.args_schema = fields.value("args_schema").cloned();
    if let Some(schema) = &options.args_schema {
        let pointer = fields.pointer("args_schema");
        if schema.to_string().len() > MAX_FREE_FORM_BYTES {
            faults.push(
                pointer,
                format!("must have at most {MAX_FREE_FORM_BYTES} bytes of JSON"),
            );
        } else {
            ArgsSchema::compile(schema, &pointer, faults);
        }
    }
    options.args_validation = fields.string("args_validation", faults).map(str::to_owned);
    if let Some(source) = &options.args_validation {
        args_validation::check(source, &fields.pointer("args_validation"), faults);
    }
    options.mutex_key = fields.string("mutex_key", faults).map(str::to_owned);
    if let Some(key) = &options.mutex_key {
        mutex_key::check(key, &fields.pointer("mutex_key"), faults);
    }
    options.max_duration_minutes = fields
        .integer("max_duration_minutes", 1..=MAX_DURATION_MINUTES, faults)
        .and_then(|minutes| u32::try_from(minutes).ok());
    options.events_to_send = read_events_to_send(fields, faults);
}

/// `events_to_send` of a job or a run: names of a run's events.
pub fn read_events_to_send(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let given = fields.array("events_to_send", faults)?;
    let pointer = fields.pointer("events_to_send");
    let known = || {
        EVENT_TYPES
            .iter()
            .copied()
            .filter(|name| name.starts_with(OF_A_RUN))
    };
    let mut names: Vec<String> = Vec::new();
    for (index, name) in given.iter().enumerate() {
        match name.as_str() {
            Some(name) if known().any(|known| known == name) => {
                if !names.iter().any(|other| other == name) {
                    names.push(name.to_owned());
                }
            }
            name => {
                let hint = suggestion(name.unwrap_or_default(), known());
                faults.push(
                    child(&pointer, index),
                    format!("is no event of a run{hint}"),
                );
            }
        }
    }
    if given.is_empty() {
        faults.push(pointer, "must not be empty; leave it out to send all");
    }
    Some(names)
}

/// The event types a run makes: what the webhook subscribes to (empty: all), narrowed to `wanted`.
#[must_use]
pub fn narrowed(subscribed: Vec<String>, wanted: Option<&[String]>) -> Vec<String> {
    let Some(wanted) = wanted else {
        return subscribed;
    };
    let all = subscribed.is_empty();
    let both = wanted
        .iter()
        .filter(|name| all || subscribed.contains(name));
    let both: Vec<String> = both.cloned().collect();
    if both.is_empty() {
        // An empty list means all.
        return vec![super::event::NO_EVENTS.to_owned()];
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn events_to_send_narrow_what_the_webhook_subscribes_to() {
        let (a, b) = ("sync_job_run:record", "sync_job_run:completed");
        assert_eq!(narrowed(names(&[a]), None), [a]);
        assert_eq!(narrowed(names(&[]), Some(&names(&[b]))), [b]);
        assert_eq!(narrowed(names(&[a, b]), Some(&names(&[b]))), [b]);
        assert_eq!(
            narrowed(names(&[a]), Some(&names(&[b]))),
            ["none"],
            "and not all"
        );
    }

    #[test]
    fn a_misspelt_event_is_refused_with_the_right_one() {
        let body = serde_json::json!({"events_to_send": ["sync_job_run:recrod", "integrated_account:active", 1]});
        let mut faults = Faults::default();
        let mut fields = Fields::new(&body, "", &mut faults).expect("an object");
        read_events_to_send(&mut fields, &mut faults);
        let found = faults.as_slice();
        assert_eq!(found.len(), 3, "{faults}");
        assert!(
            found[0].message.contains("`sync_job_run:record`"),
            "{faults}"
        );
    }
}
