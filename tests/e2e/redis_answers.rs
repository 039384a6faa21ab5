//! What a store makes of each way in which Redis fails, and that it works again by itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use shared::{
    queue::WakeListener,
    store::{
        Store, StoreError,
        queue::{LEASE, Queue},
    },
};
use syncline_tests::{
    forwarder::Forwarder,
    process::{START_TIMEOUT, free_address},
    redis::PrivateRedis,
};
use tokio_util::sync::CancellationToken;

/// A call to a Redis that doesn't answer fails after 5 s; on a busy machine somewhat later.
const ONE_CALL: Duration = Duration::from_secs(10);

/// One command, its words between spaces.
async fn run(redis: &mut MultiplexedConnection, line: &str) -> Result<()> {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word.trim_matches('"'));
    }
    let _answer: redis::Value = command.query_async(redis).await?;
    Ok(())
}

/// A step that adds work.
async fn push(store: &Store) -> Result<(), StoreError> {
    let task = ("task".to_owned(), "body".to_owned());
    store
        .push_tasks(Queue::Deliveries, "env", "lane", 8, &[task])
        .await
}

async fn works_again(store: &Store) {
    let deadline = Instant::now() + START_TIMEOUT;
    while let Err(error) = push(store).await {
        assert!(Instant::now() < deadline, "it doesn't work again: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn unavailable(store: &Store, why: &str) {
    match push(store).await {
        Err(StoreError::Unavailable(error)) => {
            let said = format!("{} {error}", error.code().unwrap_or_default());
            assert!(said.contains(why), "{why}: {said}");
        }
        other => panic!("{why}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_steps_for_now_is_unavailable_and_works_again_by_itself() -> Result<()>
{
    let redis = PrivateRedis::start()?;
    let mut admin = redis.connect().await?;
    let nobody = free_address()?;
    let store = Store::open(&redis.url(), "refused")?;
    push(&store).await?;
    let replica = format!("REPLICAOF 127.0.0.1 {}", nobody.port());
    for (refuse, why, allow) in [
        (replica.as_str(), "READONLY", "REPLICAOF NO ONE"),
        (
            "CONFIG SET min-replicas-to-write 1",
            "NOREPLICAS",
            "CONFIG SET min-replicas-to-write 0",
        ),
        ("CONFIG SET maxmemory 1", "OOM", "CONFIG SET maxmemory 0"),
        (
            "CONFIG SET requirepass secret",
            "NOAUTH",
            r#"CONFIG SET requirepass """#,
        ),
    ] {
        run(&mut admin, refuse).await?;
        if why == "NOAUTH" {
            // Who was let in before stays in.
            run(&mut admin, "CLIENT KILL TYPE normal SKIPME yes").await?;
            drop(push(&store).await);
        }
        unavailable(&store, why).await;
        unavailable(&store, why).await;
        run(&mut admin, allow).await?;
        works_again(&store).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_write_its_file_is_unavailable_and_works_again_by_itself() -> Result<()>
{
    let redis = PrivateRedis::start_with(&[("save", "3600 1000000")])?;
    let mut admin = redis.connect().await?;
    let store = Store::open(&redis.url(), "refused")?;
    push(&store).await?;
    let (_, folder): (String, String) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("dir")
        .query_async(&mut admin)
        .await?;
    let in_its_place = std::path::Path::new(&folder).join("dump.rdb");
    std::fs::create_dir(&in_its_place)?;
    let saved = |admin: &mut MultiplexedConnection, wanted: &'static str| {
        let mut admin = admin.clone();
        async move {
            let deadline = Instant::now() + START_TIMEOUT;
            loop {
                run(&mut admin, "BGSAVE").await.ok();
                let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut admin).await?;
                let status: Option<String> = info.get("rdb_last_bgsave_status");
                if status.as_deref() == Some(wanted) {
                    return anyhow::Ok(());
                }
                anyhow::ensure!(Instant::now() < deadline, "BGSAVE: {status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    saved(&mut admin, "err").await?;
    unavailable(&store, "MISCONF").await;
    std::fs::remove_dir(&in_its_place)?;
    saved(&mut admin, "ok").await?;
    works_again(&store).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_wrong_for_a_while_is_tried_again() -> Result<()> {
    let redis = PrivateRedis::start()?;
    let mut admin = redis.connect().await?;
    run(&mut admin, "CONFIG SET requirepass right").await?;
    let url = redis.url().replace("redis://", "redis://:right@");
    let store = Store::open(&url, "password")?;
    push(&store).await?;
    run(&mut admin, "CONFIG SET requirepass other").await?;
    run(&mut admin, "CLIENT KILL TYPE normal SKIPME yes").await?;
    drop(push(&store).await);
    unavailable(&store, "authentication failed").await;
    unavailable(&store, "authentication failed").await;
    run(&mut admin, "CONFIG SET requirepass right").await?;
    works_again(&store).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_too_many_clients_is_unavailable_and_works_again_by_itself() -> Result<()> {
    let redis = PrivateRedis::start()?;
    let mut admin = redis.connect().await?;
    run(&mut admin, "CONFIG SET maxclients 1").await?;
    let store = Store::open(&redis.url(), "crowded")?;
    for _ in 0..3 {
        unavailable(&store, "").await;
    }
    run(&mut admin, "CONFIG SET maxclients 1000").await?;
    works_again(&store).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_peer_is_gone_is_replaced_after_one_call_and_so_is_the_one_that_wakes()
-> Result<()> {
    let redis = PrivateRedis::start()?;
    let address = Forwarder::start(redis.address())?;
    let store = Store::open(&format!("redis://{}", address.address()), "gone")?;
    let (listener, stop) = (WakeListener::default(), CancellationToken::new());
    let woken = listener.of(Queue::Deliveries);
    let (of_store, until) = (store.clone(), stop.clone());
    let listening = tokio::spawn(async move { listener.run(&of_store, until).await });
    // All are woken once the channel is subscribed.
    tokio::time::timeout(ONE_CALL, woken.notified()).await?;
    push(&store).await?;

    address.swallow();
    let began = Instant::now();
    unavailable(&store, "timed out").await;
    assert!(began.elapsed() < ONE_CALL, "{:?}", began.elapsed());
    tokio::time::timeout(ONE_CALL, works_again(&store)).await?;
    tokio::time::timeout(ONE_CALL, woken.notified()).await?;
    // The next message comes too.
    let claimed = store.claim(Queue::Deliveries, 8, LEASE, "token").await?;
    assert!(!claimed.tasks.is_empty());
    let other = Store::open(&redis.url(), "gone")?;
    push(&other).await?;
    tokio::time::timeout(ONE_CALL, woken.notified()).await?;
    stop.cancel();
    listening.await?;
    Ok(())
}
