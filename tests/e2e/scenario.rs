//! Orders and their lines, from a source the test controls to a receiver it watches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use syncline_tests::{
    http::Request,
    ledger::{Ledger, Terms, dead_letters, leftovers_of},
    receiver::Receiver,
    redis::connect,
    rest::Rest,
    source::Source,
    stack::Stack,
};

use crate::lane::BASE;

/// No sync of these tests takes that long, on any machine.
pub const LONG: Duration = Duration::from_secs(90);

/// The orders of a well-behaved source.
#[derive(Debug, Clone, Copy)]
pub struct Shop {
    pub orders: u64,
    pub per_page: u64,
    pub lines: u64,
}

impl Shop {
    pub fn order(id: u64) -> String {
        // Spaces, a number that a double can't hold and one that it would shorten: bytes must survive.
        format!(r#"{{"id": {id}, "big":90071992547409{id:05}, "total":{id}.10}}"#)
    }

    pub fn line(order: u64, line: u64) -> String {
        format!(r#"{{"order":{order},"line":{line},"price":1.50}}"#)
    }

    /// Answers `/orders?page=` and `/orders/{id}/lines`.
    pub fn answer(self, request: &Request) -> (u16, String) {
        if let Some(id) = request
            .path()
            .strip_prefix("/orders/")
            .and_then(|rest| rest.strip_suffix("/lines"))
        {
            let order = id.parse().unwrap_or(0);
            let lines: Vec<_> = (1..=self.lines)
                .map(|line| Self::line(order, line))
                .collect();
            return (200, format!(r#"{{"data":[{}]}}"#, lines.join(",")));
        }
        let page: u64 = request
            .query("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1);
        let first = (page - 1) * self.per_page + 1;
        let last = (page * self.per_page).min(self.orders);
        let orders: Vec<_> = (first..=last).map(Self::order).collect();
        (
            200,
            format!(
                r#"{{"data":[{}],"more":{}}}"#,
                orders.join(","),
                last < self.orders
            ),
        )
    }

    pub fn all_orders(self) -> Vec<String> {
        (1..=self.orders).map(Self::order).collect()
    }

    pub fn all_lines(self) -> Vec<String> {
        (1..=self.orders)
            .flat_map(|order| (1..=self.lines).map(move |line| Self::line(order, line)))
            .collect()
    }

    /// All of it by stream, as [`orders_and_lines`] asks for it.
    pub fn served(self) -> BTreeMap<String, Vec<String>> {
        BTreeMap::from([
            ("wms/orders".to_owned(), self.all_orders()),
            ("wms/order-items".to_owned(), self.all_lines()),
        ])
    }
}

/// The credential of the one account.
pub const API_KEY: &str = "sk_e2e_5a7c1f";

/// The ids a run needs, and what it talks to.
pub struct Syncing {
    pub stack: Stack,
    pub rest: Rest,
    pub receiver: Arc<Receiver>,
    pub source: Source,
    pub account: String,
    pub webhook: String,
    pub job: String,
}

/// How a scenario differs from the plain one.
pub struct Setup {
    pub workers: usize,
    pub settings: &'static [(&'static str, &'static str)],
    pub job: Value,
    pub webhook: Value,
    /// What describes the source, given its base URL; its name is `shop`.
    pub integration: fn(&str) -> Value,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 1,
            settings: &[],
            job: json!({}),
            webhook: json!({}),
            integration,
        }
    }
}

/// An integration over the source: `orders`, `lines`, and their unified names.
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
                "lines": {"list": {"path": "/orders/{{query.order_id}}/lines", "response_path": "data"}}
            },
            "unified": {"wms": {
                "orders": {"list": {"resource": "orders", "method": "list"}},
                "order-items": {"list": {"resource": "lines", "method": "list"}}
            }}
        }
    })
}

/// An integration over the source with other resources.
pub fn integration_of(base_url: &str, resources: Value) -> Value {
    let mut document = integration(base_url);
    document["config"]["resources"] = resources;
    document["config"]["unified"] = json!({});
    document
}

/// The reference job, without a watermark.
pub fn orders_and_lines() -> Value {
    json!([
        {"resource": "wms/orders", "method": "list"},
        {"resource": "wms/order-items", "method": "list", "depends_on": "wms/orders",
         "query": {"order_id": "{{resources.wms.orders.id}}"}}
    ])
}

impl Syncing {
    pub async fn of_shop(shop: Shop, setup: Setup) -> Result<Self> {
        Self::of(Source::json(move |request| shop.answer(request))?, setup).await
    }

    pub async fn of(source: Source, setup: Setup) -> Result<Self> {
        let stack = Stack::start_with(setup.workers, setup.settings)?;
        let rest = stack.rest()?;
        let receiver = Arc::new(Receiver::start()?);
        rest.put("/integration/shop", &(setup.integration)(&source.url()))
            .await?;
        let account = json!({"integration_name": "shop", "tenant_id": "tenant-1", "credentials": {"api_key": API_KEY}});
        let account = rest.create("/integrated-account", &account).await?;
        let webhook = merged(json!({"target_url": receiver.url()}), &setup.webhook);
        let webhook = rest.create("/webhook", &webhook).await?;
        let job = merged(
            json!({"integration_name": "shop", "resources": orders_and_lines()}),
            &setup.job,
        );
        let job = rest.create("/sync-job", &job).await?;
        Ok(Self {
            stack,
            rest,
            receiver,
            source,
            account,
            webhook,
            job,
        })
    }

    pub async fn start_run(&self) -> Result<String> {
        self.start_run_with(&json!({})).await
    }

    pub async fn start_run_with(&self, more: &Value) -> Result<String> {
        let run = json!({
            "sync_job_id": self.job, "integrated_account_id": self.account, "webhook_id": self.webhook});
        self.rest.create("/sync-job-run", &merged(run, more)).await
    }

    pub async fn run(&self, id: &str) -> Result<Value> {
        self.rest.get(&format!("/sync-job-run/{id}")).await
    }

    /// Waits until the run's terminal event was acknowledged.
    pub async fn finish(&self, run: &str) -> Result<Value> {
        let ended = self.rest.wait_for_end(run, LONG).await?;
        let name = format!(
            "sync_job_run:{}",
            ended["status"].as_str().context("a status")?
        );
        let receiver = self.receiver.clone();
        let run_id = run.to_owned();
        tokio::task::spawn_blocking(move || {
            receiver.wait_until("the terminal event", LONG, |deliveries| {
                deliveries.iter().any(|delivery| {
                    delivery.acknowledged()
                        && delivery.name() == name
                        && delivery.event()["payload"]["sync_job_run_id"] == run_id.as_str()
                })
            })
        })
        .await??;
        self.run(run).await
    }

    /// Holds a run whose terminal event was acknowledged against all that is promised. It is looked at, with its dead letters
    /// and what came, only when nothing of it is left in the store: whatever comes late is seen too.
    pub async fn check(&self, run: &Value) -> Result<Ledger> {
        self.check_at(&self.receiver, run, Terms::default()).await
    }

    /// As [`Self::check`], at another receiver, or on terms of its own beside the dead letters.
    pub async fn check_at(
        &self,
        receiver: &Receiver,
        run: &Value,
        terms: Terms<'_>,
    ) -> Result<Ledger> {
        self.forgotten(run).await?;
        let text = |field: &str| run[field].as_str().context("a run as the API gives it");
        let letters = dead_letters(&self.rest, text("webhook_id")?, text("id")?).await?;
        let terms = Terms {
            letters: &letters,
            ..terms
        };
        let run = self.run(text("id")?).await?;
        Ok(Ledger::of(&receiver.deliveries(), &run, terms).sound())
    }

    /// Waits until nothing of the run is left to do.
    async fn forgotten(&self, run: &Value) -> Result<()> {
        let mut connection = connect(self.stack.redis_url()).await?;
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let left = leftovers_of(&mut connection, BASE, run).await?;
            if left.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "the run has ended; left are {left:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the run's state is as `wanted`.
    pub async fn wait(
        &self,
        run: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let state = self.run(run).await?;
            if wanted(&state) {
                return Ok(state);
            }
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "waited for {what}; last seen: {state}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn merged(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        base.extend(more.clone());
    }
    base
}

/// A counter that tests share with their source.
pub type Counter = Arc<std::sync::atomic::AtomicU64>;
