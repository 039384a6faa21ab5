//! Fairness: under any load every lane that could run gets its turn within a bound
//! that follows from weights and lanes alone, within a lane tasks keep their order,
//! no limit is passed, and everything is claimed in the end; also when workers die,
//! tasks are handed back and limits change meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use redis::AsyncCommands;
use shared::{
    ids::EnvironmentId,
    model::token::EnvironmentLimits,
    store::{
        Store,
        queue::{Held, LEASE, Queue, TASKS_PER_TURN},
    },
    testing,
};

use crate::{block_on, config};

const QUEUE: Queue = Queue::Fetches;
/// The run of all tasks; it is running.
const RUN: &str = "fair";
/// Bytes that deliveries can make room of.
const UNDELIVERED: u64 = 2 * 1024 * 1024;
/// Claims until everything that a case can push is gone.
const DRAIN_CLAIMS: usize = 2_000;

#[derive(Debug, Clone)]
struct Shape {
    weight: u32,
    /// Over time.
    least_weight: u32,
    most_weight: u32,
    max_fetches: Option<u32>,
    /// In-flight limit of the lanes that share one, if any do: every other one.
    shared: Option<u32>,
    /// In-flight limit of each lane.
    lanes: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Op {
    Push {
        lane: usize,
        count: usize,
    },
    Claim {
        wanted: usize,
    },
    Finish {
        which: usize,
        count: usize,
    },
    HandBack {
        which: usize,
    },
    /// A worker dies, and its tasks are found by their leases.
    LoseLeases,
    Limit {
        environment: usize,
        weight: u32,
        max_fetches: Option<u32>,
    },
    /// Claims while Redis is nearly full, so that nothing is fetched.
    Look {
        claims: usize,
    },
}

fn most() -> impl Strategy<Value = Option<u32>> {
    prop::option::weighted(0.3, 1..12_u32)
}

fn shape() -> impl Strategy<Value = Shape> {
    let lanes = prop::collection::vec(1..20_u32, 1..5);
    (1..=6_u32, most(), most(), lanes).prop_map(|(weight, max_fetches, shared, lanes)| Shape {
        weight,
        least_weight: weight,
        most_weight: weight,
        max_fetches,
        shared,
        lanes,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<usize>(), 1..20_usize).prop_map(|(lane, count)| Op::Push { lane, count }),
        4 => (1..25_usize).prop_map(|wanted| Op::Claim { wanted }),
        3 => (any::<usize>(), 1..12_usize).prop_map(|(which, count)| Op::Finish { which, count }),
        1 => any::<usize>().prop_map(|which| Op::HandBack { which }),
        1 => Just(Op::LoseLeases),
        1 => (1..100_usize).prop_map(|claims| Op::Look { claims }),
        1 => (any::<usize>(), 1..=6_u32, most()).prop_map(|(environment, weight, max_fetches)| {
            Op::Limit { environment, weight, max_fetches }
        }),
    ]
}

struct Lane {
    name: String,
    environment: usize,
    shares: bool,
    limit: usize,
    ready: VecDeque<usize>,
    in_flight: usize,
    /// Turns of others since it could run, without a break.
    passed_over: usize,
}

struct Model {
    store: Store,
    shapes: Vec<Shape>,
    environments: Vec<EnvironmentId>,
    lanes: Vec<Lane>,
    /// Claimed tasks: lane, id, token.
    claimed: Vec<(usize, String, String)>,
    pushed: usize,
}

impl Model {
    async fn new(shapes: Vec<Shape>) -> Self {
        let store = testing::redis::store();
        let run = store.keys().join(&["run", RUN]);
        let _: () = store
            .connection()
            .hset_multiple(run, &[("status", "running"), ("webhook", "wh")])
            .await
            .expect("a run");
        let mut model = Self {
            store,
            environments: (0..shapes.len())
                .map(|_| EnvironmentId::generate())
                .collect(),
            lanes: Vec::new(),
            claimed: Vec::new(),
            pushed: 0,
            shapes,
        };
        for (environment, shape) in model.shapes.iter().enumerate() {
            let limits = EnvironmentLimits {
                weight: shape.weight,
                max_fetches: shape.max_fetches,
            };
            let tokens = model.store.tokens();
            tokens
                .set_limits(model.environments[environment], limits)
                .await
                .expect("set");
            if let Some(most) = shape.shared {
                let place = model.place(environment, true);
                let limits = model.store.keys().join(&["environment", &place, "limits"]);
                let mut connection = model.store.connection();
                let set = connection.hset::<_, _, _, ()>(limits, "fetches", most);
                set.await.expect("set");
            }
            for (number, limit) in shape.lanes.iter().enumerate() {
                model.lanes.push(Lane {
                    name: format!("lane-{environment}-{number}"),
                    environment,
                    shares: shape.shared.is_some() && number % 2 == 0,
                    limit: usize::try_from(*limit).expect("small"),
                    ready: VecDeque::new(),
                    in_flight: 0,
                    passed_over: 0,
                });
            }
        }
        model
    }

    /// Where lanes of an environment take their turns.
    fn place(&self, environment: usize, shares: bool) -> String {
        let environment = self.environments[environment];
        if shares {
            format!("{environment}/shop")
        } else {
            environment.to_string()
        }
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Push { lane, count } => self.push(lane % self.lanes.len(), count).await,
            Op::Claim { wanted } => {
                self.claim(wanted).await;
            }
            Op::Finish { which, count } => {
                for _ in 0..count {
                    if let Some(index) = which.checked_rem(self.claimed.len()) {
                        self.finish(index).await;
                    }
                }
            }
            Op::HandBack { which } => {
                if let Some(index) = which.checked_rem(self.claimed.len()) {
                    self.hand_back(index).await;
                }
            }
            Op::LoseLeases => self.lose_leases().await,
            Op::Look { claims } => self.look(claims).await,
            Op::Limit {
                environment,
                weight,
                max_fetches,
            } => {
                let environment = environment % self.shapes.len();
                let limits = EnvironmentLimits {
                    weight,
                    max_fetches,
                };
                self.limit(environment, limits).await;
            }
        }
    }

    async fn push(&mut self, lane: usize, count: usize) {
        let numbers: Vec<_> = (self.pushed..self.pushed + count).collect();
        let tasks: Vec<_> = numbers
            .iter()
            .map(|number| (format!("{RUN}.{number}"), "fetch.1 0 0 {}".to_owned()))
            .collect();
        let Lane {
            name,
            environment,
            shares,
            limit,
            ..
        } = &self.lanes[lane];
        let place = self.place(*environment, *shares);
        let limit = u32::try_from(*limit).expect("small");
        let pushed = self
            .store
            .push_tasks(QUEUE, &place, name, limit, &tasks)
            .await;
        pushed.expect("pushed");
        self.lanes[lane].ready.extend(numbers);
        self.pushed += count;
    }

    /// Claims, and checks turn by turn what was given.
    async fn claim(&mut self, wanted: usize) -> usize {
        let token = ulid::Ulid::generate().to_string();
        let claim = self.store.claim(QUEUE, wanted, LEASE, &token).await;
        let tasks = claim.expect("a claim").tasks;
        let claimed = tasks.len();
        let by_name: BTreeMap<_, _> = self
            .lanes
            .iter()
            .enumerate()
            .map(|(index, lane)| (lane.name.clone(), index))
            .collect();
        let mut turns: Vec<(usize, Vec<String>)> = Vec::new();
        for task in tasks {
            let lane = by_name[&task.lane];
            match turns.last_mut() {
                Some((last, ids)) if *last == lane && ids.len() < TASKS_PER_TURN => {
                    ids.push(task.id);
                }
                _ => turns.push((lane, vec![task.id])),
            }
        }
        for (lane, ids) in turns {
            let could_run: BTreeSet<_> = (0..self.lanes.len())
                .filter(|lane| self.can_run(*lane))
                .collect();
            assert!(
                could_run.contains(&lane),
                "a lane that can't run got a turn"
            );
            for id in ids {
                assert!(self.can_run(lane), "beyond a limit");
                let first = self.lanes[lane].ready.pop_front().expect("a ready task");
                assert_eq!(id, format!("{RUN}.{first}"), "the first of its lane");
                self.lanes[lane].in_flight += 1;
                self.claimed.push((lane, id, token.clone()));
            }
            for other in could_run {
                self.lanes[other].passed_over += 1;
            }
            self.lanes[lane].passed_over = 0;
            self.check();
        }
        if claimed < wanted {
            assert!(
                (0..self.lanes.len()).all(|lane| !self.can_run(lane)),
                "nothing that could run waits"
            );
        }
        claimed
    }

    async fn finish(&mut self, index: usize) {
        let (lane, id, token) = self.claimed.remove(index);
        let done = self.store.finish_task(QUEUE, &id, &token).await;
        assert_eq!(done.expect("an answer"), Held::Done);
        self.lanes[lane].in_flight -= 1;
    }

    async fn hand_back(&mut self, index: usize) {
        let (_, id, token) = &self.claimed[index];
        let back = self.store.hand_back(QUEUE, id, token).await;
        assert_eq!(back.expect("an answer"), Held::Done);
        self.returned(index);
    }

    async fn lose_leases(&mut self) {
        let clock = self.store.keys().clock_shift();
        let lost = LEASE + Duration::from_secs(1);
        let by = i64::try_from(lost.as_millis()).expect("small");
        let mut connection = self.store.connection();
        let _: i64 = connection.incr(clock, by).await.expect("set");
        for id in self.store.rescue_expired(QUEUE).await.expect("a pass") {
            let claimed = self
                .claimed
                .iter()
                .position(|(_, claimed, _)| *claimed == id);
            self.returned(claimed.expect("it was claimed"));
        }
        assert!(self.claimed.is_empty(), "all leases had expired");
    }

    async fn look(&mut self, claims: usize) {
        let [full, undelivered] =
            ["full", "undelivered_bytes"].map(|name| self.store.keys().join(&[name]));
        let mut connection = self.store.connection();
        let (mark, much) = ((&full, 1_u64), (&undelivered, UNDELIVERED));
        let () = connection.mset(&[mark, much]).await.expect("set");
        for _ in 0..claims {
            let claim = self.store.claim(QUEUE, 50, LEASE, "looks").await;
            assert_eq!(claim.expect("a claim").tasks, []);
        }
        let _: u64 = connection.del(&[full, undelivered]).await.expect("set");
    }

    /// A claimed task is the first of its lane again.
    fn returned(&mut self, index: usize) {
        let (lane, id, _) = self.claimed.remove(index);
        let number = id.rsplit('.').next().and_then(|number| number.parse().ok());
        let lane = &mut self.lanes[lane];
        lane.ready.push_front(number.expect("a number"));
        lane.in_flight -= 1;
    }

    /// What is in flight beyond a new limit may end.
    async fn limit(&mut self, environment: usize, limits: EnvironmentLimits) {
        let tokens = self.store.tokens();
        let set = tokens
            .set_limits(self.environments[environment], limits)
            .await;
        set.expect("set");
        let shape = &mut self.shapes[environment];
        (shape.weight, shape.max_fetches) = (limits.weight, limits.max_fetches);
        shape.least_weight = shape.least_weight.min(limits.weight);
        shape.most_weight = shape.most_weight.max(limits.weight);
    }

    fn in_flight(&self, environment: usize) -> usize {
        self.in_flight_where(|lane| lane.environment == environment)
    }

    fn in_flight_shared(&self, environment: usize) -> usize {
        self.in_flight_where(|lane| lane.environment == environment && lane.shares)
    }

    fn in_flight_where(&self, of: impl Fn(&Lane) -> bool) -> usize {
        let lanes = self.lanes.iter().filter(|lane| of(lane));
        lanes.map(|lane| lane.in_flight).sum()
    }

    fn can_run(&self, lane: usize) -> bool {
        let Lane {
            environment,
            limit,
            ready,
            in_flight,
            shares,
            ..
        } = &self.lanes[lane];
        let shape = &self.shapes[*environment];
        let room = |most: Option<u32>, used: usize| {
            most.is_none_or(|most| used < usize::try_from(most).expect("small"))
        };
        !ready.is_empty()
            && in_flight < limit
            && room(shape.max_fetches, self.in_flight(*environment))
            && (!shares || room(shape.shared, self.in_flight_shared(*environment)))
    }

    /// Turns of others that a lane may have to let pass: those of the lanes of its environment, lanes that share a limit being
    /// one together; and for each of these, and once more at the beginning, those of the other environments by their weights.
    fn bound(&self, lane: usize) -> usize {
        let own = &self.shapes[self.lanes[lane].environment];
        let others = self.shapes.iter().enumerate();
        let others = others.filter(|(index, _)| *index != self.lanes[lane].environment);
        let sharing = if own.shared.is_some() {
            own.lanes.len().div_ceil(2)
        } else {
            0
        };
        let entries = own.lanes.len() - sharing + usize::from(sharing > 0);
        let rounds = entries * if self.lanes[lane].shares { sharing } else { 1 } + 1;
        let per_round: u32 = others
            .map(|(_, other)| other.most_weight.div_ceil(own.least_weight) + 1)
            .sum();
        rounds * (usize::try_from(per_round).expect("small") + 1)
    }

    fn check(&mut self) {
        for lane in 0..self.lanes.len() {
            if !self.can_run(lane) {
                self.lanes[lane].passed_over = 0;
            }
            let bound = self.bound(lane);
            let Lane {
                name,
                in_flight,
                limit,
                passed_over,
                ..
            } = &self.lanes[lane];
            assert!(in_flight <= limit, "{name} has {in_flight} of {limit}");
            assert!(
                *passed_over <= bound,
                "{name} was passed over {passed_over} times, with a bound of {bound}"
            );
        }
    }

    /// Everything is claimed, and nothing of the queue stays behind.
    async fn drain(&mut self) {
        for _ in 0..DRAIN_CLAIMS {
            while !self.claimed.is_empty() {
                self.finish(0).await;
            }
            if self.claim(50).await == 0 {
                break;
            }
        }
        assert!(self.lanes.iter().all(|lane| lane.ready.is_empty()));
        let base = self.store.keys().join(&[QUEUE.name(), ""]);
        let pattern = format!("{}*", base.replace('{', "\\{"));
        let mut left: Vec<String> = self.store.connection().keys(pattern).await.expect("keys");
        left.retain(|key| !key.ends_with(":idle"));
        assert_eq!(left, Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_lane_waits_for_longer_than_weights_and_lanes_say_and_no_limit_is_passed(
        shapes in prop::collection::vec(shape(), 1..5),
        backlog in 0..100_usize,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        block_on(async {
            let mut model = Model::new(shapes).await;
            for lane in 0..model.lanes.len() {
                model.push(lane, backlog).await;
            }
            for op in ops {
                model.apply(op).await;
            }
            model.drain().await;
        });
    }

    #[test]
    fn environments_with_work_share_turns_by_their_weights_however_many_lanes_they_have(
        shapes in prop::collection::vec((1..=10_u32, 1..12_usize), 2..5),
        turns_at_once in 1..5_usize,
    ) {
        const TURNS: usize = 50;
        block_on(async {
            let shapes: Vec<_> = shapes
                .into_iter()
                .map(|(weight, lanes)| Shape { weight, least_weight: weight, most_weight: weight, max_fetches: None, shared: None, lanes: vec![1_000; lanes] })
                .collect();
            let weights: u32 = shapes.iter().map(|shape| shape.weight).sum();
            let mut model = Model::new(shapes).await;
            for lane in 0..model.lanes.len() {
                model.push(lane, (TURNS + turns_at_once) * TASKS_PER_TURN).await;
            }
            let mut turns = 0;
            while turns < TURNS {
                turns += model.claim(turns_at_once * TASKS_PER_TURN).await / TASKS_PER_TURN;
            }
            #[expect(clippy::cast_precision_loss, reason = "small")]
            for (index, shape) in model.shapes.iter().enumerate() {
                let got = model.in_flight(index) as f64 / TASKS_PER_TURN as f64;
                let share = turns as f64 * f64::from(shape.weight) / f64::from(weights);
                // One turn of each at the beginning and one under way.
                let tolerance = model.shapes.len() as f64 + 2.0;
                assert!((got - share).abs() <= tolerance, "{got} turns at a share of {share}");
            }
        });
    }
}
