//! Random operations against the scripts, each step compared with a small model
//! in memory: of the queue, of the turns in it, and of a whole run.
//!
//! Time is counted in ticks of [`TICK`], which the tests add to Redis's clock. One
//! is far longer than a case takes, so what is due at a tick is due, whatever the
//! machine does meanwhile.

#[path = "../engine/support.rs"]
#[expect(dead_code, reason = "the tests of the single scripts use the rest")]
mod support;

mod fairness;
mod queue;
mod run;

use std::time::Duration;

use proptest::test_runner::Config;
use redis::AsyncCommands;
use shared::store::{Store, queue::LEASE};

pub const TICK: Duration = Duration::from_secs(10);
/// A lease, in ticks.
pub const LEASE_TICKS: u64 = LEASE.as_secs() / TICK.as_secs();
/// Cases of one test; each is some 100 operations.
const CASES: u32 = 128;

pub fn config() -> Config {
    Config {
        cases: CASES,
        // Shrinking is worth a while: each case is milliseconds.
        max_shrink_iters: 4_096,
        failure_persistence: None,
        ..Config::default()
    }
}

/// Runs a case to its end.
pub fn block_on<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(case)
}

/// Moves Redis's clock, as the scripts see it.
pub async fn advance(store: &Store, ticks: u64) {
    let ms = u64::try_from(TICK.as_millis()).expect("a short time") * ticks;
    let _: i64 = store
        .connection()
        .incr(store.keys().clock_shift(), ms)
        .await
        .expect("shifted");
}
