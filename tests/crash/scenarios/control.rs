//! What clients do beside starting runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::objects;
use crate::{
    shop::{Shop, gone_lines, served},
    world::{Expected, World, run_of},
};

/// As `PAUSE` in `worker/src/tasks/purge/step.rs`.
const PURGE_PAUSE: Duration = Duration::from_secs(30);

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({})).await?;
    Shop::set(&world.shop.calm, true);
    tokens(world).await?;
    values(world, &of.job, &of.account).await?;

    // Its failed part is fetched again, then it is deleted.
    let run = world
        .create("/sync-job-run", &run_of(&of.job, &of.account, &of.webhook))
        .await?;
    let expected = Expected {
        status: "completed",
        served: Some(served(false)),
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;
    Shop::set(&world.shop.mended, true);
    let retry = world
        .create(&format!("/sync-job-run/{run}/retry"), &json!({}))
        .await?;
    let expected = Expected {
        status: "completed",
        served: Some(gone_lines()),
        partial: true,
        ..Expected::default()
    };
    world.check_run(&of.webhook, &retry, expected).await?;
    world.delete_run(&run).await?;
    world.wait_for_event(&run, "sync_job_run:deleted").await?;

    // One that is stopped in the middle delivers what it has.
    Shop::set(&world.shop.shut, true);
    let run = world
        .create("/sync-job-run", &run_of(&of.job, &of.account, &of.webhook))
        .await?;
    let path = format!("/sync-job-run/{run}");
    world
        .wait(&path, "its first page", |run| {
            run["records_delivered"].as_u64() > Some(0)
        })
        .await?;
    world.post(&format!("{path}/stop"), &json!({})).await?;
    Shop::set(&world.shop.shut, false);
    let expected = Expected {
        status: "stopped",
        served: None,
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;

    world
        .patch(
            &format!("/webhook/{}", of.webhook),
            &json!({"label": "the one"}),
        )
        .await?;
    let rotated = world
        .post(
            &format!("/webhook/{}/rotate-secret", of.webhook),
            &json!({}),
        )
        .await?;
    ensure!(rotated["secret"].is_string(), "{rotated}");
    world.delete(&format!("/sync-job/{}", of.job)).await?;
    world
        .delete(&format!("/integrated-account/{}", of.account))
        .await?;
    environment_goes(world)?;
    // Its runs go at once, the rest after a pause, which needs no waiting for.
    world
        .wait(
            "/sync-job-run",
            "the runs of a deleted account to go",
            |runs| runs["result"] == json!([]),
        )
        .await?;
    world.advance_clock(PURGE_PAUSE)
}

/// The second environment is deleted with all that is in it.
fn environment_goes(world: &World) -> Result<()> {
    world
        .command(&["environment", "delete", "second", "--yes"])
        .or_else(|error| {
            // It was deleted, though its command died before it could say so.
            let is_there = world.command(&["environment", "list"])?.contains("second");
            (!is_there).then(String::new).ok_or(error)
        })?;
    Ok(())
}

/// What `syncline-api` does on the command line.
async fn tokens(world: &World) -> Result<()> {
    // The first one was made, though its command died before it could say so.
    world
        .command(&["environment", "create", "second"])
        .or_else(|error| {
            let made = world.command(&["environment", "list"])?.contains("second");
            made.then(String::new).ok_or(error)
        })?;
    world.command(&["environment", "set", "second", "--weight", "2"])?;
    let create = [
        "token",
        "create",
        "--environment",
        "second",
        "--label",
        "a token",
    ];
    let token = world.command(&create)?;
    let webhook = json!({"target_url": world.receiver.url()});
    world.create_as(token.trim(), "/webhook", &webhook).await?;
    let tokens = world.command(&["token", "list", "--environment", "second"])?;
    let id = tokens
        .split_whitespace()
        .find(|word| word.starts_with("tok_"));
    let id = id.with_context(|| format!("a token: {tokens}"))?;
    world.command(&["token", "revoke", id])?;
    Ok(())
}

/// Values between runs, and watermarks.
async fn values(world: &World, job: &str, account: &str) -> Result<()> {
    let path = "/sync-job-run-state";
    world
        .post(
            &format!("{path}?state_key=cursor"),
            &json!({"key": "last", "value": 7}),
        )
        .await?;
    let one = format!("{path}/last?state_key=cursor");
    world.patch(&one, &json!({"value": 8})).await?;
    let kept = world.get(&one).await?;
    ensure!(kept["value"] == 8, "{kept}");
    world.delete(&one).await?;
    let watermark = format!("/sync-job/{job}/watermark?integrated_account_id={account}");
    let set = json!({"orders": "2026-01-01T00:00:00.000Z"});
    let now = world.patch(&watermark, &set).await?;
    ensure!(now["orders"] == set["orders"], "{now}");
    world.patch(&watermark, &json!({"orders": null})).await?;
    Ok(())
}
