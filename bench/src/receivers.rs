//! Many receivers, each on an address of its own, in this process: they acknowledge at once and note when records
//! came, or hang once they are told to.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use syncline_tests::http::{Request, response, serve_forever};

use crate::receiver::{number_after, records_in};

/// The field of a [`stamped`] record.
const STAMP: &[u8] = b"\"committed_us\":";
/// Between two looks at what came.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A receiver for each address.
#[derive(Debug)]
pub struct Receivers {
    pub addresses: Vec<SocketAddr>,
    seen: Vec<Arc<Seen>>,
    hang: Arc<AtomicBool>,
}

/// What one receiver got.
#[derive(Debug, Default)]
struct Seen {
    records: AtomicU64,
    unsigned: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
    stamped: Mutex<Vec<Arrival>>,
}

/// A stamped record, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub committed_us: u64,
    pub arrived_us: u64,
}

impl Arrival {
    /// From just before its commit until it was acknowledged.
    pub fn latency_ms(self) -> f64 {
        Duration::from_micros(self.arrived_us.saturating_sub(self.committed_us)).as_secs_f64()
            * 1_000.0
    }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// A record that tells when it was committed: now.
pub fn stamped() -> String {
    format!(r#"{{"committed_us":{}}}"#, now_us())
}

impl Receivers {
    /// Starts that many; the first `healthy` of them never hang.
    pub fn start(count: usize, healthy: usize) -> Result<Self> {
        let mut receivers = Self {
            addresses: Vec::new(),
            seen: Vec::new(),
            hang: Arc::default(),
        };
        for number in 0..count {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            receivers.addresses.push(listener.local_addr()?);
            let seen = Arc::new(Seen::default());
            receivers.seen.push(seen.clone());
            let hang = receivers.hang.clone();
            let acknowledgement = response(204, &[], b"");
            thread::spawn(move || {
                serve_forever(&listener, move |request, stream| {
                    if number >= healthy && hang.load(Ordering::Relaxed) {
                        return until_closed(stream);
                    }
                    seen.note(&request);
                    stream.write_all(&acknowledgement)
                })
            });
        }
        Ok(receivers)
    }

    /// From now on those that aren't healthy take requests and never answer.
    pub fn hang(&self) {
        self.hang.store(true, Ordering::Relaxed);
    }

    /// Records that these receivers got.
    pub fn records(&self, of: Range<usize>) -> u64 {
        let each = self.seen[of].iter();
        each.map(|seen| seen.records.load(Ordering::Relaxed)).sum()
    }

    /// Waits until these have got so many; an error unless every request was signed.
    pub async fn wait_for(&self, of: Range<usize>, records: u64, within: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + within;
        while self.records(of.clone()) < records {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "{} of {records} records came within {}s",
                self.records(of),
                within.as_secs()
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let unsigned = self.seen.iter();
        let unsigned = unsigned.map(|seen| seen.unsigned.load(Ordering::Relaxed));
        ensure!(unsigned.sum::<u64>() == 0, "a delivery was not signed");
        Ok(())
    }

    /// Seconds from the first request to the last.
    pub fn seconds(&self) -> f64 {
        let times = |time: fn(&Seen) -> &AtomicU64| {
            let times = self.seen.iter();
            times.map(move |seen| time(seen).load(Ordering::Relaxed))
        };
        let first = times(|seen| &seen.first_us).min().unwrap_or(0);
        let last = times(|seen| &seen.last_us).max().unwrap_or(0);
        Duration::from_micros(last - first).as_secs_f64()
    }

    /// The stamped records that these receivers got.
    pub fn arrivals(&self, of: Range<usize>) -> Vec<Arrival> {
        let each = self.seen[of].iter();
        each.flat_map(|seen| {
            seen.stamped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
        .collect()
    }
}

impl Seen {
    fn note(&self, request: &Request) {
        let arrived_us = now_us();
        if request.header("webhook-signature").is_none() {
            self.unsigned.fetch_add(1, Ordering::Relaxed);
        }
        // Only the first one counts.
        self.first_us
            .compare_exchange(0, arrived_us, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
        self.last_us.fetch_max(arrived_us, Ordering::Relaxed);
        if let Some(committed_us) = number_after(STAMP, &request.body) {
            let arrival = Arrival {
                committed_us,
                arrived_us,
            };
            self.stamped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(arrival);
        }
        // Last, so that what is counted is also noted.
        self.records
            .fetch_add(records_in(&request.body), Ordering::Relaxed);
    }
}

/// Never answers; ends when the sender gives up.
fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink())?;
    Err(io::ErrorKind::ConnectionAborted.into())
}
