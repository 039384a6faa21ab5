//! What workflows did: one JSON document for each event and workflow, kept for the
//! retention time, with an index an environment and one a workflow.

use redis::AsyncCommands;
use serde::de::DeserializeOwned;

use super::{
    Page, PageRequest, Store, StoreError, StoreResult,
    queue::{Held, held},
    scripts,
};
use crate::{
    ids::{EnvironmentId, WorkflowId, WorkflowRunId},
    model::workflow_run::{
        KeptWorkflowRun, StartEvent, WorkflowRun, WorkflowRunStatus, derived_id,
    },
};

const MS_PER_DAY: u64 = 86_400_000;
/// Characters of an id that are its time.
const ULID_TIME_CHARS: usize = 10;
/// Rows read at once.
const CHUNK: usize = 200;
/// Rows looked at for one page of a filtered list; then the page ends short, with a cursor.
const MAX_SCANNED: usize = 2_000;

/// Which workflow runs are asked for; empty fields match all.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkflowRunFilter {
    pub workflow_id: Option<WorkflowId>,
    pub status: Option<WorkflowRunStatus>,
}

impl Store {
    /// Writes how far a workflow run is, under the claim of its task.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: call again.
    pub async fn put_workflow_run(
        &self,
        task: &str,
        token: &str,
        kept: &KeptWorkflowRun,
        retention_days: u32,
    ) -> StoreResult<Held> {
        let run = &kept.run;
        let json = serde_json::to_string(kept)
            .map_err(|error| StoreError::Unexpected(error.to_string()))?;
        let mut call = self.call(&scripts::WORKFLOW_RUN_PUT);
        call.arg(task)
            .arg(token)
            .arg(run.environment_id.to_string())
            .arg(run.id.to_string())
            .arg(run.workflow_id.to_string())
            .arg(json)
            .arg(u64::from(retention_days) * MS_PER_DAY);
        held("workflow_run_put", &self.invoke::<String>(&call).await?)
    }

    /// A workflow run of an environment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn workflow_run(
        &self,
        environment: EnvironmentId,
        id: WorkflowRunId,
    ) -> StoreResult<Option<WorkflowRun>> {
        let key = self.keys().workflow_run(&id.to_string());
        let json: Option<String> = self.connection().get(key).await?;
        let run = json.as_deref().map(read::<WorkflowRun>).transpose()?;
        Ok(run.filter(|run| run.environment_id == environment))
    }

    /// Those of an event that aren't through yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open_workflow_runs(
        &self,
        environment: EnvironmentId,
        event: &StartEvent,
    ) -> StoreResult<Vec<KeptWorkflowRun>> {
        // Their ids have the time of the event.
        let id = WorkflowRunId::from_bits(derived_id(event.created_at, &[])).to_string();
        let (since, _) = id.split_at(WorkflowRunId::PREFIX.len() + 1 + ULID_TIME_CHARS);
        let mut connection = self.connection();
        let ids: Vec<String> = redis::cmd("ZRANGEBYLEX")
            .arg(self.keys().workflow_runs_of(environment))
            .arg(format!("[{since}"))
            .arg(format!("[{since}~"))
            .arg(&["LIMIT", "0"])
            .arg(MAX_SCANNED)
            .query_async(&mut connection)
            .await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| self.keys().workflow_run(id)).collect();
        let rows: Vec<Option<String>> = connection.mget(keys).await?;
        let rows = rows.iter().flatten();
        let kept: Vec<KeptWorkflowRun> = rows.map(|row| read(row)).collect::<StoreResult<_>>()?;
        let is_open = |kept: &KeptWorkflowRun| {
            kept.run.event.id == event.id && kept.run.status == WorkflowRunStatus::Running
        };
        Ok(kept.into_iter().filter(is_open).collect())
    }

    /// Workflow runs of an environment, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn workflow_runs(
        &self,
        environment: EnvironmentId,
        filter: WorkflowRunFilter,
        page: &PageRequest,
    ) -> StoreResult<Page<WorkflowRun>> {
        let index = match filter.workflow_id {
            Some(workflow) => self.keys().runs_of_workflow(workflow),
            None => self.keys().workflow_runs_of(environment),
        };
        let limit = page.limit as usize;
        let mut connection = self.connection();
        let (mut items, mut after, mut scanned) = (Vec::new(), page.after.clone(), 0);
        loop {
            let newest = after
                .as_ref()
                .map_or_else(|| "+".to_owned(), |seen| format!("({seen}"));
            let ids: Vec<String> = redis::cmd("ZREVRANGEBYLEX")
                .arg(&index)
                .arg(newest)
                .arg("-")
                .arg(&["LIMIT", "0"])
                .arg(CHUNK)
                .query_async(&mut connection)
                .await?;
            if ids.is_empty() {
                return Ok(Page { items, next: None });
            }
            let keys: Vec<_> = ids.iter().map(|id| self.keys().workflow_run(id)).collect();
            let rows: Vec<Option<String>> = connection.mget(keys).await?;
            for (id, row) in ids.iter().zip(rows) {
                let run = row.as_deref().map(read::<WorkflowRun>).transpose()?;
                let wanted = |run: &WorkflowRun| {
                    run.environment_id == environment
                        && filter.status.is_none_or(|status| run.status == status)
                };
                if let Some(run) = run.filter(wanted) {
                    if items.len() == limit {
                        return Ok(Page { items, next: after });
                    }
                    items.push(run);
                }
                after = Some(id.clone());
                scanned += 1;
            }
            if scanned >= MAX_SCANNED {
                return Ok(Page { items, next: after });
            }
        }
    }
}

fn read<T: DeserializeOwned>(json: &str) -> StoreResult<T> {
    serde_json::from_str(json)
        .map_err(|error| StoreError::Unexpected(format!("a workflow run can't be read: {error}")))
}
