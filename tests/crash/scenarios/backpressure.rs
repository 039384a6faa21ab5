//! One page that is larger than what may wait for a receiver, which is behind meanwhile.

use anyhow::Result;
use serde_json::json;

use super::objects;
use crate::{
    shop::{Shop, huge_page},
    world::{Expected, World, run_of},
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
    let expected = Expected {
        status: "completed",
        served: Some(huge_page()),
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;
    Ok(())
}
