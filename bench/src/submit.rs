//! How fast a run is accepted under load, and how soon an idle worker takes it up.

use std::{
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use syncline_tests::http::{response, serve_forever};

use crate::{
    figures::{Table, Target, percentile},
    stack::{Bench, RUN_TIMEOUT},
};

/// Submissions a second, and for how long.
const RATE_PER_SECOND: u32 = 200;
const SECONDS: u32 = 10;
/// Runs that are started one by one, each after the end of the one before.
const IDLE_RUNS: usize = 100;
/// The first runs open connections and fill caches; they are not counted.
const WARM_UP_RUNS: usize = 5;
/// How long a worker may take to ask the source.
const PICK_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// The run's end is what this measurement waits for; its records are not delivered.
const EVENT_TYPES: [&str; 1] = ["sync_job_run:completed"];

/// Both measurements, in fresh processes each round.
pub async fn measure(rounds: usize, table: &mut Table) -> Result<()> {
    for round in 1..=rounds {
        eprintln!("submit: round {round} of {rounds}");
        let bench = Bench::start()?;
        let (source, requests) = watched_source()?;
        let ready = bench.prepare("watched", source, &EVENT_TYPES).await?;
        let job = json!({"integration_name": "watched", "label": "one small page",
                         "resources": [{"resource": "items", "method": "list"}]});
        let job_id = bench.rest.create("/sync-job", &job).await?;
        let run = json!({"sync_job_id": job_id, "integrated_account_id": ready.account_id, "webhook_id": ready.webhook_id});

        let pick_ups = pick_ups(&bench, &run, &requests).await?;
        table.add(
            "idle pick-up of a run: p50",
            "ms",
            Target::AtMost(5.0),
            percentile(&pick_ups, 0.5),
        );
        table.add(
            "idle pick-up of a run: p99",
            "ms",
            Target::None,
            percentile(&pick_ups, 0.99),
        );

        let times = submissions(&bench, &run).await?;
        table.add(
            "POST /sync-job-run at 200/s: p50",
            "ms",
            Target::None,
            percentile(&times, 0.5),
        );
        table.add(
            "POST /sync-job-run at 200/s: p99",
            "ms",
            Target::AtMost(15.0),
            percentile(&times, 0.99),
        );
    }
    Ok(())
}

/// A source with one small page, in this process, that tells when it was asked.
fn watched_source() -> Result<(SocketAddr, mpsc::Receiver<Instant>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let (asked, requests) = mpsc::channel();
    let page = response(
        200,
        &[("content-type", "application/json")],
        br#"{"data":[{"id":1}],"has_more":false}"#,
    );
    thread::spawn(move || {
        serve_forever(&listener, move |_, stream| {
            // Nobody listens any more while the runs of the load come in.
            asked.send(Instant::now()).ok();
            std::io::Write::write_all(stream, &page)
        })
    });
    Ok((address, requests))
}

/// Milliseconds from sending a submission to the source's first request, while nothing else is going on.
async fn pick_ups(
    bench: &Bench,
    run: &Value,
    requests: &mpsc::Receiver<Instant>,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..WARM_UP_RUNS + IDLE_RUNS {
        let submitted = Instant::now();
        let run_id = bench.rest.create("/sync-job-run", run).await?;
        // The submission was answered; blocking this thread holds up nobody.
        let asked = requests
            .recv_timeout(PICK_UP_TIMEOUT)
            .context("no worker asked the source")?;
        times.push(asked.duration_since(submitted).as_secs_f64() * 1_000.0);
        let ended = bench.rest.wait_for_end(&run_id, RUN_TIMEOUT).await?;
        ensure!(
            ended["status"] == "completed",
            "the run ended otherwise: {ended}"
        );
    }
    Ok(times.split_off(WARM_UP_RUNS))
}

/// Milliseconds of each submission, sent at a fixed rate however long the earlier ones take: a slow answer is counted
/// as long as a user would wait for it.
async fn submissions(bench: &Bench, run: &Value) -> Result<Vec<f64>> {
    let start = tokio::time::Instant::now();
    let submit = |number: u32| {
        let (rest, run) = (bench.rest.clone(), run.clone());
        let due = start + Duration::from_secs(1) * number / RATE_PER_SECOND;
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            rest.create("/sync-job-run", &run).await?;
            anyhow::Ok(due.elapsed().as_secs_f64() * 1_000.0)
        })
    };
    try_join_all((0..RATE_PER_SECOND * SECONDS).map(submit))
        .await?
        .into_iter()
        .collect()
}
