//! Contracts of the scripts behind the API's objects, against a real Redis.

use serde_json::json;
use shared::{
    clock::Timestamp,
    ids::{EnvironmentId, IntegrationId, WebhookId},
    model::{integration::IntegrationRow, webhook::Webhook},
    store::{
        PageRequest, Store,
        idempotency::{Reserved, Settlement},
        objects::{ChangeError, Creation},
    },
    testing,
};

const HERE: EnvironmentId = EnvironmentId::from_bits(1);
const ELSEWHERE: EnvironmentId = EnvironmentId::from_bits(2);

fn webhook(id: u128) -> Webhook {
    serde_json::from_value(json!({
        "id": WebhookId::from_bits(id), "environment_id": HERE, "target_url": "https://example.com/", "event_types": [],
        "is_active": true, "label": null, "sealed_secret": "sealed", "created_at": Timestamp(0), "updated_at": Timestamp(0),
    }))
    .expect("a webhook")
}

fn integration(id: u128, name: &str) -> IntegrationRow {
    IntegrationRow {
        id: IntegrationId::from_bits(id),
        environment_id: HERE,
        name: name.to_owned(),
        label: name.to_owned(),
        version: 1,
        hash: "hash".to_owned(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        deleted_at: None,
    }
}

async fn ids(store: &Store, environment: EnvironmentId) -> Vec<WebhookId> {
    let page = PageRequest {
        limit: 200,
        after: None,
    };
    let page = store
        .objects()
        .list::<Webhook>(environment, None, &page, |_| true)
        .await
        .expect("a page");
    page.items.iter().map(|webhook| webhook.id).collect()
}

#[tokio::test]
async fn a_creation_repeated_changes_nothing_and_gives_back_what_is_there() {
    let store = testing::redis::store();
    let objects = store.objects();
    assert!(matches!(
        objects.create(&webhook(1)).await,
        Ok(Creation::Created)
    ));
    let mut again = webhook(1);
    again.label = Some("again".to_owned());
    let Ok(Creation::Existed(there)) = objects.create(&again).await else {
        panic!("it exists")
    };
    assert_eq!(there.label, None);
    assert_eq!(ids(&store, HERE).await, [WebhookId::from_bits(1)]);
}

#[tokio::test]
async fn an_object_is_seen_in_its_own_environment_only() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects.create(&webhook(1)).await.expect("a store");
    assert!(
        objects
            .get::<Webhook>(ELSEWHERE, WebhookId::from_bits(1))
            .await
            .expect("a store")
            .is_none()
    );
    assert!(ids(&store, ELSEWHERE).await.is_empty());
}

#[tokio::test]
async fn an_update_that_lost_a_race_is_made_on_the_newer_state() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects.create(&webhook(1)).await.expect("a store");
    let raise = |name: &'static str| {
        let objects = objects.clone();
        async move {
            let change = |webhook: &mut Webhook| {
                webhook.headers.insert(name.to_owned(), String::new());
                Ok::<(), ()>(())
            };
            objects.update(HERE, WebhookId::from_bits(1), change).await
        }
    };
    let outcomes = tokio::join!(raise("a"), raise("b"), raise("c"));
    assert!(outcomes.0.is_ok() && outcomes.1.is_ok() && outcomes.2.is_ok());
    let webhook: Webhook = objects
        .get(HERE, WebhookId::from_bits(1))
        .await
        .expect("a store")
        .expect("a webhook");
    assert_eq!(webhook.headers.len(), 3);
}

#[tokio::test]
async fn a_refused_change_and_a_missing_object_change_nothing() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects.create(&webhook(1)).await.expect("a store");
    let refuse = |webhook: &mut Webhook| {
        webhook.label = Some("no".to_owned());
        Err("no")
    };
    let refused = objects.update(HERE, WebhookId::from_bits(1), refuse).await;
    assert!(matches!(refused, Err(ChangeError::Refused("no"))));
    let missing = objects
        .update(HERE, WebhookId::from_bits(2), |_: &mut Webhook| {
            Ok::<(), ()>(())
        })
        .await;
    assert!(matches!(missing, Ok(None)));
    let there: Webhook = objects
        .get(HERE, WebhookId::from_bits(1))
        .await
        .expect("a store")
        .expect("a webhook");
    assert_eq!(there.label, None);
}

#[tokio::test]
async fn a_deleted_object_leaves_lists_and_stays_readable_for_history() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects.create(&webhook(1)).await.expect("a store");
    let id = WebhookId::from_bits(1);
    let wipe = |webhook: &mut Webhook| webhook.sealed_secret.clear();
    assert!(
        objects
            .delete(HERE, id, wipe)
            .await
            .expect("a store")
            .is_some()
    );
    assert!(
        objects
            .delete(HERE, id, wipe)
            .await
            .expect("a store")
            .is_none()
    );
    assert!(
        objects
            .get::<Webhook>(HERE, id)
            .await
            .expect("a store")
            .is_none()
    );
    assert!(ids(&store, HERE).await.is_empty());
    let left: Webhook = objects
        .get_with_deleted(HERE, id)
        .await
        .expect("a store")
        .expect("what is left");
    assert!(left.deleted_at.is_some() && left.sealed_secret.is_empty());
    let gone = objects
        .update(HERE, id, |_: &mut Webhook| Ok::<(), ()>(()))
        .await;
    assert!(matches!(gone, Ok(None)));
}

#[tokio::test]
async fn a_name_is_taken_until_its_holder_is_deleted() {
    let store = testing::redis::store();
    let objects = store.objects();
    objects
        .create(&integration(1, "acme"))
        .await
        .expect("a store");
    let Ok(Creation::NameTaken(holder)) = objects.create(&integration(2, "acme")).await else {
        panic!("it is taken")
    };
    assert_eq!(holder, IntegrationId::from_bits(1).to_string());
    let found: IntegrationRow = objects
        .get_by_name(HERE, "acme")
        .await
        .expect("a store")
        .expect("an integration");
    assert_eq!(found.id, IntegrationId::from_bits(1));
    objects
        .delete::<IntegrationRow>(HERE, IntegrationId::from_bits(1), |_| {})
        .await
        .expect("a store");
    assert!(
        objects
            .get_by_name::<IntegrationRow>(HERE, "acme")
            .await
            .expect("a store")
            .is_none()
    );
    assert!(matches!(
        objects.create(&integration(2, "acme")).await,
        Ok(Creation::Created)
    ));
}

#[tokio::test]
async fn a_filtered_list_fills_its_pages_across_what_is_left_out() {
    let store = testing::redis::store();
    for id in 1..=20 {
        let mut webhook = webhook(id);
        webhook.is_active = id % 5 == 0;
        store.objects().create(&webhook).await.expect("a store");
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: 3, after };
        let page = store
            .objects()
            .list::<Webhook>(HERE, None, &page, |webhook| webhook.is_active)
            .await
            .expect("a page");
        seen.extend(page.items.iter().map(|webhook| webhook.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [20, 15, 10, 5].map(WebhookId::from_bits));
}

#[tokio::test]
async fn a_document_is_found_under_the_hash_of_its_content() {
    let store = testing::redis::store();
    let document = json!({"name": "acme", "number": 1});
    let hash = store.put_document(&document, Some(HERE)).await;
    let hash = hash.expect("a store");
    let again = store.put_document(&document, Some(HERE)).await;
    assert_eq!(again.expect("a store"), hash);
    assert_eq!(
        store.document(&hash).await.expect("a store"),
        Some(document)
    );
    assert_eq!(store.document("0").await.expect("a store"), None);
}

#[tokio::test]
async fn a_document_stays_as_long_as_somebody_uses_it() {
    let store = testing::redis::store();
    let put = async |number: u32, user: Option<EnvironmentId>| {
        let document = json!({"name": "acme", "number": number});
        store.put_document(&document, user).await.expect("a hash")
    };
    let mine = put(1, Some(HERE)).await;
    let ours = put(2, Some(HERE)).await;
    assert_eq!(put(2, Some(ELSEWHERE)).await, ours);
    let bundled = put(3, Some(HERE)).await;
    assert!(!store.has_bundled_document(&bundled).await.expect("a word"));
    assert_eq!(put(3, None).await, bundled);
    assert!(store.has_bundled_document(&bundled).await.expect("a word"));
    let is_there = async |hash: &str| store.document(hash).await.expect("an answer").is_some();

    assert!(store.release_documents(HERE).await.expect("released"));
    assert!(!is_there(&mine).await && is_there(&ours).await && is_there(&bundled).await);
    assert!(store.release_documents(HERE).await.expect("released"));
    assert!(is_there(&ours).await);
    assert!(store.release_documents(ELSEWHERE).await.expect("released"));
    assert!(!is_there(&ours).await && is_there(&bundled).await);
}

#[tokio::test]
async fn an_idempotency_key_has_one_owner_and_one_object() {
    let store = testing::redis::store();
    let idempotency = store.idempotency();
    let next = std::cell::Cell::new(0_u128);
    let reserve = |print: &'static str| {
        let idempotency = idempotency.clone();
        next.set(next.get() + 1);
        let object = next.get();
        async move {
            idempotency
                .reserve(HERE, "key", print, object)
                .await
                .expect("a store")
        }
    };
    let Reserved::Yours(first) = reserve("a").await else {
        panic!("it is free")
    };
    assert!(matches!(reserve("a").await, Reserved::InProgress(rest) if rest.as_secs() >= 59));
    assert!(matches!(reserve("b").await, Reserved::Reused));

    idempotency
        .settle(&first, &Settlement::HandBack)
        .await
        .expect("a store");
    let Reserved::Yours(second) = reserve("a").await else {
        panic!("it was handed back")
    };
    assert_eq!(second.object, first.object);
    // The first owner lost it: what it says no longer counts.
    idempotency
        .settle(&first, &Settlement::Answer("stale"))
        .await
        .expect("a store");
    assert!(matches!(reserve("a").await, Reserved::InProgress(_)));

    idempotency
        .settle(&second, &Settlement::Answer("sealed"))
        .await
        .expect("a store");
    assert!(matches!(reserve("a").await, Reserved::Answered { sealed, .. } if sealed == "sealed"));
    assert!(matches!(reserve("b").await, Reserved::Reused));
}

#[tokio::test]
async fn a_forgotten_idempotency_key_is_free_for_any_request() {
    let store = testing::redis::store();
    let idempotency = store.idempotency();
    let Ok(Reserved::Yours(first)) = idempotency.reserve(HERE, "key", "a", 1).await else {
        panic!("it is free")
    };
    idempotency
        .settle(&first, &Settlement::Forget)
        .await
        .expect("a store");
    let Ok(Reserved::Yours(second)) = idempotency.reserve(HERE, "key", "b", 2).await else {
        panic!("it is free")
    };
    assert_ne!(second.object, first.object);
}
