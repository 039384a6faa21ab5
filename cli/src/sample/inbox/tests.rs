use serde_json::json;

use super::*;

/// Feeds `events` (type after `sync_job_run:`, payload) and answers the faults.
fn faults_of(events: &[(&str, Value)]) -> Vec<String> {
    let mut inbox = Inbox::default();
    feed(&mut inbox, events);
    inbox.faults
}

fn feed(inbox: &mut Inbox, events: &[(&str, Value)]) {
    for (index, (kind, payload)) in events.iter().enumerate() {
        let id = format!("evt_{index}");
        assert_eq!(
            inbox.receive(&id, &envelope(&id, kind, payload)),
            Outcome::New
        );
    }
}

fn envelope(id: &str, kind: &str, payload: &Value) -> String {
    let mut payload = payload.clone();
    payload["sync_job_run_id"] = json!("run_1");
    let event = format!("sync_job_run:{kind}");
    json!({"id": id, "event": event, "event_type": event, "payload": payload}).to_string()
}

fn started() -> (&'static str, Value) {
    ("started", json!({}))
}

fn orders(first_seq: u64, ids: &[u64]) -> (&'static str, Value) {
    let records: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let count = ids.len() as u64;
    let meta = json!({"first_seq": first_seq, "last_seq": first_seq + count - 1, "count": count});
    (
        "record",
        json!({"resource": "wms/orders", "records": records, "meta": meta}),
    )
}

fn line(seq: u64, order: u64) -> (&'static str, Value) {
    let meta = json!({"first_seq": seq, "last_seq": seq, "count": 1, "parents": [{"resources.wms.orders.id": order}]});
    (
        "record",
        json!({"resource": "wms/order-items", "records": [{"id": 1}], "meta": meta}),
    )
}

fn completed(orders: u64, lines: u64) -> (&'static str, Value) {
    let resources = json!([{"resource": "wms/orders", "last_seq": orders}, {"resource": "wms/order-items", "last_seq": lines}]);
    ("completed", json!({"resources": resources}))
}

#[test]
fn a_run_as_promised_has_no_faults() {
    let mut inbox = Inbox::default();
    let big = 9_007_199_254_740_993;
    feed(
        &mut inbox,
        &[
            started(),
            orders(1, &[7, big]),
            line(1, 7),
            orders(3, &[8]),
            line(2, big),
            completed(3, 2),
        ],
    );
    assert_eq!(inbox.faults, Vec::<String>::new());
    let run = &inbox.runs["run_1"];
    assert_eq!(run.record_count(), 5);
    assert_eq!(
        run.streams["wms/orders"].records[1],
        r#"{"id":9007199254740993}"#
    );
    assert!(run.terminal.is_some());
}

#[test]
fn a_gap_in_seq_is_a_fault() {
    assert_eq!(
        faults_of(&[started(), orders(1, &[7]), orders(3, &[8])]),
        ["evt_2: wms/orders goes from seq 1 to 3"]
    );
    assert_eq!(
        faults_of(&[started(), orders(2, &[7])]),
        ["evt_1: wms/orders goes from seq 0 to 2"]
    );
}

#[test]
fn seq_that_repeats_under_another_event_id_is_a_fault() {
    assert_eq!(
        faults_of(&[started(), orders(1, &[7, 8]), orders(2, &[8])]),
        ["evt_2: wms/orders goes from seq 2 to 2"]
    );
}

#[test]
fn an_event_under_an_id_that_came_before_counts_once() {
    let mut inbox = Inbox::default();
    feed(&mut inbox, &[started(), orders(1, &[7])]);
    let (kind, payload) = orders(1, &[7]);
    assert_eq!(
        inbox.receive("evt_1", &envelope("evt_1", kind, &payload)),
        Outcome::Duplicate
    );
    assert_eq!((inbox.duplicates, inbox.fault_count), (1, 0));
    assert_eq!(inbox.runs["run_1"].record_count(), 1);
}

#[test]
fn a_record_before_started_is_a_fault() {
    assert_eq!(
        faults_of(&[orders(1, &[7]), started()]),
        [
            "evt_0: `record` came before `started`",
            "evt_1: `started` came late or twice"
        ]
    );
}

#[test]
fn a_child_before_its_parent_is_a_fault() {
    let faults = faults_of(&[started(), orders(1, &[7]), line(1, 8), orders(2, &[8])]);
    assert_eq!(
        faults,
        ["evt_2: a record of wms/order-items came before its parent, resources.wms.orders.id = 8"]
    );
}

#[test]
fn anything_after_the_terminal_event_is_a_fault() {
    assert_eq!(
        faults_of(&[started(), completed(0, 0), completed(0, 0)]),
        ["evt_2: `completed` came after the event that ends the run"]
    );
}

#[test]
fn a_terminal_event_that_names_another_last_seq_is_a_fault() {
    assert_eq!(
        faults_of(&[started(), orders(1, &[7]), completed(2, 0)]),
        ["evt_2: wms/orders ended at seq 1, the last event says 2"]
    );
}

#[test]
fn counts_that_disagree_with_the_records_are_a_fault() {
    let meta = json!({"first_seq": 1, "last_seq": 2, "count": 1});
    let payload = json!({"resource": "wms/orders", "records": [{"id": 1}], "meta": meta});
    assert_eq!(
        faults_of(&[started(), ("record", payload)]),
        ["evt_1: wms/orders has 1 records, count 1 and seq 1 to 2"]
    );
}

#[test]
fn rubbish_is_a_fault_and_no_panic() {
    let mut inbox = Inbox::default();
    assert_eq!(inbox.receive("evt_1", "[]"), Outcome::Unreadable);
    let no_run = json!({"id": "evt_2", "event": "sync_job_run:record", "event_type": "sync_job_run:record", "payload": 3});
    assert_eq!(
        inbox.receive("evt_2", &no_run.to_string()),
        Outcome::Unreadable
    );
    assert_eq!(inbox.fault_count, 2);
    for n in 0..100 {
        inbox.receive(&format!("more_{n}"), "");
    }
    assert_eq!((inbox.faults.len(), inbox.fault_count), (MAX_FAULTS, 102));
}
