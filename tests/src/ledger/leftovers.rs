//! What is in the store once every run has ended.

use anyhow::Result;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;

/// Keys that stay when nothing is under way (docs/ARCHITECTURE.md, "Keys").
const KEPT: [&str; 8] = [
    "clock_shift",
    "cron",
    "environments",
    "full",
    "outbox_dropped",
    "retention",
    "retention_place",
    "tokens",
];
/// The first parts of further ones: objects, what is known of them, and what is kept for the retention time.
const KEPT_OF: [&str; 22] = [
    "attempts:",
    "cron:",
    "dead:",
    "dead_letter:",
    "document:",
    "document_users:",
    "environment:",
    "health:",
    "idempotency:",
    "object:",
    "pace:",
    "redrive:",
    "redrives:",
    "released:",
    "source:",
    "state:",
    "state_index:",
    "state_sizes:",
    "token:",
    "watermark:",
    "workflow:",
    "workflow_run:",
];
/// What is kept of an account beside its object.
const KEPT_OF_ACCOUNT: [&str; 3] = [":ended", ":dead", ":webhook"];
/// What is kept of a run.
const KEPT_OF_RUN: [&str; 6] = ["", ":spec", ":error", ":event", ":timeline", ":failed"];
/// Keys asked for at once.
const SCANNED: usize = 1_000;

/// Keys under `base` (`syncline:{p0}`) that belong to work: tasks, lanes, leases, streams, locks. When every run has ended
/// there are none. A lane whose webhook's circuit is open stays, since it waits for the webhook's next success.
pub async fn leftovers(connection: &mut MultiplexedConnection, base: &str) -> Result<Vec<String>> {
    left_of(connection, base, &format!("{base}:*")).await
}

/// As [`leftovers`], of one `run` (as the API gives it), while others may be under way: the keys that name it, and those of
/// its account, its webhook and all that list it. There are none once its terminal event is settled and no fetch of it is
/// left.
pub async fn leftovers_of(
    connection: &mut MultiplexedConnection,
    base: &str,
    run: &Value,
) -> Result<Vec<String>> {
    let text = |field: &str| run[field].as_str().unwrap_or_default();
    let (id, account, webhook) = (
        text("id"),
        text("integrated_account_id"),
        text("webhook_id"),
    );
    let mut left = left_of(connection, base, &format!("{base}:*{id}*")).await?;
    let mutex = format!("mutex:{}:{}", text("environment_id"), text("mutex_key"));
    for set in [format!("account:{account}:run"), mutex] {
        if connection.sismember(format!("{base}:{set}"), id).await? {
            left.push(set);
        }
    }
    let deadline: Option<f64> = connection.zscore(format!("{base}:deadlines"), id).await?;
    left.extend(deadline.map(|_| "deadlines".to_owned()));
    for lane in [
        format!("fetches:ready:{account}"),
        format!("deliveries:ready:{webhook}"),
    ] {
        // An entry begins with the task, and that with the run.
        let tasks: Vec<Vec<u8>> = connection.lrange(format!("{base}:{lane}"), 0, -1).await?;
        let of_run = tasks.iter().filter(|task| task.starts_with(id.as_bytes()));
        let count = of_run.count();
        if count > 0 {
            left.push(format!("{count} tasks in {lane}"));
        }
    }
    Ok(left)
}

/// Keys that match `pattern` and belong to work.
async fn left_of(
    connection: &mut MultiplexedConnection,
    base: &str,
    pattern: &str,
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(SCANNED)
            .query_async(connection)
            .await?;
        for key in keys {
            let name = key
                .strip_prefix(base)
                .unwrap_or(&key)
                .trim_start_matches(':');
            if is_kept(name) {
                if name.starts_with("run:") && !expires(connection, &key).await? {
                    left.push(format!("{name}, for ever"));
                }
            } else if !is_at_rest(connection, &key, name).await? {
                left.push(name.to_owned());
            }
        }
        if next == 0 {
            left.sort();
            left.dedup();
            return Ok(left);
        }
        cursor = next;
    }
}

fn is_kept(name: &str) -> bool {
    if let Some(rest) = name.strip_prefix("run:") {
        // Run ids are 30 characters.
        let suffix = rest.find(':').map_or("", |at| &rest[at..]);
        return KEPT_OF_RUN.contains(&suffix);
    }
    if name.starts_with("account:") {
        return KEPT_OF_ACCOUNT.iter().any(|list| name.ends_with(list));
    }
    // That a worker waits for work is no work.
    name.ends_with(":idle")
        || KEPT.contains(&name)
        || KEPT_OF.iter().any(|kept| name.starts_with(kept))
}

/// Whether a key goes by itself, or has gone meanwhile.
async fn expires(connection: &mut MultiplexedConnection, key: &str) -> Result<bool> {
    let ttl: i64 = redis::cmd("PTTL").arg(key).query_async(connection).await?;
    // -1: it never does.
    Ok(ttl != -1)
}

/// The lane of a webhook whose circuit is open, and the sum over all webhooks when nothing is undelivered.
async fn is_at_rest(connection: &mut MultiplexedConnection, key: &str, name: &str) -> Result<bool> {
    if name == "undelivered_bytes" {
        let bytes: u64 = redis::cmd("GET").arg(key).query_async(connection).await?;
        return Ok(bytes == 0);
    }
    if name.starts_with("deliveries:lane:") {
        let open: bool = redis::cmd("HEXISTS")
            .arg(key)
            .arg("circuit")
            .query_async(connection)
            .await?;
        return Ok(open);
    }
    Ok(false)
}
