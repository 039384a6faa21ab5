//! The built `syncline-api`: commands, exit codes, serving and draining.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use shared::{seal::Sealer, testing};

/// How long a process may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(20);

struct Installation {
    prefix: String,
    master_key: String,
}

impl Installation {
    fn new() -> Self {
        Self {
            prefix: testing::redis::prefix(),
            master_key: Sealer::new_master_key().expose().to_owned(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline-api"));
        command
            .args(arguments)
            .env_clear()
            .env("SYNCLINE_REDIS_URL", testing::redis::url())
            .env("SYNCLINE_KEY_PREFIX", &self.prefix)
            .env("SYNCLINE_MASTER_KEY", &self.master_key)
            .env("SYNCLINE_LISTEN", "127.0.0.1:0")
            .env("SYNCLINE_LOG_FORMAT", "json");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program")
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    fn fine(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

/// A serving process, killed when the test ends early.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `serve`; the process, and its origin as soon as it is ready.
fn serve(installation: &Installation, bootstrap: &str) -> (Server, String) {
    let (server, origin, _) = serve_with(installation, bootstrap, &[]);
    (server, origin)
}

/// As [`serve`], with further variables; also the address of the figures.
fn serve_with(
    installation: &Installation,
    bootstrap: &str,
    variables: &[(&str, &str)],
) -> (Server, String, Option<String>) {
    let mut command = installation.command(&["serve"]);
    command.envs(variables.iter().copied());
    command
        .env("SYNCLINE_BOOTSTRAP_TOKEN", bootstrap)
        .stderr(Stdio::piped());
    let mut server = Server(command.spawn().expect("the program"));
    let mut lines = BufReader::new(server.0.stderr.take().expect("a pipe")).lines();
    let (mut origin, mut figures) = (None, None);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the API did not become ready");
        let line = lines.next().expect("a line").expect("text");
        let event: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        if let Some(address) = event["address"].as_str() {
            origin = Some(format!("http://{address}"));
        }
        if let Some(address) = event["metrics_address"].as_str() {
            figures = Some(format!("http://{address}"));
        }
        if event["message"] == "the API is ready" {
            break;
        }
    }
    // The rest is read, so that the pipe never fills up.
    std::thread::spawn(move || lines.for_each(drop));
    (
        server,
        origin.expect("an address before it is ready"),
        figures,
    )
}

#[test]
fn wrong_use_is_2_a_failure_1_and_help_0() {
    let installation = Installation::new();
    assert_eq!(installation.run(&["--help"]).status.code(), Some(0));
    assert_eq!(installation.run(&["--version"]).status.code(), Some(0));
    assert_eq!(
        installation.run(&["no-such-command"]).status.code(),
        Some(2)
    );
    assert_eq!(
        installation
            .run(&["token", "create", "--scope", "everything"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        installation
            .run(&["token", "create", "--environment", "nowhere"])
            .status
            .code(),
        Some(1)
    );
    let unset = installation
        .command(&["config"])
        .env_remove("SYNCLINE_MASTER_KEY")
        .output()
        .expect("the program");
    assert_eq!(unset.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unset.stderr).contains("SYNCLINE_MASTER_KEY"));
}

#[test]
fn settings_are_printed_without_their_secrets() {
    let installation = Installation::new();
    let printed = installation.fine(&["config"]);
    assert!(
        printed.contains(&installation.prefix) && !printed.contains(&installation.master_key),
        "{printed}"
    );
}

#[test]
fn the_openapi_document_is_printed_without_any_setting() {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline-api"))
        .arg("openapi")
        .env_clear()
        .output()
        .expect("the program");
    assert!(output.status.success());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(document["paths"]["/api/v1/ipaas/sync-job-run"]["post"].is_object());
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_and_its_secret_is_shown_once() {
    let installation = Installation::new();
    let environment = installation.fine(&["environment", "create", "shop"]);
    assert_eq!(
        installation
            .run(&["environment", "create", "shop"])
            .status
            .code(),
        Some(1)
    );
    assert!(
        installation
            .fine(&["environment", "list"])
            .contains(environment.trim())
    );
    let secret = installation.fine(&[
        "token",
        "create",
        "--environment",
        "shop",
        "--scope",
        "read",
        "--label",
        "dashboard",
    ]);
    let secret = secret.trim();
    let list = installation.fine(&["token", "list", "--environment", "shop"]);
    assert!(
        list.contains("dashboard") && list.contains("active") && !list.contains(secret),
        "{list}"
    );

    let (_server, origin) = serve(&installation, "bootstrap-token-that-comes-too-late");
    let call = |token: &str| {
        let request = reqwest::Client::new()
            .get(format!("{origin}/api/v1/ipaas/webhook"))
            .bearer_auth(token);
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    assert_eq!(call(secret).await, 200);
    assert_eq!(call("bootstrap-token-that-comes-too-late").await, 401);
    let id = list.split('\t').next().expect("an id");
    installation.fine(&["token", "revoke", id]);
    assert_eq!(call(secret).await, 401);
    assert!(installation.fine(&["token", "list"]).contains("revoked"));
}

#[test]
fn an_environment_has_a_weight_and_a_limit_that_can_be_changed_one_by_one() {
    let installation = Installation::new();
    let row = |name: &str| {
        let list = installation.fine(&["environment", "list"]);
        let row = list.lines().find(|row| row.contains(name));
        let fields: Vec<_> = row.expect("a row").split('\t').map(str::to_owned).collect();
        fields[3..].join(" ")
    };
    installation.fine(&["environment", "create", "plain"]);
    assert_eq!(row("plain"), "1 -");
    let limited = ["environment", "create", "shop", "--weight", "5"];
    installation.fine(&limited);
    assert_eq!(row("shop"), "5 -");
    installation.fine(&["environment", "set", "shop", "--max-fetches", "200"]);
    assert_eq!(row("shop"), "5 200");
    installation.fine(&["environment", "set", "shop", "--weight", "1"]);
    assert_eq!(row("shop"), "1 200");
    installation.fine(&["environment", "set", "shop", "--max-fetches", "none"]);
    assert_eq!(row("shop"), "1 -");
    for refused in [
        vec!["environment", "set", "shop", "--weight", "0"],
        vec!["environment", "set", "shop", "--weight", "101"],
        vec!["environment", "set", "shop", "--max-fetches", "0"],
        vec!["environment", "set", "shop"],
        vec!["environment", "set", "nowhere", "--weight", "2"],
    ] {
        let status = installation.run(&refused).status;
        assert!(!status.success(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_bootstrap_token_opens_an_empty_store_and_a_terminated_server_ends_well() {
    let installation = Installation::new();
    let token = "a-bootstrap-token-of-some-length";
    let (mut server, origin) = serve(&installation, token);
    let answer = reqwest::Client::new()
        .get(format!("{origin}/api/v1/ipaas/webhook"))
        .bearer_auth(token)
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let metrics = reqwest::get(format!("{origin}/metrics"))
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    assert!(
        metrics.contains("syncline_http_requests_total"),
        "{metrics}"
    );
    assert!(
        installation
            .fine(&["environment", "list"])
            .contains("default")
    );

    let killed = Command::new("kill")
        .args(["-TERM", &server.0.id().to_string()])
        .status()
        .expect("kill");
    assert!(killed.success());
    let ended = tokio::task::spawn_blocking(move || server.0.wait())
        .await
        .expect("no panic")
        .expect("a status");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_terminated_server_answers_what_it_was_asked_and_takes_nothing_new() {
    let installation = Installation::new();
    let token = "a-bootstrap-token-of-some-length";
    let (mut server, origin) = serve(&installation, token);
    let address = origin.trim_start_matches("http://").to_owned();
    let body = r#"{"target_url": "https://example.com/hook"}"#;
    let (first, rest) = body.split_at(10);
    // The request is under way: its body is still to come.
    let mut under_way = TcpStream::connect(&address).expect("a connection");
    under_way
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    write!(
        under_way,
        "POST /api/v1/ipaas/webhook HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    )
    .expect("written");
    let mut head = BufReader::new(under_way.try_clone().expect("a clone"));
    let mut line = String::new();
    head.read_line(&mut line).expect("a line");
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n", "it is being handled");
    under_way.write_all(first.as_bytes()).expect("written");

    let killed = Command::new("kill")
        .args(["-TERM", &server.0.id().to_string()])
        .status()
        .expect("kill");
    assert!(killed.success());
    let started = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(started.elapsed() < PATIENCE, "it still takes connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    under_way.write_all(rest.as_bytes()).expect("written");
    let mut answer = String::new();
    head.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("HTTP/1.1 201 "), "{answer}");
    let ended = tokio::task::spawn_blocking(move || server.0.wait())
        .await
        .expect("no panic")
        .expect("a status");
    assert_eq!(ended.code(), Some(0));
    assert!(started.elapsed() < PATIENCE, "it waited for nothing");
}

#[tokio::test]
async fn a_deleted_environment_is_gone_at_once_for_those_who_use_it() {
    let installation = Installation::new();
    let id = installation.fine(&["environment", "create", "shop"]);
    let create = ["token", "create", "--environment", "shop"];
    let secret = installation.fine(&create);
    let other = installation.fine(&["environment", "create", "other"]);
    let (_server, origin) = serve(&installation, "bootstrap-token-that-comes-too-late");
    let status = async || {
        let request = reqwest::Client::new().get(format!("{origin}/api/v1/ipaas/webhook"));
        let answer = request.bearer_auth(secret.trim()).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(status().await, 200);
    let delete = |typed: &'static str| {
        let mut command = installation.command(&["environment", "delete", "shop"]);
        let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut asked = command.spawn().expect("the program");
        let mut answers = asked.stdin.take().expect("a pipe");
        writeln!(answers, "{typed}").expect("written");
        drop(answers);
        let output = asked.wait_with_output().expect("the program");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), told)
    };
    let (code, told) = delete("shopp");
    assert_eq!(code, Some(1));
    assert!(told.contains("nothing was deleted"), "{told}");
    assert_eq!(status().await, 200);
    let (code, told) = delete("shop");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(status().await, 401);
    let list = installation.fine(&["environment", "list"]);
    assert!(
        !list.contains(id.trim()) && list.contains(other.trim()),
        "{list}"
    );
    assert_eq!(installation.fine(&["token", "list"]), "");

    // Its name is free, and by its id it is found too.
    let again = installation.fine(&["environment", "create", "shop"]);
    let (id, again) = (id.trim(), again.trim());
    let gone = installation.run(&["environment", "delete", id, "--yes"]);
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(
        installation
            .fine(&["environment", "delete", again, "--yes"])
            .trim(),
        again
    );
}

#[tokio::test]
async fn figures_can_have_a_port_of_their_own() {
    let installation = Installation::new();
    let variables = [("SYNCLINE_METRICS_LISTEN", "127.0.0.2:0")];
    let (_server, origin, figures) = serve_with(
        &installation,
        "a-bootstrap-token-of-some-length",
        &variables,
    );
    let figures = figures.expect("an address");
    let status = async |url: String| {
        reqwest::get(url)
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(status(format!("{figures}/metrics")).await, 200);
    assert_eq!(status(format!("{figures}/api/v1/ipaas/webhook")).await, 404);
    assert_eq!(status(format!("{origin}/metrics")).await, 404);
    assert_eq!(status(format!("{origin}/readyz")).await, 200);
}

#[tokio::test]
async fn a_redis_that_may_evict_is_refused() {
    // A Redis of its own, whose policy can be changed without harm to other tests.
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("redis.sock");
    let mut redis = Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--save",
            "",
            "--maxmemory-policy",
            "allkeys-lru",
            "--dir",
        ])
        .arg(directory.path())
        .arg("--unixsocket")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .map(Server)
        .expect("redis-server");
    let started = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(
            started.elapsed() < PATIENCE,
            "redis-server did not open its socket"
        );
        std::thread::yield_now();
    }
    let url = format!("redis+unix://{}", socket.display());
    let output = Installation::new()
        .command(&["serve"])
        .env("SYNCLINE_REDIS_URL", url)
        .output();
    let output = output.expect("the program");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("noeviction"));
    redis.0.kill().expect("a running server");
}
