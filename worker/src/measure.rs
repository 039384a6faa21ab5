//! What the tasks count and time.

use std::time::Duration;

use metrics::{counter, histogram};
use shared::telemetry::metrics as names;

/// A part of a page was committed.
pub fn committed(elapsed: Duration, records: u64) {
    histogram!(names::COMMIT_DURATION).record(elapsed.as_secs_f64());
    counter!(names::RECORDS_FETCHED).increment(records);
}

/// One attempt to deliver a batch has ended.
pub fn delivery(outcome: &'static str, elapsed: Duration, records: u64) {
    counter!(names::DELIVERIES, names::OUTCOME => outcome).increment(1);
    histogram!(names::DELIVERY_DURATION).record(elapsed.as_secs_f64());
    if outcome == "delivered" {
        counter!(names::RECORDS_DELIVERED).increment(records);
    }
}

/// A batch was given up without being sent.
pub fn given_up() {
    counter!(names::DELIVERIES, names::OUTCOME => "dead").increment(1);
}

/// A source answered, or failed to.
pub fn requested(elapsed: Duration) {
    histogram!(names::SOURCE_DURATION).record(elapsed.as_secs_f64());
}
