//! Prometheus metrics: their names, what they mean, and the recorder.
//!
//! A counter that is raised for each record or task is best kept as a handle
//! (`let counter = metrics::counter!(RECORDS_FETCHED);`): raising it is then one atomic
//! addition. Labels have few values: a queue, an outcome, never an id.

use std::{sync::OnceLock, time::Duration};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::TelemetryError;

/// Tasks that ended; labels [`QUEUE`], [`OUTCOME`].
pub const TASKS: &str = "syncline_tasks_total";
/// From ready to claimed; label [`QUEUE`].
pub const CLAIM_LATENCY: &str = "syncline_claim_latency_seconds";
/// From claimed to ended; label [`QUEUE`].
pub const TASK_DURATION: &str = "syncline_task_duration_seconds";
/// One commit script, there and back.
pub const COMMIT_DURATION: &str = "syncline_commit_duration_seconds";
/// Records committed from sources.
pub const RECORDS_FETCHED: &str = "syncline_records_fetched_total";
/// Records acknowledged by receivers.
pub const RECORDS_DELIVERED: &str = "syncline_records_delivered_total";
/// Attempts at delivering an event; label [`OUTCOME`].
pub const DELIVERIES: &str = "syncline_deliveries_total";
/// Attempts that the log of attempts did not take.
pub const LOST_ATTEMPTS: &str = "syncline_lost_attempts_total";
/// One exchange with a receiver.
pub const DELIVERY_DURATION: &str = "syncline_delivery_duration_seconds";
/// One exchange with a source.
pub const SOURCE_DURATION: &str = "syncline_source_request_duration_seconds";
/// Age of the oldest ready task; label [`QUEUE`].
pub const OLDEST_READY_AGE: &str = "syncline_oldest_ready_task_age_seconds";
/// Tasks that wait for a worker; label [`QUEUE`].
pub const READY_TASKS: &str = "syncline_ready_tasks";
/// Tasks that wait for a time; label [`QUEUE`].
pub const DELAYED_TASKS: &str = "syncline_delayed_tasks";
/// Tasks that are in work; label [`QUEUE`].
pub const CLAIMED_TASKS: &str = "syncline_claimed_tasks";
/// Bytes committed and not yet acknowledged.
pub const UNDELIVERED_BYTES: &str = "syncline_undelivered_bytes";
/// Events that belong to no run and that full outboxes did not take.
pub const DROPPED_EVENTS: &str = "syncline_dropped_events";

/// Share of `maxmemory` that Redis has in use; absent without a limit.
pub const STORE_MEMORY_SHARE: &str = "syncline_store_memory_share";
/// Calls that Redis did not carry out; label [`REASON`].
pub const STORE_FAILURES: &str = "syncline_store_failures_total";
/// Time of one request to the API.
pub const HTTP_DURATION: &str = "syncline_http_request_seconds";

/// Label: `runs`, `fetches` or `deliveries`.
pub const QUEUE: &str = "queue";
/// Label: how it ended, a word of a small closed set.
pub const OUTCOME: &str = "outcome";
/// Label: why it was not done, a word of a small closed set.
pub const REASON: &str = "reason";

/// Upper bounds in seconds, for what takes a round trip to Redis or a wake-up.
const SHORT_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
/// Upper bounds in seconds, for exchanges with other systems.
const LONG_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
const HISTOGRAMS: &[(&str, &[f64])] = &[
    (CLAIM_LATENCY, SHORT_BUCKETS),
    (COMMIT_DURATION, SHORT_BUCKETS),
    (TASK_DURATION, LONG_BUCKETS),
    (DELIVERY_DURATION, LONG_BUCKETS),
    (SOURCE_DURATION, LONG_BUCKETS),
    (HTTP_DURATION, SHORT_BUCKETS),
];

/// Histograms keep each value until they are put into buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Renders the metrics of this process; cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
}

impl MetricsHandle {
    /// Content type of [`Self::render`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The text that `/metrics` answers.
    #[must_use]
    pub fn render(&self) -> String {
        self.prometheus.render()
    }

    /// Keeps memory bounded while nobody asks for the metrics; runs until `stop`.
    pub async fn keep_bounded(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.prometheus.run_upkeep();
        }
    }
}

/// The recorder of this process; the first call installs and describes it.
///
/// # Errors
/// When something else installed a recorder before.
pub fn metrics_handle() -> Result<MetricsHandle, TelemetryError> {
    static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    match INSTALLED.get_or_init(install) {
        Ok(prometheus) => Ok(MetricsHandle {
            prometheus: prometheus.clone(),
        }),
        Err(message) => Err(TelemetryError::Metrics(message.clone())),
    }
}

fn install() -> Result<PrometheusHandle, String> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in HISTOGRAMS {
        builder = builder
            .set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
            .map_err(|error| error.to_string())?;
    }
    let prometheus = builder
        .install_recorder()
        .map_err(|error| error.to_string())?;
    describe();
    Ok(prometheus)
}

fn describe() {
    describe_counter!(TASKS, "Tasks that ended, by queue and outcome.");
    describe_histogram!(CLAIM_LATENCY, Unit::Seconds, "Time from ready to claimed.");
    describe_histogram!(TASK_DURATION, Unit::Seconds, "Time from claimed to ended.");
    describe_histogram!(COMMIT_DURATION, Unit::Seconds, "Time of one commit script.");
    describe_counter!(RECORDS_FETCHED, "Records committed from sources.");
    describe_counter!(RECORDS_DELIVERED, "Records acknowledged by receivers.");
    describe_counter!(DELIVERIES, "Attempts at delivering an event, by outcome.");
    describe_counter!(
        LOST_ATTEMPTS,
        "Attempts that could not be written to the log of attempts."
    );
    describe_histogram!(
        DELIVERY_DURATION,
        Unit::Seconds,
        "Time of one exchange with a receiver."
    );
    describe_histogram!(
        SOURCE_DURATION,
        Unit::Seconds,
        "Time of one exchange with a source."
    );
    describe_gauge!(
        OLDEST_READY_AGE,
        Unit::Seconds,
        "Age of the oldest ready task."
    );
    describe_gauge!(READY_TASKS, "Tasks that wait for a worker.");
    describe_gauge!(DELAYED_TASKS, "Tasks that wait for a time.");
    describe_gauge!(CLAIMED_TASKS, "Tasks that are in work.");
    describe_gauge!(STORE_MEMORY_SHARE, "Share of Redis's memory limit in use.");
    describe_counter!(
        STORE_FAILURES,
        "Calls that Redis did not carry out, by reason."
    );
    describe_histogram!(HTTP_DURATION, Unit::Seconds, "Time of one API request.");
    describe_gauge!(
        UNDELIVERED_BYTES,
        Unit::Bytes,
        "Bytes committed and not yet acknowledged."
    );
    describe_gauge!(
        DROPPED_EVENTS,
        "Events without a run that full outboxes did not take."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_their_descriptions_labels_and_buckets() {
        let handle = metrics_handle().expect("the only recorder");
        metrics::counter!(TASKS, QUEUE => "test", OUTCOME => "done").increment(3);
        metrics::histogram!(CLAIM_LATENCY, QUEUE => "test").record(0.002);
        metrics::gauge!(READY_TASKS, QUEUE => "test").set(5.0);
        let text = metrics_handle().expect("the same recorder").render();
        assert!(
            handle
                .render()
                .contains("syncline_tasks_total{queue=\"test\"")
        );
        for line in [
            "# HELP syncline_tasks_total Tasks that ended, by queue and outcome.",
            "# TYPE syncline_tasks_total counter",
            "syncline_tasks_total{queue=\"test\",outcome=\"done\"} 3",
            "syncline_claim_latency_seconds_bucket{queue=\"test\",le=\"0.001\"} 0",
            "syncline_claim_latency_seconds_bucket{queue=\"test\",le=\"0.0025\"} 1",
            "syncline_ready_tasks{queue=\"test\"} 5",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
