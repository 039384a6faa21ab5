//! The faults: what they do, how often each comes, and what mends them.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use syncline_tests::{receiver::Receiver, stack::Stack};

/// Between a process's death and its start by its orchestrator, at most.
const RESTART_AFTER: Duration = Duration::from_secs(2);
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
}

/// A fault that was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    pub fault: Fault,
    pub began: Instant,
    /// When what it broke was there again.
    pub mended: Instant,
}

/// Makes faults one after the other.
pub struct Chaos {
    stack: Stack,
    receivers: Vec<Arc<Receiver>>,
    random: StdRng,
    during: Duration,
}

impl Chaos {
    pub fn new(stack: Stack, receivers: Vec<Arc<Receiver>>, seed: u64, during: Duration) -> Self {
        Self {
            stack,
            receivers,
            random: StdRng::seed_from_u64(seed),
            during,
        }
    }

    /// Until the time is over; gives the stack back whole, with what happened to it.
    pub fn run(mut self) -> Result<(Stack, Vec<Made>)> {
        let started = Instant::now();
        let mut made = Vec::new();
        loop {
            thread::sleep(self.up_to(EVERY * 2));
            if started.elapsed() >= self.during {
                return Ok((self.stack, made));
            }
            let (fault, began) = (self.choose(), Instant::now());
            self.make(fault)?;
            made.push(Made {
                fault,
                began,
                mended: Instant::now(),
            });
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

    fn make(&mut self, fault: Fault) -> Result<()> {
        let pause = self.up_to(RESTART_AFTER);
        let worker = self.random.random_range(0..self.stack.workers.len());
        let receiver = self.random.random_range(0..self.receivers.len());
        let receiver = &self.receivers[receiver];
        match fault {
            Fault::WorkerKilled => {
                self.stack.workers[worker].kill()?;
                thread::sleep(pause);
                self.stack.restart_worker(worker)?;
            }
            Fault::WorkerRestarted => {
                // The drain budget is a second, and handing back takes five at most.
                self.stack.workers[worker].stop(Duration::from_secs(30))?;
                self.stack.restart_worker(worker)?;
            }
            Fault::ApiKilled => {
                self.stack.api.kill()?;
                thread::sleep(pause);
                self.stack.restart_api()?;
            }
            Fault::RedisKilled => {
                self.stack.redis.kill()?;
                thread::sleep(pause);
                self.stack.redis.restart()?;
            }
            Fault::ConnectionsCut => {
                for kind in ["normal", "pubsub"] {
                    self.redis(&["CLIENT", "KILL", "TYPE", kind])?;
                }
            }
            Fault::RedisPaused => {
                let ms = pause.as_millis().to_string();
                self.redis(&["CLIENT", "PAUSE", &ms])?;
                thread::sleep(pause);
            }
            Fault::RedisSlow => {
                for _ in 0..10 {
                    self.stack.redis.freeze()?;
                    thread::sleep(Duration::from_millis(100));
                    self.stack.redis.thaw()?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Fault::ScriptsFlushed => self.redis(&["SCRIPT", "FLUSH"])?,
            Fault::ReceiverDown => {
                receiver.down();
                thread::sleep(pause);
                receiver.up()?;
            }
            Fault::ReceiverHangs => {
                receiver.pause();
                thread::sleep(pause);
                receiver.resume();
            }
            Fault::ClockJumped => {
                let by = if self.random.random() {
                    CLOCK_JUMP_MS
                } else {
                    -CLOCK_JUMP_MS
                };
                self.redis(&["INCRBY", CLOCK, &by.to_string()])?;
            }
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
