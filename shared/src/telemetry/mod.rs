//! Logs and metrics of every program.
//!
//! Logs go to standard error, so that what a command prints stays clean. A line is
//! readable alone and carries the names of [`fields`], by which the story of one run
//! can be found. Never in a line: credentials, records, URLs with their query.

pub mod fields;
pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{LogFormat, Settings};

pub use metrics::{MetricsHandle, metrics_handle};

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter can't be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logs were set up before")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    #[error("metrics could not be set up: {0}")]
    Metrics(String),
}

/// Sets up logs for the process; once, before anything is logged.
///
/// # Errors
/// A filter that can't be read, or a second call.
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let pretty = match settings.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let filter = EnvFilter::try_new(&settings.log)?;
    tracing_subscriber::registry()
        .with(layer(pretty, std::io::stderr().is_terminal(), std::io::stderr).with_filter(filter))
        .try_init()?;
    Ok(())
}

/// One line an event: text, or JSON with the event's fields at the top and the
/// fields of its spans under `span` and `spans`.
fn layer<W>(pretty: bool, colours: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    if pretty {
        layer.boxed()
    } else {
        layer.json().flatten_event(true).with_ansi(false).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .expect("no panic before")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(pretty: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            tracing_subscriber::registry().with(layer(pretty, false, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("run", { fields::RUN_ID } = "run_1");
            let _entered = span.enter();
            tracing::info!({ fields::DURATION_MS } = 12, "page committed");
        });
        let bytes = buffer.0.lock().expect("no panic before").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_json_line_carries_the_fields_of_the_event_and_of_its_spans() {
        let line: serde_json::Value =
            serde_json::from_str(&logged(false)).expect("one line of JSON");
        assert_eq!(line["message"], "page committed");
        assert_eq!(line[fields::DURATION_MS].to_string(), "12");
        assert_eq!(line["span"][fields::RUN_ID], "run_1");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_pretty_line_is_text_with_the_same_fields() {
        let line = logged(true);
        assert_eq!(line.lines().count(), 1);
        assert!(
            line.contains("page committed") && line.contains("run.id=\"run_1\""),
            "{line}"
        );
    }
}
