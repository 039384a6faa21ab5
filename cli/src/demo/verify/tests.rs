use http::StatusCode;
use serde_json::json;

use super::*;

const RUN: &str = "run_1";

/// A run as it should be: two orders, one of which has a line; the lines of the
/// other are gone; those of the first failed once.
struct Story {
    ledger: Ledger,
    inbox: Inbox,
    ended: Ended,
}

impl Story {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        let (orders, line) = ([r#"{"id":7,"total":12.10}"#, r#"{"id":8}"#], r#"{"id":71}"#);
        ledger.records.insert(
            ORDERS,
            [(7, orders[0].to_owned()), (8, orders[1].to_owned())].into(),
        );
        ledger.records.insert(LINES, [(71, line.to_owned())].into());
        for (target, status) in [
            ("/orders?page=1", 200),
            ("/orders/7/lines", 500),
            ("/orders/8/lines", 404),
            ("/orders/7/lines", 200),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            ledger.requests.push_back(crate::sample::ledger::Served {
                target: target.to_owned(),
                status,
            });
        }

        let mut story = Self {
            ledger,
            inbox: Inbox::default(),
            ended: Ended {
                id: RUN.to_owned(),
                run: json!({"status": "completed", "resource_stats": {
                    ORDERS: {"list": {"fetched": 2, "persisted": 2}},
                    LINES: {"list": {"fetched": 1, "persisted": 1}}}}),
                errors: vec![
                    json!({"status": 404, "message": "gone", "request": {"url": "http://source/orders/8/lines"}}),
                ],
            },
        };
        story.event("started", "");
        story.event("record", &format!(
            r#","resource":"{ORDERS}","records":[{}],"meta":{{"first_seq":1,"last_seq":2,"count":2}}"#, orders.join(",")
        ));
        story.event("record", &format!(
            r#","resource":"{LINES}","records":[{line}],"meta":{{"first_seq":1,"last_seq":1,"count":1,"parents":[{{"resources.wms.orders.id":7}}]}}"#
        ));
        story.event("record_error", "");
        story
    }

    fn event(&mut self, kind: &str, fields: &str) {
        let id = format!("evt_{}", self.inbox.verified);
        let event = format!("sync_job_run:{kind}");
        let body = format!(
            r#"{{"id":"{id}","event":"{event}","event_type":"{event}","payload":{{"sync_job_run_id":"{RUN}"{fields}}}}}"#
        );
        self.inbox.receive(&id, &body);
    }

    /// Titles of the checks that fail.
    fn failing(mut self, change: impl FnOnce(&mut Self)) -> Vec<&'static str> {
        change(&mut self);
        self.event("completed", r#","resources":[]"#);
        let expected = Expected {
            gone: Some(8),
            flaky: Some(7),
            orders: None,
        };
        let checks = checks(&expected, &self.ledger, &self.inbox, &self.ended);
        checks
            .into_iter()
            .filter(|check| !check.holds)
            .map(|check| check.title)
            .collect()
    }
}

#[test]
fn a_run_as_promised_passes_every_check() {
    assert_eq!(Story::new().failing(|_| {}), Vec::<&str>::new());
}

#[test]
fn a_record_that_did_not_arrive_is_seen() {
    let failing = Story::new().failing(|story| {
        story
            .ledger
            .records
            .entry(ORDERS)
            .or_default()
            .insert(9, r#"{"id":9}"#.to_owned());
    });
    assert_eq!(failing, ["complete"]);
}

#[test]
fn a_record_that_changed_on_its_way_is_seen() {
    let failing = Story::new().failing(|story| {
        story
            .ledger
            .records
            .entry(ORDERS)
            .or_default()
            .insert(7, r#"{"id":7,"total":12.1}"#.to_owned());
    });
    assert_eq!(failing, ["complete"]);
}

#[test]
fn counts_of_the_run_that_differ_are_seen() {
    let failing = Story::new()
        .failing(|story| story.ended.run["resource_stats"][ORDERS]["list"]["persisted"] = json!(1));
    assert_eq!(failing, ["complete"]);
}

#[test]
fn an_unsigned_delivery_is_seen() {
    let failing = Story::new().failing(|story| story.inbox.reject("forged"));
    assert_eq!(failing, ["signed", "in order"]);
}

#[test]
fn a_second_terminal_event_is_seen() {
    assert_eq!(
        Story::new().failing(|story| story.event("completed", "")),
        ["in order"]
    );
}

#[test]
fn another_error_and_a_request_that_was_not_retried_are_seen() {
    let failing = Story::new().failing(|story| {
        story
            .ended
            .errors
            .push(json!({"status": 500, "message": "x", "request": {"url": "y"}}));
        story.ledger.requests.pop_back();
    });
    assert_eq!(failing, ["errors", "retried"]);
}

#[test]
fn an_incremental_run_must_have_asked_for_changes_only() {
    let mut story = Story::new();
    let expected = Expected {
        gone: Some(8),
        flaky: None,
        orders: Some(2),
    };
    let incremental = |story: &Story| {
        let checks = checks(&expected, &story.ledger, &story.inbox, &story.ended);
        checks
            .into_iter()
            .find(|check| check.title == "incremental")
            .expect("the check")
    };
    assert!(!incremental(&story).holds);
    story.ledger.requests[0].target =
        "/orders?page=1&updated_at%5Bgt%5D=2024-05-01T12:00:00.007Z".to_owned();
    let check = incremental(&story);
    assert!(
        check.holds && check.detail.contains("2024-05-01T12:00:00.007Z"),
        "{}",
        check.detail
    );
}
