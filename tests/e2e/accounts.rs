//! Accounts that come, are refused by their source, and go.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use syncline_tests::{ledger::Ledger, source::Source};

use crate::scenario::{API_KEY, LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 60,
    per_page: 5,
    lines: 1,
};

/// A source that knows one key at a time.
#[derive(Clone)]
struct Door(Arc<Mutex<String>>);

impl Door {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(API_KEY.to_owned())))
    }

    fn change(&self, key: &str) {
        key.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn opens(&self, authorization: Option<&str>) -> bool {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        authorization == Some(&format!("Bearer {key}"))
    }

    /// The shop behind the door, whose key is changed at the request for `page`.
    fn source(&self, page: &'static str, key: &'static str) -> Result<Source> {
        let (door, closed) = (self.clone(), std::sync::Once::new());
        Source::json(move |request| {
            if request.query("page") == Some(page) {
                closed.call_once(|| door.change(key));
            }
            if door.opens(request.header("authorization")) {
                SHOP.answer(request)
            } else {
                (
                    401,
                    json!({"message": format!("unknown key: {API_KEY}")}).to_string(),
                )
            }
        })
    }
}

fn names(sync: &Syncing, prefix: &str) -> Vec<String> {
    let deliveries = sync.receiver.deliveries();
    let acknowledged = deliveries.iter().filter(|delivery| delivery.acknowledged());
    acknowledged
        .map(syncline_tests::receiver::Delivery::name)
        .filter(|name| name.starts_with(prefix))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_credentials_are_refused_waits_for_new_ones_and_completes() -> Result<()> {
    let door = Door::new();
    let source = door.source("7", "sk_new")?;
    let setup = Setup {
        workers: 2,
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let run = sync.start_run().await?;
    let event = "integrated_account:authentication_error";
    let refused = sync.receiver.wait_for(event, LONG)?;
    let payload = refused.event()["payload"].clone();
    assert_eq!(payload["integrated_account"]["status"], "needs_reauth");
    assert!(!payload.to_string().contains(API_KEY), "{payload}");
    let path = format!("/integrated-account/{}", sync.account);
    assert_eq!(sync.rest.get(&path).await?["status"], "needs_reauth");
    let waiting = sync
        .wait(&run, "the run to wait for the account", |run| {
            run["waiting_for"] == "credentials"
        })
        .await?;
    assert_eq!(waiting["status"], "running", "{waiting}");

    let (status, refusal) = sync
        .rest
        .call(
            reqwest::Method::POST,
            "/sync-job-run",
            Some(&json!({"sync_job_id": sync.job, "integrated_account_id": sync.account, "webhook_id": sync.webhook})),
        )
        .await?;
    assert_eq!(status, 422, "{refusal}");

    let credentials = json!({"credentials": {"api_key": "sk_new"}});
    let patch = reqwest::Method::PATCH;
    let (status, account) = sync.rest.call(patch, &path, Some(&credentials)).await?;
    assert_eq!(
        (status.as_u16(), &account["status"]),
        (200, &json!("active"))
    );
    let run = sync.finish(&run).await?;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(
        (&run["errors"], &run["waiting_for"]),
        (&json!(0), &Value::Null)
    );
    sync.check(&run).await?.expect_all(&SHOP.served());
    sync.receiver
        .wait_for("integrated_account:reactivated", LONG)?;
    let told = names(&sync, "integrated_account:");
    assert_eq!(
        told.iter().filter(|name| *name == event).count(),
        1,
        "{told:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_fail_fast_refused_credentials_fail_the_run_without_a_retry_and_without_the_secret()
-> Result<()> {
    let door = Door::new();
    let source = door.source("1", "sk_new")?;
    let setup = Setup {
        job: json!({"error_handling": "fail_fast"}),
        ..Setup::default()
    };
    let sync = Syncing::of(source, setup).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["status"], &run["error"]["code"]),
        (&json!("failed"), &json!("needs_reauth")),
        "{run}"
    );
    assert_eq!(sync.source.requests().len(), 1);
    assert!(!run.to_string().contains(API_KEY), "{run}");
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_account_ends_its_run_at_once_and_says_so() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    sync.receiver.pause();
    let run = sync.start_run().await?;
    sync.wait(&run, "records to be fetched", |run| {
        run["records_fetched"] != 0
    })
    .await?;
    let path = format!("/integrated-account/{}", sync.account);
    let deleted = sync.rest.call(reqwest::Method::DELETE, &path, None).await?;
    assert_eq!(deleted.0, 200);
    let mut run = sync.rest.wait_for_end(&run, LONG).await?;
    assert_eq!(run["error"]["code"], "account_deleted", "{run}");
    sync.receiver.resume();
    let told = ["sync_job_run:failed", "integrated_account:deleted"];
    sync.receiver.wait_until("both are told", LONG, |all| {
        let came = |name: &&str| {
            all.iter()
                .any(|delivery| delivery.acknowledged() && delivery.name() == **name)
        };
        told.iter().all(came)
    })?;
    // Once it was told the run goes, perhaps before anybody looks at it again: with all that it had fetched delivered.
    run["records_delivered"] = run["records_fetched"].clone();
    for of in run["progress"].as_array_mut().context("progress")? {
        of["records_delivered"] = of["records"].clone();
    }
    for stream in ["wms/orders", "wms/order-items"] {
        let stats = &mut run["resource_stats"][stream]["list"];
        stats["persisted"] = stats["fetched"].clone();
    }
    Ledger::check(&sync.receiver.deliveries(), &run);
    Ok(())
}
