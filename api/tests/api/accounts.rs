//! `/integrated-account`

use serde_json::json;
use shared::{ids::AccountId, model::account::Account};

use crate::{
    source,
    support::{GOOD_KEY, sample_account, start},
};

#[tokio::test]
async fn credentials_that_the_source_takes_make_an_active_account() {
    let api = start().await;
    let source = source::start();
    let account = api
        .client
        .post("/integrated-account", sample_account(&source, GOOD_KEY))
        .await
        .expect(201)
        .json();
    assert_eq!(account["status"], "active");
    assert!(account["last_error"].is_null() && account["last_validated_at"].is_string());
    assert_eq!(account["integration"]["name"], "sample");
    assert_eq!(account["context"], json!({"base_url": source}));
    assert!(account.get("credentials").is_none());
}

#[tokio::test]
async fn credentials_that_the_source_refuses_make_an_account_that_says_why() {
    let api = start().await;
    let reply = api
        .client
        .post(
            "/integrated-account",
            sample_account(&source::start(), "bad-key-1234"),
        )
        .await
        .expect(201);
    let account = reply.json();
    assert_eq!(account["status"], "validation_error");
    assert_eq!(account["last_error"]["code"], "unauthorized");
    assert!(
        account["last_error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("401"))
    );
    assert!(!reply.text.contains("bad-key-1234"));
}

#[tokio::test]
async fn new_credentials_are_checked_and_make_the_account_active() {
    let api = start().await;
    let source = source::start();
    let account = api
        .client
        .post(
            "/integrated-account",
            sample_account(&source, "bad-key-1234"),
        )
        .await
        .expect(201);
    let path = format!("/integrated-account/{}", account.id());
    let good = json!({"credentials": {"api_key": GOOD_KEY}});
    let fixed = api
        .client
        .patch(&format!("{path}/credentials"), good.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&fixed["status"], &fixed["last_error"]),
        (&json!("active"), &json!(null))
    );
    let bad = json!({"credentials": {"api_key": "bad-key-1234"}});
    let broken = api
        .client
        .put(&format!("{path}/credentials"), bad)
        .await
        .expect(200)
        .json();
    assert_eq!(broken["status"], "validation_error");
    assert_eq!(
        api.client.patch(&path, good).await.expect(200).json()["status"],
        "active"
    );
    let pointers = api
        .client
        .patch(&path, json!({"credentials": {"api_kye": "x"}}))
        .await;
    let pointers = pointers.refused(422, "validation_failed");
    assert!(
        pointers.contains(&"/credentials/api_kye".to_owned()),
        "{pointers:?}"
    );
    let null = api.client.patch(&path, json!({"credentials": null})).await;
    assert_eq!(null.refused(422, "validation_failed"), ["/credentials"]);
}

#[tokio::test]
async fn a_source_that_is_away_leaves_an_active_account_active() {
    let api = start().await;
    let account = api
        .client
        .post(
            "/integrated-account",
            sample_account(&source::start(), GOOD_KEY),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(account["status"], "active");
    let path = format!(
        "/integrated-account/{}",
        account["id"].as_str().expect("an id")
    );
    let closed = json!({"context": {"base_url": "http://127.0.0.1:1"}});
    api.client.patch(&path, closed).await.expect(200);
    for answer in [
        api.client
            .post(&format!("{path}/validate"), json!({}))
            .await,
        api.client.patch(&path, json!({"status": "active"})).await,
    ] {
        let account = answer.expect(200).json();
        assert_eq!(
            (&account["status"], &account["last_error"]["code"]),
            (&json!("active"), &json!("connect_failed"))
        );
    }
}

#[tokio::test]
async fn a_check_can_be_repeated() {
    let api = start().await;
    let account = api.client.account(&source::start()).await;
    let path = format!("/integrated-account/{account}/validate");
    assert_eq!(
        api.client.post(&path, json!({})).await.expect(200).json()["status"],
        "active"
    );
    let no_body = crate::support::send(api.client.request(reqwest::Method::POST, &path)).await;
    assert_eq!(no_body.expect(200).json()["status"], "active");
}

#[tokio::test]
async fn a_disabled_account_stays_so_until_it_is_activated() {
    let api = start().await;
    let account = api.client.account(&source::start()).await;
    let path = format!("/integrated-account/{account}");
    assert_eq!(
        api.client
            .patch(&path, json!({"status": "disabled"}))
            .await
            .expect(200)
            .json()["status"],
        "disabled"
    );
    api.client
        .post(&format!("{path}/validate"), json!({}))
        .await
        .refused(409, "conflict");
    assert_eq!(
        api.client
            .patch(&path, json!({"status": "active"}))
            .await
            .expect(200)
            .json()["status"],
        "active"
    );
}

#[tokio::test]
async fn every_fault_of_an_account_is_named_at_once() {
    let api = start().await;
    let body = json!({"integration_name": "sample", "credentials": {}, "context": {"list": []}, "status": "active", "x": 1});
    let pointers = api
        .client
        .post("/integrated-account", body)
        .await
        .refused(422, "validation_failed");
    for pointer in [
        "/tenant_id",
        "/credentials/api_key",
        "/context/list",
        "/status",
        "/x",
    ] {
        assert!(
            pointers.contains(&pointer.to_owned()),
            "{pointer} is not in {pointers:?}"
        );
    }
    let body = json!({"integration_name": "nothing", "tenant_id": "t"});
    let pointers = api
        .client
        .post("/integrated-account", body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers, ["/integration_name"]);
}

#[tokio::test]
async fn missing_credentials_of_a_change_are_named_with_its_other_faults() {
    let api = start().await;
    let path = format!(
        "/integrated-account/{}",
        api.client.account(&source::start()).await
    );
    let faulty = json!({"label": 5, "credentials": {}});
    let refused = api.client.patch(&path, faulty).await;
    assert_eq!(
        refused.refused(422, "validation_failed"),
        ["/label", "/credentials/api_key"]
    );
}

#[tokio::test]
async fn a_change_that_needs_a_deleted_integration_changes_nothing() {
    let api = start().await;
    api.client.shop().await;
    let body = json!({"integration_name": "shop", "tenant_id": "t"});
    let made = api.client.post("/integrated-account", body).await;
    let path = format!("/integrated-account/{}", made.expect(201).id());
    let off = json!({"status": "disabled"});
    let before = api.client.patch(&path, off).await.expect(200).json();
    api.client.delete("/integration/shop").await.expect(200);
    let on = json!({"status": "active", "label": "new"});
    api.client.patch(&path, on).await.refused(409, "conflict");
    assert_eq!(api.client.get(&path).await.json(), before);
}

#[tokio::test]
async fn a_list_is_narrowed_by_customer_integration_and_status() {
    let api = start().await;
    let source = source::start();
    let first = api.client.account(&source).await;
    let mut body = sample_account(&source, "bad-key-1234");
    body["tenant_id"] = json!("tenant-2");
    let second = api
        .client
        .post("/integrated-account", body)
        .await
        .expect(201)
        .id();
    for (query, expected) in [
        ("tenant_id=tenant-1", vec![&first]),
        ("tenant_id=tenant-2&status=validation_error", vec![&second]),
        ("tenant_id=tenant-2&status=active", vec![]),
        ("integration_name=sample", vec![&second, &first]),
        ("integration_name=other", vec![]),
        ("status=active", vec![&first]),
    ] {
        let list = api
            .client
            .get(&format!("/integrated-account?{query}"))
            .await
            .expect(200)
            .json();
        let rows = list["result"].as_array().expect("rows");
        let ids: Vec<_> = rows
            .iter()
            .map(|row| row["id"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
}

#[tokio::test]
async fn a_patch_merges_the_context() {
    let api = start().await;
    let source = source::start();
    let path = format!("/integrated-account/{}", api.client.account(&source).await);
    let patch = json!({"label": "Main", "context": {"shop": "a", "number": 1.10}});
    let account = api.client.patch(&path, patch).await.expect(200).json();
    assert_eq!(
        account["context"],
        json!({"base_url": source, "shop": "a", "number": 1.10})
    );
    let account = api
        .client
        .patch(&path, json!({"label": null, "context": {"shop": null}}))
        .await
        .expect(200)
        .json();
    assert!(account["label"].is_null() && account["context"].get("shop").is_none());
    let pointers = api
        .client
        .patch(&path, json!({"tenant_id": "other"}))
        .await
        .refused(422, "validation_failed");
    assert_eq!(pointers, ["/tenant_id"]);
}

#[tokio::test]
async fn null_empties_the_context_and_is_no_status() {
    let api = start().await;
    let path = format!(
        "/integrated-account/{}",
        api.client.account(&source::start()).await
    );
    let none = json!({"context": null});
    let account = api.client.patch(&path, none).await.expect(200).json();
    assert_eq!(account["context"], json!({}));
    let refused = api.client.patch(&path, json!({"status": null})).await;
    assert_eq!(refused.refused(422, "validation_failed"), ["/status"]);
}

#[tokio::test]
async fn deleting_an_account_wipes_its_credentials() {
    let api = start().await;
    let id = api.client.account(&source::start()).await;
    let path = format!("/integrated-account/{id}");
    api.client.delete(&path).await.expect(200);
    api.client.get(&path).await.refused(404, "not_found");
    let id: AccountId = id.parse().expect("an id");
    let objects = api.store.objects();
    let left: Option<Account> = objects
        .get_with_deleted(api.client.environment, id)
        .await
        .expect("a store");
    let left = left.expect("what runs still point to");
    assert!(left.sealed_credentials.is_empty() && left.deleted_at.is_some());
}
