//! A Redis that goes away in the middle of a run, in every way it can: each run completes by itself.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use shared::store::queue::LEASE;
use syncline_tests::{
    forwarder::Forwarder,
    ledger::sorted,
    process::{Program, wait_until},
    receiver::Answer,
    redis::PrivateRedis,
    source::Source,
    stack::{Stack, TOKEN},
};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 200,
    per_page: 10,
    lines: 2,
};
/// Lines that a program may write at `warn` because of one outage: one for each of its loops, and some for what they
/// were at.
const MOST_WARNINGS: usize = 12;
/// Between two looks, and two acts of somebody who disturbs.
const TICK: Duration = Duration::from_millis(20);

/// Takes some seconds for a run, so that it is caught in the middle.
fn slow_shop() -> Result<Source> {
    Source::json(|request| {
        std::thread::sleep(Duration::from_millis(100));
        SHOP.answer(request)
    })
}

async fn slow(workers: usize) -> Result<Syncing> {
    let setup = Setup {
        workers,
        ..Setup::default()
    };
    Syncing::of(slow_shop()?, setup).await
}

/// With a Redis at an address of the test's choice instead of the stack's own.
fn at(url: String) -> Setup {
    Setup {
        settings: vec![("SYNCLINE_REDIS_URL", &*url.leak())].leak(),
        ..Setup::default()
    }
}

/// Loses nothing that it answered when it is killed: with `everysec` it puts off writing while the disk is busy.
fn durable() -> Result<PrivateRedis> {
    PrivateRedis::start_with(&[("appendfsync", "always")])
}

async fn slow_at(url: String, workers: usize) -> Result<Syncing> {
    let setup = Setup { workers, ..at(url) };
    Syncing::of(slow_shop()?, setup).await
}

async fn in_the_middle(sync: &Syncing, run: &str) -> Result<()> {
    sync.wait(run, "the middle of the run", |state| {
        state["records_delivered"].as_u64() > Some(40)
    })
    .await?;
    Ok(())
}

/// Waits until the API does what it is asked.
async fn answers_again(sync: &Syncing) -> Result<()> {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let (status, answer) = sync
            .rest
            .call(reqwest::Method::GET, "/sync-job", None)
            .await?;
        if status == 200 {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "the API answers {status}: {answer}"
        );
        tokio::time::sleep(TICK).await;
    }
}

/// The run has everything, and nothing of it was given up.
async fn complete(sync: &Syncing, run: &str) -> Result<()> {
    answers_again(sync).await?;
    let run = sync.finish(run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(
        (&run["errors"], &run["records_dead"]),
        (&json!(0), &json!(0)),
        "{run}"
    );
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    Ok(())
}

/// An answer of the API while Redis is away: 503, with the code and the time to wait.
async fn refused(sync: &Syncing, path: &str, body: Option<Value>) -> Result<()> {
    let url = format!("http://{}/api/v1/ipaas{path}", sync.stack.api_address());
    let client = reqwest::Client::new();
    let request = match body {
        None => client.get(url),
        Some(body) => client
            .post(url)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&body)?),
    };
    let answer = request.bearer_auth(TOKEN).send().await?;
    let status = answer.status().as_u16();
    let wait = answer
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().unwrap_or_default().to_owned());
    let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
    assert_eq!(
        (status, wait.as_deref(), &body["error"]["code"]),
        (503, Some("1"), &json!("store_unavailable")),
        "{body}"
    );
    Ok(())
}

/// One command, its words between spaces.
async fn command<T: redis::FromRedisValue>(
    redis: &mut MultiplexedConnection,
    line: &str,
) -> Result<T> {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    Ok(command.query_async(redis).await?)
}

/// What a program logged at these levels.
fn logged<'a>(log: &'a str, levels: &[&str]) -> Vec<&'a str> {
    let marks: Vec<_> = levels
        .iter()
        .map(|level| format!(r#""level":"{level}""#))
        .collect();
    log.lines()
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .collect()
}

/// Whatever happened to Redis, a program says so and no more: nothing at `error`, no lease that ended, and each
/// outage of a loop with one line when it begins and one when it is over.
fn told_once(program: &Program, outages: usize) {
    let log = program.log();
    let errors = logged(&log, &["ERROR"]);
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let warnings = logged(&log, &["WARN"]);
    assert!(
        warnings.len() <= outages * MOST_WARNINGS,
        "{}",
        warnings.join("\n")
    );
    for unwanted in ["a lease had expired", "left to its lease"] {
        assert!(!log.contains(unwanted), "{unwanted}:\n{log}");
    }
    let mut parts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in log.lines() {
        let Some((_, part)) = line.split_once(r#""part":""#) else {
            continue;
        };
        let part = part.split('"').next().unwrap_or_default();
        let told = parts.entry(part).or_default();
        told.0 += usize::from(line.contains(" failed; "));
        told.1 += usize::from(line.contains(" works again"));
    }
    for (part, (failed, works)) in parts {
        assert!(
            failed == works && failed <= outages,
            "{part} failed {failed} times and worked again {works} times:\n{log}"
        );
    }
}

fn all_told_once(sync: &Syncing, outages: usize) {
    for program in sync.stack.workers.iter().chain([&sync.stack.api]) {
        told_once(program, outages);
    }
}

/// The loops of every program have noticed that Redis is back.
async fn all_work_again(sync: &Syncing) -> Result<()> {
    let deadline = tokio::time::Instant::now() + LONG;
    for program in sync.stack.workers.iter().chain([&sync.stack.api]) {
        loop {
            let log = program.log();
            let count = |text: &str| log.matches(text).count();
            if count(" failed; trying again, and silent") == count(" works again\"") {
                break;
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "some loop did not come back:\n{log}"
            );
            tokio::time::sleep(TICK).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_away_for_longer_than_a_lease_and_what_was_held_is_continued() -> Result<()> {
    let mut redis = durable()?;
    let mut sync = slow_at(redis.url(), 1).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    // Holds little, but looks for leases that ended.
    sync.stack.add_worker(&[])?;
    wait_until("the other worker is at work", LONG, || {
        let log = sync.stack.workers[1].log();
        let is_ready = log.contains("the worker is ready");
        is_ready.then_some(()).ok_or(log)
    })?;
    redis.kill()?;
    refused(&sync, "/sync-job", None).await?;
    // The length of the outage is what this is about.
    tokio::time::sleep(LEASE + Duration::from_secs(3)).await;
    refused(&sync, "/sync-job", None).await?;
    // The worker that holds the leases is the last one to notice that Redis is back.
    sync.stack.workers[0].signal("STOP")?;
    redis.restart()?;
    wait_until("the other worker notices", LONG, || {
        let log = sync.stack.workers[1].log();
        let noticed = log.contains("maintenance works again");
        noticed.then_some(()).ok_or(log)
    })?;
    // Its next pass, two seconds later, would rescue, if it didn't wait for the others to extend.
    tokio::time::sleep(Duration::from_secs(3)).await;
    sync.stack.workers[0].signal("CONT")?;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    all_told_once(&sync, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_hangs_for_longer_than_a_lease_and_what_was_held_is_continued() -> Result<()> {
    let sync = slow(2).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    sync.stack.redis.freeze()?;
    refused(&sync, "/sync-job", None).await?;
    // As above.
    tokio::time::sleep(LEASE + Duration::from_secs(3)).await;
    refused(&sync, "/sync-job", None).await?;
    sync.stack.redis.thaw()?;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    all_told_once(&sync, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_pauses_its_clients_for_longer_than_a_call_may_take() -> Result<()> {
    let sync = slow(1).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let mut redis = sync.stack.redis.connect().await?;
    let () = command(&mut redis, "CLIENT PAUSE 8000 ALL").await?;
    refused(&sync, "/sync-job", None).await?;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    all_told_once(&sync, 1);
    Ok(())
}

/// Does the same again and again, from the middle of a run on.
async fn disturb(sync: &Syncing, mut act: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    const TIMES: usize = 60;
    for _ in 0..TIMES {
        act().await?;
        tokio::time::sleep(TICK).await;
    }
    answers_again(sync).await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_its_scripts_again_and_again() -> Result<()> {
    let sync = slow(2).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let mut redis = sync.stack.redis.connect().await?;
    disturb(&sync, async || command(&mut redis, "SCRIPT FLUSH").await).await?;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    all_told_once(&sync, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_closes_all_connections_again_and_again() -> Result<()> {
    let sync = slow(2).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let mut redis = sync.stack.redis.connect().await?;
    disturb(&sync, async || {
        let _: u64 = command(&mut redis, "CLIENT KILL TYPE normal SKIPME yes").await?;
        let _: u64 = command(&mut redis, "CLIENT KILL TYPE pubsub").await?;
        Ok(())
    })
    .await?;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    all_told_once(&sync, 60);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_redis_get_lost_again_and_again_and_no_task_waits_for_its_lease()
-> Result<()> {
    const TIMES: usize = 10;
    let shop = Shop {
        orders: 100,
        per_page: 100,
        lines: 0,
    };
    let redis = PrivateRedis::start()?;
    let address = Forwarder::start(redis.address())?;
    let setup = Setup {
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        webhook: json!({"delivery": {"batch_records": 1}}),
        ..at(format!("redis://{}", address.address()))
    };
    let sync = Syncing::of_shop(shop, setup).await?;
    sync.receiver.answer_by(|_| {
        std::thread::sleep(2 * TICK);
        Answer::Status(200)
    });
    let run = sync.start_run().await?;
    // From then on most of what is asked is to settle a batch and give the next one.
    sync.wait(&run, "the middle of the deliveries", |state| {
        state["records_delivered"].as_u64() > Some(5)
    })
    .await?;
    for _ in 0..TIMES {
        address.lose_answers();
        tokio::time::sleep(10 * TICK).await;
    }
    answers_again(&sync).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"], shop.all_orders());
    all_work_again(&sync).await?;
    all_told_once(&sync, TIMES);
    let metrics = sync.stack.workers[0].metrics()?;
    assert!(failures(&metrics, "connection") > 0, "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_goes_away_while_many_runs_start_and_no_task_waits_for_its_lease() -> Result<()> {
    const RUNS: usize = 200;
    const STARTED: usize = 20;
    let shop = Shop {
        orders: 3,
        per_page: 3,
        lines: 0,
    };
    let mut redis = durable()?;
    let setup = Setup {
        workers: 0,
        job: json!({"resources": [{"resource": "wms/orders"}]}),
        ..at(redis.url())
    };
    let mut sync = Syncing::of_shop(shop, setup).await?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(sync.start_run().await?);
    }
    sync.stack.add_worker(&[])?;
    while sync.stack.workers[0].log().matches("run started").count() < STARTED {
        tokio::task::yield_now().await;
    }
    // What a task needs is read before its first step, so of many some are just reading.
    redis.kill()?;
    // Longer than any single call waits for a connection.
    tokio::time::sleep(Duration::from_secs(4)).await;
    redis.restart()?;
    answers_again(&sync).await?;
    for run in &runs {
        let run = sync.finish(run).await?;
        assert_eq!(run["status"], "completed", "{run}");
        let ledger = sync.check(&run).await?;
        assert_eq!(ledger.records["wms/orders"], shop.all_orders());
    }
    all_work_again(&sync).await?;
    all_told_once(&sync, 1);
    let metrics = sync.stack.workers[0].metrics()?;
    assert!(
        metrics.contains(r#"outcome="store_away""#),
        "no task was just reading:\n{}",
        sync.stack.workers[0].log()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_becomes_the_master_behind_the_same_address() -> Result<()> {
    let (old, new) = (PrivateRedis::start()?, PrivateRedis::start()?);
    let (mut old_admin, mut new_admin) = (old.connect().await?, new.connect().await?);
    let address = Forwarder::start(old.address())?;
    let replica_of =
        |other: &PrivateRedis| format!("REPLICAOF 127.0.0.1 {}", other.address().port());
    let () = command(&mut new_admin, &replica_of(&old)).await?;
    let sync = slow_at(format!("redis://{}", address.address()), 2).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;

    // As `FAILOVER` does it: replication is asynchronous, so nothing may be written until the replica has all.
    let () = command(&mut old_admin, "CLIENT PAUSE 60000 WRITE").await?;
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let of: redis::InfoDict = command(&mut old_admin, "INFO replication").await?;
        let to: redis::InfoDict = command(&mut new_admin, "INFO replication").await?;
        let up = to.get::<String>("master_link_status").as_deref() == Some("up");
        let (has, wants) = (
            to.get::<u64>("slave_repl_offset"),
            of.get::<u64>("master_repl_offset"),
        );
        if up && has == wants {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "the replica has {has:?} of {wants:?}"
        );
        tokio::time::sleep(TICK).await;
    }
    let () = command(&mut new_admin, "REPLICAOF NO ONE").await?;
    address.lead_to(new.address());
    let () = command(&mut old_admin, &replica_of(&new)).await?;
    let () = command(&mut old_admin, "CLIENT UNPAUSE").await?;

    complete(&sync, &run).await?;
    // The API too, without anything having been asked of it.
    all_work_again(&sync).await?;
    let clients: String = command(&mut old_admin, "CLIENT LIST TYPE normal").await?;
    assert_eq!(
        clients.lines().count(),
        1,
        "all but this one left:\n{clients}"
    );
    let run = sync.start_run().await?;
    complete(&sync, &run).await?;
    all_told_once(&sync, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_reads_its_file_for_a_while_and_an_api_starts_meanwhile() -> Result<()> {
    const KEYS: u64 = 20_000;
    let mut redis =
        PrivateRedis::start_with(&[("appendfsync", "always"), ("key-load-delay", "200")])?;
    let mut admin = redis.connect().await?;
    let mut sync = slow_at(redis.url(), 1).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let mut pipeline = redis::pipe();
    for key in 0..KEYS {
        pipeline.set(format!("others:{key}"), "x").ignore();
    }
    let () = pipeline.query_async(&mut admin).await?;
    // The API first: one that is killed once it has told that Redis is away never tells that it is back.
    sync.stack.api.kill()?;
    redis.kill()?;
    let loading = std::thread::spawn(move || redis.restart().map(|()| redis));
    sync.stack.restart_api()?;
    let _redis = loading
        .join()
        .map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    complete(&sync, &run).await?;
    all_work_again(&sync).await?;
    let metrics = sync.stack.workers[0].metrics()?;
    assert!(failures(&metrics, "loading") > 0, "{metrics}");
    all_told_once(&sync, 1);
    Ok(())
}

/// Calls that Redis did not carry out for that reason.
fn failures(metrics: &str, reason: &str) -> u64 {
    let name = format!(r#"syncline_store_failures_total{{reason="{reason}"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Makes a Redis full that has anything in it, whatever is taken out.
const FULL: &str = "CONFIG SET maxmemory 500000";

/// Waits until a full Redis has refused the worker that many steps.
async fn steps_refused(sync: &Syncing, count: u64) -> Result<()> {
    let worker = &sync.stack.workers[0];
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let refused = failures(&worker.metrics()?, "oom");
        if refused >= count {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{refused} were refused:\n{}",
            worker.log()
        );
        tokio::time::sleep(TICK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_redis_is_full_waits_and_completes_once_there_is_room() -> Result<()> {
    let mut sync = slow(0).await?;
    let run = sync.start_run().await?;
    let mut redis = sync.stack.redis.connect().await?;
    let () = command(&mut redis, FULL).await?;
    sync.stack.add_worker(&[])?;
    steps_refused(&sync, 1).await?;
    let another = json!({"sync_job_id": sync.job, "integrated_account_id": sync.account, "webhook_id": sync.webhook});
    refused(&sync, "/sync-job-run", Some(another)).await?;
    // An API starts all the same.
    sync.stack.api.kill()?;
    sync.stack.restart_api()?;
    // Reading goes on, and nothing is there by halves.
    assert_eq!(sync.run(&run).await?["status"], "created");
    let runs = sync.rest.get("/sync-job-run").await?;
    assert_eq!(
        runs["result"].as_array().context("rows")?.len(),
        1,
        "{runs}"
    );
    let share = sync.stack.workers[0].metrics()?;
    let share = share
        .lines()
        .find_map(|line| line.strip_prefix("syncline_store_memory_share "))
        .and_then(|share| share.parse::<f64>().ok());
    assert!(share > Some(1.0), "{share:?}");

    let () = command(&mut redis, "CONFIG SET maxmemory 0").await?;
    complete(&sync, &run).await?;
    let run = sync.start_run().await?;
    complete(&sync, &run).await?;
    all_told_once(&sync, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_though_redis_is_full() -> Result<()> {
    let stack = Stack::start(0)?;
    let command_of = |arguments: &[&str]| -> Result<String> {
        let output = stack.api_command(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let environment = ["--environment", "default"];
    let create = ["token", "create", "--label", "leaked"];
    let secret = command_of(&[&create[..], &environment].concat())?;
    let list = command_of(&["token", "list"])?;
    let row = list.lines().find(|row| row.contains("leaked"));
    let id = row
        .and_then(|row| row.split('\t').next())
        .context("an id")?;
    let holder = stack.rest()?.with_token(secret.trim());
    let asks = async || holder.call(reqwest::Method::GET, "/webhook", None).await;
    assert_eq!(asks().await?.0, 200);
    let mut redis = stack.redis.connect().await?;
    let () = command(&mut redis, FULL).await?;
    let refused = stack.api_command(&[&create[..], &environment].concat())?;
    assert!(!refused.status.success(), "it isn't full: {refused:?}");
    command_of(&["token", "revoke", id])?;
    assert_eq!(asks().await?.0, 401);
    Ok(())
}

/// What commits change in a run: of each stream the counters, `seq` and its children.
fn committed(run: &Value) -> Value {
    let mut progress = run["progress"].clone();
    for of in progress.as_array_mut().into_iter().flatten() {
        for delivered in ["records_delivered", "status"] {
            of[delivered] = Value::Null;
        }
    }
    progress
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_a_full_redis_refuses_change_nothing_and_are_committed_once_there_is_room()
-> Result<()> {
    /// Two for each request of an account that may be under way.
    const REFUSED: u64 = 32;
    let sync = slow(1).await?;
    let run = sync.start_run().await?;
    in_the_middle(&sync, &run).await?;
    let mut redis = sync.stack.redis.connect().await?;
    let () = command(&mut redis, FULL).await?;
    let before = sync.run(&run).await?;
    let children = &before["progress"][1]["open_tasks"];
    assert!(children.as_u64() > Some(0), "{before}");
    // What was committed before is delivered.
    let all_delivered = |state: &Value| state["records_delivered"] == before["records_fetched"];
    sync.wait(&run, "all that is there to be delivered", all_delivered)
        .await?;
    // From then on pages to commit are all that there is to refuse: no attempt at a delivery is logged.
    let so_far = failures(&sync.stack.workers[0].metrics()?, "oom");
    steps_refused(&sync, so_far + REFUSED).await?;
    let full = sync.run(&run).await?;
    assert_eq!(committed(&full), committed(&before));
    assert_eq!(full["records_fetched"], before["records_fetched"]);

    let () = command(&mut redis, "CONFIG SET maxmemory 0").await?;
    complete(&sync, &run).await?;
    let asked = sync.source.requests().len() as u64;
    let each_once = SHOP.orders / SHOP.per_page + SHOP.orders;
    assert_eq!(asked, each_once, "what was refused was kept");
    all_told_once(&sync, 1);
    Ok(())
}
