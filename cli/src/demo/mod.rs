//! `syncline demo`: one whole sync, shown as it goes and checked at its end.
//!
//! Everything goes through the public REST API, with the curl command of each
//! call. Two runs: the first syncs all, the second only what changed since. The
//! exit code is 0 when every check of `verify.rs` holds.

mod progress;
mod scenario;
mod verify;

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, bail};
use shared::shutdown;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::{
    scenario::Scenario,
    verify::{Check, Expected},
};
use crate::{
    dev::{PlaceArgs, export},
    rest::Rest,
    sample::{
        inbox::RunSeen,
        orders::{FLAKY_ORDER, GONE_ORDER, ORDER_COUNT},
        receiver::SampleReceiver,
        source::SampleSource,
    },
    stack::{self, Stack, StackOptions},
    terminal::{LINE_WIDTH, faint, heading, mark, shorten},
};

/// Both runs, from the first call to the last check.
const DEMO_DEADLINE: Duration = Duration::from_mins(2);
/// Orders that change between the two runs.
const CHANGED_ORDERS: usize = 3;

/// How to show it.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep everything running afterwards, to try the commands by hand
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Whether everything that is promised held.
///
/// # Errors
/// When a part doesn't start or ends by itself, a call fails, or time is up.
pub async fn run(args: &DemoArgs) -> anyhow::Result<bool> {
    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    let options = StackOptions {
        data_dir: args.place.data_dir.join("demo"),
        redis_server: args.place.redis_server.clone(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
    };
    stack::wipe(&options.data_dir).await?;
    let source = SampleSource::start().await?;
    let receiver = SampleReceiver::start().await?;
    println!(
        "{}\n",
        heading("Syncline demo: sample orders → Syncline → sample webhook receiver")
    );
    let mut stack = Stack::start(&options).await?;

    let shown = {
        let scenario = Scenario {
            rest: Rest::new(&stack.api_url, stack.token.clone())?,
            source,
            receiver,
        };
        print_places(&stack, &scenario);
        let show = timeout(DEMO_DEADLINE, show(&scenario));
        let shown = tokio::select! {
            shown = show => shown.unwrap_or_else(|_| bail_late()),
            error = stack.ended() => Err(error),
            () = stop.cancelled() => Err(anyhow::anyhow!("stopped by a signal")),
        };
        match shown {
            Ok(holds) if args.keep => wait(&mut stack, &stop).await.map(|()| holds),
            shown => shown,
        }
    };
    let log = stack.log.clone();
    let stopped = stack.stop().await;
    let holds =
        shown.with_context(|| format!("the demo was broken off; its log is {}", log.display()))?;
    stopped?;
    Ok(holds)
}

fn bail_late() -> anyhow::Result<bool> {
    bail!("the demo wasn't over within {} s", DEMO_DEADLINE.as_secs())
}

/// `--keep`: until a signal.
async fn wait(stack: &mut Stack, stop: &CancellationToken) -> anyhow::Result<()> {
    println!("\nEverything keeps running; Ctrl-C ends it.");
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        error = stack.ended() => Err(error),
    }
}

fn print_places(stack: &Stack, scenario: &Scenario) {
    println!("  API       {}", stack.api_url);
    println!(
        "  source    {}   {}",
        scenario.source.base_url(),
        faint(format!("{ORDER_COUNT} orders and their lines"))
    );
    println!("  receiver  {}", scenario.receiver.target_url());
    println!("  data      {}", stack.data_dir.display());
    println!("  log       {}", stack.log.display());
    println!(
        "\nEach step is one call of the REST API; as curl, after\n\n{}\n",
        export(stack)
    );
}

/// The two runs; whether every check held.
async fn show(scenario: &Scenario) -> anyhow::Result<bool> {
    let prepared = scenario.prepare().await?;

    let first = scenario
        .run(
            "4. Run it",
            &prepared,
            Some(scenario.source.full_sync_records()),
        )
        .await?;
    scenario
        .receiver
        .look(|inbox| print_events(inbox.runs.get(&first.id)));
    println!(
        "\n{}\n",
        heading("What arrived is checked against what the source served")
    );
    let expected = Expected {
        gone: Some(GONE_ORDER),
        flaky: Some(FLAKY_ORDER),
        orders: None,
    };
    let ledger = scenario.source.take_ledger();
    let mut holds = print_checks(
        &scenario
            .receiver
            .look(|inbox| verify::checks(&expected, &ledger, inbox, &first)),
    );

    let changed = scenario.source.ship(CHANGED_ORDERS);
    println!(
        "\n{}\n",
        faint(format!("The source ships {}.", changed.join(", ")))
    );
    let second = scenario
        .run("5. Run it again: only what changed since", &prepared, None)
        .await?;
    let ledger = scenario.source.take_ledger();
    let expected = Expected {
        gone: None,
        flaky: None,
        orders: Some(changed.len()),
    };
    println!();
    holds &= print_checks(
        &scenario
            .receiver
            .look(|inbox| verify::checks(&expected, &ledger, inbox, &second)),
    );

    println!(
        "\n{} {}",
        mark(holds),
        if holds {
            "everything that is promised held"
        } else {
            "not everything held"
        }
    );
    Ok(holds)
}

fn print_events(run: Option<&RunSeen>) {
    println!(
        "\n{}\n",
        heading("Some of the events that the receiver got")
    );
    for sample in run.into_iter().flat_map(|run| &run.samples) {
        let seq = sample
            .seq
            .map(|(first, last)| format!("seq {first}–{last}"));
        let title = [
            Some(sample.event.as_str()),
            sample.stream.as_deref(),
            seq.as_deref(),
        ];
        println!(
            "  {}",
            title.into_iter().flatten().collect::<Vec<_>>().join("  ")
        );
        println!("    {}", faint(shorten(&sample.text, LINE_WIDTH - 4)));
    }
}

fn print_checks(checks: &[Check]) -> bool {
    let width = checks
        .iter()
        .map(|check| check.title.chars().count())
        .max()
        .unwrap_or(0);
    for check in checks {
        println!(
            "  {} {:width$}  {}",
            mark(check.holds),
            check.title,
            check.detail
        );
    }
    checks.iter().all(|check| check.holds)
}
