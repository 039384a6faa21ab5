//! Runs that start by themselves, and one that lasts too long.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::objects;
use crate::{
    shop::{Shop, served},
    world::{Expected, World, run_of},
};

/// To the next fire of each minute.
const A_FIRE: Duration = Duration::from_mins(1);

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({"max_duration_minutes": 120})).await?;
    Shop::set(&world.shop.calm, true);
    Shop::set(&world.shop.mended, true);
    let trigger = json!({"sync_job_id": of.job, "integrated_account_id": of.account, "webhook_id": of.webhook,
        "cron_expression": "* * * * *", "overlap": "skip"});
    let trigger = world.create("/sync-job-cron-trigger", &trigger).await?;
    let path = format!("/sync-job-cron-trigger/{trigger}");
    world.advance_clock(A_FIRE)?;
    let fired = world
        .wait(&path, "a fire", |trigger| {
            trigger["last_run_id"].is_string()
        })
        .await?;
    let run = fired["last_run_id"].as_str().context("an id")?.to_owned();
    let expected = Expected {
        status: "completed",
        served: Some(served(true)),
        ..Expected::default()
    };
    let run = world.check_run(&of.webhook, &run, expected).await?;
    ensure!(run["trigger"] == "cron", "{run}");

    // A fire that can make no run.
    world
        .patch(
            &format!("/webhook/{}", of.webhook),
            &json!({"is_active": false}),
        )
        .await?;
    world.advance_clock(A_FIRE)?;
    world
        .wait(&path, "a failed fire", |trigger| {
            trigger["failed_runs"].as_u64() > Some(0)
        })
        .await?;
    world.delete(&path).await?;
    world
        .patch(
            &format!("/webhook/{}", of.webhook),
            &json!({"is_active": true}),
        )
        .await?;

    Shop::set(&world.shop.shut, true);
    let run = world
        .create("/sync-job-run", &run_of(&of.job, &of.account, &of.webhook))
        .await?;
    let state = format!("/sync-job-run/{run}");
    world
        .wait(&state, "its first page", |run| {
            run["records_delivered"].as_u64() > Some(0)
        })
        .await?;
    world.advance_clock(Duration::from_mins(121))?;
    world
        .wait(&state, "it to fail", |run| run["status"] == "failed")
        .await?;
    Shop::set(&world.shop.shut, false);
    let expected = Expected {
        status: "failed",
        served: None,
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;
    Ok(())
}
