//! Where the time of an exchange goes: looking up, connecting, TLS, waiting for the answer.
//!
//! reqwest shows no phases, so three hooks note them in the [`Trace`] of the exchange
//! that dials: a layer around the connector ([`TraceDials`]) notes when dialling begins
//! and ends, the resolver notes the look-up, and the TLS session cache is asked for a
//! ticket the moment a handshake begins ([`super::tls`]), which tells TLS from TCP.
//!
//! The hooks find the trace in a task-local, since the pool polls the dial within the
//! exchange's own task. When another connection gets free first, the pool uses that one
//! and lets the dial end in a task of its own. There the task-local is absent, and the
//! first poll takes the dial out of the trace: its figures would be of a connection
//! that this exchange did not use.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Layer, Service};

use crate::model::attempt::Phase;

tokio::task_local! {
    static TRACE: Trace;
}

/// How long the parts took; `None` for one that did not happen, as on a connection
/// that was kept, or that did not end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// A place among the look-ups of this process included.
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    /// From the moment there was a connection to the head of the answer.
    pub first_byte: Option<Duration>,
}

/// Notes of one exchange; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    /// When the request was handed to the pool.
    started: Option<Instant>,
    /// Dials begun so far; a connection that broke unused is replaced by a new one.
    dials: u32,
    /// The last dial, while it is this exchange's own.
    dial: Option<Dial>,
    /// When a kept connection was taken in place of a dial.
    taken: Option<Instant>,
    head: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Dial {
    began: Instant,
    lookup: Option<Lookup>,
    tls_began: Option<Instant>,
    ended: Option<End>,
}

#[derive(Debug, Clone, Copy)]
struct Lookup {
    began: Instant,
    ended: Option<End>,
}

/// When something ended, and whether well.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    well: bool,
}

impl End {
    fn now(well: bool) -> Self {
        Self {
            at: Instant::now(),
            well,
        }
    }
}

impl Trace {
    /// How long the parts took so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        let marks = self.marks();
        let mut timings = marks.dial.map(|dial| dial.timings()).unwrap_or_default();
        timings.first_byte = marks
            .head
            .zip(marks.connected())
            .map(|(head, connected)| head - connected);
        timings
    }

    /// The part the exchange is in; `None` when nothing was sent or looked up.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        let marks = self.marks();
        marks.started?;
        if marks.head.is_some() {
            return Some(Phase::Body);
        }
        let dialling = marks.dial.and_then(|dial| dial.phase());
        Some(dialling.unwrap_or(Phase::Headers))
    }

    /// Whether the exchange got a connection.
    #[must_use]
    pub fn connected(&self) -> bool {
        matches!(self.phase(), Some(Phase::Headers | Phase::Body))
    }

    /// Runs `exchange` with this trace.
    pub(super) async fn follow<F: Future>(&self, exchange: F) -> F::Output {
        TRACE.scope(self.clone(), exchange).await
    }

    pub(super) fn head_arrived(&self) {
        self.marks().head = Some(Instant::now());
    }

    fn dial_began(&self) -> u32 {
        let mut marks = self.marks();
        marks.dials += 1;
        marks.taken = None;
        marks.dial = Some(Dial {
            began: Instant::now(),
            lookup: None,
            tls_began: None,
            ended: None,
        });
        marks.dials
    }

    fn dial_ended(&self, well: bool) {
        if let Some(dial) = &mut self.marks().dial {
            dial.ended = Some(End::now(well));
        }
    }

    /// The `number`th dial is no longer of this exchange.
    fn dial_left(&self, number: u32) {
        let mut marks = self.marks();
        if marks.dials == number {
            marks.dial = None;
            marks.taken = Some(Instant::now());
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Marks are set one by one: a panic between two leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    /// When there was a connection to send on.
    fn connected(&self) -> Option<Instant> {
        match self.dial {
            Some(dial) => dial.ended.filter(|end| end.well).map(|end| end.at),
            None => self.taken.or(self.started),
        }
    }
}

impl Dial {
    fn timings(&self) -> Timings {
        // The end of TCP: where TLS begins, or where the dial ends.
        let tcp_ended = self.tls_began.or(self.ended.map(|end| end.at));
        let tcp_began = match self.lookup {
            None => Some(self.began),
            Some(lookup) => lookup.ended.filter(|end| end.well).map(|end| end.at),
        };
        Timings {
            dns: self.lookup.and_then(|lookup| {
                let end = lookup.ended?;
                Some(end.at - lookup.began)
            }),
            connect: tcp_ended.zip(tcp_began).map(|(end, began)| end - began),
            tls: self
                .ended
                .zip(self.tls_began)
                .map(|(end, began)| end.at - began),
            first_byte: None,
        }
    }

    /// `None` when it ended well.
    fn phase(&self) -> Option<Phase> {
        if self.ended.is_some_and(|end| end.well) {
            None
        } else if self.tls_began.is_some() {
            Some(Phase::Tls)
        } else {
            match self.lookup.map(|lookup| lookup.ended) {
                Some(None | Some(End { well: false, .. })) => Some(Phase::Dns),
                None | Some(Some(_)) => Some(Phase::Connect),
            }
        }
    }
}

/// The request goes to the pool.
pub(super) fn started() {
    note(|marks| marks.started = Some(Instant::now()));
}

/// A look-up begins.
pub(super) fn lookup_began() {
    note_dial(|dial| {
        dial.lookup = Some(Lookup {
            began: Instant::now(),
            ended: None,
        });
    });
}

/// A look-up has ended; `well`: with an address that may be dialled.
pub(super) fn lookup_ended(well: bool) {
    note_dial(|dial| {
        if let Some(lookup) = &mut dial.lookup {
            lookup.ended = Some(End::now(well));
        }
    });
}

/// A handshake begins.
pub(super) fn tls_began() {
    note_dial(|dial| {
        dial.tls_began.get_or_insert_with(Instant::now);
    });
}

/// Notes in the trace of the exchange in whose task this is called, if it has one.
fn note(note: impl FnOnce(&mut Marks)) {
    if let Ok(trace) = TRACE.try_with(Clone::clone) {
        note(&mut trace.marks());
    }
}

fn note_dial(note_it: impl FnOnce(&mut Dial)) {
    note(|marks| {
        if let Some(dial) = &mut marks.dial {
            note_it(dial);
        }
    });
}

/// Wraps the connector.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceDials;

/// A connector that notes when it begins and ends.
#[derive(Debug, Clone)]
pub(super) struct TracedConnector<S>(S);

impl<S> Layer<S> for TraceDials {
    type Service = TracedConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        TracedConnector(connector)
    }
}

impl<S, T> Service<T> for TracedConnector<S>
where
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let mut dialling = Box::pin(self.0.call(target));
        let Ok(trace) = TRACE.try_with(Clone::clone) else {
            return dialling;
        };
        let number = trace.dial_began();
        let mut own = true;
        Box::pin(poll_fn(move |context| {
            if own && TRACE.try_with(|_| ()).is_err() {
                own = false;
                trace.dial_left(number);
            }
            let polled = dialling.as_mut().poll(context);
            if let Poll::Ready(ended) = &polled
                && own
            {
                trace.dial_ended(ended.is_ok());
            }
            polled
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A dial that ends when it is told to, with what it is told.
    type Told = oneshot::Receiver<Result<(), ()>>;

    async fn dial(told: Told) -> Result<(), ()> {
        told.await.unwrap_or(Err(()))
    }

    #[tokio::test]
    async fn a_dial_within_its_exchange_leaves_its_figures() {
        let trace = Trace::default();
        let (tell, told) = oneshot::channel();
        let mut connector = TraceDials.layer(tower::service_fn(dial));
        let exchange = trace.follow(async {
            started();
            let dialling = connector.call(told);
            lookup_began();
            lookup_ended(true);
            assert_eq!(trace.phase(), Some(Phase::Connect));
            tls_began();
            assert_eq!(trace.phase(), Some(Phase::Tls));
            tell.send(Ok(())).expect("a dial that waits");
            dialling.await
        });
        assert_eq!(exchange.await, Ok(()));
        assert_eq!(trace.phase(), Some(Phase::Headers));
        trace.head_arrived();
        let timings = trace.timings();
        assert!(timings.dns.is_some() && timings.connect.is_some());
        assert!(timings.tls.is_some() && timings.first_byte.is_some());
    }

    #[tokio::test]
    async fn a_dial_that_goes_on_without_its_exchange_leaves_none() {
        let trace = Trace::default();
        let (tell, told) = oneshot::channel();
        let mut connector = TraceDials.layer(tower::service_fn(dial));
        let mut begun = None;
        let exchange = trace.follow(async {
            started();
            let dialling = begun.insert(connector.call(told));
            lookup_began();
            assert!(futures::poll!(dialling).is_pending());
        });
        exchange.await;
        let dialling = begun.expect("a dial");
        assert_eq!(trace.phase(), Some(Phase::Dns));
        // What the pool does when another connection gets free first.
        let left = tokio::spawn(dialling);
        tell.send(Ok(())).expect("a dial that waits");
        assert_eq!(left.await.expect("an end"), Ok(()));
        assert_eq!(trace.phase(), Some(Phase::Headers));
        trace.head_arrived();
        let timings = trace.timings();
        assert_eq!(
            (timings.dns, timings.connect, timings.tls),
            (None, None, None)
        );
        assert!(timings.first_byte.is_some());
    }
}
