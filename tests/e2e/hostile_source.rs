//! Sources that answer rubbish: a clear error in the run, bounded memory, no crash.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};
use syncline_tests::{http, ledger::sorted, source::Source};

use crate::{
    lane::Lane,
    scenario::{LONG, Setup, Shop, Syncing},
};

/// Syncs from a source that always answers so, and gives the one error.
async fn error_of(
    answer: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    config: Value,
) -> Result<Value> {
    let source = Source::start(move |_, stream| answer(stream))?;
    let mut document = crate::scenario::integration(&source.url());
    document["config"]["resources"]["orders"]["list"]
        .as_object_mut()
        .expect("a method")
        .extend(config.as_object().cloned().unwrap_or_default());
    let job = json!({"resources": [{"resource": "orders"}]});
    let sync = Syncing::of(
        source,
        Setup {
            job,
            ..Setup::default()
        },
    )
    .await?;
    sync.rest.put("/integration/shop", &document).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    assert_eq!(
        (&run["status"], &run["errors"]),
        (&json!("completed"), &json!(1)),
        "{run}"
    );
    sync.check(&run).await?;
    let errors = sync
        .rest
        .get(&format!(
            "/sync-job-run/{}/error",
            run["id"].as_str().expect("an id")
        ))
        .await?;
    let peak = sync.stack.workers[0].peak_rss_bytes()?;
    assert!(
        peak < 128 * 1024 * 1024,
        "the worker's peak was {} MiB",
        peak >> 20
    );
    Ok(errors["result"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_html_is_an_invalid_body_that_is_shown() -> Result<()> {
    let html = b"<!doctype html><title>Maintenance</title>";
    let error = error_of(
        move |stream| stream.write_all(&http::response(200, &[], html)),
        json!({}),
    )
    .await?;
    assert_eq!(error["code"], "invalid_body");
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .contains("<!doctype html>"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_stops_in_the_middle_is_an_invalid_body() -> Result<()> {
    let half = br#"{"data":[{"id":1},{"id":"#;
    let error = error_of(
        move |stream| stream.write_all(&http::response(200, &[], half)),
        json!({}),
    )
    .await?;
    assert_eq!(error["code"], "invalid_body");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_the_records_path_says_so() -> Result<()> {
    let body = br#"{"items":[]}"#;
    let error = error_of(
        move |stream| stream.write_all(&http::response(200, &[], body)),
        json!({}),
    )
    .await?;
    assert_eq!(error["code"], "response_path_missing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_is_cut_off() -> Result<()> {
    // 2 GiB of blanks in about 2 MB.
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let blanks = vec![b' '; 1 << 20];
        for _ in 0..2048 {
            encoder.write_all(&blanks)?;
        }
        encoder.finish()?
    };
    let answer = move |stream: &mut TcpStream| {
        stream.write_all(&http::response(200, &[("content-encoding", "gzip")], &bomb))
    };
    let error = error_of(answer, json!({})).await?;
    assert_eq!(error["code"], "envelope_too_large", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_without_end_is_too_large() -> Result<()> {
    let endless = |stream: &mut TcpStream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n{{\"data\":[\""
        )?;
        let piece = vec![b'x'; 1 << 20];
        loop {
            stream.write_all(&piece)?;
        }
    };
    let error = error_of(endless, json!({})).await?;
    assert_eq!(error["code"], "record_too_large", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_page_again_and_again_is_a_pagination_loop() -> Result<()> {
    let body = br#"{"data":[{"id":1}],"more":true}"#;
    let error = error_of(
        move |stream| stream.write_all(&http::response(200, &[], body)),
        json!({}),
    )
    .await?;
    assert_eq!(error["code"], "pagination_loop");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_page_on_another_host_gets_no_credentials() -> Result<()> {
    let body = br#"{"data":[{"id":1}],"next":"http://127.0.0.2:1/orders"}"#;
    let pagination = json!({"pagination": {"format": "cursor", "config": {"cursor_path": "next", "is_link": true}}});
    let error = error_of(
        move |stream| stream.write_all(&http::response(200, &[], body)),
        pagination,
    )
    .await?;
    assert_eq!(error["code"], "pagination_origin", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_differs_at_each_request_and_breaks_off_is_given_up() -> Result<()> {
    // More than one part of a page, so that something is committed before it breaks off.
    const BYTES: usize = 1_500_000;
    let requests = AtomicU64::new(0);
    let answer = move |stream: &mut TcpStream| {
        let request = requests.fetch_add(1, Ordering::Relaxed);
        let record = json!({"id": request, "text": "x".repeat(500)}).to_string();
        let mut body = String::from("{\"data\":[");
        while body.len() < BYTES {
            body.push_str(&record);
            body.push(',');
        }
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Both)
    };
    let error = error_of(answer, json!({})).await?;
    assert_eq!(error["code"], "page_changed", "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_source_repeats_is_shown_nowhere() -> Result<()> {
    let body = format!("no json, but your key: {}", crate::scenario::API_KEY);
    let answer =
        move |stream: &mut TcpStream| stream.write_all(&http::response(200, &[], body.as_bytes()));
    let error = error_of(answer, json!({})).await?;
    assert_eq!(error["code"], "invalid_body");
    let error = error.to_string();
    assert!(
        error.contains("[redacted]") && !error.contains(crate::scenario::API_KEY),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_page_arrive_even_if_the_next_page_can_not_be_told() -> Result<()> {
    let sync = Syncing::of_shop(
        Shop {
            orders: 20,
            per_page: 10,
            lines: 0,
        },
        Setup {
            job: json!({"resources": [{"resource": "wms/orders"}]}),
            ..Setup::default()
        },
    )
    .await?;
    let mut document = crate::scenario::integration(&sync.source.url());
    document["config"]["resources"]["orders"]["list"]["pagination"]["config"]["max_pages"] =
        json!(1);
    sync.rest.put("/integration/shop", &document).await?;
    let run = sync.start_run().await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(ledger.records["wms/orders"].len(), 10, "{run}");
    assert_eq!(run["errors"], 1, "{run}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_source_costs_a_run_no_record() -> Result<()> {
    const SHOP: Shop = Shop {
        orders: 20,
        per_page: 20,
        lines: 2,
    };
    /// More than all attempts that the children have.
    const ENOUGH: u64 = 120;
    let (refused, is_back) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (count, back) = (refused.clone(), is_back.clone());
    let source = Source::json(move |request| {
        if request.path() == "/orders" || back.load(Ordering::SeqCst) {
            return SHOP.answer(request);
        }
        count.fetch_add(1, Ordering::SeqCst);
        (502, r#"{"message":"bad gateway"}"#.to_owned())
    })?;
    let sync = Syncing::of(source, Setup::default()).await?;
    let mut lane = Lane::of(&sync).await?;
    let run = sync.start_run().await?;
    let deadline = Instant::now() + LONG;
    while refused.load(Ordering::SeqCst) < ENOUGH {
        assert!(Instant::now() < deadline, "{refused:?} requests");
        // Past the longest pause.
        lane.advance(Duration::from_mins(1)).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    is_back.store(true, Ordering::SeqCst);
    lane.advance(Duration::from_mins(5)).await?;
    let run = sync.finish(&run).await?;
    let ledger = sync.check(&run).await?;
    assert_eq!(run["errors"], 0, "{run}");
    assert_eq!(ledger.sorted("wms/order-items"), sorted(SHOP.all_lines()));
    let timeline = sync
        .rest
        .get(&format!(
            "/sync-job-run/{}/timeline",
            run["id"].as_str().expect("an id")
        ))
        .await?;
    let noted = timeline["result"].as_array().expect("entries");
    assert!(
        noted
            .iter()
            .any(|entry| entry["what"] == "source_fails" && entry["retry_at"].is_string()),
        "{timeline}"
    );
    Ok(())
}
