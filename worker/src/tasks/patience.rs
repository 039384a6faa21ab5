//! Waiting for Redis in the middle of a task.

use std::{future::Future, time::Duration};

use shared::store::{StoreError, StoreResult};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Makes a call until the store answers. Only for calls that may be repeated. Ends
/// with the task: whoever runs it stops polling when its lease is lost or the
/// process has no more time to drain.
///
/// # Errors
/// Whatever isn't [`StoreError::Unavailable`].
pub async fn until_available<T, F>(mut call: impl FnMut() -> F) -> StoreResult<T>
where
    F: Future<Output = StoreResult<T>>,
{
    let mut delay = FIRST_DELAY;
    loop {
        match call().await {
            Err(StoreError::Unavailable(error)) => {
                tracing::debug!(error = %error, "the store is away; the step waits");
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(LONGEST_DELAY);
            }
            answer => return answer,
        }
    }
}
