//! From a run that has ended to the run that fetches again what failed in it.

use super::{SubmitError, Submitter};
use crate::{
    clock::Timestamp,
    fault::Faults,
    ids::{EnvironmentId, RunId},
    model::{
        account::{Account, AccountStatus},
        run::{Retry, RunSpec, Trigger},
        webhook::Webhook,
    },
};

/// What a retry of a run is started with.
#[derive(Debug)]
pub enum ToRetry {
    Ended(Box<RunSpec>),
    /// What failed in it isn't all known yet.
    Active,
    NotFound,
}

impl Submitter<'_> {
    /// What a retry of `of` is started with. It has the job's resources, the arguments
    /// and the dates of that run, and the webhook's delivery as it is now. Which fetches it makes, and whether it may be
    /// made at all, the script decides that accepts it ([`crate::store::runs::Runs::retry`]).
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn prepare_retry(
        &self,
        environment: EnvironmentId,
        id: RunId,
        of: RunId,
    ) -> Result<ToRetry, SubmitError> {
        let runs = self.store.runs();
        // Through the view, which knows whose runs are whose and which are deleted.
        let Some(view) = runs.get(environment, of).await? else {
            return Ok(ToRetry::NotFound);
        };
        if view.finished_at.is_none() {
            // It may end, with further dead letters, before the script looks.
            return Ok(ToRetry::Active);
        }
        let Some(old) = runs.spec(of).await? else {
            return Ok(ToRetry::NotFound);
        };
        let state = runs.state(of).await?;
        let (account, webhook) = tokio::try_join!(
            self.find::<Account>(environment, Some(old.integrated_account_id)),
            self.find::<Webhook>(environment, Some(old.webhook_id)),
        )?;
        let mut faults = Faults::default();
        if account.is_none_or(|account| account.status != AccountStatus::Active) {
            faults.push(
                "",
                "the run's integrated account was deleted or is not active",
            );
        }
        let Some(webhook) = webhook.filter(|webhook| webhook.is_active) else {
            faults.push("", "the run's webhook was deleted or is not active");
            return Err(SubmitError::Invalid(faults));
        };
        if !faults.is_empty() {
            return Err(SubmitError::Invalid(faults));
        }
        let field = |node: usize, name: &str| state.get(&format!("n{node}:{name}"));
        let mut undelivered: Vec<usize> = old
            .retry
            .as_ref()
            .map(|retry| retry.undelivered.clone())
            .unwrap_or_default();
        let mut previous = std::collections::BTreeMap::new();
        for (node, of) in view.progress.iter().enumerate() {
            // What an expression failed on, or what never became a request, isn't fetched again.
            let failed = field(node, "failed").and_then(|count| count.parse().ok());
            let lost = of.records_dead > 0 || of.errors > failed.unwrap_or(0);
            if lost && !undelivered.contains(&node) {
                undelivered.push(node);
            }
            if let Some(ms) = field(node, "previous").and_then(|ms| ms.parse().ok()) {
                previous.insert(of.name.clone(), Timestamp(ms));
            }
        }
        let watermark = old.retry.as_ref().map(|retry| retry.watermark);
        let watermark = watermark.or(view.started_at).unwrap_or(view.created_at);
        Ok(ToRetry::Ended(Box::new(RunSpec {
            id,
            trigger: Trigger::Api,
            trigger_id: None,
            force: false,
            retry_of: Some(of),
            retry: Some(Retry {
                previous,
                watermark,
                undelivered,
            }),
            batch_records: webhook.delivery.batch_records,
            batch_bytes: webhook.delivery.batch_bytes,
            linger_ms: webhook.delivery.linger_ms,
            delivery_concurrency: webhook.delivery.concurrency,
            retention_days: self.retention_days,
            ..old
        })))
    }
}
