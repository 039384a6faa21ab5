//! Environments and accounts that go: what is left of them is taken away, whoever dies meanwhile.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};
use syncline_tests::{receiver::Answer, source::Source};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 200,
    per_page: 10,
    lines: 2,
};
/// A lease that runs out, two rounds with a pause between them, and a busy machine.
const GONE: Duration = Duration::from_mins(3);

/// Every key with its content.
async fn everything(sync: &Syncing) -> Result<BTreeMap<String, String>> {
    let mut connection = sync.stack.redis.connect().await?;
    // What is packed shows no ids.
    let plain = ["SET", "rdbcompression", "no"];
    let _: String = redis::cmd("CONFIG")
        .arg(&plain)
        .query_async(&mut connection)
        .await?;
    let keys: Vec<String> = connection.keys("*").await?;
    let mut all = BTreeMap::new();
    for key in keys {
        // `None`: gone meanwhile.
        let dump: Option<Vec<u8>> = redis::cmd("DUMP")
            .arg(&key)
            .query_async(&mut connection)
            .await?;
        let text = String::from_utf8_lossy(&dump.unwrap_or_default()).into_owned();
        all.insert(key.trim_start_matches("syncline:{p0}:").to_owned(), text);
    }
    Ok(all)
}

/// Waits until nothing but `allowed` keys names any of these ids.
async fn until_gone(sync: &Syncing, ids: &[String], allowed: &[&str]) -> Result<()> {
    let deadline = tokio::time::Instant::now() + GONE;
    loop {
        let all = everything(sync).await?;
        let named: Vec<_> = all
            .iter()
            .filter(|(key, value)| {
                let names = ids.iter().any(|id| key.contains(id) || value.contains(id));
                names && !allowed.iter().any(|name| key.starts_with(name))
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "still there: {named:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn slow_shop() -> Result<Source> {
    Source::json(|request| {
        std::thread::sleep(Duration::from_millis(15));
        SHOP.answer(request)
    })
}

/// The first record of each event becomes a dead letter.
fn refuse_some(sync: &Syncing) {
    sync.receiver.answer_by(|request| {
        let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let first = &event["payload"]["meta"]["first_seq"];
        if first.is_null() {
            return Answer::Status(200);
        }
        let body = json!({"failed": [{"seq": first, "reason": "no such order"}]});
        Answer::Full {
            status: 200,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_environment_leaves_nothing_though_a_run_was_under_way_and_a_worker_is_killed()
-> Result<()> {
    let setup = Setup {
        workers: 2,
        webhook: json!({"delivery": {"batch_records": 5}}),
        ..Setup::default()
    };
    let mut sync = Syncing::of(slow_shop()?, setup).await?;
    refuse_some(&sync);
    let trigger = json!({"sync_job_id": sync.job, "integrated_account_id": sync.account, "webhook_id": sync.webhook,
        "cron_expression": "* * * * *"});
    let trigger = sync.rest.create("/sync-job-cron-trigger", &trigger).await?;
    let workflow = json!({"trigger_name": "integrated_account:active", "config": {"steps": [
        {"type": "run", "action": "run_sync_job",
         "config": {"sync_job_id": sync.job, "webhook_id": sync.webhook}}]}});
    let workflow = sync.rest.create("/workflow", &workflow).await?;
    let second = json!({"integration_name": "shop", "tenant_id": "tenant-2", "credentials": {"api_key": "sk_2"}});
    let second = sync.rest.create("/integrated-account", &second).await?;
    let (status, _) = sync
        .rest
        .call(
            Method::POST,
            "/sync-job-run-state?state_key=mine",
            Some(&json!({"key": "page", "value": 7})),
        )
        .await?;
    assert_eq!(status, 201);
    let run = sync.start_run().await?;
    sync.wait(&run, "the middle of the run", |state| {
        state["records_delivered"].as_u64() > Some(60)
    })
    .await?;
    let letters = format!("/webhook/{}/dead-letter", sync.webhook);
    let letters = sync.rest.get(&letters).await?;
    assert_ne!(letters["result"], json!([]), "there are dead letters");
    let list = sync.rest.get("/sync-job-run?limit=200").await?;
    let environment = list["result"][0]["environment_id"].clone();
    let environment = environment.as_str().expect("an id").to_owned();

    let refused = sync
        .stack
        .api_command(&["environment", "delete", "default"])?;
    assert!(!refused.status.success(), "it asks, and nobody answers");
    sync.rest.get("/webhook").await?;
    let deleted = sync
        .stack
        .api_command(&["environment", "delete", "default", "--yes"])?;
    assert!(deleted.status.success(), "{deleted:?}");
    assert_eq!(String::from_utf8_lossy(&deleted.stdout).trim(), environment);
    let (status, _) = sync.rest.call(Method::GET, "/webhook", None).await?;
    assert_eq!(status, 401, "its tokens work no more");
    sync.stack.workers[0].kill()?;

    let ids = [
        environment,
        sync.account.clone(),
        second,
        sync.webhook.clone(),
        sync.job.clone(),
        run,
        trigger,
        workflow,
    ];
    until_gone(&sync, &ids, &[]).await?;
    let left: Vec<_> = everything(&sync).await?.into_keys().collect();
    let named_in_the_docs = |key: &String| key.ends_with(":idle") || key == "undelivered_bytes";
    assert!(left.iter().all(named_in_the_docs), "{left:?}");
    let mut connection = sync.stack.redis.connect().await?;
    let bytes: i64 = connection.get("syncline:{p0}:undelivered_bytes").await?;
    assert_eq!(bytes, 0, "what was dropped isn't counted as waiting");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_nothing_once_what_was_committed_is_delivered() -> Result<()> {
    let sync = Syncing::of(slow_shop()?, Setup::default()).await?;
    let ended = sync.start_run().await?;
    sync.check(&sync.finish(&ended).await?).await?;
    sync.receiver.pause();
    let run = sync.start_run().await?;
    sync.wait(&run, "records to be fetched", |run| {
        run["records_fetched"].as_u64() > Some(20)
    })
    .await?;
    let path = format!("/integrated-account/{}", sync.account);
    let (status, _) = sync.rest.call(Method::DELETE, &path, None).await?;
    assert_eq!(status, 200);
    sync.wait(&run, "the run to fail", |run| run["status"] == "failed")
        .await?;
    let first = format!("/sync-job-run/{ended}");
    let deadline = tokio::time::Instant::now() + LONG;
    while sync.rest.call(Method::GET, &first, None).await?.0 != 404 {
        ensure!(tokio::time::Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        sync.run(&run).await?["status"],
        "failed",
        "what it committed is still to be delivered"
    );
    sync.receiver.resume();
    let told = sync.receiver.wait_for("sync_job_run:failed", LONG)?;
    assert_eq!(told.event()["payload"]["sync_job_run_id"], run.as_str());
    sync.receiver.wait_for("integrated_account:deleted", LONG)?;
    until_gone(&sync, &[sync.account.clone(), run, ended], &["attempts:"]).await?;
    let list = sync.rest.get("/sync-job-run").await?;
    assert_eq!(list["result"], json!([]));
    Ok(())
}
