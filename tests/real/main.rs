//! Syncs a third-party API (see `datasette` beside this file) through the built programs and compares what the webhook
//! got with a crawl of the same API that knows nothing of Syncline: record for record, byte for byte.

mod datasette;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use syncline_tests::{ledger::Ledger, receiver::Receiver, stack::Stack};

use datasette::Datasette;

/// The longest a sync may take; on two cores, Datasette is what it waits for.
const WITHIN: Duration = Duration::from_mins(15);

/// Runs a job of those resources to its end and gives what the webhook got.
async fn sync(source: &Datasette, resources: Value) -> Result<Ledger> {
    let stack = Stack::start(2)?;
    let receiver = Receiver::start()?;
    let rest = stack.rest()?;
    rest.put("/integration/nyc", &source.integration()).await?;
    let account = json!({"integration_name": "nyc", "tenant_id": "real", "credentials": {}});
    let webhook = json!({"target_url": receiver.url()});
    let job = json!({"integration_name": "nyc", "label": "real", "resources": resources});
    let run = json!({
        "integrated_account_id": rest.create("/integrated-account", &account).await?,
        "webhook_id": rest.create("/webhook", &webhook).await?,
        "sync_job_id": rest.create("/sync-job", &job).await?,
    });
    let run_id = rest.create("/sync-job-run", &run).await?;
    let run = rest.wait_for_end(&run_id, WITHIN).await?;
    ensure!(
        run["status"] == "completed",
        "the run ended otherwise: {run}"
    );
    ensure!(run["errors"] == 0, "the run had errors: {run}");
    receiver.wait_for("sync_job_run:completed", WITHIN)?;
    let ledger = Ledger::check(&receiver.deliveries(), &run);
    ensure!(
        ledger.milestones() == ["sync_job_run:started", "sync_job_run:completed"],
        "other events came too: {:?}",
        ledger.milestones()
    );
    Ok(ledger)
}

/// Says which records differ, not only that some do.
fn assert_same_records(what: &str, expected: &[String], got: &[String]) {
    let count = |records: &[String]| {
        let mut counts = BTreeMap::new();
        for record in records {
            *counts.entry(record.clone()).or_insert(0_i64) += 1;
        }
        counts
    };
    let mut difference = count(expected);
    for (record, times) in count(got) {
        *difference.entry(record).or_insert(0) -= times;
    }
    let wrong: Vec<_> = difference
        .iter()
        .filter(|(_, times)| **times != 0)
        .take(5)
        .collect();
    assert!(
        wrong.is_empty(),
        "{what}: the source has {} records, {} arrived; missing (+) and surplus (-): {wrong:#?}",
        expected.len(),
        got.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_weather_record_arrives_byte_for_byte_and_in_order() -> Result<()> {
    let source = Datasette::start()?;
    let expected = source.crawl("weather").await?;
    assert_eq!(expected.len(), 26_115);

    let arrived = sync(&source, json!([{"resource": "weather", "method": "list"}])).await?;

    assert_same_records("weather", &expected, &arrived.records["weather"]);
    assert!(
        expected == arrived.records["weather"],
        "all records arrived, but not in the source's order"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flights_of_every_plane_arrive_after_their_plane() -> Result<()> {
    let source = Datasette::start()?;
    let planes = source.crawl("planes").await?;
    assert_eq!(planes.len(), 3_322);
    let flights = source.crawl("flights").await?;
    assert_eq!(flights.len(), 336_776);
    let tail_number = |record: &str| -> Result<String> {
        let record: Value = serde_json::from_str(record)?;
        Ok(record["tailnum"].as_str().unwrap_or_default().to_owned())
    };
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for plane in &planes {
        expected.insert(tail_number(plane)?, Vec::new());
    }
    for flight in flights {
        // Many flights are by planes that the table of planes doesn't know; no child request asks for those.
        if let Some(of_plane) = expected.get_mut(&tail_number(&flight)?) {
            of_plane.push(flight);
        }
    }
    expected.retain(|_, flights| !flights.is_empty());

    let arrived = sync(
        &source,
        json!([
            {"resource": "planes", "method": "list"},
            {"resource": "flights", "method": "list", "depends_on": "planes",
             "query": {"tailnum": "{{resources.planes.tailnum}}"}},
        ]),
    )
    .await?;

    assert_same_records("planes", &planes, &arrived.records["planes"]);
    let by_plane = arrived.by_parent("flights", "resources.planes.tailnum");
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        by_plane.keys().collect::<Vec<_>>()
    );
    for (plane, flights) in &expected {
        assert_same_records(plane, flights, &by_plane[plane]);
    }
    Ok(())
}
