//! What earlier versions left in the store, read by this one: a rolling upgrade, back or forth, loses nothing.

use std::collections::BTreeMap;

use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::{
    ids::AccountId,
    integration::Cursor,
    model::{
        purge::{Purge, PurgeStep, Purged},
        run::{ErrorHandling, Retry, RunSpec, Trigger},
        sync_job::JobOptions,
    },
    queue::task::{FetchBody, TaskBody, TaskFault},
    store::{
        fetches::PageCommit,
        queue::{LEASE, Queue},
    },
    testing,
};

use super::support::{Bench, chunk, last_page};

const LINES: &str = include_str!("../stored/v1.txt");

/// Lines of one sort.
fn lines(sort: &str) -> Vec<&'static str> {
    let is_its = |line: &'static str| {
        let (name, text) = line.split_once(' ')?;
        (name == sort).then_some(text)
    };
    LINES.lines().filter_map(is_its).collect()
}

fn account() -> AccountId {
    "acc_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2".parse().expect("an id")
}

fn fetch(node: usize, gate: u64, body: FetchBody) -> TaskBody {
    TaskBody::Fetch { node, gate, body }
}

fn parents(name: &str, value: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([(name.to_owned(), value)])
}

fn purge(of: Purged, again: bool, step: PurgeStep, after: &str, within: Option<&str>) -> TaskBody {
    TaskBody::Purge(Purge {
        of,
        again,
        step,
        after: Some(after.to_owned()).filter(|after| !after.is_empty()),
        within: within.map(str::to_owned),
    })
}

/// What the lines of tasks mean, in their order.
fn meanings() -> Vec<TaskBody> {
    let deliver = |stream: &str| TaskBody::Deliver {
        stream: stream.to_owned(),
    };
    let (whole, one) = (Purged::Environment, Purged::Account(account()));
    let wh = "wh_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2";
    vec![
        TaskBody::StartRun,
        fetch(0, 0, FetchBody::default()),
        fetch(
            1,
            42,
            FetchBody {
                parents: parents("resources.wms.orders.id", json!(9_007_199_254_740_993_u64)),
                ..FetchBody::default()
            },
        ),
        fetch(
            2,
            7,
            FetchBody {
                parents: parents("args.warehouses", json!("w 1")),
                looped: true,
                depth: 3,
                cursor: Some(Cursor {
                    value: json!("next"),
                    page: 6,
                    digest: Some(11),
                }),
                skip: 100,
                skip_digest: 13,
                restarts: 2,
                ..FetchBody::default()
            },
        ),
        fetch(
            0,
            0,
            FetchBody {
                cursor: Some(Cursor {
                    value: Value::Null,
                    page: 0,
                    digest: None,
                }),
                ..FetchBody::default()
            },
        ),
        fetch(
            3,
            9,
            FetchBody {
                fault: Some(TaskFault {
                    code: "recursion_too_deep".to_owned(),
                    message: "more than 20 levels".to_owned(),
                }),
                ..FetchBody::default()
            },
        ),
        deliver("c"),
        deliver("17"),
        TaskBody::Redrive,
        TaskBody::StartWorkflows {
            event_type: "integrated_account:active".to_owned(),
            at_ms: 1_700_000_000_000,
            payload: json!({"integrated_account_id": account(), "tenant_id": "customer 7"}),
        },
        purge(whole, false, PurgeStep::Tokens, "", None),
        purge(
            whole,
            false,
            PurgeStep::Triggers,
            "cron_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2",
            None,
        ),
        purge(whole, false, PurgeStep::Workflows, "", None),
        purge(whole, false, PurgeStep::Jobs, "", None),
        purge(whole, true, PurgeStep::Webhooks, wh, None),
        purge(whole, false, PurgeStep::Accounts, "", None),
        purge(whole, false, PurgeStep::States, "", None),
        purge(whole, false, PurgeStep::IdempotencyKeys, "", None),
        purge(whole, false, PurgeStep::Integrations, "", None),
        purge(whole, true, PurgeStep::Objects, "", None),
        purge(one, false, PurgeStep::Letters, "", None),
        purge(
            one,
            false,
            PurgeStep::Attempts,
            wh,
            Some("failed 1700000000000-0"),
        ),
        purge(one, false, PurgeStep::Runs, "", None),
        purge(
            one,
            false,
            PurgeStep::WorkflowRuns,
            "wfr_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2",
            None,
        ),
        purge(one, false, PurgeStep::Pause, "", Some("waited")),
        purge(one, true, PurgeStep::Tasks, "2", Some("17")),
    ]
}

#[test]
fn tasks_of_every_version_mean_what_they_meant() {
    let (stored, meanings) = (lines("task"), meanings());
    assert_eq!(stored.len(), meanings.len(), "each line has a meaning");
    for (line, meaning) in stored.into_iter().zip(meanings) {
        assert_eq!(line.parse::<TaskBody>().as_ref(), Ok(&meaning), "{line}");
        // Workers of the version before read what this one writes.
        assert_eq!(meaning.to_string(), line);
    }
}

#[tokio::test]
async fn ready_tasks_of_every_version_are_claimed() {
    let store = testing::redis::store();
    let lane = "acc_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2";
    // The lane is made, then its entry replaced.
    let tasks = [("any".to_owned(), "start_run.1".to_owned())];
    let pushed = store.push_tasks(Queue::Runs, lane, lane, 1, &tasks).await;
    pushed.expect("pushed");
    let key = store.keys().join(&["runs", "ready", lane]);
    for entry in lines("entry") {
        let () = store
            .connection()
            .lset(&key, 0, entry)
            .await
            .expect("an entry");
        let claimed = store.claim(Queue::Runs, 1, LEASE, "token").await;
        let claim = claimed.expect("a claim").tasks.pop().expect("a task");
        assert_eq!(claim.id, "run_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2.5");
        assert_eq!((claim.attempt, claim.rescues), (2, 1));
        assert_eq!(claim.ready_since_ms, 1_700_000_000_000);
        assert_eq!(
            claim.body,
            r#"fetch.1 1 42 {"parents":{"resources.wms.orders.id":7}}"#
        );
    }
}

#[tokio::test]
async fn a_batch_that_another_version_froze_is_sent_as_it_was_frozen() {
    let bench = Bench::running().await;
    let claim = bench.claim_one(Queue::Fetches).await;
    let handle = bench.fetch(&claim, 0);
    let page = last_page(&handle, 6, false);
    let page = PageCommit {
        chunks: vec![
            chunk(2, "records"),
            chunk(2, "records"),
            chunk(2, "records"),
        ],
        ..page
    };
    bench.commit(&page).await;
    let frozen = lines("batch").join("\n");
    let run = bench.store.keys().run(bench.spec.id);
    let () = bench
        .store
        .connection()
        .hset(&run, "s0:batch", frozen)
        .await
        .expect("frozen");
    let (handle, batch) = bench.take().await.expect("a batch");
    assert_eq!(batch.event.to_string(), "evt_01J8Z5T2V6N3Q4R7S8W9X0Y1Z2");
    assert_eq!(batch.created_ms, 1_700_000_000_000);
    assert_eq!((batch.first_seq, batch.records), (1, 4));
    assert_eq!((batch.attempts, batch.chunks.len()), (3, 2));
    bench.settle(&handle, &batch).await;
    let view = bench.view().await;
    assert_eq!(
        view.progress[0].records_delivered, 4,
        "the one behind it was settled before"
    );
    let left: Option<String> = bench
        .store
        .connection()
        .hget(&run, "s0:batch")
        .await
        .expect("an answer");
    assert_eq!(left, None);
}

#[test]
fn runs_that_other_versions_accepted_can_be_read() {
    let oldest: RunSpec =
        serde_json::from_str(include_str!("../stored/run_spec_v1_oldest.json")).expect("a run");
    assert_eq!(oldest.trigger, Trigger::Api);
    assert_eq!(oldest.options, JobOptions::default());
    assert_eq!((oldest.trigger_id, oldest.workflow_chain), (None, 0));
    assert_eq!(
        (
            oldest.mutex_key,
            oldest.force,
            oldest.retry_of,
            oldest.retry
        ),
        (None, false, None, None)
    );
    assert_eq!((oldest.batch_records, oldest.retention_days), (100, 14));

    let whole = include_str!("../stored/run_spec_v1_whole.json");
    let spec: RunSpec = serde_json::from_str(whole).expect("a run");
    assert_eq!(spec.trigger, Trigger::Workflow);
    assert_eq!(spec.error_handling, ErrorHandling::Batch);
    assert_eq!(
        spec.retry,
        Some(Retry {
            previous: BTreeMap::from([(
                "orders".to_owned(),
                "2024-05-01T00:00:00.000Z".parse().expect("a time")
            )]),
            watermark: "2024-05-02T00:00:00.000Z".parse().expect("a time"),
            undelivered: vec![1, 2],
        })
    );
    assert_eq!(spec.options.max_duration_minutes, Some(60));
    // Programs of the version before read what this one writes.
    assert_eq!(
        serde_json::to_string(&spec).expect("JSON"),
        whole.trim_end()
    );
    // What a later version adds is skipped.
    let mut later: Value = serde_json::from_str(whole).expect("JSON");
    later["of_a_later_version"] = json!(1);
    serde_json::from_value::<RunSpec>(later).expect("a run");
}
