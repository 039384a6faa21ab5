//! The reference scenario as a user would build it: a webhook, an integrated
//! account, a sync job of orders and their lines, and runs of it.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::progress::Progress;
use crate::{
    dev::connect_account,
    rest::{Call, Rest, text},
    sample::{
        INTEGRATION,
        inbox::Inbox,
        receiver::SampleReceiver,
        source::{LINES, ORDERS, SampleSource},
    },
    terminal::{faint, heading},
};

/// Between two looks at a run.
const POLL: Duration = Duration::from_millis(100);
/// How long the last event may take once the run has ended.
const LAST_EVENT_DEADLINE: Duration = Duration::from_secs(20);
/// Errors asked for; the demo expects one.
const MAX_ERRORS: usize = 200;

/// The sample systems, and the API between them.
pub struct Scenario {
    pub rest: Rest,
    pub source: SampleSource,
    pub receiver: SampleReceiver,
}

/// Ids of what runs need.
pub struct Prepared {
    webhook: String,
    account: String,
    job: String,
}

/// A run that has ended.
pub struct Ended {
    pub id: String,
    /// `GET /sync-job-run/{id}`
    pub run: Value,
    /// `GET /sync-job-run/{id}/error`, the rows.
    pub errors: Vec<Value>,
}

impl Scenario {
    /// Makes webhook, account and sync job.
    pub async fn prepare(&self) -> anyhow::Result<Prepared> {
        let webhook = Call::post(
            "/webhook",
            json!({
                "target_url": self.receiver.target_url(),
                "event_types": [
                    "sync_job_run:started", "sync_job_run:record", "sync_job_run:record_error",
                    "sync_job_run:completed", "sync_job_run:failed", "sync_job_run:stopped",
                ],
            }),
        );
        let webhook = self.step("1. A webhook: where events go", &webhook).await?;
        self.receiver
            .set_secret(text(&webhook, "secret")?.to_owned());
        let webhook_id = told(
            &webhook,
            "its secret, which signs every event, is shown this once",
        )?;

        let account = connect_account(&self.source);
        let account = self
            .step(
                "2. An integrated account: one customer's connection to a source",
                &account,
            )
            .await?;
        let account_id = told(&account, &format!("status {}", text(&account, "status")?))?;

        let job = Call::post(
            "/sync-job",
            json!({
                "integration_name": INTEGRATION,
                "label": "orders and their lines",
                "resources": [
                    {"resource": ORDERS, "method": "list", "query": {"updated_at": {"gt": "{{previous_run_date}}"}}},
                    {"resource": LINES, "method": "list", "depends_on": ORDERS,
                     "query": {"order_id": "{{resources.wms.orders.id}}"}},
                ],
            }),
        );
        let job = self
            .step(
                "3. A sync job: what to sync, and how it hangs together",
                &job,
            )
            .await?;
        let job_id = told(&job, "")?;
        Ok(Prepared {
            webhook: webhook_id,
            account: account_id,
            job: job_id,
        })
    }

    /// Starts a run and follows it to its last event. `expected_records`: how
    /// many there will be, when that is known.
    pub async fn run(
        &self,
        title: &str,
        prepared: &Prepared,
        expected_records: Option<u64>,
    ) -> anyhow::Result<Ended> {
        let create = Call::post(
            "/sync-job-run",
            json!({
                "sync_job_id": prepared.job,
                "integrated_account_id": prepared.account,
                "webhook_id": prepared.webhook,
            }),
        );
        let created = self.step(title, &create).await?;
        let id = text(&created, "id")?.to_owned();
        let look = Call::get(format!("/sync-job-run/{id}"));
        println!("  {}\n\n{}\n", faint(format!("→ {id}")), look.curl());

        let mut progress = Progress::new(expected_records);
        let run = loop {
            let run = self.rest.send(&look).await?;
            progress.show(&run);
            if matches!(text(&run, "status")?, "completed" | "failed" | "stopped") {
                break run;
            }
            sleep(POLL).await;
        };
        progress.finish();
        self.await_last_event(&id).await?;

        let errors = self
            .rest
            .send(&Call::get(format!(
                "/sync-job-run/{id}/error?limit={MAX_ERRORS}"
            )))
            .await?;
        let errors = errors["result"].as_array().cloned().unwrap_or_default();
        Ok(Ended { id, run, errors })
    }

    /// The run's end is decided before the event that tells of it is delivered.
    async fn await_last_event(&self, run: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + LAST_EVENT_DEADLINE;
        let ended = |inbox: &Inbox| {
            inbox
                .runs
                .get(run)
                .is_some_and(|seen| seen.terminal.is_some())
        };
        while !self.receiver.look(ended) {
            if Instant::now() >= deadline {
                bail!(
                    "the run ended, but its last event didn't come within {} s",
                    LAST_EVENT_DEADLINE.as_secs()
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn step(&self, title: &str, call: &Call) -> anyhow::Result<Value> {
        println!("{}\n\n{}\n", heading(title), call.curl());
        self.rest.send(call).await
    }
}

/// Prints what was made and answers its id.
fn told(made: &Value, remark: &str) -> anyhow::Result<String> {
    let id = text(made, "id")?;
    let separator = if remark.is_empty() { "" } else { "   " };
    println!("  {}\n", faint(format!("→ {id}{separator}{remark}")));
    Ok(id.to_owned())
}
