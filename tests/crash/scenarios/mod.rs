//! What is going on when something crashes. Each scenario ends with every promise checked and nothing left in the store.

mod accounts;
mod backpressure;
mod broken;
mod control;
mod drain;
mod schedule;
mod sync;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    shop::{self, OLD_KEY},
    world::World,
};

/// Those with the least to do come first: a point is walked in the first one that comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// A whole sync with the troubles of real systems, and its dead letters sent again.
    Sync,
    /// Runs stopped, retried and deleted; objects changed; tokens.
    Control,
    /// An account whose credentials are refused, a receiver that is gone.
    Accounts,
    /// A cron trigger that fires, and fails; a run that lasts too long.
    Schedule,
    /// A page that is larger than what may wait for a receiver.
    Backpressure,
    /// Workers that are told to stop.
    Drain,
    /// Objects that can't be read, or are gone from the store.
    Broken,
}

impl Scenario {
    pub const ALL: &[Self] = &[
        Self::Sync,
        Self::Control,
        Self::Accounts,
        Self::Schedule,
        Self::Backpressure,
        Self::Drain,
        Self::Broken,
    ];

    /// As tests are named: what goes on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "syncing",
            Self::Control => "controlling runs",
            Self::Accounts => "accounts and receivers come and go",
            Self::Schedule => "triggers fire",
            Self::Backpressure => "the receiver is behind",
            Self::Drain => "workers stop",
            Self::Broken => "objects are broken by hand and mended",
        }
    }

    /// Settings of the programs.
    pub const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Drain => &[("SYNCLINE_DRAIN_SECONDS", "1")],
            _ => &[],
        }
    }

    pub async fn run(self, world: &World) -> Result<()> {
        match self {
            Self::Sync => sync::run(world).await,
            Self::Control => control::run(world).await,
            Self::Accounts => accounts::run(world).await,
            Self::Schedule => schedule::run(world).await,
            Self::Backpressure => backpressure::run(world).await,
            Self::Drain => drain::run(world).await,
            Self::Broken => broken::run(world).await,
        }?;
        world.after_hang().await?;
        world.settled().await?;
        world.check_again().await
    }
}

/// What most scenarios need.
struct Objects {
    account: String,
    webhook: String,
    job: String,
}

async fn objects(world: &World, job: &Value) -> Result<Objects> {
    world
        .put("/integration/shop", &shop::integration(&world.source_url()))
        .await?;
    let webhook = webhook(world).await?;
    let mut of_job = json!({"integration_name": "shop", "resources": shop::resources()});
    if let (Some(of_job), Some(more)) = (of_job.as_object_mut(), job.as_object()) {
        of_job.extend(more.clone());
    }
    Ok(Objects {
        webhook,
        job: world.create("/sync-job", &of_job).await?,
        account: account(world).await?,
    })
}

async fn webhook(world: &World) -> Result<String> {
    let webhook = json!({"target_url": world.receiver.url(),
        "delivery": {"batch_records": 8, "linger_ms": 20, "retry": {"first_ms": 100, "max_ms": 1000}}});
    world.create("/webhook", &webhook).await
}

async fn account(world: &World) -> Result<String> {
    let account = json!({"integration_name": "shop", "tenant_id": "tenant-1", "credentials": {"api_key": OLD_KEY}});
    world.create("/integrated-account", &account).await
}
