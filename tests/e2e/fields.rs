//! The fields of a sync job's resources, as a user sees them work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};
use syncline_tests::{http::Request, ledger::Terms, source::Source};

use crate::{
    depot,
    scenario::{Setup, Shop, Syncing, integration_of},
};

const SHOP: Shop = Shop {
    orders: 25,
    per_page: 10,
    lines: 3,
};

/// Records with what `meta` says of each, by resource.
fn with_parents(sync: &Syncing) -> BTreeMap<String, Vec<(Value, Value)>> {
    let mut all: BTreeMap<String, Vec<(Value, Value)>> = BTreeMap::new();
    for delivery in sync.receiver.deliveries() {
        let payload = &delivery.event()["payload"];
        let parents = payload["meta"]["parents"].as_array();
        for (i, record) in payload["records"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let resource = payload["resource"].as_str().expect("a resource").to_owned();
            let parent = parents.map_or(Value::Null, |parents| parents[i].clone());
            all.entry(resource)
                .or_default()
                .push((record.clone(), parent));
        }
    }
    all
}

async fn errors(sync: &Syncing, run: &Value) -> Result<Vec<Value>> {
    let id = run["id"].as_str().expect("an id");
    let errors = sync.rest.get(&format!("/sync-job-run/{id}/error")).await?;
    Ok(errors["result"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_5_levels_and_loops_times_parents_asks_for_all_of_it_once_and_for_nothing_else()
-> Result<()> {
    let right = depot::right_requests();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (strict, seen) = (right.clone(), asked.clone());
    let source = Source::json(move |request| {
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(depot::said(request));
        depot::answer(&strict, request)
    })?;
    let setup = Setup {
        workers: 2,
        job: json!({"resources": depot::resources()}),
        integration: depot::integration,
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let args = json!({"args": {"zones": depot::ZONES, "flags": depot::FLAGS}});
    let run = sync.start_run_with(&args).await?;
    let run = sync.finish(&run).await?;
    assert_eq!(errors(&sync, &run).await?, Vec::<Value>::new());
    assert_eq!(run["status"], "completed", "{run}");
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(asked.iter().cloned().collect::<BTreeSet<_>>(), right);
    assert_eq!(asked.len(), right.len(), "each once");
    assert_eq!(run["requests"], right.len(), "{run}");
    let ledger = sync.check(&run).await?;
    let counts: Vec<_> = depot::counts()
        .map(|(name, _)| (name, ledger.records[name].len()))
        .into();
    assert_eq!(counts, depot::counts());

    let all = with_parents(&sync);
    for (record, parent) in &all["regions"] {
        let zone = parent["loop.item"].as_str().expect("a zone");
        assert!(record["code"].as_str().expect("a code").starts_with(zone));
    }
    for (record, parent) in &all["shelves"] {
        let warehouse = parent["resources.warehouses.wid"]
            .as_str()
            .expect("a warehouse");
        let bay = &parent["loop.item"];
        let sid = record["sid"].as_str().expect("a shelf");
        assert!(
            sid.starts_with(&format!("{warehouse}b{}", bay["no"])),
            "{sid} of {parent}"
        );
        assert!(
            parent.get("resources.warehouses.bays").is_none(),
            "{parent}"
        );
    }
    for (record, parent) in &all["details"] {
        let detail = record["detail"].as_str().expect("text");
        assert!(detail.contains(&format!(
            "flag={}",
            parent["loop.item"].as_str().expect("a flag")
        )));
        assert!(detail.contains(parent["resources.items.iid"].as_str().expect("an id")));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_loop_is_made_in_parts_and_every_element_is_asked_for_once() -> Result<()> {
    const ELEMENTS: u64 = 2_500;
    let job = json!({"resources": [{"resource": "wms/order-items", "loop_on": "ids", "query": {"order_id": "{{loop.item}}"}}]});
    let shop = Shop { lines: 1, ..SHOP };
    let sync = Syncing::of_shop(
        shop,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let ids: Vec<u64> = (1..=ELEMENTS).collect();
    let run = sync.start_run_with(&json!({"args": {"ids": ids}})).await?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["status"], &run["requests"]),
        (&json!("completed"), &json!(ELEMENTS)),
        "{run}"
    );
    let mut orders = BTreeSet::new();
    for (record, parent) in &with_parents(&sync)["wms/order-items"] {
        assert_eq!(record["order"], parent["loop.item"]);
        assert!(
            orders.insert(record["order"].as_u64()),
            "{record} came twice"
        );
    }
    assert_eq!(orders.len(), ids.len());
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_whose_worker_is_killed_go_on_and_bring_each_record_once() -> Result<()> {
    let right = depot::right_requests();
    let source = Source::json(move |request| {
        std::thread::sleep(Duration::from_millis(15));
        depot::answer(&right, request)
    })?;
    let setup = Setup {
        workers: 2,
        job: json!({"resources": depot::resources()}),
        integration: depot::integration,
        ..Setup::default()
    };
    let mut sync = Syncing::of(source, setup).await?;
    let args = json!({"args": {"zones": depot::ZONES, "flags": depot::FLAGS}});
    let run = sync.start_run_with(&args).await?;
    sync.wait(&run, "the middle of the run", |state| {
        state["records_fetched"].as_u64() > Some(20)
    })
    .await?;
    sync.stack.workers[0].kill()?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["status"], &run["errors"]),
        (&json!("completed"), &json!(0)),
        "{run}"
    );
    let ledger = sync.check(&run).await?;
    for (name, count) in depot::counts() {
        let records: BTreeSet<_> = ledger.records[name].iter().collect();
        assert_eq!(
            (records.len(), ledger.records[name].len()),
            (count, count),
            "{name}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_told_under_its_name_or_not_at_all_and_fails_by_its_own_policy() -> Result<()>
{
    let gone = |request: &Request| match request.path() {
        "/orders/7/lines" => (404, "{}".to_owned()),
        _ => SHOP.answer(request),
    };
    let lines = |handling: &str| {
        json!({"resources": [
            {"resource": "wms/orders", "name": "all", "persist": false},
            {"resource": "wms/order-items", "name": "their/lines", "depends_on": "all",
             "query": {"order_id": "{{resources.all.id}}"}, "error_handling": handling}]})
    };
    for (handling, status) in [("ignore", "completed"), ("fail_fast", "failed")] {
        let job = lines(handling);
        let sync = Syncing::of(
            Source::json(gone)?,
            Setup {
                job,
                ..Setup::default()
            },
        )
        .await?;
        let run = sync.start_run().await?;
        let run = sync.finish(&run).await?;
        assert_eq!(run["status"], status, "{run}");
        let names: BTreeSet<_> = sync
            .receiver
            .deliveries()
            .iter()
            .filter(|delivery| delivery.name() == "sync_job_run:record")
            .map(|delivery| delivery.event()["payload"]["name"].to_string())
            .collect();
        assert!(
            names.iter().all(|name| name == "\"their/lines\""),
            "{names:?}"
        );
        let terms = Terms {
            unstored: &["all"],
            ..Terms::default()
        };
        sync.check_at(&sync.receiver, &run, terms).await?;
        if status == "completed" {
            assert_eq!(run["records_delivered"], 24 * 3);
            assert_eq!(
                run["resource_stats"]["all"]["list"],
                json!({"fetched": 25, "persisted": 0})
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_over_nothing_makes_no_request_and_one_over_no_array_is_an_error() -> Result<()> {
    let job = json!({"resources": [
        {"resource": "wms/orders", "loop_on": "warehouses", "query": {"w": "{{loop.item}}"}},
        {"resource": "wms/order-items", "depends_on": "wms/orders", "query": {"order_id": "{{resources.wms.orders.id}}"}}
    ]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    for (args, code) in [
        (json!({"warehouses": []}), None),
        (json!({"warehouses": "a,b"}), Some("loop_not_an_array")),
        (json!({}), Some("placeholder_missing")),
        (json!({"warehouses": [null]}), Some("placeholder_missing")),
        (
            json!({"warehouses": ["x".repeat(17_000)]}),
            Some("loop_item_too_large"),
        ),
    ] {
        let run = sync.start_run_with(&json!({"args": args})).await?;
        let run = sync.finish(&run).await?;
        let codes: Vec<_> = errors(&sync, &run)
            .await?
            .iter()
            .map(|error| error["code"].clone())
            .collect();
        assert_eq!(
            codes,
            code.map(Value::from).into_iter().collect::<Vec<_>>(),
            "{args}"
        );
        assert_eq!(
            (&run["status"], &run["requests"]),
            (&json!("completed"), &json!(0)),
            "{run}"
        );
        for progress in run["progress"].as_array().expect("progress") {
            assert_eq!(progress["status"], "done", "{run}");
        }
        sync.check(&run).await?;
    }
    assert_eq!(sync.source.requests(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_loop_the_argument_that_is_looped_over_is_its_element() -> Result<()> {
    let job = json!({"resources": [
        {"resource": "wms/order-items", "loop_on": "{{args.order_ids}}", "query": {"order_id": "{{args.order_ids}}"}}]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync
        .start_run_with(&json!({"args": {"order_ids": [3, 5]}}))
        .await?;
    let run = sync.finish(&run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    let asked: BTreeSet<_> = sync.source.requests().into_iter().collect();
    assert_eq!(
        asked,
        BTreeSet::from(["/orders/3/lines".to_owned(), "/orders/5/lines".to_owned()])
    );
    sync.check(&run).await?;
    Ok(())
}

fn folders(base_url: &str) -> Value {
    integration_of(
        base_url,
        json!({
            "entries": {"list": {"path": "/entries", "response_path": "data"}},
            "notes": {"list": {"path": "/entries/{{path.entry}}/notes", "response_path": "data"}}
        }),
    )
}

/// `/entries?in=` of a tree: two folders and a file in each folder, down to `levels`.
fn tree(levels: usize) -> impl Fn(&Request) -> (u16, String) {
    move |request| {
        if request.path().ends_with("/notes") {
            return (200, json!({"data": [{"note": request.path()}]}).to_string());
        }
        let folder = request.query("in").unwrap_or("?");
        if request.query("top") != (folder == "root").then_some("1") {
            return (400, "{}".to_owned());
        }
        let more = folder.len() - "root".len() < levels;
        let mut entries = vec![json!({"id": format!("{folder}f"), "kind": "file"})];
        if more {
            entries.extend(["a", "b"].map(
                |name| json!({"id": format!("{folder}{name}"), "kind": "folder", "more": true}),
            ));
        }
        (200, json!({"data": entries}).to_string())
    }
}

fn entries(condition: &str) -> Value {
    json!([
        {"resource": "notes", "depends_on": "entries", "path": {"entry": "{{resources.entries.id}}"}},
        {"resource": "entries", "query": {"in": "root", "top": 1},
         "recurse": {"if": condition, "config": {"query": {"in": "{{record.id}}", "top": null}}}}
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_brings_all_levels_in_one_stream_each_with_the_record_it_came_from()
-> Result<()> {
    recurse("{{resources.entries.more:bool}}").await?;
    recurse("kind = 'folder'").await
}

async fn recurse(condition: &str) -> Result<()> {
    let setup = Setup {
        workers: 2,
        job: json!({"resources": entries(condition)}),
        integration: folders,
        ..Setup::default()
    };
    let sync = Syncing::of(Source::json(tree(3))?, setup).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(errors(&sync, &run).await?, Vec::<Value>::new());
    let ledger = sync.check(&run).await?;
    // 1 + 2 + 4 + 8 folders are listed; each has a file, and all but the last ones two folders.
    assert_eq!(ledger.records["entries"].len(), 15 + 14);
    assert_eq!(
        ledger.records["notes"].len(),
        29,
        "each record of each level has its children"
    );
    let all = with_parents(&sync);
    let mut seen = BTreeSet::new();
    for (record, parent) in &all["entries"] {
        let id = record["id"].as_str().expect("an id").to_owned();
        let folder = id[..id.len() - 1].to_owned();
        let expected = if folder == "root" {
            json!({})
        } else {
            json!({"record.id": folder})
        };
        assert!(
            *parent == expected || (folder == "root" && parent.is_null()),
            "{id} of {parent}"
        );
        seen.insert(id);
    }
    assert_eq!(seen.len(), 29);
    for (record, parent) in &all["notes"] {
        let id = parent["resources.entries.id"].as_str().expect("an id");
        assert_eq!(record["note"], format!("/entries/{id}/notes"));
        assert!(parent.get("record.id").is_none(), "{parent}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_decides_on_records_and_their_children_and_a_map_on_what_is_delivered()
-> Result<()> {
    let job = json!({"include_remote_data": true, "resources": [
        {"resource": "wms/orders", "filter": "id % 2 = 1", "map": "{'id': id, 'exact': big, 'double': id * 2}"},
        {"resource": "wms/order-items", "depends_on": "wms/orders",
         "query": {"order_id": "{{resources.wms.orders.id}}", "total": "{{resources.wms.orders.total}}"}}
    ]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(errors(&sync, &run).await?, Vec::<Value>::new());
    let ledger = sync.check(&run).await?;
    let expected: Vec<_> = (1..=25)
        .filter(|id| id % 2 == 1)
        .map(|id| {
            format!(
                r#"{{"id":{id},"exact":90071992547409{id:05},"double":{},"remote_data":{}}}"#,
                id * 2,
                Shop::order(id)
            )
        })
        .collect();
    assert_eq!(ledger.records["wms/orders"], expected);
    assert_eq!(ledger.records["wms/order-items"].len(), 13 * 3);
    // What children need is taken from the source's record.
    let asked = sync.source.requests();
    assert!(
        asked.contains(&"/orders/11/lines?total=11.10".to_owned()),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 3 + 13, "{asked:?}");
    assert_eq!(run["records_fetched"], 13 + 39);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_fails_on_one_record_is_an_error_of_that_record() -> Result<()> {
    for (field, code) in [("filter", "filter_failed"), ("map", "map_failed")] {
        let mut resources = crate::scenario::orders_and_lines();
        resources[0][field] = json!("id = 7 ? $error('not seven') : $");
        let job = json!({"resources": resources});
        let sync = Syncing::of_shop(
            SHOP,
            Setup {
                job,
                ..Setup::default()
            },
        )
        .await?;
        let run = sync.start_run().await?;
        let run = sync.finish(&run).await?;
        let errors = errors(&sync, &run).await?;
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0]["code"], code);
        let message = errors[0]["message"].as_str().expect("a message");
        assert!(
            message.starts_with("the record with id 7: ") && message.contains("not seven"),
            "{message}"
        );
        assert_eq!(
            (&run["status"], &run["errors"]),
            (&json!("completed"), &json!(1))
        );
        let ledger = sync.check(&run).await?;
        assert_eq!(ledger.records["wms/orders"].len(), 24);
        assert!(
            !sync
                .source
                .requests()
                .contains(&"/orders/7/lines".to_owned())
        );
        let told = sync.receiver.deliveries();
        let told = told
            .iter()
            .filter(|delivery| delivery.name() == "sync_job_run:record_error");
        assert_eq!(told.count(), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_without_end_stops_at_its_depth_and_says_so() -> Result<()> {
    let cycle = |request: &Request| {
        let folder = request.query("in").unwrap_or_default().to_owned();
        (
            200,
            json!({"data": [{"id": "root", "more": true, "of": folder}]}).to_string(),
        )
    };
    let resources = json!([{"resource": "entries", "query": {"in": "root"},
        "recurse": {"if": "{{record.more}}", "config": {"query": {"in": "{{record.id}}"}}}}]);
    let setup = Setup {
        job: json!({"resources": resources}),
        integration: folders,
        ..Setup::default()
    };
    let sync = Syncing::of(Source::json(cycle)?, setup).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let errors = errors(&sync, &run).await?;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["code"], "recursion_too_deep");
    assert_eq!(
        (&run["requests"], &run["records_delivered"]),
        (&json!(21), &json!(21)),
        "{run}"
    );
    assert_eq!(run["status"], "completed");
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_batch_errors_that_come_together_are_one_event() -> Result<()> {
    let gone = |request: &Request| {
        if request.path().ends_with("/lines") && !request.path().contains("/orders/1") {
            return (404, r#"{"error":"no such order"}"#.to_owned());
        }
        SHOP.answer(request)
    };
    let setup = Setup {
        // The node's end sends what lingers, so nothing waits for ten seconds.
        job: json!({"error_handling": "batch"}),
        webhook: json!({"delivery": {"linger_ms": 10_000}}),
        ..Setup::default()
    };
    let sync = Syncing::of(Source::json(gone)?, setup).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    // All but 1 and 10 to 19.
    assert_eq!(
        (&run["status"], &run["errors"]),
        (&json!("completed"), &json!(14)),
        "{run}"
    );
    let told: Vec<_> = sync
        .receiver
        .deliveries()
        .into_iter()
        .filter(|delivery| delivery.name() == "sync_job_run:record_error")
        .map(|delivery| delivery.event()["payload"].clone())
        .collect();
    let errors: Vec<_> = told
        .iter()
        .flat_map(|payload| payload["errors"].as_array().expect("errors"))
        .collect();
    assert_eq!(errors.len(), 14);
    assert!(told.len() < errors.len(), "{} events", told.len());
    let parents: BTreeSet<_> = errors
        .iter()
        .map(|error| error["parent"].to_string())
        .collect();
    assert_eq!(parents.len(), 14);
    for payload in &told {
        assert_eq!(payload["resource"], "wms/order-items");
        assert!(payload.get("error").is_none());
    }
    assert!(errors.iter().all(|error| error["error"]["status"] == 404));
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_asks_from_its_date_and_later_ones_look_back() -> Result<()> {
    let job = json!({"first_run_date": "2024-05-01T02:00:00+02:00", "lookback_minutes": 60, "resources": [
        {"resource": "wms/orders", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}}]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let since = |target: &str| -> Result<Option<String>> {
        let url = url::Url::parse(&format!("http://source{target}"))?;
        let found = url.query_pairs().find(|(name, _)| name == "updated_at[gt]");
        Ok(found.map(|(_, value)| value.into_owned()))
    };
    let first = sync.start_run().await?;
    let first = sync.finish(&first).await?;
    let requests = sync.source.requests();
    assert_eq!(
        since(&requests[0])?.as_deref(),
        Some("2024-05-01T00:00:00.000Z")
    );
    let second = sync.start_run().await?;
    let second = sync.finish(&second).await?;
    sync.check(&second).await?;
    let started: shared::clock::Timestamp =
        first["started_at"].as_str().expect("a time").parse()?;
    let expected = shared::clock::Timestamp(started.0 - 3_600_000).to_string();
    assert_eq!(
        since(&sync.source.requests()[requests.len()])?,
        Some(expected)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_asks_from_the_same_date_and_leaves_records_alone_that_an_expression_failed_on()
-> Result<()> {
    let broken = Arc::new(AtomicBool::new(false));
    let source = {
        let broken = broken.clone();
        Source::json(move |request| {
            if broken.load(Ordering::Relaxed) && request.path() == "/orders/9/lines" {
                return (404, "{}".to_owned());
            }
            SHOP.answer(request)
        })?
    };
    let job = json!({"lookback_minutes": 60, "resources": [
        {"resource": "wms/orders", "filter": "id = 7 ? $error('not seven') : true"},
        {"resource": "wms/order-items", "depends_on": "wms/orders",
         "query": {"order_id": "{{resources.wms.orders.id}}", "since": "{{previous_run_date}}"}}]});
    let whole = json!({"resources": [
        {"resource": "wms/orders"},
        {"resource": "wms/order-items", "depends_on": "wms/orders",
         "query": {"order_id": "{{resources.wms.orders.id}}", "since": "{{previous_run_date}}"}}]});
    let sync = Syncing::of(
        source,
        Setup {
            job: job.clone(),
            ..Setup::default()
        },
    )
    .await?;
    let path = format!("/sync-job/{}", sync.job);
    let change = async |resources: &Value| {
        let patch = json!({"resources": resources});
        sync.rest
            .call(reqwest::Method::PATCH, &path, Some(&patch))
            .await
    };
    // The first run brings all, so that there is a date.
    change(&whole["resources"]).await?;
    let run = sync.start_run().await?;
    sync.finish(&run).await?;
    change(&job["resources"]).await?;
    broken.store(true, Ordering::Relaxed);
    let run = sync.start_run().await?;
    let failed = sync.finish(&run).await?;
    assert_eq!(failed["errors"], 2, "{failed}");
    sync.check(&failed).await?;
    let asked = |from: usize| -> Vec<String> {
        let requests = sync.source.requests();
        requests[from..]
            .iter()
            .filter(|asked| asked.starts_with("/orders/9/"))
            .cloned()
            .collect()
    };
    let at_first = asked(0).pop().expect("asked for");
    assert!(at_first.contains("since="), "{at_first}");
    broken.store(false, Ordering::Relaxed);
    let before = sync.source.requests().len();
    let retry = sync
        .rest
        .create(&format!("/sync-job-run/{run}/retry"), &json!({}))
        .await?;
    let retried = sync.finish(&retry).await?;
    assert_eq!(
        (&retried["status"], &retried["errors"]),
        (&json!("completed"), &json!(0)),
        "{retried}"
    );
    assert_eq!(asked(before), [at_first]);
    assert_eq!(sync.source.requests().len(), before + 1);
    let part = Terms {
        partial: true,
        ..Terms::default()
    };
    sync.check_at(&sync.receiver, &retried, part).await?;
    Ok(())
}

/// A page of small records, and a job that maps them.
async fn mapping(records: u64, map: &str) -> Result<Syncing> {
    let orders: Vec<_> = (1..=records).map(|id| json!({"id": id})).collect();
    let page = json!({"data": orders, "more": false}).to_string();
    let source = Source::json(move |_| (200, page.clone()))?;
    let job = json!({"resources": [{"resource": "wms/orders", "map": map}]});
    let setup = Setup {
        job,
        ..Setup::default()
    };
    Syncing::of(source, setup).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_makes_much_of_little_needs_bounded_memory() -> Result<()> {
    // 60 bytes become 3 MB each, but for one that becomes too long for a record.
    let map = "($s := $pad('', 999999, 'x'); id = 3 ? {'id': id, 'text': $s & $s & $s & $s & $s} : {'id': id, 'text': $s & $s & $s})";
    let sync = mapping(60, map).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let errors = errors(&sync, &run).await?;
    assert_eq!(errors.len(), 1, "{errors:?}");
    let message = errors[0]["message"].as_str().expect("a message");
    assert!(message.contains("a record has at most"), "{message}");
    sync.check(&run).await?;
    let peak = sync.stack.workers[0].peak_rss_bytes()?;
    assert!(
        peak < 256 * 1024 * 1024,
        "the worker's peak was {} MiB",
        peak >> 20
    );
    let log = sync.stack.workers[0].log();
    assert!(!log.contains("the record with id"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_stops_computing_over_its_page() -> Result<()> {
    // A quarter of a second a record: minutes for the page.
    let sync = mapping(2_000, "($f := function($n) { $f($n + 1) }; $f(0))").await?;
    let run = sync.start_run().await?;
    let errors = |run: &Value| run["progress"][0]["open_tasks"].as_u64() > Some(1);
    sync.wait(&run, "records to fail", errors).await?;
    let path = format!("/sync-job-run/{run}/stop");
    sync.rest.post(&path, &json!({})).await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    let ended = |metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with("syncline_claimed_tasks") && line.contains("fetches"));
        line.is_some_and(|line| line.ends_with(" 0"))
    };
    let deadline = tokio::time::Instant::now() + crate::scenario::LONG;
    loop {
        let metrics = sync.stack.workers[0].metrics()?;
        if ended(&metrics) {
            return Ok(());
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "the fetch goes on: {metrics}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
