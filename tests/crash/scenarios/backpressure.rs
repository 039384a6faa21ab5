//! One page that is larger than what may wait for a receiver, which is behind meanwhile.

use anyhow::{Result, ensure};
use serde_json::json;

use super::objects;
use crate::{
    shop::Shop,
    world::{LONG, World, run_of},
};

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({"resources": [{"resource": "orders"}]})).await?;
    Shop::set(&world.shop.calm, true);
    Shop::set(&world.shop.huge, true);
    world.receiver.pause();
    let run = world
        .create("/sync-job-run", &run_of(&of.job, &of.account, &of.webhook))
        .await?;
    let path = format!("/sync-job-run/{run}");
    world
        .wait(&path, "the run to wait for the receiver", |run| {
            run["waiting_for"] == "receiver"
        })
        .await?;
    world.receiver.resume();
    let ended = world.rest().wait_for_end(&run, LONG).await?;
    world.wait_for_event(&run, "sync_job_run:completed").await?;
    ensure!(
        ended["status"] == "completed" && ended["records_fetched"] == ended["records_delivered"],
        "{ended}"
    );
    Ok(())
}
