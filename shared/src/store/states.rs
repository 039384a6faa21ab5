//! `sync-job-run-state`: small values that clients keep between runs, by state key and key.
//!
//! State: a hash of entries for each state key, their keys in order, and how many there are. Authority: the hash; all three
//! change in one script. Bounded by [`MAX_ENTRIES`] and [`MAX_STATE_KEYS`].

use redis::AsyncCommands;
use serde_json::Value;

use super::{Page, PageRequest, Store, StoreError, StoreResult, scripts, scripts::unexpected};
use crate::{
    clock::Timestamp,
    ids::{EnvironmentId, RunId},
};

/// Entries of one state key.
pub const MAX_ENTRIES: u32 = 10_000;
/// State keys of an environment.
pub const MAX_STATE_KEYS: u32 = 10_000;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct StateEntry {
    pub key: String,
    pub value: Value,
    pub sync_job_run_id: Option<RunId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What became of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum StateCreation {
    Created(StateEntry),
    /// Another creation made an entry of this key.
    Exists,
    /// There are as many as may be.
    Full,
}

/// Entries of one state key of an environment.
#[derive(Debug, Clone)]
pub struct States<'a> {
    store: &'a Store,
    environment: EnvironmentId,
    state_key: &'a str,
}

impl Store {
    #[must_use]
    pub fn states<'a>(&'a self, environment: EnvironmentId, state_key: &'a str) -> States<'a> {
        States {
            store: self,
            environment,
            state_key,
        }
    }
}

impl States<'_> {
    fn join(&self, kind: &str) -> String {
        let environment = self.environment.to_string();
        self.store
            .keys()
            .join(&[kind, &environment, self.state_key])
    }

    /// Makes an entry. `creation`: the same for a repeated call.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(
        &self,
        creation: u128,
        key: &str,
        value: &Value,
        run: Option<RunId>,
    ) -> StoreResult<StateCreation> {
        let run = run.map_or_else(|| "-".to_owned(), |run| run.to_string());
        let answer = self
            .put("create", key, value, &run, &format!("{creation:x}"))
            .await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["ok", entry] => Ok(StateCreation::Created(read(key, entry)?)),
            ["exists"] => Ok(StateCreation::Exists),
            ["full"] => Ok(StateCreation::Full),
            _ => Err(unexpected("state_put", &answer)),
        }
    }

    /// Changes an entry; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update(&self, key: &str, value: &Value) -> StoreResult<Option<StateEntry>> {
        let answer = self.put("update", key, value, "-", "-").await?;
        entry("state_put", key, &answer)
    }

    /// Removes an entry, and gives what it was; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, key: &str) -> StoreResult<Option<StateEntry>> {
        let mut call = self.store.call(&scripts::STATE_DELETE);
        call.arg(self.environment.to_string())
            .arg(self.state_key)
            .arg(key);
        entry(
            "state_delete",
            key,
            &self.store.invoke::<Vec<String>>(&call).await?,
        )
    }

    /// An entry.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, key: &str) -> StoreResult<Option<StateEntry>> {
        let entry: Option<String> = self
            .store
            .connection()
            .hget(self.join("state"), key)
            .await?;
        entry.map(|entry| read(key, &entry)).transpose()
    }

    /// Entries by key, in the order of their bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, page: &PageRequest) -> StoreResult<Page<StateEntry>> {
        let after = page.after.as_ref();
        let min = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let limit = page.limit as usize;
        let mut connection = self.store.connection();
        let mut keys: Vec<String> = redis::cmd("ZRANGEBYLEX")
            .arg(self.join("state_index"))
            .arg(min)
            .arg("+")
            .arg("LIMIT")
            .arg(0)
            .arg(limit + 1)
            .query_async(&mut connection)
            .await?;
        let more = keys.len() > limit;
        keys.truncate(limit);
        let next = if more { keys.last().cloned() } else { None };
        if keys.is_empty() {
            return Ok(Page {
                items: Vec::new(),
                next,
            });
        }
        let entries: Vec<Option<String>> = redis::cmd("HMGET")
            .arg(self.join("state"))
            .arg(&keys)
            .query_async(&mut connection)
            .await?;
        let rows = keys.iter().zip(entries);
        let items = rows
            .filter_map(|(key, entry)| Some(read(key, &entry?)))
            .collect::<StoreResult<Vec<_>>>()?;
        Ok(Page { items, next })
    }

    async fn put(
        &self,
        what: &str,
        key: &str,
        value: &Value,
        run: &str,
        creation: &str,
    ) -> StoreResult<Vec<String>> {
        let mut call = self.store.call(&scripts::STATE_PUT);
        call.arg(what)
            .arg(self.environment.to_string())
            .arg(self.state_key)
            .arg(key)
            .arg(value.to_string())
            .arg(run)
            .arg(creation)
            .arg(MAX_ENTRIES)
            .arg(MAX_STATE_KEYS);
        self.store.invoke(&call).await
    }
}

fn entry(script: &str, key: &str, answer: &[String]) -> StoreResult<Option<StateEntry>> {
    match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ok", entry] => read(key, entry).map(Some),
        ["missing"] => Ok(None),
        _ => Err(unexpected(script, answer)),
    }
}

/// `<created ms> <updated ms> <run or -> <creation> <value>`.
fn read(key: &str, entry: &str) -> StoreResult<StateEntry> {
    let unreadable = || StoreError::Unexpected("an entry of a state can't be read".to_owned());
    let mut parts = entry.splitn(5, ' ');
    let mut time = || parts.next().and_then(|ms| ms.parse().ok()).map(Timestamp);
    let (created_at, updated_at) = (time(), time());
    let (run, value) = (parts.next(), parts.nth(1));
    Ok(StateEntry {
        key: key.to_owned(),
        value: value
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(unreadable)?,
        sync_job_run_id: run.and_then(|run| run.parse().ok()),
        created_at: created_at.ok_or_else(unreadable)?,
        updated_at: updated_at.ok_or_else(unreadable)?,
    })
}
