//! From the state in the store to what the API shows.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    model::run::{
        ResourceProgress, ResourceStats, ResourceStatus, RunError, RunSpec, RunStatus, RunView,
        WaitingFor,
    },
};

/// Field of the state of a run that was deleted and whose last event is still to be delivered.
pub(super) const DELETED_AT: &str = "deleted_at";

type State = HashMap<String, String>;

fn number(state: &State, field: &str) -> u64 {
    // Counters never fall below zero; a missing one is zero.
    state
        .get(field)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn time(state: &State, field: &str) -> Option<Timestamp> {
    state
        .get(field)
        .and_then(|text| text.parse().ok())
        .map(Timestamp)
}

/// A run as it stood when one of its events was made; `snapshot` is what `tell_run` wrote.
///
/// # Errors
/// Why the snapshot can't be read.
pub fn snapshot_view(spec: &RunSpec, snapshot: &str) -> Result<RunView, String> {
    let state: State = serde_json::from_str(snapshot).map_err(|error| error.to_string())?;
    Ok(run_view(spec, &state))
}

pub(super) fn run_view(spec: &RunSpec, state: &State) -> RunView {
    let nodes = usize::try_from(number(state, "nodes")).unwrap_or(0);
    let status = state
        .get("status")
        .and_then(|name| RunStatus::from_name(name))
        .unwrap_or(RunStatus::Created);
    let progress: Vec<_> = (0..nodes)
        .map(|node| resource_progress(state, node, status))
        .collect();
    let mut view = RunView {
        id: spec.id,
        status,
        environment_id: spec.environment_id,
        sync_job_id: spec.sync_job_id,
        integrated_account_id: spec.integrated_account_id,
        webhook_id: spec.webhook_id,
        tenant_id: spec.tenant_id.clone(),
        integration_name: spec.integration_name.clone(),
        trigger: spec.trigger,
        trigger_id: spec.trigger_id.clone(),
        args: spec.args.clone(),
        error_handling: spec.error_handling,
        ignore_previous_run: spec.ignore_previous_run,
        mutex_key: spec.mutex_key.clone(),
        max_duration_minutes: spec.options.max_duration_minutes,
        retry_of: spec.retry_of,
        created_at: time(state, "created_at").unwrap_or_default(),
        started_at: time(state, "started_at"),
        finished_at: time(state, "finished_at"),
        records_fetched: 0,
        records_delivered: 0,
        records_dead: 0,
        errors: 0,
        requests: 0,
        rate_limited_ms: number(state, "rate_limited_ms"),
        waiting_for: None,
        waiting_since: None,
        waiting_for_sync_job_run_id: None,
        undelivered_bytes: number(state, "sc:bytes"),
        resource_stats: std::collections::BTreeMap::new(),
        progress: Vec::new(),
        error: state.get("error_code").map(|code| RunError {
            code: code.clone(),
            message: state.get("error_message").cloned().unwrap_or_default(),
            resource: state
                .get("error_resource")
                .filter(|name| !name.is_empty())
                .cloned(),
        }),
    };
    if let Some(since) = time(state, "waiting") {
        view.waiting_for = Some(WaitingFor::Mutex);
        view.waiting_since = Some(since);
    }
    if !status.is_final()
        && let Some(since) = time(state, "parked_since")
    {
        view.waiting_for = Some(WaitingFor::Receiver);
        view.waiting_since = Some(since);
    }
    if !status.is_final()
        && let Some(since) = time(state, "awaits_account_since")
    {
        view.waiting_for = Some(WaitingFor::Credentials);
        view.waiting_since = Some(since);
    }
    for (node, of) in progress.iter().enumerate() {
        view.records_fetched += of.records;
        view.records_delivered += of.records_delivered;
        view.records_dead += of.records_dead;
        view.errors += of.errors;
        view.requests += of.requests;
        view.undelivered_bytes += number(state, &format!("s{node}:bytes"));
        let stats: &mut ResourceStats = view
            .resource_stats
            .entry(of.name.clone())
            .or_default()
            .entry(of.method.clone())
            .or_default();
        stats.fetched += of.records;
        stats.persisted += of.records_delivered;
    }
    view.progress = progress;
    view
}

fn resource_progress(state: &State, node: usize, status: RunStatus) -> ResourceProgress {
    let text = |name: &str| state.get(&format!("n{node}:{name}")).cloned();
    let count = |name: &str| number(state, &format!("n{node}:{name}"));
    let open_tasks = if status.is_final() { 0 } else { count("open") };
    let seq = number(state, &format!("s{node}:seq"));
    let settled = number(state, &format!("s{node}:settled"));
    let resource_status = if settled < seq && open_tasks == 0 {
        ResourceStatus::Delivering
    } else if text("done").is_some() || status.is_final() {
        ResourceStatus::Done
    } else if open_tasks > 0 || count("requests") > 0 {
        ResourceStatus::Fetching
    } else {
        ResourceStatus::Waiting
    };
    ResourceProgress {
        name: text("name").unwrap_or_default(),
        resource: text("resource").unwrap_or_default(),
        method: text("method").unwrap_or_default(),
        status: resource_status,
        records: count("fetched"),
        records_delivered: count("delivered"),
        records_dead: count("dead"),
        requests: count("requests"),
        errors: count("errors"),
        pages: count("pages"),
        first_error: text("first_error"),
        open_tasks,
        seq,
    }
}

/// One entry of a timeline: what `note` wrote.
pub(super) fn timeline_view(row: &str) -> Value {
    let mut parts = row.splitn(3, ' ');
    let (at, what, detail) = (parts.next(), parts.next(), parts.next());
    let at = Timestamp(at.and_then(|ms| ms.parse().ok()).unwrap_or(0));
    let mut entry = json!({"at": at, "what": what});
    let detail = detail.and_then(|json| serde_json::from_str::<Value>(json).ok());
    if let (Some(entry), Some(Value::Object(detail))) = (entry.as_object_mut(), detail) {
        for (name, value) in detail {
            let value = match value.as_i64() {
                Some(ms) if name == "retry_at" => json!(Timestamp(ms)),
                _ => value,
            };
            entry.insert(name, value);
        }
    }
    entry
}

/// One settled event: what `settle_batch.lua` wrote.
pub(super) fn event_view(row: &str, state: &State) -> Value {
    let fields: Vec<&str> = row.split(' ').collect();
    let [
        event,
        event_type,
        stream,
        first,
        records,
        attempts,
        outcome,
        status,
        created,
        settled,
    ] = fields[..]
    else {
        return json!({"error": "this row is of another version"});
    };
    let parse = |text: &str| text.parse::<u64>().unwrap_or(0);
    let at = |text: &str| Timestamp(text.parse().unwrap_or(0));
    let (first_seq, count) = (parse(first), parse(records));
    json!({
        "id": event,
        "event": event_type,
        "resource": state.get(&format!("n{stream}:resource")),
        "name": state.get(&format!("n{stream}:name")),
        "first_seq": (count > 0).then_some(first_seq),
        "last_seq": (count > 0).then(|| first_seq + count - 1),
        "count": count,
        "attempts": parse(attempts),
        "outcome": outcome,
        "status_code": Some(parse(status)).filter(|status| *status > 0),
        "created_at": at(created),
        "settled_at": at(settled),
    })
}
