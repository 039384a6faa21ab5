use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::{http::Request, receiver::Answer};

const RUN: &str = "run-1";

/// Event `id`, as it was acknowledged.
fn delivery(id: &str, name: &str, payload: &Value) -> Delivery {
    let mut payload = payload.clone();
    payload["sync_job_run_id"] = json!(RUN);
    let body = json!({"id": id, "event": format!("sync_job_run:{name}"), "payload": payload});
    Delivery {
        at: Instant::now(),
        request: Request {
            method: "POST".to_owned(),
            target: "/hook".to_owned(),
            headers: vec![("webhook-id".to_owned(), id.to_owned())],
            body: body.to_string().into_bytes(),
        },
        answer: Answer::Status(200),
    }
}

/// Record `seq` of the stream `orders`.
fn record(id: &str, seq: u64) -> Delivery {
    let meta = json!({"first_seq": seq, "last_seq": seq, "count": 1});
    let payload = json!({"resource": "orders", "meta": meta, "records": [{"id": seq}]});
    delivery(id, "record", &payload)
}

fn letter(of: &Delivery) -> Value {
    let body = of.event();
    json!({"id": body["id"], "first_seq": body["payload"]["meta"]["first_seq"], "body": body})
}

fn run(delivered: u64, dead: u64) -> Value {
    json!({"id": RUN, "status": "completed", "records_delivered": delivered, "records_dead": dead})
}

/// A run of two records, of which the second one is refused.
fn ended() -> Vec<Delivery> {
    vec![
        delivery("a", "started", &json!({})),
        record("b", 1),
        delivery("d", "completed", &json!({"records_synced": 1})),
    ]
}

#[test]
fn after_the_end_come_only_letters_that_are_sent_again_and_the_deletion() {
    let (mut deliveries, refused) = (ended(), record("c", 2));
    deliveries.push(refused.clone());
    deliveries.push(delivery("e", "deleted", &json!({})));
    let gone = [letter(&refused)];
    let terms = Terms {
        gone: &gone,
        ..Terms::default()
    };
    let ledger = Ledger::of(&deliveries, &run(2, 0), terms).sound();
    assert_eq!(ledger.records["orders"].len(), 2);
    let still_there = Terms {
        letters: &gone,
        ..Terms::default()
    };
    let ledger = Ledger::of(&deliveries, &run(2, 0), still_there);
    assert!(ledger.told().contains("is still one"), "{}", ledger.told());
}

#[test]
fn a_letter_that_was_deleted_stays_dead() {
    let gone = [letter(&record("c", 2))];
    let terms = Terms {
        gone: &gone,
        ..Terms::default()
    };
    let ledger = Ledger::of(&ended(), &run(1, 1), terms).sound();
    assert_eq!(ledger.dead["orders"].len(), 1);
}

#[test]
fn whatever_else_comes_after_the_end_is_a_fault() {
    let letters = [letter(&record("c", 2))];
    let terms = Terms {
        letters: &letters,
        ..Terms::default()
    };
    let mut unanswered = record("f", 3);
    unanswered.answer = Answer::Status(500);
    let payload = json!({"records_synced": 1});
    for late in [
        delivery("f", "completed", &payload),
        record("f", 3),
        unanswered,
    ] {
        let mut deliveries = ended();
        deliveries.push(late);
        let told = Ledger::of(&deliveries, &run(1, 1), terms).told();
        assert!(told.contains("f came after the terminal event"), "{told}");
    }
    let mut deliveries = ended();
    deliveries.insert(1, delivery("e", "deleted", &json!({})));
    let told = Ledger::of(&deliveries, &run(1, 1), terms).told();
    assert!(told.contains("comes once, after the terminal"), "{told}");
}
