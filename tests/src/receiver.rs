//! The user's webhook, as a test wants it: records every delivery as it came, answers as told, can hang and go away.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    http::{Request, answer_connection, response},
    process::free_address,
};

/// What the receiver does with one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A response without a body.
    Status(u16),
    /// A response with headers and a body.
    Full {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Reads the request and closes the connection without an answer.
    Close,
}

/// One request that reached the receiver.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// When it was read whole.
    pub at: Instant,
    pub request: Request,
    pub answer: Answer,
}

impl Delivery {
    /// The envelope; `null` when the body is no JSON.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.request.body).unwrap_or_default()
    }

    /// The event's name, e.g. `sync_job_run:record`.
    pub fn name(&self) -> String {
        self.event()["event"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the answer was a success.
    pub fn acknowledged(&self) -> bool {
        match &self.answer {
            Answer::Status(status) | Answer::Full { status, .. } => (200..300).contains(status),
            Answer::Close => false,
        }
    }
}

type Decide = dyn Fn(&Request) -> Answer + Send + Sync;

struct State {
    deliveries: Vec<Delivery>,
    /// Used up one by one, before `standing`.
    next_answers: VecDeque<Answer>,
    standing: Arc<Decide>,
    paused: bool,
    /// Raised by each [`Receiver::down`]: threads of an earlier generation end.
    generation: u64,
    /// Open connections, so that `down` can close them.
    connections: Vec<TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked under the lock fails its own test; the others may still look.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver on a loopback port; stops when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Answers 200 to everything until told otherwise.
    pub fn start() -> Result<Self> {
        let state = State {
            deliveries: Vec::new(),
            next_answers: VecDeque::new(),
            standing: Arc::new(|_| Answer::Status(200)),
            paused: false,
            generation: 0,
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let receiver = Self {
            address: free_address()?,
            shared,
        };
        receiver.up()?;
        Ok(receiver)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The webhook's `target_url`.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next deliveries get these answers, one each; those after them the standing one.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.lock().next_answers.extend(answers);
    }

    /// What every delivery gets from now on.
    pub fn answer_always(&self, answer: Answer) {
        self.answer_by(move |_| answer.clone());
    }

    /// As [`Self::answer_always`], with an answer to each request.
    pub fn answer_by(&self, decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        self.shared.lock().standing = Arc::new(decide);
    }

    /// Deliveries are read and recorded, but not answered until [`Self::resume`].
    pub fn pause(&self) {
        self.shared.lock().paused = true;
    }

    pub fn resume(&self) {
        self.shared.lock().paused = false;
        self.shared.changed.notify_all();
    }

    /// Closes its connections; new ones are refused until [`Self::up`].
    pub fn down(&self) {
        let mut state = self.shared.lock();
        state.generation += 1;
        for connection in state.connections.drain(..) {
            // Closed by the peer already: that is what is wanted.
            drop(connection.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that waits for a connection, so that it sees its end and closes the port.
        drop(TcpStream::connect(self.address));
    }

    /// Listens, for the first time or again after [`Self::down`], on the same port.
    pub fn up(&self) -> Result<()> {
        let deadline = Instant::now() + crate::process::START_TIMEOUT;
        // The thread of the generation before may still be closing the port.
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the port is still taken");
                }
                Err(_) => thread::yield_now(),
            }
        };
        let shared = Arc::clone(&self.shared);
        let generation = shared.lock().generation;
        thread::spawn(move || accept(&listener, &shared, generation));
        Ok(())
    }

    /// Everything that came, in the order of arrival, answered or not.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.lock().deliveries.clone()
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.shared.lock().deliveries.clear();
    }

    /// Waits until what came fulfils `check`; an error that lists the events seen when `within` has passed.
    pub fn wait_until(
        &self,
        what: &str,
        within: Duration,
        check: impl Fn(&[Delivery]) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut state = self.shared.lock();
        while !check(&state.deliveries) {
            let Some(left) = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                let seen: Vec<String> = state.deliveries.iter().map(Delivery::name).collect();
                bail!("waited {}s until {what}; came: {seen:?}", within.as_secs());
            };
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// Waits until an event of that name was acknowledged, and gives it.
    pub fn wait_for(&self, event: &str, within: Duration) -> Result<Delivery> {
        let is_it = |delivery: &Delivery| delivery.acknowledged() && delivery.name() == event;
        // What came since the last look: a check that parses thousands of bodies each time would slow the test.
        let looked_at = Cell::new(0);
        self.wait_until(&format!("{event} came"), within, |all| {
            all.iter().skip(looked_at.replace(all.len())).any(is_it)
        })?;
        self.deliveries()
            .into_iter()
            .rev()
            .find(is_it)
            .context("it came a moment ago")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.resume();
        self.down();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, generation: u64) {
    while let Ok((stream, _)) = listener.accept() {
        let mut state = shared.lock();
        if state.generation != generation {
            return;
        }
        let (Ok(for_down), Ok(for_end)) = (stream.try_clone(), stream.try_clone()) else {
            return;
        };
        state.connections.push(for_down);
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // The end of a connection is the sender's business, it retries; but it must see the end, although
            // `connections` holds a copy.
            drop(answer_connection(stream, |request, out| {
                record(&shared, generation, request, out)
            }));
            drop(for_end.shutdown(Shutdown::Both));
        });
    }
}

fn record(
    shared: &Shared,
    generation: u64,
    request: Request,
    out: &mut TcpStream,
) -> io::Result<()> {
    let mut state = shared.lock();
    let answer = state
        .next_answers
        .pop_front()
        .unwrap_or_else(|| (state.standing)(&request));
    let delivery = Delivery {
        at: Instant::now(),
        request,
        answer: answer.clone(),
    };
    state.deliveries.push(delivery);
    shared.changed.notify_all();
    while state.paused && state.generation == generation {
        state = shared
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    if state.generation != generation {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    drop(state);
    let bytes = match answer {
        Answer::Status(status) => response(status, &[], b""),
        Answer::Full {
            status,
            headers,
            body,
        } => {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            response(status, &headers, &body)
        }
        Answer::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    io::Write::write_all(out, &bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    /// Sends one event; the status, or the error that a sender would see.
    fn send(address: SocketAddr, event: &str) -> io::Result<u16> {
        let body = format!(r#"{{"event":"{event}"}}"#);
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(WITHIN))?;
        write!(
            stream,
            "POST /hook HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[9..]).parse().unwrap())
    }

    #[test]
    fn deliveries_get_the_planned_answers_and_are_kept_in_order() {
        let receiver = Receiver::start().unwrap();
        receiver.answer_next([Answer::Status(503), Answer::Close]);
        assert_eq!(send(receiver.address(), "one").unwrap(), 503);
        assert!(send(receiver.address(), "two").is_err());
        assert_eq!(send(receiver.address(), "three").unwrap(), 200);
        let names: Vec<_> = receiver
            .deliveries()
            .iter()
            .map(|d| (d.name(), d.acknowledged()))
            .collect();
        assert_eq!(
            names,
            [
                ("one".into(), false),
                ("two".into(), false),
                ("three".into(), true)
            ]
        );
        assert_eq!(
            receiver.wait_for("three", WITHIN).unwrap().request.path(),
            "/hook"
        );
    }

    #[test]
    fn a_paused_receiver_answers_once_it_is_resumed() {
        let receiver = Receiver::start().unwrap();
        receiver.pause();
        let address = receiver.address();
        let sender = thread::spawn(move || send(address, "held"));
        receiver
            .wait_until("it was read", WITHIN, |all| all.len() == 1)
            .unwrap();
        assert!(!sender.is_finished());
        receiver.resume();
        assert_eq!(sender.join().unwrap().unwrap(), 200);
    }

    #[test]
    fn a_receiver_that_is_down_refuses_connections_until_it_is_up_again() {
        let receiver = Receiver::start().unwrap();
        receiver.down();
        crate::process::wait_until("it refuses", WITHIN, || {
            match send(receiver.address(), "lost") {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap();
        receiver.up().unwrap();
        assert_eq!(send(receiver.address(), "back").unwrap(), 200);
        assert_eq!(receiver.deliveries().len(), 1);
    }
}
