//! Whole syncs: from `POST /sync-job-run` until the run is `completed`, which it is when every record was
//! acknowledged.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    figures::{Table, Target},
    source::{BIG_RECORDS, CHILDREN_PER_PARENT, ITEM_PAGES, PARENTS, RECORDS_PER_PAGE},
    stack::{Bench, RUN_TIMEOUT},
};

/// What a record sync subscribes to.
const EVENT_TYPES: [&str; 4] = [
    "sync_job_run:record",
    "sync_job_run:completed",
    "sync_job_run:failed",
    "sync_job_run:stopped",
];

/// Which sync.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Many pages, one after the other.
    Flat,
    /// Many requests, one for each parent.
    Children,
    /// One page that must not be held in memory.
    Big,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat list",
            Self::Children => "children",
            Self::Big => "77 MB page",
        }
    }

    fn records(self) -> usize {
        match self {
            Self::Flat => ITEM_PAGES * RECORDS_PER_PAGE,
            Self::Children => PARENTS + PARENTS * CHILDREN_PER_PARENT,
            Self::Big => BIG_RECORDS,
        }
    }

    /// The highest resident memory that the worker may reach, in MiB.
    fn memory_target(self) -> Target {
        match self {
            Self::Flat => Target::AtMost(64.0),
            Self::Children => Target::None,
            Self::Big => Target::AtMost(96.0),
        }
    }

    fn resources(self) -> Value {
        match self {
            Self::Flat => json!([{"resource": "items", "method": "list"}]),
            Self::Children => json!([
                {"resource": "parents", "method": "list"},
                {"resource": "children", "method": "list", "depends_on": "parents",
                 "query": {"parent_id": "{{resources.parents.id}}"}},
            ]),
            Self::Big => json!([{"resource": "big", "method": "list"}]),
        }
    }
}

/// Runs the sync once a round, each with fresh processes.
pub async fn measure(shape: Shape, rounds: usize, table: &mut Table) -> Result<()> {
    let name = shape.name();
    for round in 1..=rounds {
        eprintln!("{name}: round {round} of {rounds}");
        let bench = Bench::start()?;
        let seconds = sync(&bench, shape).await?;
        match shape {
            Shape::Flat => {
                table.add(
                    name,
                    "records/s",
                    Target::AtLeast(40_000.0),
                    shape.records() as f64 / seconds,
                );
            }
            Shape::Children => {
                table.add(
                    name,
                    "child requests/s",
                    Target::AtLeast(2_000.0),
                    PARENTS as f64 / seconds,
                );
            }
            Shape::Big => table.add(
                name,
                "records/s",
                Target::None,
                shape.records() as f64 / seconds,
            ),
        }
        let memory = bench.worker_peak_mib()?;
        table.add(
            &format!("{name}: peak memory of the worker"),
            "MiB",
            shape.memory_target(),
            memory,
        );
        bench.add_cpu_seconds(name, table)?;
    }
    Ok(())
}

/// Seconds from the submission to the run's end; an error unless everything arrived.
async fn sync(bench: &Bench, shape: Shape) -> Result<f64> {
    let ready = bench.prepare("bench", bench.source(), &EVENT_TYPES).await?;
    let job =
        json!({"integration_name": "bench", "label": shape.name(), "resources": shape.resources()});
    let job_id = bench.rest.create("/sync-job", &job).await?;
    let run = json!({
        "sync_job_id": job_id,
        "integrated_account_id": ready.account_id,
        "webhook_id": ready.webhook_id,
    });
    let submitted = Instant::now();
    let run_id = bench.rest.create("/sync-job-run", &run).await?;
    let run = bench.rest.wait_for_end(&run_id, RUN_TIMEOUT).await?;
    let seconds = submitted.elapsed().as_secs_f64();
    ensure!(
        run["status"] == "completed",
        "the run ended otherwise: {run}"
    );
    let received = bench.received().await?;
    ensure!(
        received["records"].as_u64() >= Some(shape.records() as u64),
        "the source has {} records, the receiver got {received}",
        shape.records()
    );
    Ok(seconds)
}
