//! The dead letters of a run, as a client reads them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::rest::Rest;

/// All dead letters of a run, each with its body.
pub async fn dead_letters(rest: &Rest, webhook: &str, run: &str) -> Result<Vec<Value>> {
    let mut letters = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!(
            "/webhook/{webhook}/dead-letter?limit=200&sync_job_run_id={run}&next_cursor={cursor}"
        );
        let page = rest.get(&path).await?;
        for letter in page["result"].as_array().context("a list")? {
            let id = letter["id"].as_str().context("an id")?;
            letters.push(
                rest.get(&format!("/webhook/{webhook}/dead-letter/{id}"))
                    .await?,
            );
        }
        let Some(next) = page["next_cursor"].as_str() else {
            return Ok(letters);
        };
        next.clone_into(&mut cursor);
    }
}
