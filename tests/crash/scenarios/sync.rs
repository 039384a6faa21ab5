//! Parents and children, loops and a recursion, started by a client and by a workflow, over a source and a receiver with troubles; then the dead
//! letters.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{account, webhook};
use crate::{
    shop::{DEPOTS, REFUSED, Shop, integration, nested_resources, nested_served},
    world::{Expected, World, run_of},
};

pub async fn run(world: &World) -> Result<()> {
    world
        .put("/integration/shop", &integration(&world.source_url()))
        .await?;
    let webhook = webhook(world).await?;
    let job = json!({"integration_name": "shop", "resources": nested_resources()});
    let job = world.create("/sync-job", &job).await?;
    let workflow = json!({"trigger_name": "integrated_account:active", "config": {"steps": [
        {"type": "run", "action": "run_sync_job", "config": {"sync_job_id": job, "webhook_id": webhook}}]}});
    world.create("/workflow", &workflow).await?;
    let account = account(world).await?;
    let own = world
        .create("/sync-job-run", &run_of(&job, &account, &webhook))
        .await?;

    let list = format!("/sync-job-run?sync_job_id={job}");
    let both = world
        .wait(&list, "the workflow's run", |list| {
            list["result"]
                .as_array()
                .is_some_and(|runs| runs.len() == 2)
        })
        .await?;
    let runs = both["result"].as_array().context("runs")?;
    let ids: Vec<_> = runs.iter().filter_map(|run| run["id"].as_str()).collect();
    ensure!(
        ids.contains(&own.as_str()),
        "the accepted run is none of {both}"
    );
    for id in &ids {
        let expected = Expected {
            status: "completed",
            served: Some(nested_served(false)),
            unsent: DEPOTS,
            ..Expected::default()
        };
        let run = world.check_run(&webhook, id, expected).await?;
        ensure!(
            run["errors"] == 1 && run["records_dead"] == REFUSED.len(),
            "one fetch is given up: {run}"
        );
    }
    redrive(world, &webhook, &ids).await
}

/// One letter of each run is deleted, the others are sent again.
async fn redrive(world: &World, webhook: &str, runs: &[&str]) -> Result<()> {
    let list = format!("/webhook/{webhook}/dead-letter");
    let letters = world.get(&list).await?;
    let letters = letters["result"].as_array().context("letters")?.clone();
    ensure!(
        letters.len() == runs.len() * REFUSED.len(),
        "each refused record is a letter: {letters:?}"
    );
    Shop::set(&world.shop.mended, true);
    for letter in letters
        .iter()
        .filter(|letter| letter["first_seq"] == REFUSED[0])
    {
        let id = letter["id"].as_str().context("an id")?;
        world.delete(&format!("{list}/{id}")).await?;
    }
    // The first one is cancelled, wherever it is; the second one sends what is left.
    let slow = redrive_of(world, &list, &json!({"rate_per_second": 1})).await?;
    world.post(&format!("{slow}/cancel"), &json!({})).await?;
    ended(world, &slow).await?;
    let rest = redrive_of(world, &list, &json!({})).await?;
    let rest = ended(world, &rest).await?;
    // A letter that was being sent when the first one was cancelled counts once its answer is there.
    let delivered = |redrive: &Value| redrive["delivered"].as_u64().map(|count| count + rest);
    let all = Some(runs.len() as u64);
    world
        .wait(&slow, "each letter to be delivered once", |slow| {
            delivered(slow) == all
        })
        .await?;
    let left = world.get(&list).await?;
    ensure!(
        left["result"] == Value::Array(Vec::new()),
        "no letter is left: {left}"
    );
    for letter in letters
        .iter()
        .filter(|letter| letter["first_seq"] == REFUSED[1])
    {
        let id = letter["id"].as_str().context("an id")?;
        let deliveries = world.receiver.deliveries();
        let came = deliveries.iter().any(|delivery| {
            delivery.acknowledged() && delivery.request.header("webhook-id") == Some(id)
        });
        ensure!(came, "the letter {id} was sent again");
    }
    Ok(())
}

/// Starts a redrive; its path.
async fn redrive_of(world: &World, list: &str, body: &Value) -> Result<String> {
    let id = world.create(&format!("{list}/redrive"), body).await?;
    Ok(format!("{list}/redrive/{id}"))
}

/// Waits for the end of a redrive; how many letters it delivered.
async fn ended(world: &World, path: &str) -> Result<u64> {
    let ended = world
        .wait(path, "the end of the redrive", |redrive| {
            redrive["status"] != "running"
        })
        .await?;
    ensure!(ended["failed"] == 0, "{ended}");
    ended["delivered"].as_u64().context("a count")
}
