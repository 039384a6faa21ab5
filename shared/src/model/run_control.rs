//! Fields of a sync job and of a run that decide whether, when and how long a run goes.

use super::event::EVENT_TYPES;
use crate::fault::{Faults, Fields, child, suggestion};

/// What the names of a run's events begin with.
const OF_A_RUN: &str = "sync_job_run:";

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
