//! What is synced meanwhile: orders and their lines, by runs of several accounts into several webhooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use syncline_tests::{
    http::{self, Request},
    receiver::{Answer, Receiver},
    rest::Rest,
    source::Source,
    stack::Stack,
};

const ACCOUNTS: usize = 4;
const WEBHOOKS: usize = 3;
/// Orders of one run, and lines of each.
const ORDERS: u64 = 500;
const PER_PAGE: u64 = 50;
const LINES: u64 = 20;
const RECORDS_OF_A_RUN: u64 = ORDERS * (1 + LINES);
/// How long the source thinks about a request.
const THINKS: Duration = Duration::from_millis(2);
/// Of the source's requests, one in so many is answered 500, and one is not answered at all.
const FAILS_EVERY: u64 = 97;
const CUT_EVERY: u64 = 151;
/// Receivers refuse each order whose id is a multiple of this; the last one, because it is too large for them.
const REFUSED_ORDERS: u64 = 100;
/// Runs are accepted in this share of the time, so that the last ones meet faults too.
const STARTING_SHARE: f64 = 0.9;
/// Between two attempts of a client, and two looks.
const AGAIN: Duration = Duration::from_millis(200);

/// One accepted run.
#[derive(Debug, Clone)]
pub struct Started {
    pub id: String,
    pub webhook: String,
}

pub struct Load {
    pub rest: Rest,
    webhooks: Vec<(String, Arc<Receiver>)>,
    accounts: Vec<String>,
    job: String,
    runs: u64,
    _source: Source,
}

fn order(id: u64) -> String {
    format!(r#"{{"id":{id},"total":{id}.10}}"#)
}

fn line(order: u64, line: u64) -> String {
    format!(r#"{{"order":{order},"line":{line},"price":1.50}}"#)
}

/// Whether the receivers refuse an order, for good.
fn is_refused(order: u64) -> bool {
    order.is_multiple_of(REFUSED_ORDERS)
}

/// The records of every run that must be in dead letters.
pub fn refused() -> BTreeMap<String, Vec<String>> {
    let orders = (1..=ORDERS).filter(|id| is_refused(*id)).map(order);
    BTreeMap::from([("orders".to_owned(), orders.collect())])
}

/// What a receiver answers, the same to the same event.
fn judge(request: &Request) -> Answer {
    let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let payload = &event["payload"];
    if payload["resource"] != "orders" {
        return Answer::Status(200);
    }
    let first = payload["meta"]["first_seq"].as_u64().unwrap_or(0);
    let records = payload["records"].as_array().into_iter().flatten();
    let orders: Vec<_> = (first..)
        .zip(records.map(|record| record["id"].as_u64().unwrap_or(0)))
        .filter(|(_, order)| is_refused(*order))
        .collect();
    if orders.iter().any(|(_, order)| *order == ORDERS) {
        return Answer::Status(413);
    }
    if orders.is_empty() {
        return Answer::Status(200);
    }
    let failed = orders
        .iter()
        .map(|(seq, _)| json!({"seq": seq, "reason": "unknown SKU"}));
    Answer::Full {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"failed": failed.collect::<Vec<_>>()})
            .to_string()
            .into_bytes(),
    }
}

/// What every run must bring.
pub fn served() -> BTreeMap<String, Vec<String>> {
    let lines = (1..=ORDERS).flat_map(|order| (1..=LINES).map(move |number| line(order, number)));
    BTreeMap::from([
        ("orders".to_owned(), (1..=ORDERS).map(order).collect()),
        ("lines".to_owned(), lines.collect()),
    ])
}

/// `number`: of the request. Some meet an error or a connection that is cut; their repeats don't, as a rule.
fn answer(request: &Request, number: u64, stream: &mut TcpStream) -> io::Result<()> {
    std::thread::sleep(THINKS);
    if number % CUT_EVERY == CUT_EVERY - 1 {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let (status, body) = if number % FAILS_EVERY == FAILS_EVERY - 1 {
        (500, "{}".to_owned())
    } else {
        page(request)
    };
    let headers = [("content-type", "application/json")];
    stream.write_all(&http::response(status, &headers, body.as_bytes()))
}

fn page(request: &Request) -> (u16, String) {
    let of_order = request
        .path()
        .strip_prefix("/orders/")
        .and_then(|rest| rest.strip_suffix("/lines"));
    if let Some(order_id) = of_order {
        let order_id = order_id.parse().unwrap_or(0);
        let lines: Vec<_> = (1..=LINES).map(|number| line(order_id, number)).collect();
        return (200, format!(r#"{{"data":[{}]}}"#, lines.join(",")));
    }
    let page: u64 = request
        .query("page")
        .and_then(|page| page.parse().ok())
        .unwrap_or(1);
    let (first, last) = ((page - 1) * PER_PAGE + 1, (page * PER_PAGE).min(ORDERS));
    let orders: Vec<_> = (first..=last).map(order).collect();
    (
        200,
        format!(
            r#"{{"data":[{}],"more":{}}}"#,
            orders.join(","),
            last < ORDERS
        ),
    )
}

fn integration(base_url: &str) -> Value {
    json!({"name": "shop", "label": "Shop", "config": {
        "base_url": base_url,
        "credentials": {"format": "api_key", "config": {"fields": [
            {"name": "api_key", "label": "API key", "type": "password", "required": true}]}},
        "authorization": {"format": "bearer", "config": {"token": "{{credentials.api_key}}"}},
        "resources": {
            "orders": {"list": {"path": "/orders", "response_path": "data",
                "pagination": {"format": "page", "config": {"page_key": "page", "has_next_path": "more"}}}},
            "lines": {"list": {"path": "/orders/{{query.order_id}}/lines", "response_path": "data"}}}}})
}

impl Load {
    /// Makes everything that runs need; `records`: about as many are synced in all.
    pub async fn prepare(stack: &Stack, records: u64) -> Result<Self> {
        let rest = stack.rest()?;
        let asked = AtomicU64::new(0);
        let source = Source::start(move |request, stream| {
            answer(request, asked.fetch_add(1, Ordering::Relaxed), stream)
        })?;
        rest.put("/integration/shop", &integration(&source.url()))
            .await?;
        let mut webhooks = Vec::new();
        for _ in 0..WEBHOOKS {
            let receiver = Arc::new(Receiver::start()?);
            receiver.answer_by(judge);
            // A dead receiver of this run comes back within seconds.
            let webhook = json!({"target_url": receiver.url(), "event_types": ["sync_job_run:started",
                "sync_job_run:record", "sync_job_run:record_error", "sync_job_run:completed", "sync_job_run:failed"],
                "delivery": {"retry": {"first_ms": 100, "max_ms": 2000}}});
            webhooks.push((rest.create("/webhook", &webhook).await?, receiver));
        }
        let mut accounts = Vec::new();
        for number in 0..ACCOUNTS {
            let account = json!({"integration_name": "shop", "tenant_id": format!("tenant-{number}"),
                "credentials": {"api_key": "key"}});
            accounts.push(rest.create("/integrated-account", &account).await?);
        }
        let job = json!({"integration_name": "shop", "resources": [{"resource": "orders"},
            {"resource": "lines", "depends_on": "orders", "query": {"order_id": "{{resources.orders.id}}"}}]});
        Ok(Self {
            job: rest.create("/sync-job", &job).await?,
            rest,
            webhooks,
            accounts,
            runs: records.div_ceil(RECORDS_OF_A_RUN),
            _source: source,
        })
    }

    pub fn receivers(&self) -> Vec<Arc<Receiver>> {
        self.webhooks
            .iter()
            .map(|(_, receiver)| receiver.clone())
            .collect()
    }

    /// Starts runs at an even pace, as a client that sends each request again under its key until it is answered.
    pub async fn start_runs(&self, during: Duration) -> Result<Vec<Started>> {
        let began = Instant::now();
        let pace = during.mul_f64(STARTING_SHARE).div_f64(self.runs as f64);
        let mut started = Vec::new();
        for (number, turn) in (0..self.runs).zip(0_u32..) {
            tokio::time::sleep_until((began + pace * turn).into()).await;
            let (receiver, account) = (turn as usize % WEBHOOKS, turn as usize % ACCOUNTS);
            let webhook = self.webhooks[receiver].0.clone();
            let run = json!({"sync_job_id": self.job, "integrated_account_id": self.accounts[account],
                "webhook_id": webhook});
            let id = self.accept(&run, &format!("run-{number}")).await?;
            started.push(Started { id, webhook });
        }
        Ok(started)
    }

    async fn accept(&self, run: &Value, key: &str) -> Result<String> {
        // Work on a key counts as given up after a minute.
        let deadline = Instant::now() + Duration::from_mins(3);
        loop {
            let answered = self
                .rest
                .call_once(Method::POST, "/sync-job-run", Some(run), Some(key))
                .await;
            match answered {
                Ok((StatusCode::CREATED, run)) => {
                    return Ok(run["id"].as_str().context("an id")?.to_owned());
                }
                Ok((StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT, _)) | Err(_) => {}
                Ok((status, answer)) => bail!("a run was answered {status}: {answer}"),
            }
            ensure!(Instant::now() < deadline, "a run is not accepted");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// All runs that the API knows.
    pub async fn listed_runs(&self) -> Result<BTreeSet<String>> {
        let (mut listed, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let path = format!("/sync-job-run?limit=200&next_cursor={cursor}");
            let page = self.rest.get(&path).await?;
            let rows = page["result"].as_array().context("rows")?;
            listed.extend(
                rows.iter()
                    .filter_map(|run| Some(run["id"].as_str()?.to_owned())),
            );
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return Ok(listed),
            }
        }
    }

    /// Waits until every run has been told to its end.
    pub async fn wait_for_ends(&self, runs: &[Started], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for started in runs {
            loop {
                let run = self
                    .rest
                    .get(&format!("/sync-job-run/{}", started.id))
                    .await?;
                if run["finished_at"].is_string() && run["undelivered_bytes"] == 0 {
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "{} has not ended: {run}",
                    started.id
                );
                tokio::time::sleep(AGAIN).await;
            }
        }
        Ok(())
    }
}
