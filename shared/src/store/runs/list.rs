//! Listing runs: newest first, filtered while reading.

use std::{collections::HashMap, time::Duration};

use redis::AsyncCommands;

use super::{Runs, view};
use crate::{
    ids::{AccountId, EnvironmentId, SyncJobId, WebhookId},
    model::run::{RunStatus, RunView},
    store::{Page, PageRequest, StoreResult, queue::millis, scripts},
};

/// Runs read for one page at most. With filters that match little a page can be
/// shorter than its limit and still have a next one.
const MAX_SCANNED: usize = 2_000;
/// Runs read at once.
const SCAN_STEP: usize = 200;

/// Runs of one list that one pass looks at.
const PRUNED_AT_ONCE: usize = 1_000;
/// After the end of a list, until it is gone through again.
const PRUNED_AGAIN: Duration = Duration::from_hours(1);

/// Which runs are asked for; empty fields match all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    pub sync_job_id: Option<SyncJobId>,
    pub integrated_account_id: Option<AccountId>,
    pub webhook_id: Option<WebhookId>,
    pub status: Option<RunStatus>,
}

impl RunFilter {
    fn matches(&self, run: &RunView) -> bool {
        self.sync_job_id.is_none_or(|id| id == run.sync_job_id)
            && self
                .integrated_account_id
                .is_none_or(|id| id == run.integrated_account_id)
            && self.webhook_id.is_none_or(|id| id == run.webhook_id)
            && self.status.is_none_or(|status| status == run.status)
    }
}

impl Runs {
    /// Runs of an environment, newest first.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Unavailable`].
    pub async fn list(
        &self,
        environment: EnvironmentId,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<RunView>> {
        let limit = page.limit as usize;
        let index = self.store.keys().runs_of(environment);
        let mut items = Vec::new();
        let mut after = page.after.clone();
        let mut scanned = 0;
        loop {
            let max = after
                .as_ref()
                .map_or_else(|| "+".to_owned(), |seen| format!("({seen}"));
            let ids: Vec<String> = redis::cmd("ZREVRANGEBYLEX")
                .arg(&index)
                .arg(max)
                .arg("-")
                .arg("LIMIT")
                .arg(0)
                .arg(SCAN_STEP)
                .query_async(&mut self.store.connection())
                .await?;
            let exhausted = ids.len() < SCAN_STEP;
            scanned += ids.len();
            let views = self.views(&ids).await?;
            self.forget_expired(&index, &ids, &views).await?;
            for (position, run) in views.into_iter().enumerate() {
                after = ids.get(position).cloned();
                if let Some(run) = run.filter(|run| filter.matches(run)) {
                    items.push(run);
                    if items.len() == limit {
                        let last = exhausted && position + 1 == ids.len();
                        return Ok(Page {
                            items,
                            next: if last { None } else { after },
                        });
                    }
                }
            }
            if exhausted {
                return Ok(Page { items, next: None });
            }
            if scanned >= MAX_SCANNED {
                return Ok(Page { items, next: after });
            }
        }
    }

    /// One pass over the list of runs of one environment, the next one: takes out those past their retention, whether or
    /// not anybody adds to the list or reads it. Gives how many.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Unavailable`].
    pub async fn prune(&self) -> StoreResult<u64> {
        let mut call = self.store.call(&scripts::RETENTION);
        call.arg(PRUNED_AT_ONCE).arg(millis(PRUNED_AGAIN));
        self.store.invoke(&call).await
    }

    /// Takes runs past their retention out of the index: their keys have expired by themselves.
    async fn forget_expired(
        &self,
        index: &str,
        ids: &[String],
        views: &[Option<RunView>],
    ) -> StoreResult<()> {
        let missing: Vec<_> = ids
            .iter()
            .zip(views)
            .filter(|(_, view)| view.is_none())
            .map(|(id, _)| id)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut connection = self.store.connection();
        let mut pipeline = redis::pipe();
        for id in &missing {
            pipeline.exists(self.store.keys().join(&["run", id]));
        }
        // A run that is there and can't be read here is for a program of another version.
        let present: Vec<bool> = pipeline.query_async(&mut connection).await?;
        let expired: Vec<_> = missing
            .into_iter()
            .zip(present)
            .filter(|(_, present)| !present)
            .map(|(id, _)| id)
            .collect();
        if !expired.is_empty() {
            let _removed: u64 = connection.zrem(index, expired).await?;
        }
        Ok(())
    }

    /// The runs of these ids, in one round trip; `None` for one that has expired.
    async fn views(&self, ids: &[String]) -> StoreResult<Vec<Option<RunView>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.store.keys();
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline
                .get(keys.join(&["run", id, "spec"]))
                .hgetall(keys.join(&["run", id]));
        }
        let answers: Vec<redis::Value> = pipeline.query_async(&mut self.store.connection()).await?;
        let mut answers = answers.into_iter();
        let mut views = Vec::with_capacity(ids.len());
        for _ in ids {
            let (Some(spec), Some(state)) = (answers.next(), answers.next()) else {
                break;
            };
            let spec: Option<String> =
                redis::from_redis_value(spec).map_err(redis::RedisError::from)?;
            let state: HashMap<String, String> =
                redis::from_redis_value(state).map_err(redis::RedisError::from)?;
            let spec = spec
                .filter(|_| !state.contains_key(view::DELETED_AT))
                .and_then(|json| serde_json::from_str(&json).ok());
            views.push(spec.map(|spec| view::run_view(&spec, &state)));
        }
        self.name_obstacles(&mut views).await?;
        Ok(views)
    }
}
