//! Credentials that are refused and replaced; a receiver that says it is gone and comes back.

use anyhow::Result;
use serde_json::json;

use super::objects;
use crate::{
    shop::{NEW_KEY, Shop, served},
    world::{Expected, World, run_of},
};

pub async fn run(world: &World) -> Result<()> {
    let of = objects(world, &json!({})).await?;
    Shop::set(&world.shop.calm, true);
    Shop::set(&world.shop.mended, true);
    Shop::set(&world.shop.locked, true);
    let run = world
        .create("/sync-job-run", &run_of(&of.job, &of.account, &of.webhook))
        .await?;
    let account = format!("/integrated-account/{}", of.account);
    world
        .wait(&account, "the account to need new credentials", |account| {
            account["status"] == "needs_reauth"
        })
        .await?;
    let path = format!("/sync-job-run/{run}");
    world
        .wait(&path, "the run to wait for them", |run| {
            run["waiting_for"] == "credentials"
        })
        .await?;

    Shop::set(&world.shop.closed, true);
    world
        .patch(&account, &json!({"credentials": {"api_key": NEW_KEY}}))
        .await?;
    let webhook = format!("/webhook/{}", of.webhook);
    world
        .wait(&webhook, "the webhook to be switched off", |webhook| {
            webhook["is_active"] == false
        })
        .await?;
    Shop::set(&world.shop.closed, false);
    world.patch(&webhook, &json!({"is_active": true})).await?;
    let expected = Expected {
        status: "completed",
        served: Some(served(true)),
        ..Expected::default()
    };
    world.check_run(&of.webhook, &run, expected).await?;
    Ok(())
}
