//! The one connection of a process to Redis, replaced as soon as it is of no more use.
//!
//! State: the connection that is made or being made, with a number. All calls share it
//! and are pipelined on it. A call whose outcome shows that the connection is of no
//! more use ([`is_spent`]) puts a new one in its place, unless another call did so
//! before; the new one is made by the calls that come next.
//!
//! Failures: beside a connection that breaks there are three that never would. One
//! whose peer vanished without a word (its machine died, the network forgot it) gives
//! no answer, and the kernel goes on hoping for a quarter of an hour. One to a master
//! that was made a replica answers `READONLY` for ever, though the address leads to
//! the new master by now. One that could not be made for a reason that passes (a
//! password, the number of clients) must be tried again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use metrics::counter;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{sync::watch, time::Instant};

use super::unavailable;
use crate::telemetry::metrics::{REASON, STORE_FAILURES};

/// A call that takes longer fails as unavailable. Scripts take microseconds;
/// what this bounds is a Redis that hangs or a network that swallows packets.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Making a connection takes no longer than this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the beginning of one connection to that of the next, at least; calls made
/// meanwhile wait for it.
const RECONNECT_PACE: Duration = Duration::from_millis(250);

type Making = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// A handle on the connection; all clones share it.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    current: Mutex<Current>,
    /// The number of the current connection, for those who hold others beside it.
    number: watch::Sender<u64>,
}

struct Current {
    number: u64,
    begins: Instant,
    making: Making,
}

impl Link {
    /// The connection is made by the first call.
    pub(super) fn new(client: Client) -> Self {
        let begins = Instant::now();
        let making = make(client.clone(), begins);
        Self(Arc::new(Inner {
            client,
            current: Mutex::new(Current {
                number: 0,
                begins,
                making,
            }),
            number: watch::Sender::new(0),
        }))
    }

    /// Changes whenever the connection is replaced.
    pub(super) fn replacements(&self) -> watch::Receiver<u64> {
        self.0.number.subscribe()
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let (number, making) = {
            let current = self.current();
            (current.number, current.making.clone())
        };
        match making.await {
            Ok(connection) => Ok((number, connection)),
            Err(error) => {
                count(&error);
                self.replace(number);
                Err(error)
            }
        }
    }

    /// What a call on connection `number` ended with.
    fn note(&self, number: u64, error: &RedisError) {
        count(error);
        if is_spent(error) {
            self.replace(number);
        }
    }

    fn replace(&self, number: u64) {
        let mut current = self.current();
        if current.number != number {
            return;
        }
        let begins = (current.begins + RECONNECT_PACE).max(Instant::now());
        *current = Current {
            number: number + 1,
            begins,
            making: make(self.0.client.clone(), begins),
        };
        self.0.number.send_replace(number + 1);
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        // A panic while it is locked can't leave it half changed.
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(client: Client, begins: Instant) -> Making {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    async move {
        tokio::time::sleep_until(begins).await;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
    .boxed()
    .shared()
}

/// Whether another connection may do what this one didn't.
fn is_spent(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
        _ => error.is_unrecoverable_error() || error.code() == Some("NOAUTH"),
    }
}

fn count(error: &RedisError) {
    // A script that isn't known yet, or was flushed, is loaded and called again.
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
        return;
    }
    if let Some(reason) = unavailable::reason(error) {
        counter!(STORE_FAILURES, REASON => reason).increment(1);
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let (number, mut connection) = self.connection().await?;
            let answer = connection.req_packed_command(cmd).await;
            match &answer {
                Ok(Value::ServerError(error)) => self.note(number, &error.clone().into()),
                Ok(_) => {}
                Err(error) => self.note(number, error),
            }
            answer
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let (number, mut connection) = self.connection().await?;
            let answers = connection
                .req_packed_commands(pipeline, offset, count)
                .await;
            match &answers {
                Ok(answers) => {
                    let refused = answers.iter().find_map(|answer| match answer {
                        Value::ServerError(error) => Some(error.clone().into()),
                        _ => None,
                    });
                    if let Some(error) = refused {
                        self.note(number, &error);
                    }
                }
                Err(error) => self.note(number, error),
            }
            answers
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.0.client.get_connection_info().redis_settings().db()
    }
}
