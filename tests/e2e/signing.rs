//! What a delivery proves to its receiver: signatures of each kind, the receiver's own credentials, compressed bodies.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use anyhow::Result;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use shared::seal::{Secret, signature};
use syncline_tests::receiver::{Answer, Delivery};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 40,
    per_page: 20,
    lines: 1,
};

fn secret(webhook: &Value) -> Secret {
    Secret::new(webhook["secret"].as_str().expect("a secret").to_owned())
}

/// The event in a compressed body.
fn unpacked(delivery: &Delivery) -> Value {
    let mut text = Vec::new();
    GzDecoder::new(&*delivery.request.body)
        .read_to_end(&mut text)
        .expect("gzip");
    serde_json::from_slice(&text).expect("JSON")
}

fn header<'d>(delivery: &'d Delivery, name: &str) -> &'d str {
    delivery.request.header(name).unwrap_or_default()
}

/// The signature that `secret` makes of a delivery, over the bytes as they came.
fn signed(secret: &Secret, delivery: &Delivery) -> Result<String> {
    let seconds = header(delivery, "webhook-timestamp").parse()?;
    let id = header(delivery, "webhook-id");
    Ok(signature::standard_webhooks(
        secret,
        id,
        seconds,
        &delivery.request.body,
    )?)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_both_kinds_sign_compressed_bodies_beside_the_receivers_own_credentials()
-> Result<()> {
    let sync = Syncing::of_shop(SHOP, Setup::default()).await?;
    let webhook = json!({
        "target_url": sync.receiver.url(), "signature_algorithm": "ed25519", "delivery": {"compression": "gzip"},
        "authentication": {"type": "basic", "username": "Aladdin", "password": "open sesame"},
        "secret_headers": {"x-api-key": "k3y"},
    });
    let before = sync.rest.post("/webhook", &webhook).await?;
    let path = format!(
        "/webhook/{}/rotate-secret",
        before["id"].as_str().expect("an id")
    );
    let rotation = json!({"signature_algorithm": "hmac-sha256"});
    let after = sync.rest.post(&path, &rotation).await?;
    let (old, new) = (secret(&before), secret(&after));
    // The first attempts fail, so that there are repeats to compare.
    sync.receiver
        .answer_next([Answer::Status(500), Answer::Status(500)]);
    sync.start_run_with(&json!({"webhook_id": before["id"]}))
        .await?;
    let receiver = Arc::clone(&sync.receiver);
    tokio::task::spawn_blocking(move || {
        receiver.wait_until("the terminal event", LONG, |all| {
            all.last().is_some_and(|delivery| {
                delivery.acknowledged() && unpacked(delivery)["event"] == "sync_job_run:completed"
            })
        })
    })
    .await??;

    let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let deliveries = sync.receiver.deliveries();
    for delivery in &deliveries {
        assert_eq!(header(delivery, "content-encoding"), "gzip");
        assert_eq!(
            header(delivery, "webhook-signature"),
            format!("{} {}", signed(&new, delivery)?, signed(&old, delivery)?)
        );
        assert_eq!(
            header(delivery, "x-handled-signature"),
            signature::body_hmac_hex(&new, &delivery.request.body)?
        );
        assert_eq!(
            header(delivery, "authorization"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(header(delivery, "x-api-key"), "k3y");
        let id = header(delivery, "webhook-id").to_owned();
        assert_eq!(unpacked(delivery)["id"], id);
        let body = delivery.request.body.clone();
        if let Some(first) = bodies.insert(id, body.clone()) {
            assert!(first == body, "a repeat has other bytes");
        }
    }
    assert_eq!(deliveries.len(), bodies.len() + 2, "two came twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pair_alone_makes_no_header_that_needs_a_shared_secret() -> Result<()> {
    let webhook = json!({"signature_algorithm": "ed25519"});
    let sync = Syncing::of_shop(
        SHOP,
        Setup {
            webhook,
            ..Setup::default()
        },
    )
    .await?;
    let run = sync.start_run().await?;
    sync.check(&sync.finish(&run).await?).await?;
    for delivery in sync.receiver.deliveries() {
        assert!(header(&delivery, "webhook-signature").starts_with("v1a,"));
        for absent in [
            "x-handled-signature",
            "x-truto-signature",
            "content-encoding",
            "authorization",
        ] {
            assert_eq!(delivery.request.header(absent), None);
        }
    }
    Ok(())
}
