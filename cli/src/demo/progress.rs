//! How far a run is: a bar on a terminal, otherwise a line for each change, at
//! most one in [`LINE_INTERVAL`].

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::Instant;

use crate::terminal::{counted, grouped};

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_millis(500);

/// Shows a run's progress on standard output or, as a bar, on standard error.
pub struct Progress {
    how: How,
    last: String,
}

enum How {
    Bar(ProgressBar),
    Lines {
        printed_at: Option<Instant>,
        printed: String,
    },
}

impl Progress {
    /// `expected`: records that will be delivered, when that is known.
    pub fn new(expected: Option<u64>) -> Self {
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let how = match expected.filter(|_| terminal) {
            Some(expected) => {
                let bar = ProgressBar::new(expected);
                if let Ok(style) = ProgressStyle::with_template("  {bar:16.green} {wide_msg}") {
                    bar.set_style(style.progress_chars("━╸─"));
                }
                How::Bar(bar)
            }
            None => How::Lines {
                printed_at: None,
                printed: String::new(),
            },
        };
        Self {
            how,
            last: String::new(),
        }
    }

    /// `run`: what `GET /sync-job-run/{id}` answered.
    pub fn show(&mut self, run: &Value) {
        self.last = sentence(run);
        match &mut self.how {
            How::Bar(bar) => {
                bar.set_position(number(&run["records_delivered"]));
                bar.set_message(self.last.clone());
            }
            How::Lines {
                printed_at,
                printed,
            } => {
                let due = printed_at.is_none_or(|at| at.elapsed() >= LINE_INTERVAL);
                if due && *printed != self.last {
                    println!("  {}", self.last);
                    *printed_at = Some(Instant::now());
                    printed.clone_from(&self.last);
                }
            }
        }
    }

    /// The last state stays to be read.
    pub fn finish(self) {
        match self.how {
            How::Bar(bar) => bar.abandon(),
            How::Lines { printed, .. } if printed != self.last => println!("  {}", self.last),
            How::Lines { .. } => {}
        }
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn sentence(run: &Value) -> String {
    let progress = run["progress"].as_array();
    let pages: u64 = progress
        .into_iter()
        .flatten()
        .map(|resource| number(&resource["pages"]))
        .sum();
    format!(
        "{:<9} {}, {}, {} delivered, {}",
        run["status"].as_str().unwrap_or_default(),
        counted(pages, "page"),
        counted(number(&run["records_fetched"]), "record"),
        grouped(number(&run["records_delivered"])),
        counted(number(&run["errors"]), "error"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_names_pages_records_and_errors() {
        let run = json!({"status": "running", "records_fetched": 1300, "records_delivered": 700, "errors": 1,
                         "progress": [{"pages": 2}, {"pages": 40}]});
        assert_eq!(
            sentence(&run),
            "running   42 pages, 1,300 records, 700 delivered, 1 error"
        );
    }
}
