//! What a crash happens to: the programs, each of which may fail at the point in question, and somebody who starts again
//! what has ended, as an orchestrator does.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use syncline_tests::{
    ledger,
    process::Program,
    receiver::Receiver,
    redis::{PrivateRedis, connect},
    rest::Rest,
    source::Source,
    stack::Stack,
};
use tempfile::TempDir;

use crate::{
    case::{Crash, Kind},
    shop::{Shop, UNSTORED},
};

/// Nothing here takes that long, on any machine.
pub const LONG: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks by the API: it has work enough.
const ASK: Duration = Duration::from_millis(100);
/// Past every lease, and past the work on an idempotency key (60 s).
const PAST_LEASES_MS: i64 = 61_000;
/// Past the delay of a task that failed for a reason of the worker's own.
const PAST_OWN_FAULT_MS: i64 = 6_000;
/// A process that hangs does so for as long as others need to take its work over: a maintenance pass, and some.
const HANGS: Duration = Duration::from_secs(4);
const WORKERS: usize = 2;
/// The keys' base, with the default prefix.
pub const BASE: &str = "syncline:{p0}";

/// Two workers and an API over a Redis, a shop to sync from, and a receiver.
pub struct World {
    stack: Arc<Mutex<Stack>>,
    rest: Rest,
    redis_url: String,
    pub receiver: Arc<Receiver>,
    pub shop: Arc<Shop>,
    source: Source,
    stopped: Arc<AtomicBool>,
    supervisor: Option<thread::JoinHandle<()>>,
    trace: PathBuf,
    /// Lines of the trace when all programs were ready.
    booted_at: usize,
    calls: AtomicU64,
    kind: Option<Kind>,
    /// What hung goes on, and a Redis that was killed is there again.
    mended: Arc<AtomicBool>,
    had_its_say: AtomicBool,
    checked: Mutex<Vec<Checked>>,
    folder: TempDir,
}

/// A run that was checked at its end.
struct Checked {
    webhook: String,
    run: String,
    expected: Expected,
    /// The run and its dead letters, as they were then.
    ended: Value,
    letters: Vec<Value>,
}

impl World {
    /// Starts everything; each program fails as `crash` says, or only notes where it could.
    pub fn start(crash: Option<&Crash>, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-crash-")
            .tempdir()?;
        let trace = folder.path().join("trace");
        let mut environment = vec![("TEST_FAILURE_TRACE", text(&trace)?)];
        let failure = crash.map(Crash::to_variable);
        if let Some(failure) = &failure {
            environment.push(("TEST_FAILURE", failure));
        }
        environment.extend(settings);
        // So that workers look how full it is. With `everysec` Redis may put off writing what it answered while its disk is
        // busy, which a kill of it would lose.
        let always = matches!(crash, Some(crash) if crash.kind == Kind::Redis);
        let fsync = if always { "always" } else { "everysec" };
        let redis = PrivateRedis::start_with(&[("maxmemory", "1gb"), ("appendfsync", fsync)])?;
        let redis_url = redis.url();
        let shop = Arc::new(Shop::default());
        let (source, receiver) = (shop.source()?, Arc::new(Receiver::start()?));
        shop.answer_deliveries(&receiver);
        let kind = crash.map(|crash| crash.kind);
        let armed = beside(&trace, ".armed");
        let hangs = matches!(kind, Some(Kind::Hang | Kind::Redis));
        if !hangs {
            std::fs::write(&armed, "")?;
        }
        // What fails while it boots is started again, as ever. What hangs then is nobody's yet to look after.
        let stack = Stack::start_over(redis, WORKERS, &environment, 2)?;
        let booted_at = std::fs::read_to_string(&trace)?.lines().count();
        std::fs::write(&armed, "")?;
        let rest = stack.rest()?;
        let stack = Arc::new(Mutex::new(stack));
        let stopped = Arc::new(AtomicBool::new(false));
        let mended = Arc::new(AtomicBool::new(false));
        let supervisor = Supervisor {
            stack: stack.clone(),
            stopped: stopped.clone(),
            redis_url: redis_url.clone(),
            fired: beside(&trace, ".fired"),
            kind,
            mended: mended.clone(),
            hanging: None,
            seen_fired: false,
        };
        Ok(Self {
            supervisor: Some(thread::spawn(move || supervisor.run())),
            stack,
            rest,
            redis_url,
            receiver,
            shop,
            source,
            stopped,
            trace,
            booted_at,
            calls: AtomicU64::new(0),
            kind,
            mended,
            had_its_say: AtomicBool::new(false),
            checked: Mutex::new(Vec::new()),
            folder,
        })
    }

    /// Points that were reached, each time, and whether all programs had booted by then.
    pub fn trace(&self) -> Result<Vec<(String, bool)>> {
        let text = std::fs::read_to_string(&self.trace)?;
        let hit = |line: &str| line.strip_prefix("hit ").map(str::to_owned);
        let hits = text.lines().enumerate();
        Ok(hits
            .filter_map(|(number, line)| Some((hit(line)?, number >= self.booted_at)))
            .collect())
    }

    pub fn has_fired(&self) -> bool {
        beside(&self.trace, ".fired").exists()
    }

    pub fn stack(&self) -> MutexGuard<'_, Stack> {
        lock(&self.stack)
    }

    /// Carries out a command that may be repeated, again until Redis answers it.
    pub async fn ask_redis<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let deadline = Instant::now() + LONG;
        loop {
            let asked = async {
                Ok(command
                    .query_async(&mut connect(&self.redis_url).await?)
                    .await?)
            };
            match asked.await {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
                answered => return answered,
            }
        }
    }

    pub fn source_url(&self) -> String {
        self.source.url()
    }

    /// A call as a careful client makes it: again under the same key, until there is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        self.call_over(&self.rest, method, path, body).await
    }

    /// Creates an object with another token.
    pub async fn create_as(&self, token: &str, path: &str, body: &Value) -> Result<()> {
        let rest = self.rest.with_token(token);
        let (status, answer) = self
            .call_over(&rest, Method::POST, path, Some(body))
            .await?;
        ensure!(
            status.is_success(),
            "POST {path} answered {status}: {answer}"
        );
        Ok(())
    }

    async fn call_over(
        &self,
        rest: &Rest,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let key = format!("call-{number}");
        let key = (method == Method::POST).then_some(key.as_str());
        let deadline = Instant::now() + LONG;
        loop {
            let seen = match rest.call_once(method.clone(), path, body, key).await {
                Ok((StatusCode::SERVICE_UNAVAILABLE, answer)) => answer.to_string(),
                Ok((StatusCode::CONFLICT, answer))
                    if answer["error"]["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("being worked on")) =>
                {
                    answer.to_string()
                }
                Ok(answered) => return Ok(answered),
                Err(error) => error.to_string(),
            };
            ensure!(
                Instant::now() < deadline,
                "{method} {path} is not answered: {seen}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        ensure!(
            status.is_success(),
            "{method} {path} answered {status}: {answer}"
        );
        Ok(answer)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.expect(Method::GET, path, None).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::PUT, path, Some(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::PATCH, path, Some(body)).await
    }

    /// A deletion that was made before its answer was lost is answered 404 when it is repeated.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (status, answer) = self.call(Method::DELETE, path, None).await?;
        ensure!(
            status.is_success() || status == StatusCode::NOT_FOUND,
            "DELETE {path} answered {status}: {answer}"
        );
        Ok(())
    }

    /// Deletes a run that has ended. Its last event may have come and not be settled yet; the deletion changes nothing then.
    pub async fn delete_run(&self, run: &str) -> Result<()> {
        let path = format!("/sync-job-run/{run}");
        let deadline = Instant::now() + LONG;
        loop {
            self.delete(&path).await?;
            let (status, seen) = self.call(Method::GET, &path, None).await?;
            if status == StatusCode::NOT_FOUND {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the run is still there: {seen}");
            tokio::time::sleep(ASK).await;
        }
    }

    pub async fn create(&self, path: &str, body: &Value) -> Result<String> {
        let created = self.post(path, body).await?;
        let id = created["id"].as_str();
        Ok(id
            .with_context(|| format!("POST {path} answered no id: {created}"))?
            .to_owned())
    }

    /// Waits until what `GET path` answers is as `wanted`.
    pub async fn wait(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + LONG;
        loop {
            let seen = self.get(path).await?;
            if wanted(&seen) {
                return Ok(seen);
            }
            ensure!(
                Instant::now() < deadline,
                "waited for {what}; last seen: {seen}\n{}",
                self.logs()
            );
            tokio::time::sleep(ASK).await;
        }
    }

    /// Tells a worker to stop, and waits until it has ended and runs again.
    pub async fn restart_worker(&self, worker: usize) -> Result<()> {
        let deadline = Instant::now() + LONG;
        let before = {
            let stack = self.stack();
            let worker = &stack.workers[worker];
            worker.signal("TERM")?;
            worker.id()
        };
        while self.stack().workers[worker].id() == before {
            ensure!(
                Instant::now() < deadline,
                "a worker doesn't stop\n{}",
                self.logs()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Moves the clock of all leases and timers.
    pub fn advance_clock(&self, by: Duration) -> Result<()> {
        let ms = i64::try_from(by.as_millis())?;
        let deadline = Instant::now() + LONG;
        loop {
            match shift_clock(&self.redis_url, ms) {
                // Redis may be the one that dies meanwhile.
                Err(_) if Instant::now() < deadline => thread::sleep(LOOK),
                shifted => return shifted,
            }
        }
    }

    /// A command of the API's program, again if it dies.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut seen = String::new();
        for _ in 0..3 {
            let output = self.stack().api_command(arguments)?;
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout)?);
            }
            seen = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        bail!("{arguments:?} fails: {seen}")
    }

    /// Lets what hung have its say: it has gone on, and both workers have ended once, with whatever they had in hand settled
    /// or handed back. At once where nothing hung.
    pub async fn after_hang(&self) -> Result<()> {
        let hangs = matches!(self.kind, Some(Kind::Hang | Kind::Redis));
        if !hangs || !self.has_fired() || self.had_its_say.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        // A command that hung was told to go on by whoever ran it.
        let deadline = Instant::now() + HANGS * 2;
        while !self.mended.load(Ordering::Relaxed) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        for worker in 0..WORKERS {
            self.restart_worker(worker).await?;
        }
        Ok(())
    }

    /// Everything that is promised of a run that has ended, and that its records are those expected.
    pub async fn check_run(&self, webhook: &str, run: &str, expected: Expected) -> Result<Value> {
        let path = format!("/sync-job-run/{run}");
        let is_over = |run: &Value| run["finished_at"].is_string() && !run["status"].is_null();
        self.wait(&path, "the end of the run", is_over).await?;
        self.after_hang().await?;
        let ended = self.wait(&path, "the run as it ended", is_over).await?;
        let name = format!(
            "sync_job_run:{}",
            ended["status"].as_str().unwrap_or_default()
        );
        self.wait_for_event(run, &name).await?;
        let letters = self.letters(webhook, run).await?;
        self.hold(&expected, &ended, &letters, &[])?;
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.push(Checked {
            webhook: webhook.to_owned(),
            run: run.to_owned(),
            expected,
            ended: ended.clone(),
            letters,
        });
        Ok(ended)
    }

    /// Checks all runs again that were checked at their ends: nothing may have come since but what was asked for, letters that
    /// were sent again and the news of a deletion. Of a deleted run, what it was at its end must still hold.
    pub async fn check_again(&self) -> Result<()> {
        let checked =
            std::mem::take(&mut *self.checked.lock().unwrap_or_else(PoisonError::into_inner));
        for was in checked {
            let path = format!("/sync-job-run/{}", was.run);
            let (status, now) = self.call(Method::GET, &path, None).await?;
            let run = match status {
                StatusCode::OK => now,
                StatusCode::NOT_FOUND => was.ended,
                _ => bail!("GET {path} answered {status}: {now}"),
            };
            let letters = self.letters(&was.webhook, &was.run).await?;
            let is_gone = |letter: &Value| letters.iter().all(|one| one["id"] != letter["id"]);
            let (gone, _): (Vec<_>, Vec<_>) = was.letters.into_iter().partition(is_gone);
            self.hold(&was.expected, &run, &letters, &gone)
                .context("some time after its end")?;
        }
        Ok(())
    }

    /// Holds what came of a run against what it says and what was expected of it. `gone`: letters that it had before.
    fn hold(
        &self,
        expected: &Expected,
        run: &Value,
        letters: &[Value],
        gone: &[Value],
    ) -> Result<()> {
        let terms = ledger::Terms {
            partial: expected.partial,
            letters,
            gone,
            unstored: &UNSTORED,
        };
        let ledger = ledger::Ledger::of(&self.receiver.deliveries(), run, terms);
        let mut faults = ledger.faults.clone();
        if run["status"] != expected.status {
            faults.push(format!(
                "the run is {}, not {}",
                run["status"], expected.status
            ));
        }
        if let Some(served) = &expected.served {
            let records = served.values().map(Vec::len).sum::<usize>() + expected.unsent;
            if run["records_fetched"] != records {
                faults.push(format!(
                    "{records} records were served, the run says {}",
                    run["records_fetched"]
                ));
            }
            faults.extend(ledger.missing(served));
        }
        ensure!(
            faults.is_empty(),
            "{}\n{run}\n{}",
            faults.join("\n"),
            self.logs()
        );
        Ok(())
    }

    /// The dead letters of a run; again, where the API is away.
    async fn letters(&self, webhook: &str, run: &str) -> Result<Vec<Value>> {
        let deadline = Instant::now() + LONG;
        loop {
            match ledger::dead_letters(&self.rest, webhook, run).await {
                Ok(letters) => return Ok(letters),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until an event of the run was acknowledged.
    pub async fn wait_for_event(&self, run: &str, name: &str) -> Result<()> {
        let (receiver, run, name) = (self.receiver.clone(), run.to_owned(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            receiver.wait_until(&name, LONG, |all| {
                let mut latest = all.iter().rev();
                latest.any(|delivery| {
                    delivery.acknowledged()
                        && delivery.name() == name
                        && delivery.event()["payload"]["sync_job_run_id"] == *run
                })
            })
        })
        .await?
    }

    /// Waits until nothing of any run is left in the store.
    pub async fn settled(&self) -> Result<()> {
        let deadline = Instant::now() + LONG;
        loop {
            // Redis may be the one that dies meanwhile.
            let left = self.left().await;
            let left = left.unwrap_or_else(|error| vec![format!("what can't be told: {error:#}")]);
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "all runs have ended; left are {left:?}\n{}",
                self.logs()
            );
            tokio::time::sleep(LOOK * 5).await;
        }
    }

    async fn left(&self) -> Result<Vec<String>> {
        let mut connection = connect(&self.redis_url).await?;
        ledger::leftovers(&mut connection, BASE).await
    }

    /// What the programs said beyond the usual.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let stack = self.stack();
        for program in std::iter::once(&stack.api).chain(&stack.workers) {
            let log = program.log();
            let lines: Vec<_> = log
                .lines()
                .filter(|line| !line.contains(r#""level":"INFO""#))
                .collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            let _ = writeln!(text, "-- a program's output ends:\n{}", tail.join("\n"));
        }
        let _ = writeln!(text, "-- in {}", self.folder.path().display());
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(supervisor) = self.supervisor.take() {
            // It ends soon, whatever happened to it.
            drop(supervisor.join());
        }
    }
}

/// What a run should have come to.
#[derive(Default)]
pub struct Expected {
    pub status: &'static str,
    /// By stream; none: not all of it was asked for.
    pub served: Option<BTreeMap<String, Vec<String>>>,
    /// Records that were fetched beside those, for their children only (`persist`).
    pub unsent: usize,
    /// It is a retry.
    pub partial: bool,
}

fn lock(stack: &Mutex<Stack>) -> MutexGuard<'_, Stack> {
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of UTF-8")
}

fn beside(trace: &Path, suffix: &str) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn shift_clock(redis_url: &str, ms: i64) -> Result<()> {
    let mut connection = redis::Client::open(redis_url)?.get_connection()?;
    redis::cmd("INCRBY")
        .arg(format!("{BASE}:clock_shift"))
        .arg(ms)
        .exec(&mut connection)?;
    Ok(())
}

/// Starts again what has ended, and lets time pass where others wait for that.
struct Supervisor {
    stack: Arc<Mutex<Stack>>,
    stopped: Arc<AtomicBool>,
    redis_url: String,
    fired: PathBuf,
    kind: Option<Kind>,
    mended: Arc<AtomicBool>,
    /// Since when a process hangs.
    hanging: Option<Instant>,
    seen_fired: bool,
}

impl Supervisor {
    fn run(mut self) {
        while !self.stopped.load(Ordering::Relaxed) {
            if let Err(error) = self.look() {
                eprintln!("the supervisor: {error:#}");
            }
            thread::sleep(LOOK);
        }
    }

    fn look(&mut self) -> Result<()> {
        let mut stack = lock(&self.stack);
        let mut died = false;
        if stack.api.ended()?.is_some() {
            stack.restart_api()?;
            died = true;
        }
        for worker in &mut stack.workers {
            if let Some(status) = worker.ended()? {
                worker.restart()?;
                // One that was told to stop leaves no lease behind.
                died |= !status.success();
            }
        }
        if died {
            shift_clock(&self.redis_url, PAST_LEASES_MS)?;
        }
        if !self.seen_fired && self.fired.exists() {
            self.seen_fired = true;
            if self.kind == Some(Kind::Error) {
                shift_clock(&self.redis_url, PAST_OWN_FAULT_MS)?;
            }
        }
        let programs = std::iter::once(&stack.api).chain(&stack.workers);
        let hangs = programs.into_iter().any(Program::is_stopped);
        match (hangs, self.hanging) {
            (true, None) if self.kind == Some(Kind::Redis) => {
                stack.redis.kill()?;
                stack.redis.restart()?;
                resume(&stack)?;
                self.mended.store(true, Ordering::Relaxed);
            }
            (true, None) => {
                self.hanging = Some(Instant::now());
                shift_clock(&self.redis_url, PAST_LEASES_MS)?;
            }
            (true, Some(since)) if since.elapsed() > HANGS => {
                self.hanging = None;
                resume(&stack)?;
                self.mended.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(())
    }
}

fn resume(stack: &Stack) -> Result<()> {
    for program in std::iter::once(&stack.api).chain(&stack.workers) {
        if program.is_stopped() {
            program.signal("CONT")?;
        }
    }
    Ok(())
}

/// The fields of a run that are the same for all of one job.
pub fn run_of(job: &str, account: &str, webhook: &str) -> Value {
    json!({"sync_job_id": job, "integrated_account_id": account, "webhook_id": webhook})
}
