//! Settings: their layers, their checks, and how they are printed.

use std::{path::PathBuf, time::Duration};

use shared::config::{
    ConfigFile, DEFAULTS, LogFormat, NAMES, Origin, Settings, SettingsFaults, Sources, variable,
};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let key = ("SYNCLINE_MASTER_KEY", KEY);
    Sources::from_environment(std::iter::once(key).chain(pairs.iter().copied()))
}

fn load(pairs: &[(&str, &str)]) -> Settings {
    Settings::load(&environment(pairs)).expect("settings")
}

fn file(text: &str) -> ConfigFile {
    ConfigFile {
        path: PathBuf::from("/etc/syncline.toml"),
        text: text.to_owned(),
    }
}

fn faults(sources: &Sources) -> Vec<String> {
    let faults: SettingsFaults = Settings::load(sources).expect_err("faults");
    faults
        .as_slice()
        .iter()
        .map(|fault| format!("{}: {}", fault.subject, fault.message))
        .collect()
}

/// The only fault that one variable causes.
fn fault(name: &str, value: &str) -> String {
    let faults = faults(&environment(&[(name, value)]));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.into_iter().next().unwrap_or_default()
}

#[test]
fn with_a_master_key_alone_every_setting_has_its_default() {
    let settings = load(&[]);
    assert_eq!(settings.redis_url.expose(), "redis://127.0.0.1:6379");
    assert_eq!(settings.key_prefix, "syncline");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.metrics_listen, None);
    assert_eq!(
        settings.worker_metrics_listen().to_string(),
        "127.0.0.1:9090"
    );
    assert!(settings.bootstrap_token.is_none());
    assert!(settings.allow_targets.is_empty() && !settings.allow_http);
    assert_eq!(settings.worker_concurrency.fetches, 256);
    assert_eq!(settings.worker_concurrency.deliveries, 128);
    assert_eq!(settings.drain, Duration::from_secs(25));
    assert_eq!(settings.retention_days, 14);
    assert_eq!(settings.integrations_dir, None);
    assert_eq!(
        (settings.log.as_str(), settings.log_format),
        ("info", LogFormat::Auto)
    );
}

#[test]
fn flags_go_before_the_environment_before_the_file_before_the_defaults() {
    let mut sources = environment(&[("SYNCLINE_DRAIN_SECONDS", "2"), ("SYNCLINE_LOG", "debug")]);
    sources.file = Some(file(
        "drain_seconds = 1\nlog = \"warn\"\nretention_days = 1\nkey_prefix = \"\"",
    ));
    sources.overrides = vec![
        ("drain_seconds".to_owned(), "3".to_owned()),
        ("key_prefix".to_owned(), "flag".to_owned()),
        ("log".to_owned(), String::new()),
    ];
    let settings = Settings::load(&sources).expect("settings");
    assert_eq!(settings.drain, Duration::from_secs(3));
    assert_eq!(settings.log, "debug");
    assert_eq!(settings.retention_days, 1);
    assert_eq!(settings.key_prefix, "flag");
    assert_eq!(settings.origin("drain_seconds"), Some(&Origin::Flag));
    assert_eq!(settings.origin("log"), Some(&Origin::Environment));
    assert_eq!(
        settings.origin("retention_days"),
        Some(&Origin::File(PathBuf::from("/etc/syncline.toml")))
    );
    assert_eq!(settings.origin("listen"), Some(&Origin::Default));
    assert_eq!(settings.origin("metrics_listen"), None);
}

#[test]
fn the_environment_and_the_file_write_the_same_values_differently() {
    let from_environment = load(&[
        ("SYNCLINE_WORKER_CONCURRENCY", "8,16"),
        (
            "SYNCLINE_ALLOW_TARGETS",
            "127.0.0.0/8:9000, [fd00::/8]:9000",
        ),
        ("SYNCLINE_ALLOW_HTTP", "true"),
    ]);
    let mut sources = environment(&[]);
    sources.file = Some(file(
        "worker_concurrency = [8, 16]\nallow_targets = [\"127.0.0.0/8:9000\", \"[fd00::/8]:9000\"]\n\
         allow_http = true",
    ));
    let from_file = Settings::load(&sources).expect("settings");
    for settings in [from_environment, from_file] {
        assert_eq!(settings.worker_concurrency.fetches, 8);
        assert_eq!(settings.worker_concurrency.deliveries, 16);
        assert_eq!(
            settings.allow_targets,
            ["127.0.0.0/8:9000", "[fd00::/8]:9000"]
        );
        assert!(settings.allow_http);
    }
    let both = load(&[("SYNCLINE_WORKER_CONCURRENCY", "7")]).worker_concurrency;
    assert_eq!((both.fetches, both.deliveries), (7, 7));
}

#[test]
fn what_callers_of_the_api_keep_in_their_shell_is_no_fault() {
    let settings = load(&[
        ("SYNCLINE_URL", "http://127.0.0.1:8080"),
        ("SYNCLINE_TOKEN", "a-token"),
    ]);
    assert_eq!(settings.origin("listen"), Some(&Origin::Default));
}

#[test]
fn all_faults_of_all_layers_are_reported_at_once() {
    let mut sources = Sources::from_environment([
        ("SYNCLINE_LISTEN", "8080"),
        ("SYNCLINE_DRAIN_SECONDS", "soon"),
        ("SYNCLINE_REDIS_ULR", "redis://a"),
        ("SYNCLINE_WORKER_CONCURRENCY", "1,2,3"),
        ("OTHER", "x"),
    ]);
    sources.file = Some(file(
        "alow_http = true\nretention_days = 0\nlog_format = \"xml\"\nlog = 3",
    ));
    sources.overrides = vec![("drain".to_owned(), "3".to_owned())];
    let faults = faults(&sources).join("\n");
    for part in [
        "file /etc/syncline.toml, `alow_http`: is no known setting; did you mean `allow_http`?",
        "SYNCLINE_REDIS_ULR: is no known variable; did you mean `SYNCLINE_REDIS_URL`?",
        "drain: is no known setting; remove it",
        "listen (SYNCLINE_LISTEN, from environment): `8080` must be an address and a port",
        "master_key (SYNCLINE_MASTER_KEY): is required",
        "worker_concurrency (SYNCLINE_WORKER_CONCURRENCY, from environment): must be one or two",
        "drain_seconds (SYNCLINE_DRAIN_SECONDS, from environment): must be a whole number from 0",
        "retention_days (SYNCLINE_RETENTION_DAYS, from file /etc/syncline.toml): must be a whole",
        "log (SYNCLINE_LOG, from file /etc/syncline.toml): must be a text",
        "log_format (SYNCLINE_LOG_FORMAT, from file /etc/syncline.toml): `xml` must be one of `auto`",
    ] {
        assert!(faults.contains(part), "{part}\nis not in\n{faults}");
    }
    assert_eq!(faults.lines().count(), 10, "{faults}");
}

#[test]
fn each_setting_is_checked() {
    for (name, value, says) in [
        (
            "SYNCLINE_REDIS_URL",
            "redis://a,redis://b",
            "not supported yet",
        ),
        (
            "SYNCLINE_REDIS_URL",
            "redis+sentinel://a/m",
            "not supported yet",
        ),
        ("SYNCLINE_KEY_PREFIX", "a{b}", "letters, digits"),
        (
            "SYNCLINE_METRICS_LISTEN",
            "localhost:1",
            "an address and a port",
        ),
        ("SYNCLINE_BOOTSTRAP_TOKEN", "short", "16 to 256 visible"),
        (
            "SYNCLINE_ALLOW_TARGETS",
            "10.0.0.0/99",
            "`10.0.0.0/99` is not a network",
        ),
        ("SYNCLINE_ALLOW_HTTP", "yes", "`true` or `false`"),
        (
            "SYNCLINE_ALLOW_HTTP",
            "true",
            "no effect without allow_targets",
        ),
        ("SYNCLINE_WORKER_CONCURRENCY", "0", "from 1 to 4096"),
        ("SYNCLINE_RETENTION_DAYS", "-1", "from 1 to 3650"),
        ("SYNCLINE_LOG", "info,a=b=c", "can't be read"),
    ] {
        let fault = fault(name, value);
        assert!(fault.contains(says) && fault.contains(name), "{fault}");
    }
}

#[test]
fn several_master_keys_may_be_listed() {
    let other = "HxseHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";
    let two = format!("{other},{KEY}");
    let settings = Settings::load(&Sources::from_environment([(
        "SYNCLINE_MASTER_KEY",
        two.clone(),
    )]));
    assert_eq!(settings.expect("settings").master_key.expose(), two);
    let broken = Sources::from_environment([("SYNCLINE_MASTER_KEY", format!("{KEY},hunter2"))]);
    let faults = faults(&broken);
    assert!(faults[0].contains("must be 32 bytes in base64") && !faults[0].contains("hunter2"));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let settings = load(&[("SYNCLINE_BOOTSTRAP_TOKEN", ""), ("SYNCLINE_LISTEN", "")]);
    assert!(settings.bootstrap_token.is_none());
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
}

#[test]
fn what_kubernetes_puts_into_a_pod_is_no_setting() {
    load(&[
        ("SYNCLINE_SERVICE_HOST", "10.0.0.1"),
        ("SYNCLINE_SERVICE_PORT", "8080"),
        ("SYNCLINE_SERVICE_PORT_HTTP", "8080"),
        ("SYNCLINE_PORT", "tcp://10.0.0.1:8080"),
        ("SYNCLINE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("SYNCLINE_API_SERVICE_HOST", "10.0.0.1"),
        ("SYNCLINE_API_PORT", "tcp://10.0.0.1:8080"),
        ("SYNCLINE_API_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ]);
    assert!(fault("SYNCLINE_PORT", "8080").contains("no known variable"));
}

#[test]
fn a_file_that_is_no_toml_names_its_line_and_quotes_nothing() {
    let mut sources = environment(&[]);
    sources.file = Some(file("log = \"info\"\nmaster_key = \"hunter2\n"));
    let faults = faults(&sources);
    assert_eq!(
        faults,
        ["file /etc/syncline.toml: is not TOML at line 2; mend that line"]
    );
}

#[test]
fn secrets_are_masked_wherever_settings_are_printed() {
    let settings = load(&[
        (
            "SYNCLINE_REDIS_URL",
            "redis://user:hunter2@redis.internal:6379/0",
        ),
        ("SYNCLINE_BOOTSTRAP_TOKEN", "hunter2hunter2hunter2"),
    ]);
    let printed = settings.effective_toml();
    for text in [&printed, &format!("{settings:?}")] {
        assert!(!text.contains("hunter2") && !text.contains(KEY), "{text}");
    }
    assert!(printed.contains("redis_url = \"redis://user:redacted@redis.internal:6379/0\""));
    assert!(printed.contains("master_key = \"[redacted]\""));
    assert!(
        printed
            .contains("# SYNCLINE_BOOTSTRAP_TOKEN, environment\nbootstrap_token = \"[redacted]\"")
    );
    assert!(printed.contains("# SYNCLINE_METRICS_LISTEN, not set\n# metrics_listen ="));
    assert!(
        printed.contains("# SYNCLINE_WORKER_CONCURRENCY, default\nworker_concurrency = [256, 128]")
    );
    let table = printed.parse::<toml::Table>().expect("TOML");
    assert!(table.keys().all(|name| NAMES.contains(&name.as_str())));
}

#[test]
fn the_default_file_and_the_guide_name_every_setting_and_its_variable() {
    let guide = include_str!("../../docs/guides/settings.md");
    for name in NAMES {
        assert!(
            DEFAULTS.contains(&format!("\n{name} = "))
                || DEFAULTS.contains(&format!("\n# {name} = "))
        );
        assert!(
            DEFAULTS.contains(&format!("# Environment: {}", variable(name))),
            "{name}"
        );
        assert!(guide.contains(&format!("`{}`", variable(name))), "{name}");
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_settings_file_is_read_and_a_missing_one_is_a_fault() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("syncline.toml");
    std::fs::write(&path, "drain_seconds = 4").expect("written");
    let sources = Sources::from_process(Some(&path), Vec::new()).expect("sources");
    assert_eq!(sources.file.expect("a file").text, "drain_seconds = 4");
    let missing = directory.path().join("missing.toml");
    let Err(faults) = Sources::from_process(Some(&missing), Vec::new()) else {
        panic!("the file is missing");
    };
    assert!(
        faults.to_string().contains("missing.toml: can't be read"),
        "{faults}"
    );
}
