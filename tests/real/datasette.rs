//! The running third-party API: its process, its description as an integration, and a crawl of it.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use syncline_tests::process::{Launch, Program, answers_ok, free_address};

/// The most that Datasette gives in one page.
const PAGE_SIZE: u32 = 1_000;

#[derive(Debug)]
pub struct Datasette {
    _program: Program,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// What of a page the crawl looks at.
#[derive(Debug, Deserialize)]
struct Page {
    rows: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Datasette {
    /// Serves the database that `datasette install` has built.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let mut program = Program::start(Launch {
            program: Path::new(env!("CARGO_MANIFEST_DIR")).join("real/datasette"),
            arguments: vec!["serve".to_owned(), address.port().to_string()],
            environment: BTreeMap::new(),
            log: folder.path().join("datasette.log"),
        })?;
        program.wait_ready(answers_ok(address, "/-/versions.json"))?;
        Ok(Self {
            _program: program,
            address,
            _folder: folder,
        })
    }

    /// Its description for Syncline.
    pub fn integration(&self) -> Value {
        let list = |table: &str| json!({"list": {"path": format!("/{table}.json"), "response_path": "rows"}});
        json!({
            "name": "nyc",
            "label": "Flights from New York in 2013",
            "config": {
                "base_url": format!("http://{}/nyc", self.address),
                "query": {"_shape": "objects", "_nocount": "1"},
                "authorization": {"format": "none"},
                "pagination": {"format": "cursor", "config": {
                    "cursor_path": "next", "cursor_key": "_next", "limit_key": "_size", "max_limit": PAGE_SIZE
                }},
                "resources": {
                    "weather": list("weather"),
                    "planes": list("planes"),
                    "flights": {"list": {
                        "path": "/flights.json", "response_path": "rows", "query": {"tailnum": "{{query.tailnum}}"}
                    }},
                },
            },
        })
    }

    /// Every record of a table, as the bytes that the API sent, in its order.
    pub async fn crawl(&self, table: &str) -> Result<Vec<String>> {
        let mut records = Vec::new();
        let mut next = None;
        loop {
            let mut url = format!(
                "http://{}/nyc/{table}.json?_shape=objects&_nocount=1&_size={PAGE_SIZE}",
                self.address
            );
            if let Some(next) = next {
                url = format!("{url}&_next={next}");
            }
            let response = reqwest::get(url).await?.error_for_status()?;
            let page: Page = serde_json::from_slice(&response.bytes().await?)?;
            records.extend(page.rows.iter().map(|row| row.get().to_owned()));
            next = page.next;
            if next.is_none() {
                return Ok(records);
            }
        }
    }
}
