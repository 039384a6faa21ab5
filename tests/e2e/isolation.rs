//! Nobody is delayed by what others have under way: receivers and sources that hang, accounts with a huge backlog.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};
use shared::clock::Timestamp;
use syncline_tests::{http, process::wait_until, receiver::Receiver, source::Source};

use crate::scenario::{LONG, Setup, Shop, Syncing, integration};

const SHOP: Shop = Shop {
    orders: 20,
    per_page: 10,
    lines: 1,
};

/// An account of the tenant of that name, which is its key too.
async fn account(sync: &Syncing, name: &str) -> Result<String> {
    let account =
        json!({"integration_name": "shop", "tenant_id": name, "credentials": {"api_key": name}});
    sync.rest.create("/integrated-account", &account).await
}

/// Longer than the test: who waits for an answer does so to its end.
fn with_patience(base_url: &str) -> Value {
    let mut document = integration(base_url);
    for resource in ["orders", "lines"] {
        document["config"]["resources"][resource]["list"]["timeout_ms"] = json!(120_000);
    }
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_and_a_stuck_source_delay_nobody_else() -> Result<()> {
    // More of either than there are slots: without limits by account and webhook they would take all of them.
    const STUCK: usize = 30;
    const SLOTS: &str = "24,24";
    /// Requests of one account, and deliveries of one webhook, that are under way at once (docs/guides/operations.md).
    const OF_ACCOUNT: usize = 16;
    const OF_WEBHOOK: usize = 8;
    /// The longest that a webhook may have.
    const TIMEOUT_MS: u64 = 60_000;
    let hung = Arc::new(AtomicUsize::new(0));
    let hangs = hung.clone();
    let source = Source::start(move |request, stream| {
        if request.header("authorization") == Some("Bearer stuck") {
            hangs.fetch_add(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
        let (status, body) = SHOP.answer(request);
        stream.write_all(&http::response(status, &[], body.as_bytes()))
    })?;
    let setup = Setup {
        settings: &[("SYNCLINE_WORKER_CONCURRENCY", SLOTS)],
        integration: with_patience,
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let dead = Receiver::start()?;
    dead.pause();
    let webhook = json!({"target_url": dead.url(), "delivery": {"timeout_ms": TIMEOUT_MS}});
    let webhook = sync.rest.create("/webhook", &webhook).await?;
    let (stuck, other) = (
        account(&sync, "stuck").await?,
        account(&sync, "other").await?,
    );
    for _ in 0..STUCK {
        sync.start_run_with(&json!({"integrated_account_id": stuck}))
            .await?;
        sync.start_run_with(&json!({"integrated_account_id": other, "webhook_id": webhook}))
            .await?;
    }
    let hanging = || (hung.load(Ordering::SeqCst), dead.deliveries().len());
    wait_until("as many hang as may", LONG, || {
        let (requests, deliveries) = hanging();
        let all = requests >= OF_ACCOUNT && deliveries >= OF_WEBHOOK;
        all.then_some(()).ok_or(format!("{requests}, {deliveries}"))
    })?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    // None was given up, or another one would have been made: all of them hang to this moment.
    assert_eq!(hanging(), (OF_ACCOUNT, OF_WEBHOOK));
    sync.check(&run).await?.expect_all(&SHOP.served());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_hundreds_of_thousands_of_children_delays_a_one_page_run_of_another_account_by_less_than_a_second()
-> Result<()> {
    const CHILDREN: u64 = 300_000;
    /// Of them, what at least is still to be fetched when the last small run has ended.
    const LEFT: u64 = CHILDREN / 2;
    const TRIES: usize = 5;
    const A_SECOND_MS: i64 = 1_000;
    const SMALL: Shop = Shop {
        orders: 10,
        per_page: 10,
        lines: 0,
    };
    let source = Source::json(|request| {
        if request.header("authorization") != Some("Bearer huge") {
            return SMALL.answer(request);
        }
        if request.path() == "/orders" {
            let orders: Vec<_> = (1..=CHILDREN)
                .map(|id| format!(r#"{{"id":{id}}}"#))
                .collect();
            return (200, format!(r#"{{"data":[{}]}}"#, orders.join(",")));
        }
        thread::sleep(Duration::from_millis(50));
        (200, r#"{"data":[]}"#.to_owned())
    })?;
    let mut resources = crate::scenario::orders_and_lines();
    resources[0]["persist"] = json!(false);
    let setup = Setup {
        // Fewer slots than one account may have requests under way: none is free, and all others wait for their turn.
        settings: &[("SYNCLINE_WORKER_CONCURRENCY", "8,8")],
        job: json!({"resources": resources}),
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let page = json!({"integration_name": "shop", "resources": [{"resource": "wms/orders"}]});
    let page = sync.rest.create("/sync-job", &page).await?;
    let durations = async || -> Result<Vec<i64>> {
        let mut all = Vec::new();
        for _ in 0..TRIES {
            let run = sync.start_run_with(&json!({"sync_job_id": page})).await?;
            let run = sync.finish(&run).await?;
            all.push(ms(&run["finished_at"])? - ms(&run["created_at"])?);
            sync.check(&run).await?;
        }
        all.sort_unstable();
        Ok(all)
    };
    let alone = durations().await?;
    let huge = account(&sync, "huge").await?;
    let huge = sync
        .start_run_with(&json!({"integrated_account_id": huge}))
        .await?;
    sync.wait(&huge, "its children to be queued", |state| {
        state["records_fetched"] == CHILDREN
    })
    .await?;
    let beside = durations().await?;
    let state = sync.run(&huge).await?;
    let left = state["progress"][1]["open_tasks"].as_u64().unwrap_or(0);
    let told = format!("ms alone: {alone:?}; beside {left} children: {beside:?}");
    println!("{told}");
    assert!(left > LEFT, "{state}");
    // What the machine makes of it is in both.
    assert!(beside[TRIES / 2] < alone[TRIES / 2] + A_SECOND_MS, "{told}");
    Ok(())
}

fn ms(time: &Value) -> Result<i64> {
    let time: Timestamp = time.as_str().unwrap_or_default().parse()?;
    Ok(time.0)
}
