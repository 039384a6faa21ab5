//! The faults: what they do, how often each comes, and what mends them. Those of different parts may overlap: a worker dies
//! while Redis is away.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use syncline_tests::{
    process::{Program, answers_ok},
    receiver::Receiver,
    stack::Stack,
};

/// How long a fault lasts, at most; a process that was killed is started again after that.
const LASTS: Duration = Duration::from_secs(2);
/// A worker that is told to stop does so by then: its drain budget is a second, and handing back takes five at most; a
/// Redis that is away meanwhile adds to that.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// A slow Redis hangs for so long of each beat.
const SLOW_HANGS: Duration = Duration::from_millis(100);
const SLOW_BEAT: Duration = Duration::from_millis(120);
/// More than there are workers or receivers.
const MANY: usize = 1_000;
/// Between two looks at what is to be mended.
const LOOK: Duration = Duration::from_millis(10);
/// Starts of a program at the end, until it is ready.
const BOOTS: usize = 3;
/// Leases of 30 s expire this much earlier or later.
const CLOCK_JUMP_MS: i64 = 10_000;
const CLOCK: &str = "syncline:{p0}:clock_shift";

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of one worker.
    WorkerKilled,
    /// One worker is told to stop (SIGTERM) and started again.
    WorkerRestarted,
    /// kill -9 of the API.
    ApiKilled,
    /// kill -9 of Redis, which comes back with its append-only file.
    RedisKilled,
    /// All connections to Redis are cut (`CLIENT KILL`).
    ConnectionsCut,
    /// Redis answers nobody for a while (`CLIENT PAUSE`).
    RedisPaused,
    /// Redis hangs for moments, again and again.
    RedisSlow,
    /// Scripts are forgotten (`SCRIPT FLUSH`).
    ScriptsFlushed,
    /// A receiver refuses connections for a while.
    ReceiverDown,
    /// A receiver reads and answers nothing for a while.
    ReceiverHangs,
    /// The clock of leases and timers jumps.
    ClockJumped,
}

/// Each with its share; all of them come every [`EVERY`].
const SHARES: [(Fault, u32); 11] = [
    (Fault::WorkerKilled, 12),
    (Fault::WorkerRestarted, 3),
    (Fault::ApiKilled, 3),
    (Fault::RedisKilled, 1),
    (Fault::ConnectionsCut, 3),
    (Fault::RedisPaused, 1),
    (Fault::RedisSlow, 1),
    (Fault::ScriptsFlushed, 1),
    (Fault::ReceiverDown, 3),
    (Fault::ReceiverHangs, 2),
    (Fault::ClockJumped, 1),
];
/// Between two faults, on average.
const EVERY: Duration = Duration::from_millis(2_500);

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerRestarted => "worker restarted",
            Self::ApiKilled => "API killed",
            Self::RedisKilled => "Redis killed",
            Self::ConnectionsCut => "connections cut",
            Self::RedisPaused => "Redis paused",
            Self::RedisSlow => "Redis slow",
            Self::ScriptsFlushed => "scripts flushed",
            Self::ReceiverDown => "receiver down",
            Self::ReceiverHangs => "receiver hangs",
            Self::ClockJumped => "clock jumped",
        }
    }

    /// Whether it may take away whoever has an answer that isn't settled, or the answer itself.
    pub const fn takes_answers(self) -> bool {
        matches!(
            self,
            Self::WorkerKilled | Self::WorkerRestarted | Self::ReceiverDown
        )
    }
}

/// A fault that was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    pub fault: Fault,
    pub began: Instant,
    /// When what it broke was whole again; a program was started again by then.
    pub mended: Instant,
    /// Whether something else was broken when it began.
    pub beside: bool,
}

/// What a fault breaks. What is broken isn't broken once more; all else may be meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Worker(usize),
    Api,
    Redis,
    Receiver(usize),
}

/// A fault that is to come.
struct Drawn {
    fault: Fault,
    /// Which worker or receiver; another one if that one is broken.
    which: usize,
    lasts: Duration,
}

/// A fault that is there.
struct Lasting {
    fault: Fault,
    part: Part,
    began: Instant,
    until: Instant,
    beside: bool,
}

/// Makes faults, and mends what they broke.
pub struct Chaos {
    stack: Stack,
    receivers: Vec<Arc<Receiver>>,
    random: StdRng,
    during: Duration,
    /// Those that haven't come yet: each comes once before it is left to chance.
    first: Vec<Fault>,
    lasting: Vec<Lasting>,
    /// Its process is stopped at this moment.
    redis_hangs: bool,
    made: Vec<Made>,
}

impl Chaos {
    pub fn new(stack: Stack, receivers: Vec<Arc<Receiver>>, seed: u64, during: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut first: Vec<_> = SHARES.iter().map(|(fault, _)| *fault).collect();
        first.shuffle(&mut random);
        Self {
            stack,
            receivers,
            random,
            during,
            first,
            lasting: Vec::new(),
            redis_hangs: false,
            made: Vec::new(),
        }
    }

    /// Until the time is over; gives the stack back whole, with what happened to it.
    pub fn run(mut self) -> Result<(Stack, Vec<Made>)> {
        let ends = Instant::now() + self.during;
        let (mut next, mut strikes) = (self.draw(), Instant::now() + self.up_to(EVERY * 2));
        while Instant::now() < ends {
            self.mend()?;
            if Instant::now() >= strikes
                && let Some(part) = self.whole_part(&next)
            {
                self.make(&next, part)?;
                next = self.draw();
                strikes = Instant::now() + self.up_to(EVERY * 2);
            }
            thread::sleep(LOOK);
        }
        while !self.lasting.is_empty() {
            self.mend()?;
            thread::sleep(LOOK);
        }
        self.wait_ready()?;
        Ok((self.stack, self.made))
    }

    fn draw(&mut self) -> Drawn {
        let fault = self.first.pop().unwrap_or_else(|| self.choose());
        Drawn {
            fault,
            which: self.random.random_range(0..MANY),
            lasts: self.up_to(LASTS),
        }
    }

    fn choose(&mut self) -> Fault {
        let all: u32 = SHARES.iter().map(|(_, share)| share).sum();
        let mut ticket = self.random.random_range(0..all);
        for (fault, share) in SHARES {
            if ticket < share {
                return fault;
            }
            ticket -= share;
        }
        Fault::WorkerKilled
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random())
    }

    fn is_broken(&self, part: Part) -> bool {
        self.lasting.iter().any(|lasting| lasting.part == part)
    }

    /// What the fault can break now; none: it waits until something is mended.
    fn whole_part(&self, drawn: &Drawn) -> Option<Part> {
        let one_of = |many: usize, part: fn(usize) -> Part| {
            let parts = (0..many).map(|step| part((drawn.which + step) % many));
            parts.into_iter().find(|part| !self.is_broken(*part))
        };
        match drawn.fault {
            Fault::WorkerKilled | Fault::WorkerRestarted => {
                one_of(self.stack.workers.len(), Part::Worker)
            }
            Fault::ReceiverDown | Fault::ReceiverHangs => {
                one_of(self.receivers.len(), Part::Receiver)
            }
            Fault::ApiKilled => one_of(1, |_| Part::Api),
            Fault::RedisKilled
            | Fault::ConnectionsCut
            | Fault::RedisPaused
            | Fault::RedisSlow
            | Fault::ScriptsFlushed
            | Fault::ClockJumped => one_of(1, |_| Part::Redis),
        }
    }

    fn make(&mut self, drawn: &Drawn, part: Part) -> Result<()> {
        let (began, fault) = (Instant::now(), drawn.fault);
        let mut lasts = drawn.lasts;
        match (fault, part) {
            (Fault::WorkerKilled, Part::Worker(worker)) => self.stack.workers[worker].kill()?,
            (Fault::WorkerRestarted, Part::Worker(worker)) => {
                self.stack.workers[worker].signal("TERM")?;
                lasts = STOPS_WITHIN;
            }
            (Fault::ApiKilled, _) => self.stack.api.kill()?,
            (Fault::RedisKilled, _) => self.stack.redis.kill()?,
            (Fault::ConnectionsCut, _) => {
                for kind in ["normal", "pubsub"] {
                    self.redis(&["CLIENT", "KILL", "TYPE", kind])?;
                }
                lasts = Duration::ZERO;
            }
            (Fault::RedisPaused, _) => {
                self.redis(&["CLIENT", "PAUSE", &lasts.as_millis().to_string()])?;
            }
            (Fault::ScriptsFlushed, _) => {
                self.redis(&["SCRIPT", "FLUSH"])?;
                lasts = Duration::ZERO;
            }
            (Fault::ClockJumped, _) => {
                let by = if drawn.which.is_multiple_of(2) {
                    CLOCK_JUMP_MS
                } else {
                    -CLOCK_JUMP_MS
                };
                self.redis(&["INCRBY", CLOCK, &by.to_string()])?;
                lasts = Duration::ZERO;
            }
            (Fault::ReceiverDown, Part::Receiver(receiver)) => self.receivers[receiver].down(),
            (Fault::ReceiverHangs, Part::Receiver(receiver)) => self.receivers[receiver].pause(),
            // Step by step, while others are mended.
            (Fault::RedisSlow, _) => {}
            (fault, part) => bail!("{} is no fault of {part:?}", fault.name()),
        }
        let beside = !self.lasting.is_empty();
        self.lasting.push(Lasting {
            fault,
            part,
            began,
            until: began + lasts,
            beside,
        });
        Ok(())
    }

    /// Mends what has been broken for long enough, and starts again what has ended by itself.
    fn mend(&mut self) -> Result<()> {
        for lasting in std::mem::take(&mut self.lasting) {
            if self.try_mend(&lasting)? {
                self.made.push(Made {
                    fault: lasting.fault,
                    began: lasting.began,
                    mended: Instant::now(),
                    beside: lasting.beside,
                });
            } else {
                self.lasting.push(lasting);
            }
        }
        for worker in 0..self.stack.workers.len() {
            let broken = self.is_broken(Part::Worker(worker));
            start_again(&mut self.stack.workers[worker], broken)?;
        }
        let broken = self.is_broken(Part::Api);
        start_again(&mut self.stack.api, broken)
    }

    /// Mends it if it is time; whether it did.
    fn try_mend(&mut self, lasting: &Lasting) -> Result<bool> {
        let over = Instant::now() >= lasting.until;
        match (lasting.fault, lasting.part) {
            (Fault::WorkerRestarted, Part::Worker(worker)) => {
                let worker = &mut self.stack.workers[worker];
                ensure!(worker.ended()?.is_some() || !over, "a worker doesn't stop");
                if worker.ended()?.is_none() {
                    return Ok(false);
                }
                worker.restart()?;
            }
            (Fault::RedisSlow, _) => {
                let beat = lasting.began.elapsed().as_millis() % SLOW_BEAT.as_millis();
                let hangs = !over && beat < SLOW_HANGS.as_millis();
                if hangs && !self.redis_hangs {
                    self.stack.redis.freeze()?;
                } else if !hangs && self.redis_hangs {
                    self.stack.redis.thaw()?;
                }
                self.redis_hangs = hangs;
                return Ok(over);
            }
            _ if !over => return Ok(false),
            (Fault::WorkerKilled, Part::Worker(worker)) => self.stack.workers[worker].restart()?,
            (Fault::ApiKilled, _) => self.stack.api.restart()?,
            (Fault::RedisKilled, _) => self.stack.redis.restart()?,
            (Fault::ReceiverDown, Part::Receiver(receiver)) => self.receivers[receiver].up()?,
            (Fault::ReceiverHangs, Part::Receiver(receiver)) => self.receivers[receiver].resume(),
            _ => {}
        }
        Ok(true)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let api = self.stack.api_address();
        self.stack.api.boot(BOOTS, || answers_ok(api, "/readyz"))?;
        for worker in &mut self.stack.workers {
            let address = worker.metrics_address()?;
            worker.boot(BOOTS, || answers_ok(address, "/readyz"))?;
        }
        Ok(())
    }

    fn redis(&self, command: &[&str]) -> Result<()> {
        let mut connection = redis::Client::open(self.stack.redis.url())?.get_connection()?;
        let mut command_line = redis::cmd(command[0]);
        for part in &command[1..] {
            command_line.arg(part);
        }
        command_line.exec(&mut connection)?;
        Ok(())
    }
}

/// As an orchestrator does, with one that gave up while it started, say, since Redis was away.
fn start_again(program: &mut Program, broken: bool) -> Result<()> {
    if !broken && program.ended()?.is_some() {
        program.restart()?;
    }
    Ok(())
}
