//! Settings: commented defaults (compiled in) < file < environment < flags, all faults
//! at once.
//!
//! [`Settings::load`] is a function of its [`Sources`]; only
//! [`Sources::from_process`] looks at the process. Unknown names are faults, since a
//! misspelt setting would otherwise be a setting that silently keeps its default.
//! The meaning of each setting is in `default.toml` and `docs/guides/settings.md`.

mod effective;
mod faults;
mod layers;
mod reader;
mod redis_url;
mod sources;
pub mod targets;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

pub use faults::{SettingFault, SettingsFaults};
pub use layers::{DEFAULTS, NAMES, Origin, variable};
pub use sources::{CONFIG_VARIABLE, ConfigFile, ENV_PREFIX, MAX_FILE_BYTES, Sources};

use crate::seal::{Sealer, Secret};
use reader::Reader;

/// Where a worker answers `/metrics`, `/livez` and `/readyz` unless told otherwise.
pub const WORKER_METRICS_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// Characters of `key_prefix`.
const MAX_KEY_PREFIX: usize = 64;
/// Characters of `bootstrap_token`: at least what can't be guessed, at most what a header carries well.
const BOOTSTRAP_TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    Pretty,
    Json,
}

/// Tasks in work at once in one worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConcurrency {
    pub fetches: u32,
    pub deliveries: u32,
}

/// Every setting, read and checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` or `redis+unix://`; secret because it may hold a password.
    pub redis_url: Secret,
    pub key_prefix: String,
    pub listen: SocketAddr,
    /// `None`: the API's own port, or [`WORKER_METRICS_LISTEN`] in a worker.
    pub metrics_listen: Option<SocketAddr>,
    pub bootstrap_token: Option<Secret>,
    /// One key or several with commas, as [`Sealer::new`] takes it.
    pub master_key: Secret,
    /// CIDR or CIDR:port, as [`crate::http::TargetPolicy::new`] takes them.
    pub allow_targets: Vec<String>,
    pub allow_http: bool,
    pub worker_concurrency: WorkerConcurrency,
    /// How long a stopping process lets work finish.
    pub drain: Duration,
    pub retention_days: u32,
    pub integrations_dir: Option<PathBuf>,
    /// Directives as `tracing_subscriber::EnvFilter` takes them.
    pub log: String,
    pub log_format: LogFormat,
    origins: BTreeMap<&'static str, Origin>,
}

impl Settings {
    /// Lays the sources over the defaults and checks every setting and their relations.
    ///
    /// # Errors
    /// Everything that is wrong, in one go.
    pub fn load(sources: &Sources) -> Result<Self, SettingsFaults> {
        let mut faults = SettingsFaults::default();
        let layers = layers::merge(sources, &mut faults);
        let mut reader = Reader {
            layers: &layers,
            faults: &mut faults,
        };
        let settings = read(&mut reader);
        // A setting that has no value was named as a fault by its reader.
        match settings {
            Some(settings) => faults.into_result(settings),
            None => Err(faults),
        }
    }

    /// Where the value of setting `name` is from; `None` when it has none.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }

    /// Where a worker answers `/metrics`, `/livez` and `/readyz`.
    #[must_use]
    pub fn worker_metrics_listen(&self) -> SocketAddr {
        self.metrics_listen.unwrap_or(WORKER_METRICS_LISTEN)
    }

    /// All settings as a TOML file, with their variables and origins, secrets masked.
    #[must_use]
    pub fn effective_toml(&self) -> String {
        effective::print(self)
    }
}

/// Every fault of every setting is found before this gives up.
fn read(reader: &mut Reader<'_>) -> Option<Settings> {
    let redis_url = required(reader, "redis_url");
    if let Some(text) = &redis_url
        && let Err(message) = redis_url::check(text)
    {
        reader.fault("redis_url", message);
    }
    let key_prefix = required(reader, "key_prefix");
    if let Some(text) = &key_prefix {
        check_key_prefix(reader, text);
    }
    let listen = reader.address("listen");
    let metrics_listen = reader.address("metrics_listen");
    let bootstrap_token = reader.text("bootstrap_token");
    if let Some(token) = &bootstrap_token
        && !(BOOTSTRAP_TOKEN_LENGTH.contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        reader.fault(
            "bootstrap_token",
            "must be 16 to 256 visible ASCII characters",
        );
    }
    let master_key = reader.text("master_key");
    check_master_key(reader, master_key.as_deref());
    let allow_targets = reader.list("allow_targets");
    let allow_http = reader.boolean("allow_http");
    check_targets(reader, &allow_targets, allow_http.unwrap_or(false));
    let concurrency = reader.pair("worker_concurrency", 1..=4096);
    let drain_seconds = reader.number("drain_seconds", 0..=3600);
    let retention_days = reader.number("retention_days", 1..=3650);
    let integrations_dir = reader.text("integrations_dir").map(PathBuf::from);
    let log = required(reader, "log");
    if let Some(text) = &log
        && let Err(error) = tracing_subscriber::EnvFilter::try_new(text)
    {
        reader.fault(
            "log",
            format!("`{text}` can't be read ({error}); write e.g. `info`"),
        );
    }
    let log_format = reader.choice(
        "log_format",
        &[
            ("auto", LogFormat::Auto),
            ("pretty", LogFormat::Pretty),
            ("json", LogFormat::Json),
        ],
    );
    let origins = reader
        .layers
        .iter()
        .map(|(name, given)| (*name, given.origin.clone()))
        .collect();
    let (fetches, deliveries) = concurrency?;
    Some(Settings {
        redis_url: Secret::new(redis_url?),
        key_prefix: key_prefix?,
        listen: listen?,
        metrics_listen,
        bootstrap_token: bootstrap_token.map(Secret::new),
        master_key: Secret::new(master_key?),
        allow_targets,
        allow_http: allow_http?,
        worker_concurrency: WorkerConcurrency {
            fetches,
            deliveries,
        },
        drain: Duration::from_secs(drain_seconds?.into()),
        retention_days: retention_days?,
        integrations_dir,
        log: log?,
        log_format: log_format?,
        origins,
    })
}

/// A text that can't be done without.
fn required(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    let before = reader.faults.as_slice().len();
    let text = reader.text(name);
    if text.is_none() && reader.faults.as_slice().len() == before {
        reader.fault(name, "must not be empty");
    }
    text
}

fn check_key_prefix(reader: &mut Reader<'_>, text: &str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    if text.len() > MAX_KEY_PREFIX || !text.bytes().all(allowed) {
        reader.fault(
            "key_prefix",
            format!("must be at most {MAX_KEY_PREFIX} letters, digits, `.`, `_`, `-` and `:`"),
        );
    }
}

fn check_master_key(reader: &mut Reader<'_>, text: Option<&str>) {
    let message = match text.map(Sealer::new) {
        Some(Ok(_)) => return,
        Some(Err(_)) => {
            "must be 32 bytes in base64 (`openssl rand -base64 32`), or several such keys with \
             commas, the current one first"
        }
        None => {
            "is required: 32 random bytes in base64 (`openssl rand -base64 32`), the same for \
             every program of this installation"
        }
    };
    reader.fault("master_key", message);
}

fn check_targets(reader: &mut Reader<'_>, allow_targets: &[String], allow_http: bool) {
    if let Err(messages) = targets::parse_rules(allow_targets) {
        for message in messages {
            reader.fault("allow_targets", message);
        }
    }
    if allow_http && allow_targets.is_empty() {
        reader.fault(
            "allow_http",
            "has no effect without allow_targets (SYNCLINE_ALLOW_TARGETS): plain http reaches \
             allowed targets only; list them, or leave it out",
        );
    }
}
