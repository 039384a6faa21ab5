//! One line in the log when the store goes away for a loop, one when it is back, and
//! none between them, however long that takes and however often the loop tries.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// Whether what a loop asks of the store works.
#[derive(Debug)]
pub struct Outage {
    part: String,
    since: Option<Instant>,
}

impl Outage {
    /// `part`: what the loop does, as in "claiming runs".
    #[must_use]
    pub fn of(part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            since: None,
        }
    }

    /// Whether the last call failed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// A call failed.
    pub fn goes_on(&mut self, error: &dyn Display) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            let part = &self.part;
            tracing::warn!(part, error = %error, "{part} failed; trying again, and silent until it works");
        }
    }

    /// A call worked; for how long none did before it, if none did.
    pub fn over(&mut self) -> Option<Duration> {
        let lasted = self.since.take()?.elapsed();
        let part = &self.part;
        tracing::info!(part, lasted_ms = lasted.as_millis(), "{part} works again");
        Some(lasted)
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
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("the log").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let told = || String::from_utf8(log.0.lock().expect("the log").clone()).expect("UTF-8");
        tracing::subscriber::with_default(subscriber, || {
            let mut outage = Outage::of("counting beans");
            assert_eq!(outage.over(), None);
            for _ in 0..1_000 {
                outage.goes_on(&"no beans");
                assert!(outage.is_on());
            }
            assert_eq!(told().lines().count(), 1, "{}", told());
            assert!(outage.over().is_some());
            assert_eq!(outage.over(), None);
            outage.goes_on(&"no beans again");
        });
        let told = told();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 3, "{told}");
        assert!(lines[0].contains("WARN") && lines[0].contains("counting beans failed"));
        assert!(lines[0].contains("error=no beans"));
        assert!(lines[1].contains("INFO") && lines[1].contains("counting beans works again"));
        assert!(lines[2].contains("error=no beans again"));
    }
}
