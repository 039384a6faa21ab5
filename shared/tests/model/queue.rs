//! The queue: whatever happens to its tasks, none is lost, none is doubled, no
//! limit is passed, nothing that could start waits, and no wake-up is missed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redis::AsyncCommands;
use shared::{
    store::{
        Store,
        queue::{Claim, CountsAs, Held, LEASE, Queue},
    },
    testing,
};

use crate::{LEASE_TICKS, TICK, advance, block_on, config};

const QUEUE: Queue = Queue::Runs;
/// In-flight limit of each lane.
const LIMITS: [u32; 3] = [1, 3, 20];
/// Environment of each lane.
const ENVIRONMENTS: [&str; 3] = ["a", "a", "b"];
/// Claims until everything that a case can push is gone.
const DRAIN_CLAIMS: usize = 500;

#[derive(Debug, Clone)]
enum Op {
    Push {
        lane: usize,
        count: usize,
    },
    Claim {
        wanted: usize,
    },
    Finish(usize),
    HandBack(usize),
    Delay {
        which: usize,
        ticks: u64,
        counts: CountsAs,
    },
    Extend(usize),
    /// A worker that was taken for dead goes on.
    Late(usize),
    Rescue,
    Advance(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let counts = prop_oneof![
        Just(CountsAs::Attempt),
        Just(CountsAs::Crash),
        Just(CountsAs::Nothing)
    ];
    prop_oneof![
        3 => (0..LIMITS.len(), 1..6_usize).prop_map(|(lane, count)| Op::Push { lane, count }),
        4 => (1..12_usize).prop_map(|wanted| Op::Claim { wanted }),
        4 => any::<usize>().prop_map(Op::Finish),
        2 => any::<usize>().prop_map(Op::HandBack),
        2 => (any::<usize>(), 0..4_u64, counts)
            .prop_map(|(which, ticks, counts)| Op::Delay { which, ticks, counts }),
        1 => any::<usize>().prop_map(Op::Extend),
        1 => any::<usize>().prop_map(Op::Late),
        2 => Just(Op::Rescue),
        3 => (1..4_u64).prop_map(Op::Advance),
    ]
}

/// Where a task is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// In its lane; `returned`: before those that were never claimed.
    Ready {
        returned: bool,
    },
    Claimed {
        token: String,
        until: u64,
    },
    Delayed {
        due: u64,
    },
    Finished,
}

#[derive(Debug, Clone)]
struct Task {
    lane: usize,
    attempt: u32,
    rescues: u32,
    place: Place,
}

struct Model {
    store: Store,
    now: u64,
    /// By number, which is also the task's id; pushed in this order.
    tasks: BTreeMap<usize, Task>,
    /// Leases that are over: task and token.
    lost: Vec<(usize, String)>,
}

fn lane_name(lane: usize) -> String {
    format!("lane-{lane}")
}

impl Model {
    fn numbers(&self, of: impl Fn(&Place) -> bool) -> Vec<usize> {
        let matching = self.tasks.iter().filter(|(_, task)| of(&task.place));
        matching.map(|(number, _)| *number).collect()
    }

    fn in_flight(&self, lane: usize) -> usize {
        let claimed =
            |task: &&Task| task.lane == lane && matches!(task.place, Place::Claimed { .. });
        self.tasks.values().filter(claimed).count()
    }

    /// One of the claimed tasks and its token.
    fn pick_claimed(&self, which: usize) -> Option<(usize, String)> {
        let claimed = self.numbers(|place| matches!(place, Place::Claimed { .. }));
        let number = *claimed.get(which.checked_rem(claimed.len())?)?;
        match &self.tasks[&number].place {
            Place::Claimed { token, .. } => Some((number, token.clone())),
            _ => None,
        }
    }

    fn task(&mut self, number: usize) -> &mut Task {
        self.tasks.get_mut(&number).expect("a known task")
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Push { lane, count } => self.push(lane, count).await,
            Op::Claim { wanted } => {
                self.claim(wanted).await;
            }
            Op::Finish(which) => {
                if let Some((number, token)) = self.pick_claimed(which) {
                    let id = number.to_string();
                    let done = self.store.finish_task(QUEUE, &id, &token).await;
                    assert_eq!(done.expect("an answer"), Held::Done);
                    self.task(number).place = Place::Finished;
                    self.lost.push((number, token));
                }
            }
            Op::HandBack(which) => {
                if let Some((number, token)) = self.pick_claimed(which) {
                    let id = number.to_string();
                    let done = self.store.hand_back(QUEUE, &id, &token).await;
                    assert_eq!(done.expect("an answer"), Held::Done);
                    self.task(number).place = Place::Ready { returned: true };
                    self.lost.push((number, token));
                }
            }
            Op::Delay {
                which,
                ticks,
                counts,
            } => {
                if let Some((number, token)) = self.pick_claimed(which) {
                    let (id, delay) = (
                        number.to_string(),
                        TICK * u32::try_from(ticks).expect("few"),
                    );
                    let done = self
                        .store
                        .delay_task(QUEUE, &id, &token, delay, counts)
                        .await;
                    assert_eq!(done.expect("an answer"), Held::Done);
                    let due = self.now + ticks;
                    let task = self.task(number);
                    task.place = Place::Delayed { due };
                    task.attempt += u32::from(counts == CountsAs::Attempt);
                    task.rescues += u32::from(counts == CountsAs::Crash);
                    self.lost.push((number, token));
                }
            }
            Op::Extend(which) => {
                if let Some((number, token)) = self.pick_claimed(which) {
                    let tasks = [(number.to_string(), token.clone())];
                    let lost = self.store.extend_leases(QUEUE, LEASE, &tasks).await;
                    assert_eq!(lost.expect("an answer"), Vec::<String>::new());
                    let until = self.now + LEASE_TICKS;
                    self.task(number).place = Place::Claimed { token, until };
                }
            }
            Op::Late(which) => self.late(which).await,
            Op::Rescue => self.rescue().await,
            Op::Advance(ticks) => {
                advance(&self.store, ticks).await;
                self.now += ticks;
            }
        }
        self.check().await;
    }

    async fn push(&mut self, lane: usize, count: usize) {
        let numbers: Vec<_> = (self.tasks.len()..self.tasks.len() + count).collect();
        let tasks: Vec<_> = numbers
            .iter()
            .map(|number| (number.to_string(), format!("body {number}")))
            .collect();
        let pushed = self
            .store
            .push_tasks(
                QUEUE,
                ENVIRONMENTS[lane],
                &lane_name(lane),
                LIMITS[lane],
                &tasks,
            )
            .await;
        pushed.expect("pushed");
        for number in numbers {
            let place = Place::Ready { returned: false };
            self.tasks.insert(
                number,
                Task {
                    lane,
                    attempt: 0,
                    rescues: 0,
                    place,
                },
            );
        }
    }

    async fn claim(&mut self, wanted: usize) -> Vec<Claim> {
        let token = ulid::Ulid::generate().to_string();
        let claimed = self
            .store
            .claim(QUEUE, wanted, LEASE, &token)
            .await
            .expect("a claim");
        for number in self.numbers(|place| matches!(place, Place::Delayed { .. })) {
            let now = self.now;
            let task = self.task(number);
            if matches!(task.place, Place::Delayed { due } if due <= now) {
                task.place = Place::Ready { returned: true };
            }
        }
        assert!(claimed.tasks.len() <= wanted);
        for claim in &claimed.tasks {
            let number: usize = claim.id.parse().expect("an id of ours");
            let task = self.tasks[&number].clone();
            assert_eq!(
                (&claim.lane, claim.attempt, claim.rescues, &claim.body),
                (
                    &lane_name(task.lane),
                    task.attempt,
                    task.rescues,
                    &format!("body {number}")
                )
            );
            let Place::Ready { returned } = task.place else {
                panic!("{number} is claimed while it is {:?}", task.place);
            };
            let passed_over = |other: &usize| {
                let other_task = &self.tasks[other];
                other_task.lane == task.lane
                    && !returned
                    && (other_task.place == (Place::Ready { returned: true })
                        || (other_task.place == (Place::Ready { returned: false })
                            && *other < number))
            };
            let first: Vec<_> = self
                .tasks
                .keys()
                .filter(|other| passed_over(other))
                .collect();
            assert!(
                first.is_empty(),
                "{number} is claimed before {first:?} of its lane"
            );
            let until = self.now + LEASE_TICKS;
            self.task(number).place = Place::Claimed {
                token: token.clone(),
                until,
            };
        }
        if claimed.tasks.len() < wanted && !claimed.again {
            self.assert_nothing_can_start();
        }
        let waits = !self
            .numbers(|place| matches!(place, Place::Delayed { .. }))
            .is_empty();
        assert_eq!(
            claimed.next_timer.is_some(),
            waits,
            "a timer while something is delayed"
        );
        claimed.tasks
    }

    fn assert_nothing_can_start(&self) {
        for number in self.numbers(|place| matches!(place, Place::Ready { .. })) {
            let lane = self.tasks[&number].lane;
            let limit = usize::try_from(LIMITS[lane]).expect("small");
            assert_eq!(
                self.in_flight(lane),
                limit,
                "{number} waits though its lane has room"
            );
        }
    }

    async fn late(&mut self, which: usize) {
        let Some(index) = which.checked_rem(self.lost.len()) else {
            return;
        };
        let (number, token) = self.lost[index].clone();
        let id = number.to_string();
        let store = &self.store;
        assert_eq!(
            store
                .finish_task(QUEUE, &id, &token)
                .await
                .expect("an answer"),
            Held::Stale
        );
        assert_eq!(
            store
                .hand_back(QUEUE, &id, &token)
                .await
                .expect("an answer"),
            Held::Stale
        );
        assert_eq!(
            store
                .retry_task(QUEUE, &id, &token, TICK)
                .await
                .expect("an answer"),
            Held::Stale
        );
        let lost = store
            .extend_leases(QUEUE, LEASE, &[(id.clone(), token)])
            .await;
        assert_eq!(lost.expect("an answer"), [id]);
    }

    async fn rescue(&mut self) {
        let now = self.now;
        let mut expected: Vec<_> = self
            .numbers(|place| matches!(place, Place::Claimed { until, .. } if *until <= now))
            .iter()
            .map(usize::to_string)
            .collect();
        let mut rescued = self.store.rescue_expired(QUEUE).await.expect("a pass");
        rescued.sort();
        expected.sort();
        assert_eq!(rescued, expected);
        for id in rescued {
            let number = id.parse().expect("an id of ours");
            let task = self.task(number);
            task.rescues += 1;
            let before = std::mem::replace(&mut task.place, Place::Ready { returned: true });
            if let Place::Claimed { token, .. } = before {
                self.lost.push((number, token));
            }
        }
    }

    /// What holds after every operation.
    async fn check(&self) {
        let gauges = self.store.queue_gauges(QUEUE).await.expect("gauges");
        let count = |of: fn(&Place) -> bool| u64::try_from(self.numbers(of).len()).expect("few");
        assert_eq!(
            gauges.claimed,
            count(|place| matches!(place, Place::Claimed { .. }))
        );
        assert_eq!(
            gauges.delayed,
            count(|place| matches!(place, Place::Delayed { .. }))
        );
        for (lane, limit) in LIMITS.iter().enumerate() {
            assert!(self.in_flight(lane) <= usize::try_from(*limit).expect("small"));
        }
        // A worker that found too little waits for a message; none comes for what is there already.
        let idle: bool = self
            .store
            .connection()
            .exists(self.store.keys().join(&[QUEUE.name(), "idle"]))
            .await
            .expect("an answer");
        if idle {
            self.assert_nothing_can_start();
        }
    }

    /// Every task ends once, and nothing stays behind.
    async fn drain(&mut self) {
        for _ in 0..DRAIN_CLAIMS {
            if self.numbers(|place| *place != Place::Finished).is_empty() {
                break;
            }
            advance(&self.store, LEASE_TICKS).await;
            self.now += LEASE_TICKS;
            self.rescue().await;
            for claim in self.claim(8).await {
                let done = self.store.finish_task(QUEUE, &claim.id, &claim.token).await;
                assert_eq!(done.expect("an answer"), Held::Done);
                self.task(claim.id.parse().expect("an id of ours")).place = Place::Finished;
            }
        }
        assert_eq!(
            self.numbers(|place| *place != Place::Finished),
            Vec::<usize>::new()
        );
        let keys = &self.store.keys();
        let pattern = format!("{}*", keys.base().replace('{', "\\{"));
        let mut left: Vec<String> = self.store.connection().keys(pattern).await.expect("keys");
        left.retain(|key| *key != keys.clock_shift() && *key != keys.join(&[QUEUE.name(), "idle"]));
        assert_eq!(left, Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_to_tasks_each_ends_once_in_order_and_within_its_limits(
        ops in prop::collection::vec(op(), 1..120),
    ) {
        block_on(async {
            let store = testing::redis::store();
            let mut model = Model { store, now: 0, tasks: BTreeMap::new(), lost: Vec::new() };
            for op in ops {
                model.apply(op).await;
            }
            model.drain().await;
        });
    }
}
