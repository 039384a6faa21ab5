//! Checking a finished run: what the source served, what the receiver got and
//! what the API counted must be the same. Decides without I/O.

use serde_json::Value;

use super::scenario::Ended;
use crate::{
    sample::{
        inbox::{Inbox, RunSeen},
        ledger::Ledger,
        source::{LINES, ORDERS},
    },
    terminal::counted,
};

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    pub title: &'static str,
    pub holds: bool,
    /// What was found.
    pub detail: String,
}

/// What should have happened in the run.
pub struct Expected {
    /// The order whose lines are gone.
    pub gone: Option<u64>,
    /// The order whose lines failed once.
    pub flaky: Option<u64>,
    /// How many orders, of a run that asks for changes only.
    pub orders: Option<usize>,
}

/// The table for one run.
#[must_use]
pub fn checks(expected: &Expected, ledger: &Ledger, inbox: &Inbox, ended: &Ended) -> Vec<Check> {
    let nothing = RunSeen::default();
    let seen = inbox.runs.get(&ended.id).unwrap_or(&nothing);
    let mut checks = vec![
        signed(inbox, seen),
        ordered(inbox, seen, &ended.run),
        gapless(seen),
        complete(ledger, seen, &ended.run),
    ];
    if let Some(orders) = expected.orders {
        checks.push(incremental(ledger, seen, orders));
    }
    checks.push(errors(expected.gone, seen, &ended.errors));
    if let Some(flaky) = expected.flaky {
        checks.push(retried(ledger, flaky));
    }
    checks
}

fn signed(inbox: &Inbox, seen: &RunSeen) -> Check {
    let events = u64::try_from(seen.events.len()).unwrap_or(u64::MAX);
    Check {
        title: "signed",
        holds: inbox.rejected == 0 && events > 0,
        detail: match inbox.rejected {
            0 => format!(
                "{}, both signatures of each valid",
                counted(events, "event")
            ),
            rejected => format!("{rejected} deliveries with a bad signature"),
        },
    }
}

fn ordered(inbox: &Inbox, seen: &RunSeen, run: &Value) -> Check {
    let terminal = |event: &&String| matches!(event.as_str(), "completed" | "failed" | "stopped");
    let holds = inbox.fault_count == 0
        && seen.events.first().is_some_and(|event| event == "started")
        && seen.events.iter().filter(terminal).count() == 1
        && seen.events.last().is_some_and(|event| event == "completed")
        && run["status"] == "completed";
    let detail = match inbox.faults.first() {
        Some(fault) if inbox.fault_count > 1 => {
            format!("{fault} (and {} more)", inbox.fault_count - 1)
        }
        Some(fault) => fault.clone(),
        None if holds => {
            "started first, parents before their children, one completed at the end".to_owned()
        }
        None => format!(
            "the run is {}, its events were {}",
            run["status"],
            seen.events.join(" ")
        ),
    };
    Check {
        title: "in order",
        holds,
        detail,
    }
}

fn gapless(seen: &RunSeen) -> Check {
    let holds = !seen.streams.is_empty()
        && seen.streams.values().all(|stream| {
            u64::try_from(stream.records.len()).is_ok_and(|count| count == stream.last_seq)
        });
    let streams: Vec<_> = [ORDERS, LINES]
        .into_iter()
        .filter_map(|name| Some((name, seen.streams.get(name)?)))
        .map(|(name, stream)| format!("{name} seq 1–{}", stream.last_seq))
        .collect();
    let detail = if holds {
        streams.join(", ")
    } else {
        format!("seq and records disagree: {}", streams.join(", "))
    };
    Check {
        title: "gapless",
        holds,
        detail,
    }
}

fn complete(ledger: &Ledger, seen: &RunSeen, run: &Value) -> Check {
    let mut differences = Vec::new();
    for resource in [ORDERS, LINES] {
        let served = ledger.sorted(resource);
        let stream = seen.streams.get(resource);
        let mut received: Vec<_> = stream
            .into_iter()
            .flat_map(|stream| &stream.records)
            .map(String::as_str)
            .collect();
        received.sort_unstable();
        if served != received {
            differences.push(format!(
                "{resource}: {} served, {} received, not the same",
                served.len(),
                received.len()
            ));
        }
        let counted = &run["resource_stats"][resource]["list"];
        for what in ["fetched", "persisted"] {
            if counted[what].as_u64() != u64::try_from(served.len()).ok() {
                differences.push(format!(
                    "{resource}: {} served, the run counts {} {what}",
                    served.len(),
                    counted[what]
                ));
            }
        }
    }
    let detail = if differences.is_empty() {
        let records = counted(
            u64::try_from(ledger.record_count()).unwrap_or(u64::MAX),
            "record",
        );
        format!("{records} served = received = counted, byte for byte")
    } else {
        differences.join("; ")
    };
    Check {
        title: "complete",
        holds: differences.is_empty(),
        detail,
    }
}

fn incremental(ledger: &Ledger, seen: &RunSeen, orders: usize) -> Check {
    let received = seen
        .streams
        .get(ORDERS)
        .map_or(0, |stream| stream.records.len());
    let since = ledger.queries("/orders").first().and_then(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| matches!(name.as_ref(), "updated_at[gt]" | "updated_after"))
            .map(|(_, value)| value.into_owned())
    });
    Check {
        title: "incremental",
        holds: received == orders && since.is_some(),
        detail: match since {
            Some(since) => format!(
                "{received} of {orders} changed orders, asked for by previous_run_date {since}"
            ),
            None => format!("{received} orders, and the source was not asked for changes only"),
        },
    }
}

fn errors(gone: Option<u64>, seen: &RunSeen, errors: &[Value]) -> Check {
    let title = "errors";
    let Some(order) = gone else {
        let holds = errors.is_empty() && seen.record_errors == 0;
        return Check {
            title,
            holds,
            detail: if holds {
                "none".to_owned()
            } else {
                describe(errors)
            },
        };
    };
    let path = format!("/orders/{order}/lines");
    let holds = seen.record_errors == 1
        && errors.len() == 1
        && errors
            .iter()
            .all(|error| error["status"] == 404 && error["request"].to_string().contains(&path));
    let detail = if holds {
        format!("the one expected: GET {path} is gone (404), listed and sent as record_error")
    } else {
        format!("expected one 404 of {path}: {}", describe(errors))
    };
    Check {
        title,
        holds,
        detail,
    }
}

fn describe(errors: &[Value]) -> String {
    let first = errors.first().map_or_else(String::new, |error| {
        format!(", first: {}", error["message"])
    });
    format!("{} listed{first}", errors.len())
}

fn retried(ledger: &Ledger, order: u64) -> Check {
    let path = format!("/orders/{order}/lines");
    let statuses = ledger.statuses(&path);
    let shown: Vec<_> = statuses.iter().map(u16::to_string).collect();
    Check {
        title: "retried",
        holds: statuses == [500, 200],
        detail: format!("GET {path}: {}", shown.join(", then ")),
    }
}

#[cfg(test)]
mod tests;
