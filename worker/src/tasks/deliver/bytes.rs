//! The bytes of a batch, the same at every attempt.

use ::bytes::Bytes;
use serde_json::{Map, Value};
use shared::{
    model::event::{self, Batch},
    store::runs::snapshot_view,
};

use super::Delivery;
use crate::{
    context::{DeliveredSource, LoadError},
    tasks::patience::until_available,
};

impl Delivery<'_> {
    /// The bytes of a `record` event, or why they can't be made.
    pub(super) fn record_bytes(&self, batch: &Batch) -> Result<Vec<u8>, String> {
        let stream = &self.handle.stream;
        let none = || format!("the stream {stream} is none of the job");
        let DeliveredSource::Run(run) = self.source else {
            return Err(none());
        };
        let node = stream.parse::<usize>().ok();
        let name = node.and_then(|node| run.stream_name(node));
        let name = name.ok_or_else(none)?;
        event::record_event(run.spec(), name, batch).map_err(|error| error.to_string())
    }

    /// The event's bytes; the inner error is why they can't be made.
    pub(super) async fn bytes(&self, batch: &Batch) -> Result<Result<Bytes, String>, LoadError> {
        let first_chunk = || {
            let chunk = batch.chunks.first();
            chunk
                .map(|chunk| String::from_utf8_lossy(chunk))
                .unwrap_or_default()
        };
        let run = match self.source {
            DeliveredSource::Run(run) => run,
            DeliveredSource::Outbox {
                environment,
                webhook,
            } => {
                let chunk = first_chunk();
                let bytes = event::environment_event(*environment, *webhook, batch, &chunk);
                return Ok(bytes.map(Bytes::from).map_err(|error| error.to_string()));
            }
        };
        let spec = run.spec();
        let node = self.handle.stream.parse::<usize>().ok();
        if batch.event_type == event::RECORD {
            return Ok(self.record_bytes(batch).map(Bytes::from));
        }
        let chunk = first_chunk();
        let object = || read(&chunk);
        let details = match batch.event_type.as_str() {
            event::STARTED => object(),
            event::RECORD_ERROR if node.is_some_and(|node| run.batches_errors(node)) => {
                let errors: Result<Vec<_>, _> = batch
                    .chunks
                    .iter()
                    .map(|chunk| read(&String::from_utf8_lossy(chunk)))
                    .collect();
                errors.map(event::record_errors_details)
            }
            event::RECORD_ERROR => object().map(event::record_error_details),
            event::CREATED | event::UPDATED | event::DELETED => {
                snapshot_view(spec, &chunk).map(|view| event::run_details(&view))
            }
            event::RATE_LIMITED => Ok(event::rate_limited_details(&chunk)),
            _ if !chunk.is_empty() => {
                snapshot_view(spec, &chunk).map(|view| event::terminal_details(&view))
            }
            // A run that ended under a version that kept no snapshot.
            _ => {
                let runs = self.context.store.runs();
                let view = until_available(|| runs.get(spec.environment_id, spec.id)).await?;
                view.map(|view| event::terminal_details(&view))
                    .ok_or_else(|| "the run is gone".to_owned())
            }
        };
        Ok(details.map(|details| Bytes::from(event::run_event(spec, batch, &details))))
    }
}

fn read(chunk: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(chunk).map_err(|error| error.to_string())
}
