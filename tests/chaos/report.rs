//! What came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use syncline_tests::{
    ledger::{self, Ledger, Terms},
    receiver::{Delivery, Receiver},
    stack::Stack,
};

use crate::{
    faults::{Fault, Made},
    load::{Load, Started, refused, served},
};

/// Events that came again after they had been acknowledged, of all, in percent; those aside whose worker or receiver went
/// away before they were settled, which nobody can know of.
const MOST_DUPLICATES_PERCENT: f64 = 0.01;
/// From a receiver's answer to its settling, at most: Redis may be away meanwhile, and the machine busy.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
/// A receiver that goes away may have noted a delivery a moment ago, or just so.
const JUST_BEFORE: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// The keys' base, with the default prefix.
const BASE: &str = "syncline:{p0}";
/// Sentences shown of all that doesn't hold.
const SHOWN: usize = 20;

/// Says now and then how far it is.
pub async fn progress(receivers: Vec<Arc<Receiver>>, began: Instant, ended: Arc<AtomicBool>) {
    let mut told = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let events: usize = receivers
                .iter()
                .map(|receiver| receiver.deliveries().len())
                .sum();
            println!(
                "{:4.0} s: {events} events came",
                began.elapsed().as_secs_f64()
            );
        }
    }
}

/// A time in which nobody got an event.
#[derive(Default)]
struct Silence {
    length: Duration,
    /// After the first run was started.
    began: Duration,
    /// Runs that had told something before and did so after it: with few of them left, one that waits is enough.
    runs: usize,
}

pub struct Verdict {
    runs: usize,
    records: usize,
    dead: usize,
    events: usize,
    repeats: usize,
    /// Those for which there is no good reason.
    needless: usize,
    lost: usize,
    gaps: usize,
    faults: Vec<String>,
    leftovers: Vec<String>,
    rescued: usize,
    /// By kind: number, then time until the next acknowledged event, from its beginning and from its end.
    recoveries: BTreeMap<Fault, Vec<[Duration; 2]>>,
    longest_silence: Silence,
    settled_after: Duration,
    /// Faults that began while something else was broken.
    overlapping: usize,
}

/// Holds every run against the ledger.
pub async fn verdict(
    load: &Load,
    stack: &Stack,
    runs: &[Started],
    made: &[Made],
    [began, calm]: [Instant; 2],
) -> Result<Verdict> {
    let settled_after = calm.elapsed();
    // Nothing comes any more once nothing is left of any run.
    let leftovers = leftovers(stack).await?;
    let deliveries: Vec<_> = load
        .receivers()
        .iter()
        .map(|receiver| receiver.deliveries())
        .collect();
    let by_run = by_run(&deliveries);
    let (served, refused) = (served(), refused());
    let mut verdict = Verdict {
        runs: runs.len(),
        records: 0,
        dead: 0,
        events: 0,
        repeats: 0,
        needless: needless_repeats(&deliveries, made),
        lost: 0,
        gaps: 0,
        faults: accepted_otherwise(load, runs).await?,
        leftovers,
        rescued: rescued(stack),
        recoveries: recoveries(&deliveries, made, settled_after),
        longest_silence: longest_silence(&deliveries, &by_run, began),
        settled_after,
        overlapping: made.iter().filter(|fault| fault.beside).count(),
    };
    for run in runs {
        let state = load.rest.get(&format!("/sync-job-run/{}", run.id)).await?;
        let letters = ledger::dead_letters(&load.rest, &run.webhook, &run.id).await?;
        let came = by_run.get(&run.id).cloned().unwrap_or_default();
        let ledger = Ledger::of(
            &came,
            &state,
            Terms {
                letters: &letters,
                ..Terms::default()
            },
        );
        let count = |all: &BTreeMap<String, Vec<String>>| all.values().map(Vec::len).sum::<usize>();
        verdict.records += count(&ledger.records);
        verdict.dead += count(&ledger.dead);
        verdict.events += ledger.events.len();
        verdict.repeats += ledger.repeats;
        verdict.lost += ledger.lost(&served);
        verdict.gaps += ledger.gaps;
        let missing = ledger.missing(&served);
        let dead = refused_otherwise(&ledger, &refused);
        let status = (state["status"] != "completed" || state["errors"] != 0)
            .then(|| format!("it is {} with {} errors", state["status"], state["errors"]));
        let all = ledger
            .faults
            .into_iter()
            .chain(missing)
            .chain(dead)
            .chain(status);
        verdict
            .faults
            .extend(all.map(|fault| format!("{}: {fault}", run.id)));
    }
    Ok(verdict)
}

/// Whether other records of a run are dead than the receivers refuse.
fn refused_otherwise(ledger: &Ledger, refused: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let sorted = |all: &BTreeMap<String, Vec<String>>| -> BTreeSet<String> {
        all.values().flatten().cloned().collect()
    };
    let (dead, refused) = (sorted(&ledger.dead), sorted(refused));
    let first = dead.symmetric_difference(&refused).next()?;
    let (dead, refused) = (dead.len(), refused.len());
    Some(format!(
        "{dead} records are dead, {refused} were refused, e.g. not both: {first}"
    ))
}

/// Runs that the API lists and no client was told of, or the other way round: each request is accepted once.
async fn accepted_otherwise(load: &Load, runs: &[Started]) -> Result<Vec<String>> {
    let listed = load.listed_runs().await?;
    let told: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
    let otherwise = listed.symmetric_difference(&told);
    Ok(otherwise
        .map(|run| format!("{run} was accepted once more, or not at all"))
        .collect())
}

fn by_run(deliveries: &[Vec<Delivery>]) -> BTreeMap<String, Vec<Delivery>> {
    let mut by_run: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for delivery in deliveries.iter().flatten() {
        let event = delivery.event();
        if let Some(run) = event["payload"]["sync_job_run_id"].as_str() {
            by_run
                .entry(run.to_owned())
                .or_default()
                .push(delivery.clone());
        }
    }
    by_run
}

/// Events that came again though nobody had gone away between their acknowledgement and its settling.
fn needless_repeats(deliveries: &[Vec<Delivery>], made: &[Made]) -> usize {
    let has_reason = |acknowledged: Instant| {
        made.iter().any(|fault| {
            fault.fault.takes_answers()
                && fault.began + JUST_BEFORE >= acknowledged
                && fault.began <= acknowledged + SETTLES_WITHIN
        })
    };
    let mut needless = 0;
    for of_receiver in deliveries {
        let mut acknowledged = BTreeMap::new();
        for delivery in of_receiver.iter().filter(|one| one.acknowledged()) {
            let id = delivery.request.header("webhook-id");
            let first = *acknowledged.entry(id).or_insert(delivery.at);
            needless += usize::from(first != delivery.at && !has_reason(first));
        }
    }
    needless
}

/// Waits a little for what ends after the last event, such as a lane that has nothing more.
async fn leftovers(stack: &Stack) -> Result<Vec<String>> {
    let mut connection = stack.redis.connect().await?;
    let deadline = Instant::now() + TELL_EVERY;
    loop {
        let left = ledger::leftovers(&mut connection, BASE).await?;
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Tasks that were taken over from a worker that had died.
fn rescued(stack: &Stack) -> usize {
    let logs = stack
        .workers
        .iter()
        .map(|worker| worker.log().matches("a lease had expired").count());
    logs.sum()
}

/// When events were acknowledged.
fn moments(deliveries: &[Vec<Delivery>]) -> BTreeSet<Instant> {
    let acknowledged = deliveries
        .iter()
        .flatten()
        .filter(|delivery| delivery.acknowledged());
    acknowledged.map(|delivery| delivery.at).collect()
}

/// A fault after which no event came counts with the time until everything was there.
fn recoveries(
    deliveries: &[Vec<Delivery>],
    made: &[Made],
    settled_after: Duration,
) -> BTreeMap<Fault, Vec<[Duration; 2]>> {
    let moments = moments(deliveries);
    let mut recoveries: BTreeMap<Fault, Vec<[Duration; 2]>> = BTreeMap::new();
    for fault in made {
        let times = [fault.began, fault.mended].map(|from| {
            let next = moments.range(from..).next();
            next.map_or(settled_after, |next| *next - from)
        });
        recoveries.entry(fault.fault).or_default().push(times);
    }
    recoveries
}

fn longest_silence(
    deliveries: &[Vec<Delivery>],
    by_run: &BTreeMap<String, Vec<Delivery>>,
    began: Instant,
) -> Silence {
    let moments: Vec<_> = moments(deliveries).into_iter().collect();
    let Some((from, to)) = moments
        .iter()
        .zip(moments.iter().skip(1))
        .max_by_key(|(from, to)| **to - **from)
    else {
        return Silence::default();
    };
    let is_around = |of_run: &&Vec<Delivery>| {
        let acknowledged = || of_run.iter().filter(|delivery| delivery.acknowledged());
        acknowledged().any(|delivery| delivery.at <= *from)
            && acknowledged().any(|delivery| delivery.at >= *to)
    };
    Silence {
        length: *to - *from,
        began: from.saturating_duration_since(began),
        runs: by_run.values().filter(is_around).count(),
    }
}

impl Verdict {
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
            && self.leftovers.is_empty()
            && self.percent(self.needless) <= MOST_DUPLICATES_PERCENT
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of counts far below 2^53"
    )]
    fn percent(&self, events: usize) -> f64 {
        100.0 * events as f64 / self.events.max(1) as f64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:22} {:>6}  {:>24}  {:>24}",
            "fault", "times", "until the next event, s", "once it is mended, s"
        )?;
        for (fault, times) in &self.recoveries {
            let column = |which: usize| {
                let mut all: Vec<_> = times.iter().map(|pair| pair[which].as_secs_f64()).collect();
                all.sort_by(f64::total_cmp);
                format!(
                    "p50 {:.2}, most {:.2}",
                    all[all.len() / 2],
                    all[all.len() - 1]
                )
            };
            writeln!(
                f,
                "{:22} {:>6}  {:>24}  {:>24}",
                fault.name(),
                times.len(),
                column(0),
                column(1)
            )?;
        }
        writeln!(
            f,
            "\n{} runs, {} records acknowledged, {} dead, in {} events",
            self.runs, self.records, self.dead, self.events
        )?;
        writeln!(
            f,
            "{} faults came while something else was broken; {} tasks were taken over from workers that had died",
            self.overlapping, self.rescued
        )?;
        writeln!(
            f,
            "nobody got an event for {:.1} s at most, from second {:.0} on, with {} runs under way; everything was there {:.1} s after the last fault",
            self.longest_silence.length.as_secs_f64(),
            self.longest_silence.began.as_secs_f64(),
            self.longest_silence.runs,
            self.settled_after.as_secs_f64()
        )?;
        writeln!(
            f,
            "duplicate events: {} ({:.4} %), of which {} with nobody to blame ({:.4} %, target {MOST_DUPLICATES_PERCENT} %)",
            self.repeats,
            self.percent(self.repeats),
            self.needless,
            self.percent(self.needless)
        )?;
        writeln!(f, "left in the store: {:?}", self.leftovers)?;
        writeln!(
            f,
            "lost {}, gaps {}, broken promises {}",
            self.lost,
            self.gaps,
            self.faults.len()
        )?;
        for fault in self.faults.iter().take(SHOWN) {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}
