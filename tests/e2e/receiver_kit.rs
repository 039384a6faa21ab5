//! The examples of `docs/receivers`, each against the real sender: through a rotation and a crash in the middle of a
//! run they take everything once and know that it is everything. Where a language is missing, that is said.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    seal::{Secret, signature},
};
use syncline_tests::{
    process::{Launch, Program, binary, free_address, get_status},
    source::Source,
};

use crate::scenario::{LONG, Setup, Shop, Syncing};

const SHOP: Shop = Shop {
    orders: 60,
    per_page: 20,
    lines: 3,
};
/// The lines of later orders come when the test lets them.
const FREE_ORDERS: u64 = 30;
const OLD_SECRET: &str = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const NEW_SECRET: &str = "whsec_AgICAgICAgICAgICAgICAgICAgICAgIC";
/// Exit code of `receiver_kit` when something is missing.
const MISSING: i32 = 3;

/// A door that is closed until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (open, changed) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that failed doesn't open it; its source must not wait for ever.
        drop(changed.wait_timeout_while(open, LONG, |open| !*open));
    }

    fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

/// A running example.
struct Example {
    command: Vec<String>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    program: Option<Program>,
}

impl Example {
    /// `None`, and a line that says why, where its language is missing.
    fn prepare(language: &str) -> Result<Option<Self>> {
        let command = if language == "rust" {
            let path = binary("examples/receiver")
                .context("`cargo build --workspace --examples` builds it")?;
            vec![path.display().to_string()]
        } else {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/receiver_kit");
            let output = Command::new(script).arg(language).output()?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if output.status.code() == Some(MISSING) {
                // Written past the capture of passing tests: it must be seen.
                writeln!(
                    io::stderr(),
                    "SKIPPED: the {language} receiver was not run: {said}"
                )?;
                return Ok(None);
            }
            ensure!(output.status.success(), "{said}");
            let command = String::from_utf8(output.stdout)?;
            command.lines().map(str::to_owned).collect()
        };
        Ok(Some(Self {
            command,
            address: free_address()?,
            folder: tempfile::tempdir()?,
            program: None,
        }))
    }

    /// Starts it, after a kill -9 if it runs, with what it stored before.
    fn start(&mut self, secrets: &str) -> Result<()> {
        self.program = None;
        let state = self.folder.path().join("state");
        let environment = [
            ("WEBHOOK_SECRETS", secrets.to_owned()),
            ("PORT", self.address.port().to_string()),
            ("STATE", state.display().to_string()),
        ];
        let (program, arguments) = self.command.split_first().context("a command")?;
        let mut program = Program::start(Launch {
            program: PathBuf::from(program),
            arguments: arguments.to_vec(),
            environment: BTreeMap::from(environment.map(|(name, value)| (name.to_owned(), value))),
            log: self.folder.path().join("log"),
        })?;
        let address = self.address;
        program.wait_ready(move || match get_status(address, "/runs/none") {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        self.program = Some(program);
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn report(&self, run: &str) -> Result<Value> {
        let response = reqwest::get(self.url(&format!("/runs/{run}"))).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    async fn wait_for(
        &self,
        run: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let report = self.report(run).await?;
            if wanted(&report) {
                return Ok(report);
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "waited for {what}; last seen: {report}; its output: {}",
                self.program.as_ref().map(Program::log).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends an event as Syncline does; the status.
    async fn send(&self, id: &str, event: &str, payload: Value, secret: &str) -> Result<u16> {
        let body = json!({"id": id, "event": event, "payload": payload}).to_string();
        let seconds = Timestamp::now().0 / 1000;
        let secret = Secret::new(secret.to_owned());
        let response = reqwest::Client::new()
            .post(self.url("/hook"))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header(
                "webhook-signature",
                signature::standard_webhooks(&secret, id, seconds, body.as_bytes())?,
            )
            .body(body)
            .send()
            .await?;
        Ok(response.status().as_u16())
    }

    /// Records of stream `s` of a made-up run.
    async fn send_records(&self, id: &str, first: u64, last: u64) -> Result<u16> {
        let records: Vec<Value> = (first..=last).map(|seq| json!({"id": seq})).collect();
        let payload = json!({"sync_job_run_id": "run_x", "name": "s", "records": records,
            "meta": {"first_seq": first, "last_seq": last, "count": records.len()}});
        self.send(id, "sync_job_run:record", payload, NEW_SECRET)
            .await
    }
}

/// A sync of parents and children, with a rotation and a crash of the receiver in its middle.
async fn takes_a_run_through_rotation_and_crash(example: &mut Example) -> Result<()> {
    let gate = Gate::default();
    let held = gate.clone();
    let source = Source::json(move |request| {
        let order = request.path().strip_prefix("/orders/");
        let order = order.and_then(|rest| rest.split('/').next()?.parse::<u64>().ok());
        if order.is_some_and(|order| order > FREE_ORDERS) {
            held.pass();
        }
        SHOP.answer(request)
    })?;
    let sync = Syncing::of(source, Setup::default()).await?;
    example.start(OLD_SECRET)?;
    let webhook = json!({"target_url": example.url("/hook"), "secret": OLD_SECRET, "delivery": {"batch_records": 7}});
    let webhook = sync.rest.create("/webhook", &webhook).await?;
    let run = sync.start_run_with(&json!({"webhook_id": webhook})).await?;
    let lines = |report: &Value| report["streams"]["wms/order-items"]["received"].as_u64();
    example
        .wait_for(&run, "the first lines", |report| lines(report) > Some(0))
        .await?;
    let rotate = format!("/webhook/{webhook}/rotate-secret");
    sync.rest
        .post(&rotate, &json!({"secret": NEW_SECRET}))
        .await?;
    // Killed while events come, and changed over to the new secret.
    example.start(NEW_SECRET)?;
    gate.open();
    let report = example
        .wait_for(&run, "the end", |report| report["ended"].is_string())
        .await?;
    let ended = sync.rest.wait_for_end(&run, LONG).await?;
    let stream = |count: u64| json!({"received": count, "last_seq": count, "missing": []});
    assert_eq!(
        report["streams"],
        json!({"wms/orders": stream(SHOP.orders), "wms/order-items": stream(SHOP.orders * SHOP.lines)}),
    );
    assert_eq!(
        (&report["ended"], &report["complete"], &report["errors"]),
        (&json!("sync_job_run:completed"), &json!(true), &json!(0)),
        "{report}"
    );
    assert_eq!(
        ended["records_delivered"],
        SHOP.orders * (1 + SHOP.lines),
        "{ended}"
    );
    Ok(())
}

/// What a real sender does seldom: repeats, another order, a gap; and what only others do.
async fn knows_repeats_gaps_and_forgeries(example: &mut Example) -> Result<()> {
    assert_eq!(example.send_records("evt_2", 3, 4).await?, 204);
    let report = example.report("run_x").await?;
    assert_eq!(
        report["streams"]["s"],
        json!({"received": 2, "last_seq": null, "missing": [[1, 2]]})
    );
    for _ in 0..2 {
        assert_eq!(example.send_records("evt_1", 1, 2).await?, 204);
    }
    let end = json!({"sync_job_run_id": "run_x", "errors": 0, "resources": [{"name": "s", "last_seq": 6}, {"name": "none", "last_seq": 0}]});
    let name = "sync_job_run:completed";
    assert_eq!(
        example.send("evt_9", name, end.clone(), OLD_SECRET).await?,
        401
    );
    assert!(example.report("run_x").await?["ended"].is_null());
    assert_eq!(example.send("evt_9", name, end, NEW_SECRET).await?, 204);
    let report = example.report("run_x").await?;
    assert_eq!(
        (&report["complete"], &report["streams"]["s"]),
        (
            &json!(false),
            &json!({"received": 4, "last_seq": 6, "missing": [[5, 6]]})
        )
    );
    // What it knows outlives it.
    example.start(NEW_SECRET)?;
    assert_eq!(example.report("run_x").await?, report);
    assert_eq!(example.send_records("evt_3", 5, 6).await?, 204);
    let report = example.report("run_x").await?;
    assert_eq!(
        (&report["complete"], &report["events"]),
        (&json!(true), &json!(4)),
        "{report}"
    );
    Ok(())
}

async fn check(language: &str) -> Result<()> {
    let language_owned = language.to_owned();
    let prepared = tokio::task::spawn_blocking(move || Example::prepare(&language_owned)).await??;
    let Some(mut example) = prepared else {
        return Ok(());
    };
    takes_a_run_through_rotation_and_crash(&mut example).await?;
    knows_repeats_gaps_and_forgeries(&mut example).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_receiver_takes_everything_once_and_knows_that_it_is_everything() -> Result<()> {
    check("rust").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_receiver_takes_everything_once_and_knows_that_it_is_everything() -> Result<()> {
    check("python").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_receiver_takes_everything_once_and_knows_that_it_is_everything() -> Result<()> {
    check("node").await
}
