//! Prints the settings in effect as a TOML file, secrets masked.

use std::fmt::{Display, Write};

use toml::Value;

use super::{LogFormat, NAMES, Settings, redis_url, variable};
use crate::seal::REDACTED;

pub(super) fn print(settings: &Settings) -> String {
    let mut text = String::new();
    for name in NAMES {
        let origin: &dyn Display = match settings.origin(name) {
            Some(origin) => origin,
            None => &"not set",
        };
        let line = match value(settings, name) {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} ="),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "# {}, {origin}\n{line}", variable(name));
    }
    text
}

fn value(settings: &Settings, name: &str) -> Option<Value> {
    let text = |text: &str| Some(Value::String(text.to_owned()));
    let number = |number: u64| i64::try_from(number).ok().map(Value::Integer);
    match name {
        "redis_url" => text(&redis_url::masked(settings.redis_url.expose())),
        "key_prefix" => text(&settings.key_prefix),
        "listen" => text(&settings.listen.to_string()),
        "metrics_listen" => text(&settings.metrics_listen?.to_string()),
        "bootstrap_token" => settings
            .bootstrap_token
            .as_ref()
            .and_then(|_| text(REDACTED)),
        "master_key" => text(REDACTED),
        "allow_targets" => Some(Value::Array(
            settings
                .allow_targets
                .iter()
                .cloned()
                .map(Value::String)
                .collect(),
        )),
        "allow_http" => Some(Value::Boolean(settings.allow_http)),
        "worker_concurrency" => {
            let both = settings.worker_concurrency;
            Some(Value::Array(vec![
                Value::Integer(both.fetches.into()),
                Value::Integer(both.deliveries.into()),
            ]))
        }
        "drain_seconds" => number(settings.drain.as_secs()),
        "retention_days" => number(settings.retention_days.into()),
        "integrations_dir" => text(&settings.integrations_dir.as_ref()?.display().to_string()),
        "log" => text(&settings.log),
        "log_format" => text(match settings.log_format {
            LogFormat::Auto => "auto",
            LogFormat::Pretty => "pretty",
            LogFormat::Json => "json",
        }),
        _ => None,
    }
}
