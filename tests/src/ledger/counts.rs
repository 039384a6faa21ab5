//! The figures of a run and of its terminal event, held against what came.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What came of one stream.
#[derive(Debug, Default, Clone, Copy)]
pub struct Came {
    /// Records that were acknowledged.
    pub delivered: u64,
    /// Of these, records in letters that were sent again after the end of the run: dead by then.
    pub redriven: u64,
    /// Records in dead letters.
    pub dead: u64,
    /// Errors told, in events that were acknowledged or are dead letters.
    pub errors: u64,
    /// The highest `seq` of all these records.
    pub last_seq: u64,
}

/// Where the figures of a `run` that has ended, as the API gives it, differ from what `came`, by stream; a sentence each.
/// Of streams in `unstored` the records aren't delivered.
pub fn of_run(run: &Value, came: &BTreeMap<String, Came>, unstored: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compare = |what: &str, said: &Value, counted: u64| {
        if *said != counted {
            faults.push(format!("{what}: the run says {said}, {counted} is right"));
        }
    };
    let progress = rows(&run["progress"]);
    let mut totals = BTreeMap::from(TOTALS.map(|(total, _)| (total, 0)));
    for of in progress {
        let stream = text(&of["name"]);
        let came = came.get(stream).copied().unwrap_or_default();
        let fetched = if unstored.contains(&stream) {
            of["records"].as_u64().unwrap_or(0)
        } else {
            came.delivered + came.dead
        };
        for (field, counted) in [
            ("records", fetched),
            ("records_delivered", came.delivered),
            ("records_dead", came.dead),
            ("errors", came.errors),
            ("seq", came.last_seq),
            ("open_tasks", 0),
        ] {
            compare(&format!("{field} of {stream}"), &of[field], counted);
        }
        for (total, field) in TOTALS {
            *totals.entry(total).or_default() += of[field].as_u64().unwrap_or(0);
        }
        let stats = &run["resource_stats"][stream][text(&of["method"])];
        compare(&format!("fetched of {stream}"), &stats["fetched"], fetched);
        let persisted = format!("persisted of {stream}");
        compare(&persisted, &stats["persisted"], came.delivered);
    }
    for (total, counted) in totals {
        compare(total, &run[total], counted);
    }
    let named: BTreeSet<_> = progress.iter().map(|of| text(&of["name"])).collect();
    let counted = run["resource_stats"].as_object();
    let came = came
        .keys()
        .chain(counted.into_iter().flat_map(|of| of.keys()));
    let unnamed = came.filter(|stream| !named.contains(&***stream));
    faults.extend(unnamed.map(|stream| format!("the progress of the run lacks {stream}")));
    faults
}

/// Totals of a run, and the field of its `progress` that each is the sum of.
const TOTALS: [(&str, &str); 5] = [
    ("records_fetched", "records"),
    ("records_delivered", "records_delivered"),
    ("records_dead", "records_dead"),
    ("errors", "errors"),
    ("requests", "requests"),
];

/// Where the `terminal` event differs from its `run` as it was then; a sentence each. It says of every stream where it ends,
/// so that a receiver can prove that it has it all.
pub fn of_terminal(run: &Value, terminal: &Value, came: &BTreeMap<String, Came>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compare = |what: &str, said: &Value, right: &Value| {
        if said != right {
            faults.push(format!(
                "{what}: the terminal event says {said}, the run {right}"
            ));
        }
    };
    let status = text(&run["status"]);
    let name = json!(format!("sync_job_run:{status}"));
    compare("the end", &terminal["event"], &name);
    let payload = &terminal["payload"];
    let redriven: u64 = came.values().map(|of| of.redriven).sum();
    let count = |total: &str| run[total].as_u64().unwrap_or(0);
    for (field, right) in [
        (
            "records_synced",
            count("records_delivered").saturating_sub(redriven),
        ),
        ("records_dead", count("records_dead") + redriven),
        ("errors", count("errors")),
    ] {
        compare(field, &payload[field], &json!(right));
    }
    // A run that was stopped by request has no error of its own.
    if run["error"].is_object() || status == "completed" {
        compare("error", &payload["error"], &run["error"]);
    }
    let told = |progress: &Value| {
        let of_stream = came.get(text(&progress["name"]));
        told_of(progress, of_stream.map_or(0, |of| of.redriven))
    };
    let streams: Vec<_> = rows(&run["progress"]).iter().map(told).collect();
    compare("resources", &payload["resources"], &json!(streams));
    faults
}

/// What the terminal event says of a stream with that progress, of which so many records were dead by then and came since.
fn told_of(progress: &Value, redriven: u64) -> Value {
    let fields = [
        ("resource", "resource"),
        ("name", "name"),
        ("method", "method"),
        ("records", "records"),
        ("errors", "errors"),
        ("records_dead", "records_dead"),
        ("last_seq", "seq"),
    ];
    let told = fields.map(|(told, of)| (told.to_owned(), progress[of].clone()));
    let mut told = Value::Object(told.into_iter().collect());
    told["records_dead"] = json!(progress["records_dead"].as_u64().unwrap_or(0) + redriven);
    told
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
