//! A whole run: pages, children, retries, rate limits, dead letters, stops, and
//! workers that lose their leases at any step. The receiver's log keeps every
//! promise about order, and the counts agree with what was committed.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use proptest::prelude::*;
use shared::{
    ids::EventId,
    model::{
        event::Batch,
        run::{ErrorHandling, RunSpec, RunStatus},
    },
    queue::task::FetchBody,
    store::{
        deliveries::{Again, DeliveryHandle, NextBatch, Outcome, Source},
        fetches::{
            After, Child, Chunk, Committed, FetchFailure, FetchHandle, FetchStep, PageCommit,
        },
        queue::{LEASE, Queue},
        runs::Stopped,
    },
};

use crate::{
    LEASE_TICKS, TICK, advance, block_on, config,
    support::{Bench, GAVE_UP, failed, spec},
};

/// Rounds until a run of this size has ended, come what may before.
const DRAIN_ROUNDS: usize = 400;
/// Most pages of a fetch; a retry of any kind does not add any.
const MOST_PAGES: u32 = 3;
const ORDERS: usize = 0;
const LINES: usize = 1;

#[derive(Debug, Clone)]
enum Op {
    ClaimFetches(usize),
    /// The next page of a claimed fetch: so many records, whether it is the last, and tasks of its own node that it
    /// makes, as loops and recursions do.
    Commit {
        which: usize,
        records: u32,
        more: u32,
        last: bool,
        answer_lost: bool,
    },
    RetryFetch(usize),
    LimitFetch(usize),
    FailFetch(usize),
    ClaimDelivery,
    Settle {
        which: usize,
        delivered: bool,
        go_on: bool,
        answer_lost: bool,
    },
    RetryDelivery {
        which: usize,
        block: bool,
    },
    /// A worker dies: its tasks are not worked on any more.
    Forget,
    Rescue,
    Unpark,
    Advance(u64),
    Stop,
}

/// `eager`: how much of the work is delivering; with little, streams grow long.
fn op(eager: u32) -> impl Strategy<Value = Op> {
    let which = any::<usize>;
    prop_oneof![
        40 => (1..6_usize).prop_map(Op::ClaimFetches),
        60 => (which(), 0..5_u32, prop_oneof![4 => Just(0), 1 => 1..3_u32], any::<bool>(), any::<bool>())
            .prop_map(|(which, records, more, last, answer_lost)| Op::Commit { which, records, more, last, answer_lost }),
        8 => which().prop_map(Op::RetryFetch),
        5 => which().prop_map(Op::LimitFetch),
        4 => which().prop_map(Op::FailFetch),
        eager => Just(Op::ClaimDelivery),
        eager => (which(), prop::bool::weighted(0.95), any::<bool>(), any::<bool>())
            .prop_map(|(which, delivered, go_on, answer_lost)| Op::Settle { which, delivered, go_on, answer_lost }),
        eager / 4 => (which(), any::<bool>()).prop_map(|(which, block)| Op::RetryDelivery { which, block }),
        5 => Just(Op::Forget),
        10 => Just(Op::Rescue),
        3 => Just(Op::Unpark),
        15 => (1..4_u64).prop_map(Op::Advance),
        1 => Just(Op::Stop),
    ]
}

/// A fetch that a worker has claimed; its lease may be lost by now.
#[derive(Debug, Clone)]
struct Fetching {
    handle: FetchHandle,
    /// Of the parent's record, for lines.
    gate: u64,
    pages: u32,
    step: u32,
}

/// A batch that a worker has taken; its lease may be lost by now.
#[derive(Debug, Clone)]
struct Sending {
    handle: DeliveryHandle,
    batch: Batch,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    fetched: u64,
    delivered: u64,
    dead: u64,
    errors: u64,
}

struct Walk {
    bench: Bench,
    policy: ErrorHandling,
    fetching: Vec<Fetching>,
    sending: Vec<Sending>,
    /// The first content of each event that was sent.
    sent: HashMap<EventId, Batch>,
    /// Events in the order in which they were settled: stream, type.
    settled: Vec<(String, String)>,
    /// Last settled sequence number of each stream.
    last_seq: BTreeMap<String, u64>,
    counts: [Counts; 2],
    /// Errors in settled events.
    errors_told: u64,
    /// What ended the run before its time.
    ended: Option<RunStatus>,
}

fn stream_of(node: usize) -> String {
    node.to_string()
}

impl Walk {
    async fn new(spec: RunSpec) -> Self {
        let policy = spec.error_handling;
        Self {
            bench: Bench::started(spec).await,
            policy,
            fetching: Vec::new(),
            sending: Vec::new(),
            sent: HashMap::new(),
            settled: Vec::new(),
            last_seq: BTreeMap::new(),
            counts: [Counts::default(); 2],
            errors_told: 0,
            ended: None,
        }
    }

    fn take_fetch(&mut self, which: usize) -> Option<Fetching> {
        let index = which.checked_rem(self.fetching.len())?;
        Some(self.fetching.swap_remove(index))
    }

    fn take_sending(&mut self, which: usize) -> Option<Sending> {
        let index = which.checked_rem(self.sending.len())?;
        Some(self.sending.swap_remove(index))
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::ClaimFetches(wanted) => self.claim_fetches(wanted).await,
            Op::Commit {
                which,
                records,
                more,
                last,
                answer_lost,
            } => {
                if let Some(fetch) = self.take_fetch(which) {
                    self.commit(fetch, records, more, last, answer_lost).await;
                }
            }
            Op::RetryFetch(which) => {
                if let Some(fetch) = self.take_fetch(which) {
                    let step = self
                        .bench
                        .store
                        .retry_fetch(&fetch.handle, TICK, 1, false)
                        .await;
                    step.expect("an answer");
                }
            }
            Op::LimitFetch(which) => {
                if let Some(fetch) = self.take_fetch(which) {
                    let step = self
                        .bench
                        .store
                        .limit_fetch(&fetch.handle, TICK, 1, "orders")
                        .await;
                    step.expect("an answer");
                }
            }
            Op::FailFetch(which) => {
                if let Some(fetch) = self.take_fetch(which) {
                    self.fail(&fetch).await;
                }
            }
            Op::ClaimDelivery => self.claim_delivery().await,
            Op::Settle {
                which,
                delivered,
                go_on,
                answer_lost,
            } => {
                if let Some(sending) = self.take_sending(which) {
                    self.settle(sending, delivered, go_on, answer_lost).await;
                }
            }
            Op::RetryDelivery { which, block } => {
                if let Some(sending) = self.take_sending(which) {
                    let again = if block {
                        Again::Asked {
                            pause: TICK,
                            elapsed: std::time::Duration::ZERO,
                        }
                    } else {
                        failed(TICK)
                    };
                    let (store, event) = (&self.bench.store, sending.batch.event);
                    let retried = store.retry_delivery(&sending.handle, event, again).await;
                    retried.expect("an answer");
                }
            }
            Op::Forget => {
                self.fetching.clear();
                self.sending.clear();
            }
            Op::Rescue => self.rescue().await,
            Op::Unpark => {
                self.bench.store.unpark().await.expect("a pass");
            }
            Op::Advance(ticks) => advance(&self.bench.store, ticks).await,
            Op::Stop => {
                let (environment, run) = (self.bench.spec.environment_id, self.bench.spec.id);
                let stopped = self
                    .bench
                    .store
                    .runs()
                    .stop(environment, run)
                    .await
                    .expect("an answer");
                if stopped == Stopped::Stopped {
                    assert_eq!(self.ended, None);
                    self.ended = Some(RunStatus::Stopped);
                }
            }
        }
    }

    async fn rescue(&self) {
        for queue in [Queue::Fetches, Queue::Deliveries] {
            self.bench
                .store
                .rescue_expired(queue)
                .await
                .expect("a pass");
        }
    }

    async fn claim_fetches(&mut self, wanted: usize) {
        for claim in self.bench.claim(Queue::Fetches, wanted).await {
            assert_eq!(
                self.ended, None,
                "nothing is fetched for a run that has ended"
            );
            let mut words = claim.body.split(' ').skip(1);
            let node = words.next().expect("a node").parse().expect("a number");
            let gate = words.next().expect("a gate").parse().expect("a number");
            let body: FetchBody =
                serde_json::from_str(words.next().expect("a body")).expect("a body");
            // `skip` serves as the number of pages so far: the checkpoint survives every crash.
            let pages = u32::try_from(body.skip).expect("few");
            let handle = self.bench.fetch(&claim, node);
            self.fetching.push(Fetching {
                handle,
                gate,
                pages,
                step: 0,
            });
        }
    }

    async fn commit(
        &mut self,
        mut fetch: Fetching,
        records: u32,
        more: u32,
        last: bool,
        answer_lost: bool,
    ) {
        let node = fetch.handle.node;
        let last = last || fetch.pages + 1 >= MOST_PAGES;
        let body = FetchBody {
            skip: u64::from(fetch.pages) + 1,
            ..FetchBody::default()
        };
        let handle = fetch.handle.clone();
        let children = if node == ORDERS {
            u64::from(records)
        } else {
            0
        };
        // The parent's sequence number, so that the receiver can judge the order.
        let bytes = Bytes::from(fetch.gate.to_string());
        let commit = PageCommit {
            handle: &handle,
            step: fetch.step,
            after: if last { After::Done } else { After::NextPage },
            body: format!("fetch.1 {node} {} {}", fetch.gate, body.to_json()),
            requests: 1,
            pages: 1,
            records: u64::from(records),
            chunks: if records > 0 {
                vec![Chunk { records, bytes }]
            } else {
                Vec::new()
            },
            children: (1..=children)
                .map(|position| Child {
                    node: LINES,
                    position,
                    body: FetchBody::default().to_json(),
                })
                .chain((0..more).map(|_| Child {
                    node,
                    position: 1,
                    body: FetchBody::default().to_json(),
                }))
                .collect(),
            lease: LEASE,
        };
        let committed = self.bench.commit(&commit).await;
        if answer_lost {
            let again = self.bench.commit(&commit).await;
            let expected = match committed {
                Committed::Done { .. } if !last => Committed::Done { over: false },
                _ => Committed::Stale,
            };
            assert_eq!(again, expected, "after {committed:?}");
        }
        match committed {
            Committed::Done { over } => {
                assert!(!over, "these few bytes are far below the marks");
                self.counts[node].fetched += u64::from(records);
                if !last {
                    fetch.pages += 1;
                    fetch.step += 1;
                    self.fetching.push(fetch);
                }
            }
            Committed::RunEnded => assert!(self.ended.is_some()),
            Committed::Stale => {}
            Committed::Parked => panic!("these few bytes are far below the marks"),
        }
    }

    async fn fail(&mut self, fetch: &Fetching) {
        let failure = FetchFailure {
            requests: 1,
            error: fetch.gate.to_string(),
            policy: self.policy,
            code: "http_error",
            message: "the source answered 404",
            resource: "orders",
            again: true,
            answered: true,
        };
        let failed = self.bench.store.fail_fetch(&fetch.handle, &failure).await;
        match failed.expect("an answer") {
            FetchStep::Done => {
                self.counts[fetch.handle.node].errors += 1;
                if self.policy == ErrorHandling::FailFast {
                    self.ended = Some(RunStatus::Failed);
                }
            }
            FetchStep::RunEnded => assert!(self.ended.is_some()),
            FetchStep::Stale => {}
        }
    }

    async fn claim_delivery(&mut self) {
        for claim in self.bench.claim(Queue::Deliveries, 1).await {
            let stream = claim.body.rsplit(' ').next().expect("a stream").to_owned();
            let handle = DeliveryHandle {
                task: claim.id,
                token: claim.token,
                source: Source::Run(self.bench.spec.id),
                stream,
                per_second: 0,
                window: 1,
            };
            match self
                .bench
                .store
                .take_batch(&handle, &[])
                .await
                .expect("an answer")
            {
                NextBatch::Batch(batch) => self.send(handle, batch),
                other => panic!("a delivery task stands for something to send, not {other:?}"),
            }
        }
    }

    /// The receiver sees a batch: it may only come when all that it builds on is settled.
    fn send(&mut self, handle: DeliveryHandle, batch: Batch) {
        let frozen = self
            .sent
            .entry(batch.event)
            .or_insert_with(|| batch.clone());
        assert_eq!(
            (
                &frozen.event_type,
                frozen.created_ms,
                frozen.first_seq,
                frozen.records,
                &frozen.chunks
            ),
            (
                &batch.event_type,
                batch.created_ms,
                batch.first_seq,
                batch.records,
                &batch.chunks
            ),
            "an event is sent again as it was"
        );
        let spec = &self.bench.spec;
        if handle.stream != "c" {
            let started = (String::from("c"), String::from("sync_job_run:started"));
            assert_eq!(
                self.settled.first(),
                Some(&started),
                "`started` comes before all else"
            );
        }
        if batch.records > 0 {
            assert!(
                batch.records <= u64::from(spec.batch_records).max(4),
                "{} records",
                batch.records
            );
        }
        if handle.stream == stream_of(LINES) {
            let parents = self.last_seq.get(&stream_of(ORDERS)).copied().unwrap_or(0);
            for chunk in &batch.chunks {
                let gate: u64 = std::str::from_utf8(chunk)
                    .expect("text")
                    .parse()
                    .expect("a number");
                assert!(
                    gate <= parents,
                    "lines of order {gate} come while {parents} are settled"
                );
            }
        }
        self.sending.push(Sending { handle, batch });
    }

    async fn settle(&mut self, sending: Sending, delivered: bool, go_on: bool, answer_lost: bool) {
        let Sending { handle, batch } = sending;
        let outcome = if delivered {
            Outcome::delivered(200)
        } else {
            GAVE_UP
        };
        let next = self
            .bench
            .store
            .settle_batch(&handle, batch.event, outcome, go_on, &[])
            .await
            .expect("an answer");
        if next == NextBatch::Stale {
            return;
        }
        if answer_lost {
            let again = self
                .bench
                .store
                .settle_batch(&handle, batch.event, outcome, go_on, &[])
                .await;
            assert_eq!(again.expect("an answer"), NextBatch::Stale);
        }
        self.book(&handle.stream, &batch, delivered);
        if let NextBatch::Batch(next) = next {
            assert!(go_on);
            self.send(handle, next);
        }
    }

    /// Notes that a batch is settled.
    fn book(&mut self, stream: &str, batch: &Batch, delivered: bool) {
        let terminal = |(stream, event): &(String, String)| {
            stream == "c"
                && ["completed", "failed", "stopped"]
                    .iter()
                    .any(|end| *event == format!("sync_job_run:{end}"))
        };
        assert!(
            !self.settled.iter().any(terminal),
            "nothing comes after the terminal event"
        );
        self.settled
            .push((stream.to_owned(), batch.event_type.clone()));
        if batch.event_type == "sync_job_run:record_error" {
            let errors = batch.chunks.len() as u64;
            assert!(errors == 1 || self.policy == ErrorHandling::Batch);
            assert!(errors <= u64::from(self.bench.spec.batch_records));
            self.errors_told += errors;
        }
        if batch.records > 0 {
            let last = self.last_seq.entry(stream.to_owned()).or_default();
            assert_eq!(batch.first_seq, *last + 1, "gapless in {stream}");
            *last += batch.records;
            let counts = &mut self.counts[stream.parse::<usize>().expect("a node")];
            if delivered {
                counts.delivered += batch.records;
            } else {
                counts.dead += batch.records;
            }
        }
        if !delivered && self.policy == ErrorHandling::FailFast && self.ended.is_none() {
            // Only a run that is still fetching or sending fails; its own end can't fail it.
            let ends = self.settled.last().is_some_and(terminal);
            if !ends {
                self.ended = Some(RunStatus::Failed);
            }
        }
    }

    /// Works the run off as a healthy worker would.
    async fn drain(&mut self) {
        self.apply(Op::Forget).await;
        for _ in 0..DRAIN_ROUNDS {
            if self.bench.view().await.finished_at.is_some() && self.terminal_is_settled() {
                break;
            }
            advance(&self.bench.store, LEASE_TICKS).await;
            self.rescue().await;
            self.claim_fetches(8).await;
            while let Some(fetch) = self.fetching.pop() {
                self.commit(fetch, 1, 0, true, false).await;
            }
            self.claim_delivery().await;
            while let Some(sending) = self.sending.pop() {
                self.settle(sending, true, true, false).await;
            }
        }
        // Tasks of a run that was ended early are dropped as they are met.
        advance(&self.bench.store, LEASE_TICKS).await;
        self.rescue().await;
        self.claim_fetches(8).await;
        self.claim_delivery().await;
        assert!(self.fetching.is_empty() && self.sending.is_empty());
    }

    fn terminal_is_settled(&self) -> bool {
        let ends = [
            "sync_job_run:completed",
            "sync_job_run:failed",
            "sync_job_run:stopped",
        ];
        self.settled
            .last()
            .is_some_and(|(_, event)| ends.contains(&event.as_str()))
    }

    async fn check_the_end(&self) {
        let view = self.bench.view().await;
        let status = self.ended.unwrap_or(RunStatus::Completed);
        assert_eq!(view.status, status, "{:?}", self.settled);
        let terminal = format!("sync_job_run:{}", status.as_str());
        let last = self.settled.last().expect("an event");
        assert_eq!(*last, ("c".to_owned(), terminal), "{:?}", self.settled);
        let sum = |of: fn(&Counts) -> u64| self.counts.iter().map(of).sum::<u64>();
        assert_eq!(
            (
                view.records_fetched,
                view.records_delivered,
                view.records_dead,
                view.errors
            ),
            (
                sum(|c| c.fetched),
                sum(|c| c.delivered),
                sum(|c| c.dead),
                sum(|c| c.errors)
            )
        );
        assert_eq!(
            view.records_fetched,
            view.records_delivered + view.records_dead
        );
        assert_eq!(view.errors, self.errors_told);
        assert_eq!(view.undelivered_bytes, 0);
        assert_eq!(self.bench.leftovers().await, Vec::<String>::new());
        assert_eq!(
            self.bench
                .store
                .undelivered_bytes()
                .await
                .expect("an answer"),
            0
        );
    }
}

fn run_spec() -> impl Strategy<Value = RunSpec> {
    (
        1..6_u32,
        prop_oneof![Just(0), Just(TICK.as_millis())],
        prop_oneof![
            3 => Just(ErrorHandling::Ignore),
            1 => Just(ErrorHandling::FailFast),
            1 => Just(ErrorHandling::Batch),
        ],
    )
        .prop_map(|(batch_records, linger_ms, error_handling)| RunSpec {
            batch_records,
            linger_ms: u32::try_from(linger_ms).expect("short"),
            error_handling,
            ..spec()
        })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_to_its_workers_a_run_is_told_whole_in_order_and_ends_once(
        spec in run_spec(),
        ops in prop_oneof![Just(4), Just(50)].prop_flat_map(|eager| prop::collection::vec(op(eager), 1..300)),
    ) {
        block_on(async {
            let mut walk = Walk::new(spec).await;
            for op in ops {
                walk.apply(op).await;
            }
            walk.drain().await;
            walk.check_the_end().await;
        });
    }
}
