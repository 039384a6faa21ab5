//! `/webhook/{id}/dead-letter`

use base64::{Engine, engine::general_purpose::STANDARD};
use redis::AsyncCommands;
use serde_json::{Value, json};
use shared::ids::{EventId, RunId, WebhookId};

use crate::support::{Api, client, send, start};
use shared::model::token::Scope;

/// A dead letter as `settle_batch` leaves it; its id. Later numbers are newer.
pub async fn dead_letter(
    api: &Api,
    webhook: &str,
    number: u128,
    fields: &[(&str, &str)],
    body: &[u8],
) -> String {
    let webhook: WebhookId = webhook.parse().expect("an id");
    let (event, keys) = (EventId::from_bits(number), api.store.keys());
    let mut connection = api.store.connection();
    let key = keys.dead_letter(event);
    let run = RunId::from_bits(1).to_string();
    let common = [
        ("webhook", webhook.to_string()),
        ("run", run),
        ("stream", "0".to_owned()),
        ("resource", "wms/orders".to_owned()),
        ("name", "wms/orders".to_owned()),
        ("event_type", "sync_job_run:record".to_owned()),
        ("first_seq", "1".to_owned()),
        ("records", "2".to_owned()),
        ("cause", "refused".to_owned()),
        (
            "reason",
            "the receiver answered 500 Internal Server Error".to_owned(),
        ),
        ("status", "500".to_owned()),
        ("attempts", "3".to_owned()),
        ("created_at", "0".to_owned()),
        ("dead_at", "1000".to_owned()),
    ];
    let _: () = connection.hset_multiple(&key, &common).await.expect("set");
    if !fields.is_empty() {
        let _: () = connection.hset_multiple(&key, fields).await.expect("set");
    }
    let _: () = connection.hset(&key, "body", body).await.expect("set");
    let index = keys.dead_letters(webhook);
    let _: () = connection
        .zadd(index, event.to_string(), 0)
        .await
        .expect("set");
    event.to_string()
}

fn ids(list: &Value) -> Vec<String> {
    let rows = list["result"].as_array().expect("rows");
    rows.iter()
        .map(|row| row["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_listed_by_run_resource_cause_and_reason() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let other_run = RunId::from_bits(2).to_string();
    let plain = dead_letter(&api, &webhook, 1, &[], b"{}").await;
    let of_run = dead_letter(&api, &webhook, 2, &[("run", &other_run)], b"{}").await;
    let named = dead_letter(&api, &webhook, 3, &[("name", "old orders")], b"{}").await;
    let fields = [
        ("cause", "broken"),
        ("reason", "the webhook was deleted"),
        ("status", "0"),
    ];
    let broken = dead_letter(&api, &webhook, 4, &fields, b"").await;
    let path = format!("/webhook/{webhook}/dead-letter");
    let all = [&broken, &named, &of_run, &plain];
    let cases = [
        (String::new(), all.to_vec()),
        (format!("sync_job_run_id={other_run}"), vec![&of_run]),
        ("resource=old%20orders".to_owned(), vec![&named]),
        ("resource=wms/orders".to_owned(), all.to_vec()),
        ("resource=orders".to_owned(), vec![]),
        ("cause=broken".to_owned(), vec![&broken]),
        (
            "reason=ANSWERED+500&cause=refused".to_owned(),
            vec![&named, &of_run, &plain],
        ),
    ];
    for (query, expected) in cases {
        let list = api
            .client
            .get(&format!("{path}?{query}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            ids(&list),
            expected.into_iter().cloned().collect::<Vec<_>>(),
            "{query}"
        );
        assert!(list["next_cursor"].is_null());
    }
    let page = format!("{path}?cause=refused&limit=2");
    let first = api.client.get(&page).await.expect(200).json();
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = api
        .client
        .get(&format!("{page}&next_cursor={cursor}"))
        .await
        .json();
    assert_eq!(ids(&second), [plain]);
    for (query, name) in [
        ("cause=mine", "cause"),
        ("sync_job_run_id=evt_1", "sync_job_run_id"),
    ] {
        let reply = api.client.get(&format!("{path}?{query}")).await;
        assert_eq!(reply.refused(400, "invalid_parameter"), [name]);
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_what_was_sent() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let path = format!("/webhook/{webhook}/dead-letter");
    let sent = r#"{"id":"evt_1","payload":{"records":[{"total":1.10}]}}"#;
    let json = dead_letter(&api, &webhook, 1, &[], sent.as_bytes()).await;
    let text = dead_letter(&api, &webhook, 2, &[], b"frozen").await;
    let shown = api.client.get(&format!("{path}/{json}")).await.expect(200);
    assert_eq!(
        (&shown.json()["id"], &shown.json()["attempts"]),
        (&json!(json), &json!(3))
    );
    assert!(
        shown.text.contains(&format!(r#""body":{sent}"#)),
        "{}",
        shown.text
    );
    let shown = api.client.get(&format!("{path}/{text}")).await.expect(200);
    assert_eq!(shown.json()["body"], "frozen");

    let elsewhere = api.client.webhook().await;
    for missing in [
        format!("{path}/{}", EventId::from_bits(9)),
        format!("{path}/nothing"),
        format!("/webhook/{elsewhere}/dead-letter/{json}"),
    ] {
        api.client.get(&missing).await.refused(404, "not_found");
        api.client.delete(&missing).await.refused(404, "not_found");
    }
    let other = client(&api.store, &api.origin, "second", Scope::Admin).await;
    other
        .get(&format!("{path}/{json}"))
        .await
        .refused(404, "not_found");
    other
        .delete(&format!("{path}/{json}"))
        .await
        .refused(404, "not_found");
    api.client.get(&format!("{path}/{json}")).await.expect(200);
}

#[tokio::test]
async fn a_deleted_dead_letter_is_gone() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    let id = dead_letter(&api, &webhook, 1, &[], b"{}").await;
    let path = format!("/webhook/{webhook}/dead-letter/{id}");
    assert_eq!(
        api.client.delete(&path).await.expect(200).json(),
        json!({"id": id})
    );
    api.client.delete(&path).await.refused(404, "not_found");
    let list = api
        .client
        .get(&format!("/webhook/{webhook}/dead-letter"))
        .await
        .json();
    assert_eq!(list["result"], json!([]));
}

#[tokio::test]
async fn an_export_has_each_letter_on_a_line_with_the_bytes_as_they_were_sent() {
    let api = start().await;
    let webhook = api.client.webhook().await;
    // Blanks and digits that a parser would change.
    let sent = r#"{"records":[{"id": 1, "total":1.10,"big":123456789012345678901}]}"#;
    let bodies: [&[u8]; 5] = [sent.as_bytes(), b"{\"a\":\n1}", b"no json", b"\xff", b""];
    for (number, body) in (1..).zip(bodies) {
        dead_letter(&api, &webhook, number, &[], body).await;
    }
    let path = format!("/webhook/{webhook}/dead-letter/export");
    let export = api.client.get(&path).await.expect(200);
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    let lines: Vec<&str> = export.text.lines().collect();
    assert_eq!(lines.len(), bodies.len(), "{}", export.text);
    assert!(
        lines[0].ends_with(&format!(r#","body":{sent}}}"#)),
        "{}",
        lines[0]
    );
    for (number, line) in (1..).zip(&lines) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            line["id"],
            EventId::from_bits(number).to_string(),
            "oldest first"
        );
        assert_eq!(
            (&line["cause"], &line["count"]),
            (&json!("refused"), &json!(2))
        );
    }
    for (line, body) in lines.iter().zip(bodies).skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["body_base64"], STANDARD.encode(body));
        assert!(line.get("body").is_none(), "{line}");
    }
    let head = send(api.client.request(reqwest::Method::HEAD, &path)).await;
    assert_eq!(head.expect(200).text, "");
    let pointers = api.client.get(&format!("{path}?limit=1")).await;
    assert_eq!(pointers.refused(400, "invalid_parameter"), ["limit"]);
}

#[tokio::test]
async fn an_export_of_many_pages_is_whole_and_filtered() {
    const LETTERS: u128 = 450;
    let api = start().await;
    let webhook = api.client.webhook().await;
    for number in 1..=LETTERS {
        let cause = if number % 3 == 0 { "broken" } else { "refused" };
        dead_letter(&api, &webhook, number, &[("cause", cause)], b"{}").await;
    }
    let path = format!("/webhook/{webhook}/dead-letter/export");
    let whole = api.client.get(&path).await.expect(200).text;
    assert_eq!(whole.lines().count(), 450);
    let broken = api
        .client
        .get(&format!("{path}?cause=broken"))
        .await
        .expect(200)
        .text;
    assert_eq!(broken.lines().count(), 150);
}

#[tokio::test]
async fn an_export_waits_for_a_client_that_reads_slowly() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const LETTER_BYTES: usize = 1024 * 1024;
    const LETTERS: u128 = 64;
    let api = start().await;
    let webhook = api.client.webhook().await;
    let body = format!("\"{}\"", "x".repeat(LETTER_BYTES));
    for number in 1..=LETTERS {
        dead_letter(&api, &webhook, number, &[], body.as_bytes()).await;
    }
    let address = api.origin.trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let request = format!(
        "GET {}/webhook/{webhook}/dead-letter/export HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        crate::support::BASE,
        api.client.token()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut first = [0; 1024];
    stream
        .read_exact(&mut first)
        .await
        .expect("the first bytes");
    // What is deleted while the client doesn't read was not read ahead, but for what the sockets hold.
    let path = |number| {
        format!(
            "/webhook/{webhook}/dead-letter/{}",
            EventId::from_bits(number)
        )
    };
    for number in LETTERS / 2..=LETTERS {
        api.client.delete(&path(number)).await.expect(200);
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the rest");
    let text = String::from_utf8_lossy(&rest);
    assert!(!text.contains(&EventId::from_bits(LETTERS).to_string()));
    assert!(text.ends_with("0\r\n\r\n"), "the export came to its end");
}
