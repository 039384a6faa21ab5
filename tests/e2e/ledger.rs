//! What the receiver acknowledged, held against what the source served and the run claims.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, value::RawValue};
use syncline_tests::receiver::Delivery;

/// The acknowledged events of one run.
pub struct Ledger {
    /// Event names in order of acknowledgement; left out are repeats of an id, `created` and `updated`.
    pub events: Vec<String>,
    /// Record bytes by resource, in `seq` order.
    pub records: BTreeMap<String, Vec<String>>,
    pub terminal: Value,
    created: bool,
    partial: bool,
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(serde::Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

impl Ledger {
    /// Reads the deliveries of `run` and checks what holds for every run, whatever crashed:
    /// one body for each id, `created` and `started` first, exactly one terminal event and last, gapless
    /// `seq` in order, children behind their parents, counts equal to the run's own.
    pub fn check(deliveries: &[Delivery], run: &Value) -> Self {
        Self::read(deliveries, run, false)
    }

    /// As [`Self::check`], for a retry: the parents of its children came with another run.
    pub fn check_part(deliveries: &[Delivery], run: &Value) -> Self {
        Self::read(deliveries, run, true)
    }

    fn read(deliveries: &[Delivery], run: &Value, partial: bool) -> Self {
        let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut ledger = Self {
            events: Vec::new(),
            records: BTreeMap::new(),
            terminal: Value::Null,
            created: false,
            partial,
        };
        let mut orders_seen = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for delivery in deliveries {
            let event = delivery.event();
            if event["payload"]["sync_job_run_id"] != run["id"] {
                continue;
            }
            let id = event["id"].as_str().expect("an id").to_owned();
            assert_eq!(delivery.request.header("webhook-id"), Some(id.as_str()));
            if let Some(body) = bodies.get(&id) {
                assert_eq!(
                    *body, delivery.request.body,
                    "a repeat of {id} has other bytes"
                );
            }
            bodies.insert(id.clone(), delivery.request.body.clone());
            if !delivery.acknowledged() {
                continue;
            }
            if seen.contains(&id) {
                continue;
            }
            seen.insert(id.clone());
            ledger.note(&id, &event, delivery, &mut orders_seen);
        }
        ledger.check_end(run);
        ledger
    }

    fn note(&mut self, id: &str, event: &Value, delivery: &Delivery, orders: &mut BTreeSet<u64>) {
        let name = event["event"].as_str().expect("a name").to_owned();
        assert!(self.terminal.is_null(), "{name} after the terminal event");
        if name == "sync_job_run:created" {
            assert!(
                self.events.is_empty() && !self.created,
                "{name} comes once, before all else"
            );
            self.created = true;
            return;
        }
        if name == "sync_job_run:updated" {
            return;
        }
        assert_eq!(
            self.events.is_empty(),
            name == "sync_job_run:started"
                || matches!(name.as_str(), "sync_job_run:stopped" if self.events.is_empty()),
            "started comes first and once, not {name} after {:?}",
            self.events
        );
        let payload = &event["payload"];
        if name == "sync_job_run:record" {
            let resource = payload["resource"].as_str().expect("a resource").to_owned();
            let envelope: Envelope<'_> =
                serde_json::from_slice(&delivery.request.body).expect("an envelope");
            let records: Vec<_> = envelope
                .payload
                .records
                .iter()
                .map(|record| record.get().to_owned())
                .collect();
            let stream = self.records.entry(resource.clone()).or_default();
            let meta = &payload["meta"];
            assert_eq!(
                meta["first_seq"],
                stream.len() + 1,
                "a gap in {resource}: {meta}"
            );
            assert_eq!(meta["count"], records.len());
            stream.extend(records);
            assert_eq!(meta["last_seq"], stream.len());
            for record in payload["records"].as_array().expect("records") {
                if let Some(id) = record["id"].as_u64() {
                    orders.insert(id);
                }
                if let Some(order) = record["order"].as_u64() {
                    assert!(
                        self.partial || orders.contains(&order),
                        "a line of order {order} came before the order"
                    );
                }
            }
        }
        if ["completed", "failed", "stopped"]
            .iter()
            .any(|end| name == format!("sync_job_run:{end}"))
        {
            self.terminal = event.clone();
        }
        self.events.push(format!("{name} {id}"));
    }

    fn check_end(&self, run: &Value) {
        assert!(
            !self.terminal.is_null(),
            "there is a terminal event after {:?}",
            self.events
        );
        let delivered: usize = self.records.values().map(Vec::len).sum();
        assert_eq!(
            run["records_delivered"], delivered,
            "the run counts what arrived: {run}"
        );
        assert_eq!(self.terminal["payload"]["records_synced"], delivered);
        for of in self.terminal["payload"]["resources"]
            .as_array()
            .expect("resources")
        {
            let name = of["resource"].as_str().expect("a resource");
            let got = self.records.get(name).map_or(0, Vec::len);
            assert_eq!(
                of["last_seq"], got,
                "the receiver can prove that {name} is complete"
            );
        }
    }

    /// The names of all events but records, in order.
    pub fn milestones(&self) -> Vec<&str> {
        let names = self
            .events
            .iter()
            .map(|event| event.split(' ').next().unwrap_or_default());
        names
            .filter(|name| *name != "sync_job_run:record")
            .collect()
    }

    /// The records of a resource, sorted.
    pub fn sorted(&self, resource: &str) -> Vec<String> {
        let mut records = self.records.get(resource).cloned().unwrap_or_default();
        records.sort();
        records
    }
}

/// Sorted, to compare with [`Ledger::sorted`].
pub fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}
