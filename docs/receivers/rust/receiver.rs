//! A whole receiver of Syncline's events: verify, store once, answer, prove completeness.
//!
//! | setting | |
//! |---|---|
//! | `WEBHOOK_SECRETS` | the webhook's secret (`whsec_…`); during a rotation both, separated by a space |
//! | `PORT` | where to listen, on 127.0.0.1 |
//! | `STATE` | the journal that it keeps everything in |
//!
//! `POST` anything: an event. `GET /runs/{id}`: what is here of a run, and whether that is all.
//!
//! The journal is its database: one line an event, on disk before the answer. Id and effect are one line, so both
//! are kept or neither; at the start the lines are read again.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, task::spawn_blocking};

/// The largest event: `batch_bytes` may be 5 MiB, and axum takes 2 unless told otherwise.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
const ENDS: [&str; 3] = [
    "sync_job_run:completed",
    "sync_job_run:failed",
    "sync_job_run:stopped",
];

struct Receiver {
    secrets: Vec<Webhook>,
    inbox: Mutex<Inbox>,
}

/// What came, and the journal that says so.
struct Inbox {
    /// `None` once a write has failed: nobody knows how much of the line is there, but the next start.
    journal: Option<File>,
    /// Ids of events; those of runs that ended long ago may be forgotten.
    seen: HashSet<String>,
    runs: BTreeMap<String, Run>,
}

#[derive(Default)]
struct Run {
    events: u64,
    ended: Option<String>,
    /// Fetches that the source failed; their records are in no stream.
    errors: Option<u64>,
    streams: BTreeMap<String, Stream>,
}

#[derive(Default)]
struct Stream {
    /// First and last `seq` of what is here: sorted, apart.
    ranges: Vec<(u64, u64)>,
    last_seq: Option<u64>,
}

impl Inbox {
    fn open(path: &str) -> Result<Self> {
        let journal = File::options().create(true).append(true).open(path)?;
        let mut text = fs::read(path)?;
        // A line without its end was never answered: it comes again.
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(whole.map_or(0, |at| at + 1));
        journal.set_len(text.len() as u64)?;
        journal.sync_all()?;
        let mut inbox = Self {
            journal: Some(journal),
            seen: HashSet::new(),
            runs: BTreeMap::new(),
        };
        for line in std::str::from_utf8(&text)?.lines() {
            let (id, body): (String, String) = serde_json::from_str(line)?;
            inbox.note(id, Event::parse(&body)?);
        }
        Ok(inbox)
    }

    fn store(&mut self, id: &str, body: &str) -> Result<()> {
        if self.seen.contains(id) {
            return Ok(());
        }
        // What can't be read must not get into the journal, which has to be readable at the next start.
        let event = Event::parse(body)?;
        // The body as text keeps its bytes.
        let line = serde_json::to_string(&(id, body))? + "\n";
        let mut journal = self.journal.take().context("start it again")?;
        journal.write_all(line.as_bytes())?;
        journal.sync_data()?;
        self.journal = Some(journal);
        self.note(id.to_owned(), event);
        Ok(())
    }

    /// What follows from an event, when it comes and when the journal is read again.
    fn note(&mut self, id: String, event: Event) {
        self.seen.insert(id);
        let Some(run_id) = event.run else {
            return; // of an account or a trigger
        };
        let run = self.runs.entry(run_id.clone()).or_default();
        run.events += 1;
        match event.what {
            What::Records { name, first, last } => {
                run.streams.entry(name).or_default().insert(first, last);
            }
            What::End { errors, streams } => {
                run.ended = Some(event.name);
                run.errors = Some(errors);
                for (name, last_seq) in streams {
                    run.streams.entry(name).or_default().last_seq = Some(last_seq);
                }
                println!("{}", self.report(&run_id));
            }
            What::Other => {}
        }
    }

    /// `seq` counts from 1 without gaps, and the end says how far: nothing can be missing unseen.
    fn report(&self, run_id: &str) -> Value {
        let none = Run::default();
        let run = self.runs.get(run_id).unwrap_or(&none);
        let complete = run.ended.is_some()
            && run
                .streams
                .values()
                .all(|stream| stream.missing().is_empty());
        let streams: BTreeMap<_, _> = run
            .streams
            .iter()
            .map(|(name, stream)| (name, stream.report()))
            .collect();
        json!({"run": run_id, "events": run.events, "ended": run.ended, "errors": run.errors,
               "complete": complete, "streams": streams})
    }
}

/// What matters here of an event.
struct Event {
    name: String,
    run: Option<String>,
    what: What,
}

enum What {
    Records {
        name: String,
        first: u64,
        last: u64,
    },
    End {
        errors: u64,
        streams: Vec<(String, u64)>,
    },
    Other,
}

impl Event {
    fn parse(body: &str) -> Result<Self> {
        let event: Value = serde_json::from_str(body)?;
        let payload = &event["payload"];
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .context("a text is missing")
        };
        let number = |value: &Value| value.as_u64().context("a number is missing");
        let name = text(&event["event"])?;
        let what = if name == "sync_job_run:record" {
            What::Records {
                name: text(&payload["name"])?,
                first: number(&payload["meta"]["first_seq"])?,
                last: number(&payload["meta"]["last_seq"])?,
            }
        } else if ENDS.contains(&name.as_str()) {
            let streams = payload["resources"].as_array().context("no resources")?;
            let stream = |of: &Value| Ok((text(&of["name"])?, number(&of["last_seq"])?));
            What::End {
                errors: number(&payload["errors"])?,
                streams: streams.iter().map(stream).collect::<Result<_>>()?,
            }
        } else {
            What::Other
        };
        let run = payload["sync_job_run_id"].as_str().map(str::to_owned);
        Ok(Self { name, run, what })
    }
}

impl Stream {
    /// Events mostly come in order, so this mostly lengthens the last range.
    fn insert(&mut self, first: u64, last: u64) {
        self.ranges.push((first, last));
        self.ranges.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            match apart.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => apart.push((first, last)),
            }
        }
        self.ranges = apart;
    }

    fn missing(&self) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut expected = 1;
        let end = self.last_seq.unwrap_or(0) + 1;
        for (first, last) in self.ranges.iter().copied().chain([(end, 0)]) {
            if first > expected {
                missing.push((expected, first - 1));
            }
            expected = expected.max(last + 1);
        }
        missing
    }

    fn report(&self) -> Value {
        let received: u64 = self
            .ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum();
        json!({"received": received, "last_seq": self.last_seq, "missing": self.missing()})
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    // Over the bytes as they came; one secret that matches is enough.
    let verified = |secret: &Webhook| secret.verify(&body, &headers).is_ok();
    if !receiver.secrets.iter().any(verified) {
        return StatusCode::UNAUTHORIZED;
    }
    let stored = spawn_blocking(move || -> Result<()> {
        let id = headers["webhook-id"].to_str()?;
        let body = std::str::from_utf8(&body)?;
        let mut inbox = receiver
            .inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inbox.store(id, body)
    });
    match stored.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT,
        // It comes again.
        failed => {
            eprintln!("an event could not be stored: {failed:?}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

async fn report(State(receiver): State<Arc<Receiver>>, Path(run): Path<String>) -> String {
    let inbox = receiver
        .inbox
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    inbox.report(&run).to_string()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program stands alone, without the settings of the others"
)]
fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let secrets = setting("WEBHOOK_SECRETS")?;
    let secrets: Result<_, _> = secrets.split_whitespace().map(Webhook::new).collect();
    let receiver = Receiver {
        secrets: secrets?,
        inbox: Mutex::new(Inbox::open(&setting("STATE")?)?),
    };
    let app = Router::new()
        .route("/runs/{id}", get(report))
        .fallback(post(receive))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(receiver));
    let listener = TcpListener::bind(("127.0.0.1", setting("PORT")?.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
