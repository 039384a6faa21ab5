//! Receivers that answer in every way but the plain one: pauses, refusals, sizes, rates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::seal::{Secret, signature::SigningKey};
use syncline_tests::{
    http::Request,
    ledger::Terms,
    receiver::{Answer, Delivery, Receiver},
    source::Source,
};

use crate::{
    lane::Lane,
    scenario::{LONG, Setup, Shop, Syncing},
};

const SHOP: Shop = Shop {
    orders: 50,
    per_page: 10,
    lines: 2,
};
const RECORDS: u64 = 150;
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Retries at once; `more` over it.
fn delivery(more: &Value) -> Setup {
    let mut delivery = json!({"retry": {"first_ms": 100, "max_ms": 1000}});
    if let (Some(delivery), Some(more)) = (delivery.as_object_mut(), more.as_object()) {
        delivery.extend(more.clone());
    }
    Setup {
        webhook: json!({"delivery": delivery}),
        ..Setup::default()
    }
}

fn only_orders(mut setup: Setup) -> Setup {
    setup.job = json!({"resources": [{"resource": "wms/orders"}]});
    setup
}

fn busy(status: u16, retry_after: &str) -> Answer {
    Answer::Full {
        status,
        headers: vec![("retry-after".to_owned(), retry_after.to_owned())],
        body: Vec::new(),
    }
}

fn says(body: &Value) -> Answer {
    Answer::Full {
        status: 200,
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
    }
}

fn event(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// `meta` of the `record` events of a run that were acknowledged, and the records in them by `seq`.
fn taken(deliveries: &[Delivery], run: &Value) -> BTreeMap<u64, Value> {
    let mut taken = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.acknowledged()) {
        let event = delivery.event();
        let payload = &event["payload"];
        if payload["sync_job_run_id"] != run["id"]
            || event["event"] != "sync_job_run:record"
            || !seen.insert(event["id"].to_string())
        {
            continue;
        }
        let records = payload["records"].as_array().expect("records");
        let first = payload["meta"]["first_seq"].as_u64().expect("a seq");
        assert_eq!(payload["meta"]["count"], records.len());
        for (seq, record) in (first..).zip(records) {
            assert!(
                taken.last_key_value().is_none_or(|(last, _)| *last < seq),
                "{seq} came late or twice"
            );
            taken.insert(seq, record.clone());
        }
    }
    taken
}

async fn rows(sync: &Syncing, path: &str) -> Result<Vec<Value>> {
    let list = sync.rest.get(path).await?;
    list["result"].as_array().cloned().context("rows")
}

async fn dead_letters(sync: &Syncing, run: &Value) -> Result<Vec<Value>> {
    let path = format!("/webhook/{}/dead-letter?limit=200", sync.webhook);
    let mut letters = rows(sync, &path).await?;
    letters.retain(|letter| letter["sync_job_run_id"] == run["id"]);
    letters.sort_by_key(|letter| letter["first_seq"].as_u64());
    Ok(letters)
}

async fn fetched(sync: &Syncing, run: &str) -> Result<Value> {
    let all = |state: &Value| state["records_fetched"] == RECORDS;
    sync.wait(run, "everything to be fetched", all).await
}

/// A date in the way HTTP writes it.
fn http_date(from_now: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let at = i64::try_from(now.as_secs()).expect("fits") + from_now;
    let at = UNIX_EPOCH + Duration::from_secs(u64::try_from(at).expect("after 1970"));
    httpdate::fmt_http_date(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_pause_hears_nothing_before_it_is_over() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, delivery(&json!({"concurrency": 1}))).await?;
    let mut lane = Lane::of(&sync).await?;
    sync.receiver.answer_next([busy(429, "7200")]);
    let mut runs = vec![sync.start_run().await?];
    let pause = lane.wait_blocked().await?;
    assert!(pause + MINUTE > 2 * HOUR && pause <= 2 * HOUR, "{pause:?}");
    // Whatever else there is for it waits too, and costs no timer of its own.
    for _ in 0..3 {
        runs.push(sync.start_run().await?);
    }
    for run in &runs {
        fetched(&sync, run).await?;
    }
    lane.advance(118 * MINUTE).await?;
    // Deliveries go on meanwhile, elsewhere.
    let other = Receiver::start()?;
    let webhook = json!({"target_url": other.url()});
    let webhook = sync.rest.create("/webhook", &webhook).await?;
    let elsewhere = sync.start_run_with(&json!({"webhook_id": webhook})).await?;
    other.wait_for("sync_job_run:completed", LONG)?;
    let elsewhere = sync.run(&elsewhere).await?;
    sync.check_at(&other, &elsewhere, Terms::default()).await?;
    let look = lane.look().await?;
    assert_eq!((look.blocked_lanes, look.delayed), (1, 0), "{look:?}");
    assert_eq!(sync.receiver.deliveries().len(), 1);
    // Its time comes, and it asks again, in each way there is.
    let far = http_date(400 * 24 * 3600);
    for (answer, longest) in [
        (busy(503, &http_date(7200)), 2 * HOUR),
        (busy(429, "99999999"), 24 * HOUR),
        (busy(429, &far), 24 * HOUR),
    ] {
        let before = sync.receiver.deliveries().len();
        sync.receiver.answer_next([answer.clone()]);
        let left = lane.wait_blocked().await?;
        lane.advance(left + MINUTE).await?;
        sync.receiver
            .wait_until("it is tried again", LONG, |all| all.len() > before)?;
        let pause = lane.wait_blocked().await?;
        assert!(
            pause + MINUTE > longest && pause <= longest,
            "{answer:?}: {pause:?}"
        );
        assert_eq!(sync.receiver.deliveries().len(), before + 1, "{answer:?}");
    }
    lane.advance(25 * HOUR).await?;
    for run in &runs {
        let run = sync.finish(run).await?;
        sync.check(&run).await?.expect_all(&SHOP.served());
        assert_eq!(run["records_dead"], 0);
        let path = format!("/sync-job-run/{}/event", run["id"].as_str().expect("an id"));
        for event in rows(&sync, &path).await? {
            assert_eq!(event["attempts"], 1, "a pause is no attempt: {event}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_past_or_can_not_be_read_is_an_ordinary_failure() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, delivery(&json!({}))).await?;
    sync.receiver.answer_next([
        busy(429, "soon"),
        busy(503, &http_date(-7200)),
        busy(429, "-7200"),
        busy(500, "7200"),
    ]);
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    let path = format!("/sync-job-run/{}/event", run["id"].as_str().expect("an id"));
    assert_eq!(rows(&sync, &path).await?[0]["attempts"], 5);
    Ok(())
}

/// Orders on two pages, one of them large.
const LARGE: u64 = 13;
const ORDERS: u64 = 120;

fn with_a_large_one() -> Result<Source> {
    Source::json(|request| {
        let page: u64 = request
            .query("page")
            .map_or(1, |page| page.parse().unwrap_or(1));
        let ids = (page - 1) * ORDERS / 2 + 1..=page * ORDERS / 2;
        let order =
            |id| json!({"id": id, "text": "x".repeat(if id == LARGE { 50_000 } else { 50 })});
        let orders: Vec<_> = ids.map(order).collect();
        (200, json!({"data": orders, "more": page == 1}).to_string())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_too_large_for_the_receiver_get_smaller_until_they_fit() -> Result<()> {
    let sync = Syncing::of(with_a_large_one()?, only_orders(delivery(&json!({})))).await?;
    // Room for one order and what describes it, for a few, for many, for all but the large one, for everything.
    for most in [1_000, 1_500, 5_000, 50_000, 500_000] {
        sync.receiver.clear();
        sync.receiver.answer_by(move |request| {
            let records = event(request)["event"] == "sync_job_run:record";
            let too_large = records && request.body.len() > most;
            Answer::Status(if too_large { 413 } else { 200 })
        });
        let run = sync.start_run().await?;
        let run = sync.finish(&run).await?;
        let taken = taken(&sync.receiver.deliveries(), &run);
        let letters = dead_letters(&sync, &run).await?;
        let dead = u64::from(most < 500_000);
        assert_eq!(letters.len() as u64, dead, "{most}: {letters:?}");
        for letter in letters {
            assert_eq!(
                (&letter["first_seq"], &letter["last_seq"], &letter["count"]),
                (&json!(LARGE), &json!(LARGE), &json!(1))
            );
            assert_eq!(
                (&letter["status_code"], &letter["cause"]),
                (&json!(413), &json!("refused"))
            );
            let reason = letter["reason"].as_str().expect("a reason");
            assert!(reason.contains("one record is too large"), "{reason}");
        }
        let expected = (1..=ORDERS).filter(|id| dead == 0 || *id != LARGE);
        assert!(
            taken.keys().copied().eq(expected),
            "{most}: {:?}",
            taken.keys()
        );
        assert!(taken.iter().all(|(seq, order)| order["id"] == *seq));
        assert_eq!(
            (
                &run["status"],
                &run["records_delivered"],
                &run["records_dead"]
            ),
            (&json!("completed"), &json!(ORDERS - dead), &json!(dead)),
            "{most}"
        );
        sync.check(&run).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_400_to_started_stops_the_run_and_nothing_more_is_fetched() -> Result<()> {
    let shop = Shop {
        orders: 3_000,
        per_page: 1,
        lines: 0,
    };
    let sync = Syncing::of_shop(shop, only_orders(delivery(&json!({})))).await?;
    sync.receiver.answer_by(|request| {
        let started = event(request)["event"] == "sync_job_run:started";
        Answer::Status(if started { 400 } else { 200 })
    });
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["status"], &run["error"]["code"]),
        (&json!("stopped"), &json!("stopped_by_receiver")),
        "{run}"
    );
    let id = run["id"].as_str().expect("an id");
    let done = |state: &Value| state["progress"][0]["open_tasks"] == 0;
    sync.wait(id, "no fetch to be left", done).await?;
    let requests = sync.source.requests().len();
    assert!(requests < 3_000, "{requests} pages were fetched");
    let deliveries = sync.receiver.deliveries();
    let of = |name: &str| {
        deliveries
            .iter()
            .filter(|delivery| delivery.name() == name)
            .count()
    };
    assert_eq!(
        (of("sync_job_run:started"), of("sync_job_run:stopped")),
        (1, 1)
    );
    assert_eq!(
        deliveries.last().expect("events").name(),
        "sync_job_run:stopped"
    );
    let taken = taken(&deliveries, &run);
    assert!(taken.keys().copied().eq(1..=taken.len() as u64));
    assert_eq!(run["records_delivered"], taken.len());
    sync.check(&run).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_an_answer_names_as_failed_are_dead_letters_and_the_rest_is_delivered()
-> Result<()> {
    let sync = Syncing::of_shop(SHOP, only_orders(delivery(&json!({})))).await?;
    sync.receiver.answer_by(|request| {
        let meta = event(request)["payload"]["meta"].clone();
        let (Some(first), Some(last)) = (meta["first_seq"].as_u64(), meta["last_seq"].as_u64())
        else {
            return Answer::Status(200);
        };
        let failed = |seq: u64| json!({"seq": seq, "reason": format!("no shelf for {seq}")});
        let mut failed: Vec<_> = (first..=last)
            .filter(|seq| seq % 10 == 3)
            .map(failed)
            .collect();
        // Named twice, without a reason, of no record here.
        failed.extend(
            (first..=last)
                .filter(|seq| *seq == 7)
                .map(|seq| json!({"seq": seq})),
        );
        failed.extend([json!({"seq": last + 1}), json!({"seq": 0}), json!("?")]);
        failed.extend(failed.clone());
        says(&json!({"ok": true, "failed": failed}))
    });
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let letters = dead_letters(&sync, &run).await?;
    let told: Vec<_> = letters
        .iter()
        .map(|letter| (letter["first_seq"].clone(), letter["reason"].clone()))
        .collect();
    let expected = json!([
        [3, "no shelf for 3"],
        [7, "the receiver refused the record"],
        [13, "no shelf for 13"],
        [23, "no shelf for 23"],
        [33, "no shelf for 33"],
        [43, "no shelf for 43"],
    ]);
    assert_eq!(json!(told), expected);
    let deliveries = sync.receiver.deliveries();
    let mut ids: BTreeSet<_> = deliveries
        .iter()
        .map(|delivery| delivery.event()["id"].to_string())
        .collect();
    for letter in &letters {
        assert_eq!(
            (&letter["count"], &letter["last_seq"]),
            (&json!(1), &letter["first_seq"])
        );
        assert_eq!(
            (&letter["status_code"], &letter["cause"]),
            (&json!(200), &json!("refused"))
        );
        assert!(
            ids.insert(letter["id"].to_string()),
            "an event of its own: {letter}"
        );
    }
    assert!(
        taken(&deliveries, &run).keys().copied().eq(1..=50),
        "nothing was sent twice"
    );
    assert_eq!(
        (
            &run["status"],
            &run["records_delivered"],
            &run["records_dead"]
        ),
        (&json!("completed"), &json!(44), &json!(6)),
        "{run}"
    );
    let ended = deliveries.last().expect("events").event();
    assert_eq!(
        (
            &ended["payload"]["records_synced"],
            &ended["payload"]["records_dead"]
        ),
        (&json!(44), &json!(6)),
        "{ended}"
    );
    let ledger = sync.check(&run).await?;
    ledger.expect_all(&BTreeMap::from([(
        "wms/orders".to_owned(),
        SHOP.all_orders(),
    )]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_retry_has_the_same_bytes_and_a_signature_of_its_own_time() -> Result<()> {
    let sync = Syncing::of_shop(SHOP, only_orders(delivery(&json!({})))).await?;
    let path = format!("/webhook/{}/rotate-secret", sync.webhook);
    let rotated = sync.rest.post(&path, &json!({"overlap_hours": 0})).await?;
    let secret = rotated["secret"].as_str().context("a secret")?.to_owned();
    let key = SigningKey::new(&Secret::from(secret))?;
    // Fails until the second second.
    let first = Mutex::new(BTreeMap::new());
    sync.receiver.answer_by(move |request| {
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let (id, now) = (header("webhook-id"), header("webhook-timestamp"));
        let again = event(request)["event"] == "sync_job_run:record"
            && *first
                .lock()
                .expect("no panic")
                .entry(id)
                .or_insert(now.clone())
                == now;
        Answer::Status(if again { 503 } else { 200 })
    });
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    let deliveries = sync.receiver.deliveries();
    let mut signatures: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for delivery in &deliveries {
        let header = |name| delivery.request.header(name).expect("a header").to_owned();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        let now = SystemTime::now() - delivery.at.elapsed();
        let age = now.duration_since(UNIX_EPOCH)?.as_secs_f64() - time.parse::<f64>()?;
        assert!((-1.0..10.0).contains(&age), "sent {age} s ago");
        let expected = key.standard_webhooks(&id, time.parse()?, &delivery.request.body);
        assert_eq!(header("webhook-signature"), expected);
        signatures.entry(id).or_default().insert(expected);
    }
    let retried = signatures
        .values()
        .filter(|signatures| signatures.len() > 1);
    assert!(retried.count() > 0, "{signatures:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_rate_gets_no_more_requests_than_that() -> Result<()> {
    const PER_SECOND: usize = 5;
    let limits = json!({"rate_per_second": PER_SECOND, "batch_records": 10, "linger_ms": 0});
    let sync = Syncing::of_shop(SHOP, delivery(&limits)).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    sync.check(&run).await?;
    let deliveries = sync.receiver.deliveries();
    assert!(deliveries.len() >= 15, "{} events", deliveries.len());
    for window in deliveries.windows(PER_SECOND + 2) {
        let took = window[PER_SECOND + 1].at - window[0].at;
        assert!(
            took >= Duration::from_millis(950),
            "{} requests in {took:?}",
            window.len()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_batches_in_flight_a_moody_receiver_gets_each_record_exactly_once()
-> Result<()> {
    let wide = json!({"window": 4, "batch_records": 10, "linger_ms": 0});
    let shop = Shop {
        orders: 600,
        per_page: 50,
        lines: 1,
    };
    let sync = Syncing::of_shop(shop, delivery(&wide)).await?;
    let requests = AtomicUsize::new(0);
    // Ten orders are about 1,200 bytes with what describes them, five about 900.
    sync.receiver.answer_by(move |request| {
        let records = event(request)["event"] == "sync_job_run:record";
        match requests.fetch_add(1, Ordering::Relaxed) {
            n if n % 5 == 3 => Answer::Status(500),
            n if n % 7 == 4 => Answer::Close,
            n if records && n > 40 && request.body.len() > 1_000 => Answer::Status(413),
            _ => Answer::Status(200),
        }
    });
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let deliveries = sync.receiver.deliveries();
    for answer in [Answer::Status(500), Answer::Close, Answer::Status(413)] {
        let given = deliveries.iter().any(|delivery| delivery.answer == answer);
        assert!(given, "{answer:?} was not tried");
    }
    let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut bodies = BTreeMap::new();
    for delivery in &deliveries {
        let event = delivery.event();
        let body = bodies
            .entry(event["id"].to_string())
            .or_insert_with(|| delivery.request.body.clone());
        assert_eq!(*body, delivery.request.body, "a repeat has other bytes");
        let payload = &event["payload"];
        if delivery.acknowledged() && event["event"] == "sync_job_run:record" {
            let meta = &payload["meta"];
            let (first, last) = (meta["first_seq"].as_u64(), meta["last_seq"].as_u64());
            let range = first.context("a seq")?..=last.context("a seq")?;
            seqs.entry(payload["resource"].to_string())
                .or_default()
                .extend(range);
        }
    }
    assert!(
        seqs.values().any(|seqs| !seqs.is_sorted()),
        "never were two in flight"
    );
    for (resource, mut seqs) in seqs {
        seqs.sort_unstable();
        assert!(seqs.iter().copied().eq(1..=600), "{resource}: {seqs:?}");
    }
    assert_eq!(
        (
            &run["status"],
            &run["records_delivered"],
            &run["records_dead"]
        ),
        (&json!("completed"), &json!(1200), &json!(0)),
        "{run}"
    );
    let last = deliveries.last().expect("events");
    assert_eq!(last.name(), "sync_job_run:completed");
    Ok(())
}
