//! Workers that are told to stop in the middle, one after the other.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::objects;
use crate::{
    shop::{Shop, served},
    world::{Expected, World, run_of},
};

/// Longer than leases go without being extended.
const A_LONG_REQUEST: Duration = Duration::from_secs(11);

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({})).await?;
    Shop::set(&world.shop.calm, true);
    Shop::set(&world.shop.mended, true);
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
    tokio::time::sleep(A_LONG_REQUEST).await;
    for worker in 0..2 {
        world.restart_worker(worker).await?;
    }
    Shop::set(&world.shop.shut, false);
    let expected = Expected {
        status: "completed",
        served: Some(served(true)),
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;
    Ok(())
}
