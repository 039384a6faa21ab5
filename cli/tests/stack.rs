//! `syncline demo` and `syncline dev` as their user runs them, with a real Redis.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

fn syncline(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.args(arguments).current_dir(directory);
    command
}

#[test]
fn the_demo_syncs_checks_everything_and_leaves_nothing_running() {
    let directory = tempfile::tempdir().expect("a directory");
    // The second time finds what the first one left and starts afresh.
    for _ in 0..2 {
        let output = syncline(directory.path(), &["demo"])
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for says in [
            "✓ signed",
            "✓ in order",
            "✓ gapless   wms/orders seq 1–300",
            "records served = received = counted, byte for byte",
            "/orders/1042/lines is gone (404)",
            "✓ retried   GET /orders/1007/lines: 500, then 200",
            "3 of 3 changed orders",
            "✓ everything that is promised held",
        ] {
            assert!(text.contains(says), "{says:?} is missing from\n{text}");
        }
        assert!(!text.contains('✗') && !text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("whsec_"), "a secret was shown");
        assert!(
            !directory.path().join(".syncline/demo/redis.sock").exists(),
            "Redis still runs"
        );
    }
}

/// `syncline dev`, ended when dropped.
struct Dev {
    child: Child,
    /// What it printed up to the line that says that it is ready.
    welcome: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Dev {
    fn start(directory: &Path) -> Self {
        let mut child = syncline(directory, &["dev", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut rest = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C stops everything") {
            assert_ne!(
                rest.read_line(&mut welcome).expect("UTF-8"),
                0,
                "it ended early: {welcome}"
            );
        }
        Self {
            child,
            welcome,
            rest,
        }
    }

    /// Sends SIGTERM and answers the exit code.
    fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .arg(id)
                .status()
                .expect("kill")
                .success()
        );
        let status = self.child.wait().expect("an exit status");
        self.rest.read_to_string(&mut self.welcome).expect("UTF-8");
        status.code()
    }

    /// The word that follows `label` in the welcome.
    fn after(&self, label: &str) -> &str {
        self.welcome
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(label))
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("no {label} in {}", self.welcome))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may have ended in between.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

#[test]
fn the_development_stack_keeps_its_token_and_data_over_a_clean_stop() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let accounts = |dev: &Dev, create: bool| {
        let url = format!("{}/integrated-account", dev.after("API"));
        let body = serde_json::json!({
            "integration_name": "sample", "tenant_id": "acme", "credentials": {"api_key": "sample-api-key"},
            "context": {"base_url": dev.after("source")},
        });
        let request = if create {
            client.post(url).json(&body)
        } else {
            client.get(url)
        };
        let request = request.bearer_auth(dev.after("token"));
        runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.json::<serde_json::Value>().await.expect("JSON")
        })
    };

    let first = Dev::start(directory.path());
    let token = first.after("token").to_owned();
    let made = accounts(&first, true);
    assert_eq!(made["status"], "active", "{made}");
    let second = syncline(directory.path(), &["dev", "--listen", "127.0.0.1:0"])
        .output()
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another syncline runs on"),
        "the lock holds"
    );
    assert_eq!(first.terminate(), Some(0));
    assert!(
        !directory.path().join(".syncline/dev/redis.sock").exists(),
        "Redis still runs"
    );

    let again = Dev::start(directory.path());
    assert_eq!(again.after("token"), token);
    assert_eq!(accounts(&again, false)["result"][0]["id"], made["id"]);
    assert_eq!(again.terminate(), Some(0));
}

#[test]
fn a_missing_redis_server_is_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = syncline(directory.path(), &["demo"])
        .env("PATH", "/nowhere")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("apt-get install redis-server") && text.contains("--redis-server PATH"),
        "{text}"
    );
}
