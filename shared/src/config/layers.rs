//! Lays the sources over each other: one value for each setting, and where it is from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    faults::SettingsFaults,
    sources::{CONFIG_VARIABLE, ENV_PREFIX, Sources},
};

/// The commented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("default.toml");

/// Every setting, in the order of the default file.
pub const NAMES: [&str; 14] = [
    "redis_url",
    "key_prefix",
    "listen",
    "metrics_listen",
    "bootstrap_token",
    "master_key",
    "allow_targets",
    "allow_http",
    "worker_concurrency",
    "drain_seconds",
    "retention_days",
    "integrations_dir",
    "log",
    "log_format",
];

/// Variables of our prefix that tests of the project use; no settings.
const TEST_PREFIX: &str = "SYNCLINE_TEST_";
/// What callers of the API keep in their shell, as the README and `syncline dev` have it; no settings of the programs.
const CLIENT_VARIABLES: [&str; 2] = ["SYNCLINE_URL", "SYNCLINE_TOKEN"];

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment,
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The value of one setting as it was given.
pub(super) struct Given {
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

pub(super) type Layers = BTreeMap<&'static str, Given>;

/// The variable of setting `name`.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("{ENV_PREFIX}{}", name.to_uppercase())
}

/// Values from the environment and from flags are texts; readers take both a
/// text and the TOML type.
pub(super) fn merge(sources: &Sources, faults: &mut SettingsFaults) -> Layers {
    let mut layers = Layers::new();
    add_file(DEFAULTS, None, &mut layers, faults);
    if let Some(file) = &sources.file {
        add_file(&file.text, Some(&file.path), &mut layers, faults);
    }
    for (variable_name, value) in &sources.environment {
        let Some(rest) = variable_name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        if value.is_empty()
            || variable_name == CONFIG_VARIABLE
            || variable_name.starts_with(TEST_PREFIX)
            || CLIENT_VARIABLES.contains(&variable_name.as_str())
            || is_service_link(rest, value)
        {
            continue;
        }
        if let Some(name) = NAMES.iter().find(|name| variable(name) == *variable_name) {
            add_text(name, value, Origin::Environment, &mut layers);
        } else {
            let hint = nearest(&rest.to_lowercase()).map(variable);
            faults.push(variable_name, unknown("variable", hint));
        }
    }
    for (name, value) in &sources.overrides {
        match NAMES.iter().find(|known| *known == name) {
            Some(_) if value.is_empty() => {}
            Some(name) => add_text(name, value, Origin::Flag, &mut layers),
            None => {
                faults.push(name, unknown("setting", nearest(name).map(str::to_owned)));
            }
        }
    }
    layers
}

fn add_text(name: &'static str, value: &str, origin: Origin, layers: &mut Layers) {
    layers.insert(
        name,
        Given {
            value: toml::Value::String(value.to_owned()),
            origin,
        },
    );
}

/// `path` is `None` for the built-in defaults.
fn add_file(text: &str, path: Option<&Path>, layers: &mut Layers, faults: &mut SettingsFaults) {
    let subject = path.map_or("the built-in defaults".to_owned(), |path| {
        format!("file {}", path.display())
    });
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            // Not the whole error: it quotes the line, which may hold a secret.
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            faults.push(
                subject,
                format!("is not TOML at line {line}; mend that line"),
            );
            return;
        }
    };
    for (name, value) in table {
        if let Some(known) = NAMES.iter().find(|known| **known == name) {
            let origin = path.map_or(Origin::Default, |path| Origin::File(path.to_path_buf()));
            layers.insert(known, Given { value, origin });
        } else {
            let hint = nearest(&name.to_lowercase()).map(str::to_owned);
            faults.push(format!("{subject}, `{name}`"), unknown("setting", hint));
        }
    }
}

fn unknown(kind: &str, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("is no known {kind}; did you mean `{hint}`?"),
        None => format!("is no known {kind}; remove it"),
    }
}

/// The setting that `name` most likely is a misspelling of.
fn nearest(name: &str) -> Option<&'static str> {
    NAMES
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| known)
}

/// Kubernetes puts `SYNCLINE_SERVICE_HOST`, `SYNCLINE_API_PORT=tcp://…` and the like into
/// every pod when a service is called `syncline…`; these are no misspelt settings.
fn is_service_link(rest: &str, value: &str) -> bool {
    let named = |part: &str| rest == part || rest.contains(&format!("_{part}"));
    named("SERVICE_HOST")
        || named("SERVICE_PORT")
        || rest.starts_with("PORT_")
        || rest.contains("_PORT_")
        || (named("PORT") && value.contains("://"))
}
