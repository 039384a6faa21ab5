//! The reference scenario, word for word.

use anyhow::Result;
use serde_json::json;
use shared::seal::{Secret, signature};
use syncline_tests::{
    ledger::{Terms, sorted},
    source::Source,
};

use crate::scenario::{Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 25,
    per_page: 10,
    lines: 3,
};

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_their_lines_arrive_complete_in_order_and_byte_for_byte() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(
        ledger.milestones(),
        ["sync_job_run:started", "sync_job_run:completed"]
    );
    assert_eq!(ledger.records["wms/orders"], SHOP.all_orders());
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    assert_eq!(run["status"], "completed");
    assert_eq!(
        run["resource_stats"]["wms/orders"]["list"],
        json!({"fetched": 25, "persisted": 25})
    );
    assert_eq!(
        (&run["records_fetched"], &run["requests"]),
        (&json!(100), &json!(28))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_is_signed_and_names_the_parent_of_each_child() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    let made = sync
        .rest
        .post("/webhook", &json!({"target_url": sync.receiver.url()}))
        .await?;
    let secret = Secret::new(made["secret"].as_str().expect("a secret").to_owned());
    let run = sync
        .start_run_with(&json!({"webhook_id": made["id"]}))
        .await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    for delivery in sync.receiver.deliveries() {
        let header = |name: &str| delivery.request.header(name).unwrap_or_default().to_owned();
        let seconds = header("webhook-timestamp").parse().expect("seconds");
        let expected = signature::standard_webhooks(
            &secret,
            &header("webhook-id"),
            seconds,
            &delivery.request.body,
        )?;
        assert_eq!(header("webhook-signature"), expected);
        let hex = signature::body_hmac_hex(&secret, &delivery.request.body)?;
        assert_eq!(header("x-handled-signature"), hex);
        assert_eq!(
            header("x-truto-signature"),
            format!("format=sha256,v={hex}")
        );
        assert_eq!(header("content-type"), "application/json");
        let payload = &delivery.event()["payload"];
        if payload["resource"] == "wms/order-items" && payload["records"].is_array() {
            let records = payload["records"].as_array().expect("records");
            for (record, parent) in records
                .iter()
                .zip(payload["meta"]["parents"].as_array().expect("parents"))
            {
                assert_eq!(parent["resources.wms.orders.id"], record["order"]);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_subscribed_events_are_made() -> Result<()> {
    let webhook = json!({"event_types": ["sync_job_run:started", "sync_job_run:completed"]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            webhook,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let terms = Terms {
        unstored: &["wms/orders", "wms/order-items"],
        ..Terms::default()
    };
    sync.check_at(&sync.receiver, &run, terms).await?;
    let names: Vec<_> = sync
        .receiver
        .deliveries()
        .iter()
        .map(syncline_tests::receiver::Delivery::name)
        .collect();
    assert_eq!(names, ["sync_job_run:started", "sync_job_run:completed"]);
    assert_eq!(run["records_fetched"], 100);
    Ok(())
}

/// A shop in which the lines of order 7 are gone.
fn shop_without_lines_of_7() -> Result<Source> {
    Source::json(|request| match request.path() {
        "/orders/7/lines" => (404, r#"{"message":"no such order"}"#.to_owned()),
        _ => SHOP.answer(request),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn under_ignore_an_error_is_told_in_its_stream_and_the_rest_arrives() -> Result<()> {
    let sync = Syncing::of(shop_without_lines_of_7()?, Setup::default()).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(
        ledger.milestones(),
        [
            "sync_job_run:started",
            "sync_job_run:record_error",
            "sync_job_run:completed"
        ]
    );
    assert_eq!(ledger.records["wms/order-items"].len(), 72);
    assert_eq!(
        (&run["status"], &run["errors"]),
        (&json!("completed"), &json!(1))
    );
    let told = sync
        .receiver
        .deliveries()
        .into_iter()
        .find(|delivery| delivery.name() == "sync_job_run:record_error");
    let payload = told.expect("the error").event()["payload"].clone();
    assert_eq!(payload["resource"], "wms/order-items");
    assert_eq!(payload["parent"], json!({"resources.wms.orders.id": 7}));
    assert_eq!(payload["error"]["status"], 404);
    let errors = sync
        .rest
        .get(&format!(
            "/sync-job-run/{}/error",
            run["id"].as_str().expect("an id")
        ))
        .await?;
    let error = &errors["result"][0];
    assert_eq!(
        (&error["code"], &error["status"], &error["attempts"]),
        (&json!("http_error"), &json!(404), &json!(1))
    );
    assert!(
        error["request"]["url"]
            .as_str()
            .expect("a URL")
            .ends_with("/orders/7/lines"),
        "{error}"
    );
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .contains("no such order"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_fail_fast_the_run_fails_and_what_was_committed_is_delivered() -> Result<()> {
    let setup = Setup {
        job: json!({"error_handling": "fail_fast"}),
        ..Setup::default()
    };
    let sync = Syncing::of(shop_without_lines_of_7()?, setup).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.milestones().last(), Some(&"sync_job_run:failed"));
    assert_eq!(
        (&run["status"], &run["error"]["code"]),
        (&json!("failed"), &json!("http_error"))
    );
    assert_eq!(
        ledger.terminal["payload"]["error"]["resource"],
        "wms/order-items"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_run_asks_for_what_changed_since_the_first_one_started() -> Result<()> {
    let job = json!({"resources": [
        {"resource": "wms/orders", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}}]});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let first = sync.start_run().await?;
    let first = sync.finish(&first).await?;
    assert_eq!(
        sync.source.requests().first().map(String::as_str),
        Some("/orders?page=1"),
        "a full sync"
    );
    let before = sync.source.requests().len();
    let second = sync.start_run().await?;
    let second = sync.finish(&second).await?;
    sync.check(&second).await?;
    let asked = sync.source.requests()[before].clone();
    let query = url::Url::parse(&format!("http://source{asked}"))?;
    let since = query
        .query_pairs()
        .find(|(name, _)| name == "updated_at[gt]")
        .map(|(_, value)| value.into_owned());
    assert_eq!(since.as_deref(), first["started_at"].as_str());
    let before = sync.source.requests().len();
    let third = sync
        .start_run_with(&json!({"ignore_previous_run": true}))
        .await?;
    sync.finish(&third).await?;
    assert_eq!(sync.source.requests()[before], "/orders?page=1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_delivers_what_it_has_and_fetches_nothing_more() -> Result<()> {
    let shop = Shop {
        orders: 100_000,
        per_page: 10,
        lines: 1,
    };
    let job = json!({"resources": [{"resource": "wms/orders"}]});
    let sync = Syncing::of_shop(
        shop,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    sync.wait(&run, "records to arrive", |state| {
        state["records_delivered"].as_u64() > Some(50)
    })
    .await?;
    let stopped = sync
        .rest
        .post(&format!("/sync-job-run/{run}/stop"), &json!({}))
        .await?;
    assert_eq!(stopped["status"], "stopped");
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(
        ledger.milestones(),
        ["sync_job_run:started", "sync_job_run:stopped"]
    );
    assert!(ledger.records["wms/orders"].len() < 100_000);
    Ok(())
}
