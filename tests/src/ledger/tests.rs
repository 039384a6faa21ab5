//! The ledger itself: each fault that it is there to find, made by hand.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::{http::Request, receiver::Answer};

/// The answer of a receiver that takes it.
const TAKEN: Answer = Answer::Status(200);

fn delivery(number: usize, event: &str, payload: Value, answer: Answer) -> Delivery {
    let mut payload = payload;
    payload["sync_job_run_id"] = json!("run_1");
    let id = format!("evt_{number}");
    let body = json!({"id": id, "event": format!("sync_job_run:{event}"), "payload": payload});
    Delivery {
        at: Instant::now(),
        request: Request {
            headers: vec![("webhook-id".to_owned(), id)],
            body: body.to_string().into_bytes(),
            ..Request::default()
        },
        answer,
    }
}

/// Two orders that came and one that is dead, a line, and the error of fetching others; shops are fetched for their orders
/// only.
fn deliveries() -> Vec<Delivery> {
    let orders = json!({"name": "orders", "meta": {"first_seq": 1, "last_seq": 2, "count": 2},
        "records": [{"id": 1}, {"id": 2}]});
    let lines = json!({"name": "lines", "records": [{"line": 7}],
        "meta": {"first_seq": 1, "last_seq": 1, "count": 1, "parents": [{"resources.orders.id": 1}]}});
    let told = [
        ("started", json!({})),
        ("record", orders),
        ("record", lines),
        ("record_error", json!({"name": "lines", "error": {}})),
        (
            "completed",
            json!({"records_synced": 3, "records_dead": 1, "errors": 3, "resources": [
                {"resource": "wms/shops", "name": "shops", "method": "list", "records": 4, "errors": 0, "records_dead": 0, "last_seq": 0},
                {"resource": "wms/orders", "name": "orders", "method": "list", "records": 3, "errors": 0, "records_dead": 1, "last_seq": 3},
                {"resource": "wms/lines", "name": "lines", "method": "list", "records": 1, "errors": 3, "records_dead": 0, "last_seq": 1},
            ]}),
        ),
    ];
    let events = told.into_iter().enumerate();
    events
        .map(|(number, (event, payload))| delivery(number, event, payload, TAKEN))
        .collect()
}

/// An order, and two errors in one event.
fn letters() -> Vec<Value> {
    let order = json!({"name": "orders", "records": [{"id": 3}]});
    let errors = json!({"name": "lines", "errors": [{}, {}]});
    vec![
        json!({"id": "evt_5", "first_seq": 3, "body": {"event": "sync_job_run:record", "payload": order}}),
        json!({"id": "evt_6", "first_seq": null, "body": {"event": "sync_job_run:record_error", "payload": errors}}),
    ]
}

fn run() -> Value {
    let progress = |name: &str, records: u64, dead: u64, errors: u64, delivered: u64| {
        json!({"resource": format!("wms/{name}"), "name": name, "method": "list", "status": "done", "records": records,
            "records_delivered": delivered, "records_dead": dead, "errors": errors, "requests": 2, "pages": 1,
            "open_tasks": 0, "seq": delivered + dead})
    };
    json!({
        "id": "run_1", "status": "completed",
        "records_fetched": 8, "records_delivered": 3, "records_dead": 1, "errors": 3, "requests": 6,
        "resource_stats": {
            "shops": {"list": {"fetched": 4, "persisted": 0}},
            "orders": {"list": {"fetched": 3, "persisted": 2}},
            "lines": {"list": {"fetched": 1, "persisted": 1}},
        },
        "progress": [progress("shops", 4, 0, 0, 0), progress("orders", 3, 1, 0, 2), progress("lines", 1, 0, 3, 1)],
    })
}

fn ledger(deliveries: &[Delivery], run: &Value, letters: &[Value]) -> Ledger {
    let terms = Terms {
        letters,
        unstored: &["shops"],
        ..Terms::default()
    };
    Ledger::of(deliveries, run, terms)
}

#[test]
fn a_run_whose_every_count_is_what_came_has_no_fault() {
    let ledger = ledger(&deliveries(), &run(), &letters()).sound();
    assert_eq!(ledger.records["orders"], [r#"{"id":1}"#, r#"{"id":2}"#]);
    assert_eq!(ledger.dead["orders"], [r#"{"id":3}"#]);
}

/// Every number below this place of a JSON value, as a pointer.
fn numbers(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(place.to_owned()),
        Value::Array(all) => {
            for (index, value) in all.iter().enumerate() {
                numbers(value, &format!("{place}/{index}"), found);
            }
        }
        Value::Object(all) => {
            for (name, value) in all {
                numbers(value, &format!("{place}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// One more where that pointer leads to.
fn count_up(value: &mut Value, place: &str) {
    let number = value.pointer_mut(place).expect("it leads to a number");
    *number = json!(number.as_u64().expect("a count") + 1);
}

#[test]
fn every_count_of_a_run_that_is_one_too_high_is_a_fault() {
    let mut places = Vec::new();
    numbers(&run(), "", &mut places);
    // How many pages there were is not in what came.
    places.retain(|place| !place.ends_with("/pages"));
    assert_eq!(places.len(), 5 + 6 + 3 * 7, "{places:?}");
    for place in places {
        let mut wrong = run();
        count_up(&mut wrong, &place);
        let ledger = ledger(&deliveries(), &wrong, &letters());
        assert!(!ledger.faults.is_empty(), "{place} may be anything");
    }
}

/// Deliveries whose terminal event says what `change` makes of it.
fn with_end(change: impl FnOnce(&mut Value)) -> Vec<Delivery> {
    let mut changed = deliveries();
    let end = changed.last_mut().expect("the terminal event");
    let mut event = end.event();
    change(&mut event);
    end.request.body = event.to_string().into_bytes();
    changed
}

#[test]
fn every_count_of_a_terminal_event_that_is_one_too_high_is_a_fault() {
    let mut places = Vec::new();
    let end = deliveries().pop().expect("the terminal event").event();
    numbers(&end, "", &mut places);
    assert_eq!(places.len(), 3 + 3 * 4, "{places:?}");
    for place in places {
        let wrong = with_end(|end| count_up(end, &place));
        let ledger = ledger(&wrong, &run(), &letters());
        assert!(!ledger.faults.is_empty(), "{place} may be anything");
    }
}

#[test]
fn a_terminal_event_that_names_not_every_stream_is_a_fault() {
    let faulty = |change: fn(&mut Value)| {
        let ledger = ledger(&with_end(change), &run(), &letters());
        ledger.told().contains("resources: the terminal event says")
    };
    assert!(faulty(|end| {
        let streams = end["payload"]["resources"].as_array_mut();
        streams.expect("streams").pop();
    }));
    assert!(faulty(|end| {
        let payload = end["payload"].as_object_mut();
        payload.expect("a payload").remove("resources");
    }));
    assert!(faulty(|end| {
        end["payload"]["resources"][1]["name"] = json!("order");
    }));
}

#[test]
fn a_terminal_event_that_tells_of_another_end_than_the_run_is_a_fault() {
    for (field, value) in [
        ("status", json!("stopped")),
        ("error", json!({"code": "max_duration_exceeded"})),
    ] {
        let mut wrong = run();
        wrong[field] = value;
        let ledger = ledger(&deliveries(), &wrong, &letters());
        assert!(!ledger.faults.is_empty(), "{field}");
    }
    let failed = with_end(|end| end["payload"]["error"] = json!({"code": "http_error"}));
    let ledger = ledger(&failed, &run(), &letters());
    assert!(!ledger.faults.is_empty(), "what completes has no error");
}

#[test]
fn what_is_not_told_or_came_from_nowhere_is_a_fault() {
    let with_all = (deliveries(), letters());
    for left_out in 0..with_all.0.len() {
        let mut some = with_all.0.clone();
        some.remove(left_out);
        let ledger = ledger(&some, &run(), &with_all.1);
        assert!(!ledger.faults.is_empty(), "without event {left_out}");
    }
    for left_out in 0..with_all.1.len() {
        let mut some = with_all.1.clone();
        some.remove(left_out);
        let ledger = ledger(&with_all.0, &run(), &some);
        assert!(!ledger.faults.is_empty(), "without letter {left_out}");
    }
    let mut more = deliveries();
    let error = json!({"name": "shelves", "error": {}});
    more.insert(1, delivery(9, "record_error", error, TAKEN));
    let ledger = ledger(&more, &run(), &letters());
    assert!(
        ledger
            .told()
            .contains("the progress of the run lacks shelves"),
        "{}",
        ledger.told()
    );
}

#[test]
fn a_second_terminal_event_and_anything_after_the_first_is_a_fault() {
    for event in ["completed", "stopped", "record_error"] {
        let mut late = deliveries();
        let end = late.last().expect("the terminal event").event();
        late.push(delivery(9, event, end["payload"].clone(), TAKEN));
        let ledger = ledger(&late, &run(), &letters());
        let told = ledger.told();
        assert!(told.contains("came after the terminal event"), "{told}");
    }
}

#[test]
fn a_repeat_counts_once_and_what_was_not_acknowledged_not_at_all() {
    let mut more = deliveries();
    let mut refused = more[3].clone();
    refused.answer = Answer::Status(500);
    more.insert(3, refused);
    more.insert(5, more[4].clone());
    let ledger = ledger(&more, &run(), &letters()).sound();
    assert_eq!(ledger.repeats, 1);
}

#[test]
fn records_of_a_stream_count_unless_it_is_known_to_be_kept_back() {
    let ledger = Ledger::of(
        &deliveries(),
        &run(),
        Terms {
            letters: &letters(),
            ..Terms::default()
        },
    );
    assert!(
        ledger
            .told()
            .contains("records of shops: the run says 4, 0 is right"),
        "{}",
        ledger.told()
    );
}

/// The order of the letter, as it comes when that is sent again.
fn redriven() -> Delivery {
    let meta = json!({"first_seq": 3, "last_seq": 3, "count": 1});
    let payload = json!({"name": "orders", "meta": meta, "records": [{"id": 3}]});
    delivery(5, "record", payload, TAKEN)
}

/// The run once that letter was sent again.
fn run_after_redrive() -> Value {
    let mut run = run();
    run["records_delivered"] = json!(4);
    run["records_dead"] = json!(0);
    run["resource_stats"]["orders"]["list"]["persisted"] = json!(3);
    run["progress"][1]["records_delivered"] = json!(3);
    run["progress"][1]["records_dead"] = json!(0);
    run
}

#[test]
fn after_the_end_come_only_letters_that_are_sent_again_and_the_deletion() {
    let mut all = deliveries();
    all.push(redriven());
    all.push(delivery(7, "deleted", json!({}), TAKEN));
    let (gone, left) = (&letters()[..1], &letters()[1..]);
    let terms = Terms {
        letters: left,
        gone,
        unstored: &["shops"],
        ..Terms::default()
    };
    let ledger = Ledger::of(&all, &run_after_redrive(), terms).sound();
    assert_eq!(ledger.records["orders"].len(), 3);
    let still_there = Terms {
        letters: &letters(),
        unstored: &["shops"],
        ..Terms::default()
    };
    let told = Ledger::of(&all, &run_after_redrive(), still_there).told();
    assert!(told.contains("is still one"), "{told}");
}

#[test]
fn a_letter_that_was_deleted_stays_dead() {
    let (gone, left) = (&letters()[..1], &letters()[1..]);
    let terms = Terms {
        letters: left,
        gone,
        unstored: &["shops"],
        ..Terms::default()
    };
    let ledger = Ledger::of(&deliveries(), &run(), terms).sound();
    assert_eq!(ledger.dead["orders"].len(), 1);
}

#[test]
fn what_was_not_acknowledged_must_not_begin_after_the_end_either_and_a_deletion_not_before() {
    let meta = json!({"first_seq": 4, "last_seq": 4, "count": 1});
    let payload = json!({"name": "orders", "meta": meta, "records": [{"id": 4}]});
    let mut late = deliveries();
    late.push(delivery(8, "record", payload, Answer::Status(500)));
    let told = ledger(&late, &run(), &letters()).told();
    assert!(told.contains("came after the terminal event"), "{told}");
    let mut early = deliveries();
    early.insert(1, delivery(7, "deleted", json!({}), TAKEN));
    let told = ledger(&early, &run(), &letters()).told();
    assert!(told.contains("comes once, after the terminal"), "{told}");
}
