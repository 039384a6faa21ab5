//! What `syncline-api` does, one file a command.
pub mod environment;
pub mod openapi;
pub mod serve;
pub mod token;

use shared::{config::Settings, store::Store};

/// The store of a command, which it checks to be there first.
async fn open_store(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::open(settings.redis_url.expose(), &settings.key_prefix)?;
    store.check().await?;
    Ok(store)
}
