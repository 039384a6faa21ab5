//! Receivers that fail: the run waits, nothing is dropped.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use syncline_tests::receiver::Answer;

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 50,
    per_page: 10,
    lines: 2,
};

fn impatient() -> Setup {
    let webhook = json!({"delivery": {"retry": {"first_ms": 100, "max_ms": 1000}}});
    Setup {
        webhook,
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_makes_the_run_wait_and_then_gets_everything() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, impatient()).await?;
    sync.receiver.down();
    let run = sync.start_run().await?;
    let waiting = sync
        .wait(&run, "everything to be fetched", |state| {
            state["records_fetched"] == 150
        })
        .await?;
    assert_eq!(
        (&waiting["status"], &waiting["records_delivered"]),
        (&json!("running"), &json!(0))
    );
    sync.receiver.up()?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?.expect_all(&SHOP.served());
    assert_eq!(run["records_dead"], 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_no_new_work_and_empties_itself_once_the_receiver_is_back() -> Result<()>
{
    const ROOM: u64 = 4 * 1024 * 1024;
    let shop = Shop {
        orders: 100_000,
        per_page: 1_000,
        lines: 0,
    };
    let mut setup = impatient();
    setup.job = json!({"resources": [{"resource": "wms/orders"}]});
    let sync = Syncing::of_shop(shop, setup).await?;
    let mut connection = sync.stack.redis.connect().await?;
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut connection)
        .await?;
    let limit = info.get::<u64>("used_memory").expect("used_memory") + ROOM;
    let () = redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(limit)
        .query_async(&mut connection)
        .await?;
    sync.receiver.down();
    let run = sync.start_run().await?;
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let job = json!({"integration_name": "shop", "label": "x".repeat(200), "resources": [{"resource": "orders"}]});
        let (status, answer) = sync
            .rest
            .call(reqwest::Method::POST, "/sync-job", Some(&job))
            .await?;
        if status == 503 {
            assert_eq!(answer["error"]["code"], "store_unavailable");
            break;
        }
        let full = sync.stack.workers[0]
            .metrics()?
            .contains("syncline_store_memory_share 0.9");
        if full {
            break;
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "Redis did not fill up"
        );
    }
    sync.receiver.up()?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"].len(), 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_retry_has_the_same_id_and_the_same_bytes() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, impatient()).await?;
    sync.receiver
        .answer_next([500, 503, 302, 404].map(Answer::Status));
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    // The ledger compares the bytes of each repeat.
    sync.check(&run).await?;
    let created: Vec<_> = sync
        .receiver
        .deliveries()
        .into_iter()
        .filter(|delivery| delivery.name() == "sync_job_run:created")
        .collect();
    assert_eq!(created.len(), 5);
    let id = created[0].request.header("webhook-id");
    assert!(
        created
            .iter()
            .all(|delivery| delivery.request.header("webhook-id") == id)
    );
    let events = sync
        .rest
        .get(&format!(
            "/sync-job-run/{}/event",
            run["id"].as_str().expect("an id")
        ))
        .await?;
    assert_eq!(events["result"][0]["attempts"], 5, "{events}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_kept_for_the_whole_webhook() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, impatient()).await?;
    let wait = Answer::Full {
        status: 429,
        headers: vec![("retry-after".to_owned(), "2".to_owned())],
        body: Vec::new(),
    };
    sync.receiver.answer_next([wait]);
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    let deliveries = sync.receiver.deliveries();
    let pause = deliveries[1].at - deliveries[0].at;
    assert!(
        pause >= Duration::from_millis(1_900),
        "the next delivery came after {pause:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_listed_with_what_came_of_it() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, impatient()).await?;
    let busy = Answer::Full {
        status: 500,
        headers: Vec::new(),
        body: b"the database is away".to_vec(),
    };
    sync.receiver.answer_next([busy, Answer::Status(302)]);
    let run = sync.start_run().await?;
    sync.check(&sync.finish(&run).await?).await?;
    let event = sync.receiver.deliveries()[0].event()["id"].clone();
    let path = format!(
        "/webhook/{}/attempt?sync_job_run_id={run}&event_id={}",
        sync.webhook,
        event.as_str().expect("an id")
    );
    let deadline = tokio::time::Instant::now() + LONG;
    // The log is written beside the deliveries, a moment later.
    let attempts = loop {
        let list = sync.rest.get(&path).await?;
        let attempts = list["result"].as_array().expect("rows").clone();
        if attempts.len() == 3 {
            break attempts;
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "not every attempt is listed: {list}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            assert_eq!(attempt["sync_job_run_id"], run.as_str());
            assert_eq!(attempt["event"], "sync_job_run:created");
            let fields = ["attempt", "outcome", "status_code", "answer"];
            (
                fields.map(|field| attempt[field].clone()),
                attempt["error"]["kind"].clone(),
            )
        })
        .collect();
    let expected = json!([
        [[3, "delivered", 200, ""], null],
        [[2, "failed", 302, ""], "3xx"],
        [[1, "failed", 500, "the database is away"], "5xx"],
    ]);
    assert_eq!(json!(told), expected);
    Ok(())
}
