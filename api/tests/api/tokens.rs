//! Bootstrap tokens.

use shared::{store::tokens::Bootstrap, testing};

#[tokio::test]
async fn a_bootstrap_token_makes_one_environment_however_many_start_at_once() {
    let store = testing::redis::store();
    let starts = (0..8).map(|_| {
        let store = store.clone();
        async move {
            store
                .tokens()
                .bootstrap("bootstrap-secret")
                .await
                .expect("a store")
        }
    });
    let outcomes = futures::future::join_all(starts).await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Bootstrap::Created)
            .count(),
        1
    );
    assert_eq!(
        store.tokens().environments().await.expect("a store").len(),
        1
    );
    assert_eq!(store.tokens().list().await.expect("a store").len(), 1);
    assert!(
        store
            .tokens()
            .find("bootstrap-secret")
            .await
            .expect("a store")
            .is_some()
    );
    assert_eq!(
        store.tokens().bootstrap("another").await.expect("a store"),
        Bootstrap::Refused
    );
    assert!(
        store
            .tokens()
            .find("another")
            .await
            .expect("a store")
            .is_none()
    );
}
