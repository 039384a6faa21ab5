//! The store's handle, the checks made of Redis at boot, and the channel that wakes
//! workers.
//!
//! One connection a process ([`Link`]), and one more for the channel.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use redis::{AsyncCommands, Client, InfoDict};
use tokio::sync::watch;

use super::{
    Link, StoreError, StoreResult, keys::Keys, link::CONNECT_TIMEOUT, queue::millis, scripts,
};

/// Share of `maxmemory` above which nothing is fetched.
pub const FULL_SHARE: f64 = 0.8;
/// How long the mark holds without being renewed.
const FULL_MARK: Duration = Duration::from_secs(10);
/// The oldest Redis whose features the scripts use (`LPOP` with a count in
/// scripts, effect replication by default, `TIME` before writes).
const OLDEST_MAJOR_VERSION: u32 = 7;

/// The store. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Store {
    client: Client,
    link: Link,
    keys: Keys,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What the boot check found worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCheck {
    pub redis_version: String,
    /// Settings that are allowed but risk data, each as a sentence.
    pub warnings: Vec<String>,
}

/// Messages of one channel; ends when the connection is lost.
pub type RedisSubscription = Pin<Box<dyn Stream<Item = String> + Send>>;

impl Store {
    /// Prepares a store; the connection is made by the first call.
    ///
    /// # Errors
    /// A URL that can't be read.
    pub fn open(url: &str, prefix: &str) -> StoreResult<Self> {
        let client = Client::open(url)
            .map_err(|error| StoreError::Unsafe(format!("the Redis URL can't be used: {error}")))?;
        Ok(Self {
            link: Link::new(client.clone()),
            client,
            keys: Keys::new(prefix),
        })
    }

    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A handle on the shared connection.
    #[must_use]
    pub fn connection(&self) -> Link {
        self.link.clone()
    }

    /// Changes whenever the shared connection was replaced. Who holds a connection
    /// beside it, on which nothing is asked, learns from that when to replace it too.
    #[must_use]
    pub fn replacements(&self) -> watch::Receiver<u64> {
        self.link.replacements()
    }

    /// Answers when Redis can carry out steps; one that is full can.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> StoreResult<()> {
        let _one: u8 = self.invoke(&self.call(&scripts::PROBE)).await?;
        Ok(())
    }

    /// Refuses a Redis that may evict our keys or is too old; warns about one
    /// that would forget everything when it restarts.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] with what to change.
    pub async fn check(&self) -> StoreResult<BootCheck> {
        let mut connection = self.connection();
        let info: InfoDict = redis::cmd("INFO").query_async(&mut connection).await?;
        let redis_version: String = info.get("redis_version").unwrap_or_default();
        let major: u32 = redis_version
            .split('.')
            .next()
            .and_then(|part| part.parse().ok())
            .unwrap_or(0);
        if major < OLDEST_MAJOR_VERSION {
            return Err(StoreError::Unsafe(format!(
                "Redis {redis_version} is too old; version {OLDEST_MAJOR_VERSION} or newer is needed"
            )));
        }
        let policy: String = info.get("maxmemory_policy").unwrap_or_default();
        if policy != "noeviction" {
            return Err(StoreError::Unsafe(format!(
                "Redis has maxmemory-policy `{policy}` and may throw away queued work; \
                 set `maxmemory-policy noeviction`"
            )));
        }
        let mut warnings = Vec::new();
        if info.get::<u8>("aof_enabled") != Some(1) {
            warnings.push(
                "Redis runs without its append-only file: what was accepted is lost when it restarts; \
                 set `appendonly yes`"
                    .to_owned(),
            );
        }
        Ok(BootCheck {
            redis_version,
            warnings,
        })
    }

    /// Looks how much of its memory Redis has used and marks it as full above
    /// 80 % of it, so that nothing more is fetched until deliveries have made
    /// room. The mark expires by itself should every worker die. Gives the share in
    /// use; `None` when Redis has no limit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn mark_when_full(&self) -> StoreResult<Option<f64>> {
        let mut connection = self.connection();
        let info: InfoDict = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut connection)
            .await?;
        let (used, limit): (f64, f64) = (
            info.get("used_memory").unwrap_or(0.0),
            info.get("maxmemory").unwrap_or(0.0),
        );
        if limit <= 0.0 {
            return Ok(None);
        }
        let full = used / limit > FULL_SHARE;
        let mut call = self.call(&scripts::MARK_FULL);
        call.arg(if full { millis(FULL_MARK) } else { 0 });
        let _marked: u64 = self.invoke(&call).await?;
        Ok(Some(used / limit))
    }

    /// Redis's clock plus the shift that tests set, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn now_ms(&self) -> StoreResult<i64> {
        let mut connection = self.connection();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await?;
        let shift: Option<i64> = connection.get(self.keys.clock_shift()).await?;
        Ok(seconds * 1000 + micros / 1000 + shift.unwrap_or(0))
    }

    /// Listens on the channel that wakes idle workers, on a connection of its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn subscribe_wake(&self) -> StoreResult<RedisSubscription> {
        let subscribing = async {
            let mut pubsub = self.client.get_async_pubsub().await?;
            pubsub.subscribe(self.keys.wake_channel()).await?;
            Ok::<_, redis::RedisError>(pubsub)
        };
        let pubsub = tokio::time::timeout(CONNECT_TIMEOUT, subscribing)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        Ok(Box::pin(pubsub.into_on_message().filter_map(
            |message| async move { message.get_payload::<String>().ok() },
        )))
    }
}
