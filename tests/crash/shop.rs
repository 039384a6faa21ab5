//! The far side of all scenarios: orders and their lines, with the troubles of real systems, each at a place that follows
//! from what is asked, so that a repeated request meets the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};
use syncline_tests::{
    http::{self, Request},
    receiver::{Answer, Receiver},
    source::Source,
};

pub const ORDERS: u64 = 24;
pub const PER_PAGE: u64 = 8;
const LINES: u64 = 2;
/// Its lines are gone for good.
pub const GONE: u64 = 6;
/// The sequence numbers of orders that the receiver refuses until it is mended.
pub const REFUSED: [u64; 2] = [20, 21];
/// More orders in one event are too many for the receiver.
const MOST_ORDERS: usize = 4;

/// What scenarios switch.
#[derive(Default)]
pub struct Shop {
    /// Requests that failed once.
    failed: Mutex<BTreeSet<String>>,
    /// Events that were refused once.
    refused: Mutex<BTreeSet<String>>,
    /// No troubles.
    pub calm: AtomicBool,
    /// Lines that were gone are back, and what was refused is taken.
    pub mended: AtomicBool,
    /// Only new credentials are accepted.
    pub locked: AtomicBool,
    /// The second page of orders waits.
    pub shut: AtomicBool,
    /// The receiver answers 410.
    pub closed: AtomicBool,
    /// One page of large records.
    pub huge: AtomicBool,
}

pub const OLD_KEY: &str = "key-old";
pub const NEW_KEY: &str = "key-new";
/// Resources that are fetched for their children only.
pub const UNSTORED: [&str; 1] = ["depots"];
/// Records of the one huge page.
const HUGE_RECORDS: usize = 9_000;
const HUGE_RECORD_BYTES: usize = 2_000;
/// What the stores are looped over.
const REGIONS: [&str; 2] = ["north", "south"];
/// Their one page is committed in two parts, of a megabyte and what is left.
pub const DEPOTS: usize = 4;
const DEPOT_BYTES: usize = 400_000;
/// Bytes of that page that come before its connection breaks for once: more than one part.
const TORN_BYTES: usize = 1_300_000;
/// What the bins of each depot are looped over.
const ROWS: [&str; 2] = ["a", "b"];
const ROOT: &str = "r";
const SUBFOLDERS: [&str; 2] = ["p", "q"];
/// One of the folders that have no more below them.
const DEEPEST: &str = "rpp";

pub fn order(id: u64) -> String {
    format!(r#"{{"id":{id}, "total":{id}.10}}"#)
}

pub fn line(order: u64, line: u64) -> String {
    format!(r#"{{"order":{order},"line":{line},"price":1.50}}"#)
}

/// Records by stream, of a sync that misses the lines of the order that are gone.
pub fn served(with_gone: bool) -> BTreeMap<String, Vec<String>> {
    let orders = (1..=ORDERS).map(order).collect();
    let whose = (1..=ORDERS).filter(|order| with_gone || *order != GONE);
    let lines = whose.flat_map(|order| (1..=LINES).map(move |number| line(order, number)));
    BTreeMap::from([
        ("orders".to_owned(), orders),
        ("lines".to_owned(), lines.collect()),
    ])
}

fn huge_record(id: usize) -> String {
    format!(
        r#"{{"id":{id},"text":"{}"}}"#,
        "x".repeat(HUGE_RECORD_BYTES)
    )
}

/// As [`served`], with what [`nested_resources`] bring.
pub fn nested_served(with_gone: bool) -> BTreeMap<String, Vec<String>> {
    let mut all = served(with_gone);
    let stores = REGIONS.iter().flat_map(|region| stores(region));
    all.insert("stores".to_owned(), stores.collect());
    let bins = (1..=DEPOTS).flat_map(|depot| ROWS.map(|row| bin(&depot.to_string(), row)));
    all.insert("bins".to_owned(), bins.collect());
    let mut levels = vec![ROOT.to_owned()];
    let mut entries = Vec::new();
    while let Some(folder) = levels.pop() {
        entries.extend(entries_of(&folder));
        if folder.len() < DEEPEST.len() {
            levels.extend(SUBFOLDERS.map(|name| format!("{folder}{name}")));
        }
    }
    all.insert("folders".to_owned(), entries);
    all
}

fn stores(region: &str) -> [String; 2] {
    [1, 2].map(|number| format!(r#"{{"id":"{region}-{number}", "sales":{number}.50}}"#))
}

/// One of the records whose page is committed in parts.
fn depot(id: usize) -> String {
    let (rows, plan) = (json!(ROWS), "x".repeat(DEPOT_BYTES));
    format!(r#"{{"id":{id},"rows":{rows},"plan":"{plan}"}}"#)
}

fn bin(depot: &str, row: &str) -> String {
    format!(r#"{{"bin":"{depot}{row}","weight":0.250}}"#)
}

/// What is in a folder, which is named by the way to it.
fn entries_of(folder: &str) -> [String; 2] {
    let more = folder.len() < DEEPEST.len();
    SUBFOLDERS.map(|name| format!(r#"{{"id":"{folder}{name}","more":{more}}}"#))
}

/// All of the one huge page.
pub fn huge_page() -> BTreeMap<String, Vec<String>> {
    let records = (1..=HUGE_RECORDS).map(huge_record).collect();
    BTreeMap::from([("orders".to_owned(), records)])
}

/// The lines of the order that were gone.
pub fn gone_lines() -> BTreeMap<String, Vec<String>> {
    let lines = (1..=LINES).map(|number| line(GONE, number)).collect();
    BTreeMap::from([("lines".to_owned(), lines)])
}

/// The integration over it.
pub fn integration(base_url: &str) -> Value {
    json!({
        "name": "shop",
        "label": "Shop",
        "config": {
            "base_url": base_url,
            "credentials": {"format": "api_key", "config": {"fields": [
                {"name": "api_key", "label": "API key", "type": "password", "required": true}]}},
            "authorization": {"format": "bearer", "config": {"token": "{{credentials.api_key}}"}},
            "resources": {
                "orders": {"list": {"path": "/orders", "response_path": "data",
                    "pagination": {"format": "page", "config": {"page_key": "page", "has_next_path": "more"}}}},
                "lines": {"list": {"path": "/orders/{{query.order_id}}/lines", "response_path": "data"}},
                "stores": {"list": {"path": "/stores", "response_path": "data"}},
                "depots": {"list": {"path": "/depots", "response_path": "data"}},
                "bins": {"list": {"path": "/bins", "response_path": "data"}},
                "folders": {"list": {"path": "/folders", "response_path": "data"}}
            }
        }
    })
}

pub fn resources() -> Value {
    json!([
        {"resource": "orders"},
        {"resource": "lines", "depends_on": "orders", "query": {"order_id": "{{resources.orders.id}}"}}
    ])
}

/// As [`resources`], with loops over arguments and over records, a recursion, and a page that is committed in parts.
pub fn nested_resources() -> Value {
    let mut all = resources();
    let nested = json!([
        {"resource": "stores", "loop_on": REGIONS, "query": {"region": "{{loop.item}}"}},
        {"resource": "depots", "persist": false},
        {"resource": "bins", "depends_on": "depots", "loop_on": "{{resources.depots.rows}}",
         "query": {"depot": "{{resources.depots.id}}", "row": "{{loop.item}}"}},
        {"resource": "folders", "query": {"in": ROOT},
         "recurse": {"if": "more", "config": {"query": {"in": "{{record.id}}"}}}}
    ]);
    if let (Some(all), Value::Array(nested)) = (all.as_array_mut(), nested) {
        all.extend(nested);
    }
    all
}

fn is_first(seen: &Mutex<BTreeSet<String>>, key: String) -> bool {
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key)
}

impl Shop {
    fn is(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }

    pub fn set(flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::Relaxed);
    }

    pub fn source(self: &std::sync::Arc<Self>) -> Result<Source> {
        let shop = self.clone();
        Source::start(move |request, stream| {
            let (status, headers, body) = shop.answer(request);
            let bytes = http::response(status, &headers, body.as_bytes());
            if shop.tears(request) {
                stream.write_all(&bytes[..TORN_BYTES])?;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            stream.write_all(&bytes)
        })
    }

    /// Whether the connection breaks in the middle of the answer.
    fn tears(&self, request: &Request) -> bool {
        let is_it = request.path() == "/depots" && !Self::is(&self.calm);
        is_it && is_first(&self.failed, request.target.clone())
    }

    /// The records of [`nested_resources`]; none: it asks for something else.
    fn nested(request: &Request) -> Option<Vec<String>> {
        let argument = |name| request.query(name).unwrap_or_default();
        Some(match request.path() {
            "/stores" => stores(argument("region")).into(),
            "/depots" => (1..=DEPOTS).map(depot).collect(),
            "/bins" => vec![bin(argument("depot"), argument("row"))],
            "/folders" => entries_of(argument("in")).into(),
            _ => return None,
        })
    }

    fn answer(&self, request: &Request) -> (u16, Vec<(&'static str, &'static str)>, String) {
        let json = vec![("content-type", "application/json")];
        let wrong = |status| (status, json.clone(), r#"{"message":"no"}"#.to_owned());
        if Self::is(&self.locked)
            && request.header("authorization") != Some(&format!("Bearer {NEW_KEY}"))
        {
            return wrong(401);
        }
        let calm = Self::is(&self.calm);
        if let Some(records) = Self::nested(request) {
            return (200, json, format!(r#"{{"data":[{}]}}"#, records.join(",")));
        }
        if let Some(id) = request
            .path()
            .strip_prefix("/orders/")
            .and_then(|rest| rest.strip_suffix("/lines"))
        {
            let order: u64 = id.parse().unwrap_or(0);
            if order == GONE && !Self::is(&self.mended) {
                return wrong(404);
            }
            if order == 5 && !calm && is_first(&self.failed, request.target.clone()) {
                let headers = vec![("content-type", "application/json"), ("retry-after", "1")];
                return (429, headers, r#"{"message":"slow down"}"#.to_owned());
            }
            let lines: Vec<_> = (1..=LINES).map(|number| line(order, number)).collect();
            return (200, json, format!(r#"{{"data":[{}]}}"#, lines.join(",")));
        }
        if Self::is(&self.huge) {
            let records: Vec<_> = (1..=HUGE_RECORDS).map(huge_record).collect();
            return (
                200,
                json,
                format!(r#"{{"data":[{}],"more":false}}"#, records.join(",")),
            );
        }
        let page: u64 = request
            .query("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1);
        if page == 2 {
            while Self::is(&self.shut) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if !calm && is_first(&self.failed, request.target.clone()) {
                return wrong(500);
            }
        }
        let (first, last) = ((page - 1) * PER_PAGE + 1, (page * PER_PAGE).min(ORDERS));
        let orders: Vec<_> = (first..=last).map(order).collect();
        (
            200,
            json,
            format!(
                r#"{{"data":[{}],"more":{}}}"#,
                orders.join(","),
                last < ORDERS
            ),
        )
    }

    /// Refuses the first attempt at `started` and at the first lines, events of too many orders, and some orders for good.
    pub fn answer_deliveries(self: &std::sync::Arc<Self>, receiver: &Receiver) {
        let shop = self.clone();
        receiver.answer_by(move |request| {
            let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            shop.judge(&event)
        });
    }

    fn judge(&self, event: &Value) -> Answer {
        let payload = &event["payload"];
        let id = event["id"].as_str().unwrap_or_default();
        let of_run = event["event"]
            .as_str()
            .is_some_and(|name| name.starts_with("sync_job_run:"));
        if Self::is(&self.closed) && of_run {
            return Answer::Status(410);
        }
        if Self::is(&self.calm) {
            return Answer::Status(200);
        }
        // `started` holds everything else back.
        if event["event"] == "sync_job_run:started" && is_first(&self.refused, id.to_owned()) {
            return Answer::Status(500);
        }
        if event["event"] != "sync_job_run:record" {
            return Answer::Status(200);
        }
        let seqs = payload["meta"]["first_seq"].as_u64().unwrap_or(0)
            ..=payload["meta"]["last_seq"].as_u64().unwrap_or(0);
        if payload["resource"] == "lines" {
            let again = seqs.contains(&1) && is_first(&self.refused, id.to_owned());
            return Answer::Status(if again { 500 } else { 200 });
        }
        if payload["resource"] != "orders" {
            return Answer::Status(200);
        }
        let mended = Self::is(&self.mended);
        if mended {
            // A letter that is sent again is refused once more, and then taken.
            let again = REFUSED.iter().any(|seq| seqs.contains(seq))
                && is_first(&self.refused, format!("{id} again"));
            return Answer::Status(if again { 500 } else { 200 });
        }
        if payload["records"]
            .as_array()
            .is_some_and(|records| records.len() > MOST_ORDERS)
        {
            return Answer::Status(413);
        }
        let failed: Vec<_> = REFUSED
            .iter()
            .filter(|seq| seqs.contains(seq))
            .map(|seq| json!({"seq": seq, "reason": "unknown SKU"}))
            .collect();
        if failed.is_empty() {
            return Answer::Status(200);
        }
        Answer::Full {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: json!({"failed": failed}).to_string().into_bytes(),
        }
    }
}
