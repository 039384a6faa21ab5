//! `syncline dev`: the whole stack and the sample source, kept running for work
//! until Ctrl-C.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::json;
use shared::shutdown;
use tokio_util::sync::CancellationToken;

use crate::{
    rest::Call,
    sample::{
        INTEGRATION,
        source::{API_KEY, SampleSource},
    },
    stack::{Stack, StackOptions},
    terminal::{faint, heading},
};

/// Where and with what to run.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What `dev` and `demo` have in common.
#[derive(Debug, Clone, clap::Args)]
pub struct PlaceArgs {
    /// Where Redis's data, the keys and the log live
    #[arg(long, value_name = "DIR", default_value = ".syncline")]
    pub data_dir: PathBuf,
    /// The redis-server to run, when it isn't on the PATH
    #[arg(long, value_name = "PATH")]
    pub redis_server: Option<PathBuf>,
}

/// Runs until a signal; then drains and stops everything.
///
/// # Errors
/// When a part doesn't start, ends by itself, or doesn't stop as it should.
pub async fn run(args: &DevArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    shutdown::on_signal(stop.clone())?;
    let source = SampleSource::start().await?;
    let options = StackOptions {
        data_dir: args.place.data_dir.join("dev"),
        redis_server: args.place.redis_server.clone(),
        listen: args.listen,
    };
    let mut stack = Stack::start(&options).await?;
    print_welcome(&stack, &source);
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        error = stack.ended() => Some(error),
    };
    println!("\nstopping; work in hand may finish");
    let stopped = stack.stop().await;
    match ended {
        Some(error) => Err(error),
        None => stopped,
    }
}

fn print_welcome(stack: &Stack, source: &SampleSource) {
    let api = &stack.api_url;
    println!("{}\n", heading("Syncline is running"));
    println!(
        "  API     {api}/api/v1/ipaas   {}",
        faint(format!("documentation: {api}/docs"))
    );
    println!("  token   {}", stack.token.expose());
    println!(
        "  source  {}   {}",
        source.base_url(),
        faint(format!("sample orders; API key: {API_KEY}"))
    );
    println!("  data    {}", stack.data_dir.display());
    println!("  log     {}", stack.log.display());
    println!(
        "  {}",
        faint("webhooks and sources on this machine may be called, by http too")
    );
    println!("\n{}\n", heading("Connect the sample source"));
    println!("{}\n", export(stack));
    println!("{}\n", connect_account(source).curl());
    println!("Ctrl-C stops everything; the data stays.");
}

/// What the curl commands need in a shell.
#[must_use]
pub fn export(stack: &Stack) -> String {
    let token = stack.data_dir.join("token");
    format!(
        "export SYNCLINE_URL={} SYNCLINE_TOKEN=\"$(cat '{}')\"",
        stack.api_url,
        token.display()
    )
}

/// The call that makes an integrated account for the sample source.
#[must_use]
pub fn connect_account(source: &SampleSource) -> Call {
    Call::post(
        "/integrated-account",
        json!({
            "integration_name": INTEGRATION,
            "tenant_id": "acme",
            "credentials": {"api_key": API_KEY},
            "context": {"base_url": source.base_url()},
        }),
    )
}
