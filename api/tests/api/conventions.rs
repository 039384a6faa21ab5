//! Section "conventions": authentication, errors, bodies, parameters, lists.

use api::extract::BODY_TIMEOUT;
use reqwest::{Method, header};
use serde_json::json;
use shared::{model::token::Scope, store::Store};

use crate::support::{client_in, send, start, start_on};

#[tokio::test]
async fn missing_malformed_unknown_and_revoked_tokens_get_one_and_the_same_answer() {
    let api = start().await;
    let revoked = "sl_revoked-token-of-this-test";
    let token = api
        .store
        .tokens()
        .create(api.client.environment, Scope::Admin, None, revoked)
        .await
        .expect("a token");
    let request = |value: Option<&str>| {
        let mut request = api
            .client
            .anonymous(Method::GET, "/webhook")
            .header("x-request-id", "same");
        if let Some(value) = value {
            request = request.header(header::AUTHORIZATION, value);
        }
        send(request)
    };
    request(Some(&format!("Bearer {revoked}")))
        .await
        .expect(200);
    api.store
        .tokens()
        .revoke(token.id)
        .await
        .expect("a store")
        .expect("the token");

    let missing = request(None).await;
    missing.refused(401, "unauthorized");
    assert_eq!(missing.headers[header::WWW_AUTHENTICATE], "Bearer");
    let long = format!("Bearer {}", "x".repeat(2000));
    let revoked = format!("Bearer {revoked}");
    for value in [
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Bearer sl_unknown",
        &long,
        &revoked,
    ] {
        let reply = request(Some(value)).await;
        assert_eq!(
            (reply.status, &reply.text),
            (missing.status, &missing.text),
            "{value}"
        );
    }
}

#[tokio::test]
async fn a_token_without_the_scope_is_forbidden() {
    let api = start().await;
    let reader = client_in(&api.store, &api.origin, api.client.environment, Scope::Read).await;
    reader.get("/webhook").await.expect(200);
    reader
        .post("/webhook", json!({"target_url": "https://example.com/"}))
        .await
        .refused(403, "forbidden");
    reader
        .delete("/webhook/wh_00000000000000000000000000")
        .await
        .refused(403, "forbidden");
    let writer = client_in(
        &api.store,
        &api.origin,
        api.client.environment,
        Scope::Write,
    )
    .await;
    writer
        .post("/webhook", json!({"target_url": "https://example.com/"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn the_token_is_checked_before_the_body() {
    let api = start().await;
    let big = vec![b' '; 3 * 1024 * 1024];
    let request = api
        .client
        .anonymous(Method::POST, "/webhook")
        .header("content-type", "text/plain")
        .body(big);
    // The server need not read what it refuses: then the connection breaks while the body is sent.
    if let Ok(response) = request.send().await {
        assert_eq!(response.status(), 401);
    }
}

#[tokio::test]
async fn a_huge_name_in_a_body_is_answered_with_a_small_error() {
    let api = start().await;
    let huge = "x".repeat(1_000_000);
    let job = json!({"integration_name": "sample", "resources": [{"resource": huge}]});
    for (path, body) in [
        ("/webhook", json!({ huge.as_str(): 1 })),
        ("/webhook", json!({"event_types": [huge]})),
        ("/workflow", json!({"trigger_name": huge})),
        ("/sync-job", json!({"first_run_date": huge})),
        ("/sync-job", job),
    ] {
        let refused = api.client.post(path, body).await;
        refused.refused(422, "validation_failed");
        assert!(refused.text.len() < 4_000, "{} bytes", refused.text.len());
    }
}

#[tokio::test]
async fn an_unknown_route_is_404_and_a_wrong_verb_405_with_allow() {
    let api = start().await;
    api.client
        .get("/no-such-thing")
        .await
        .refused(404, "not_found");
    api.client
        .get("//no-such-thing")
        .await
        .refused(404, "not_found");
    let reply = send(api.client.request(Method::PUT, "/webhook")).await;
    reply.refused(405, "method_not_allowed");
    assert_eq!(reply.headers[header::ALLOW], "GET, HEAD, POST");
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let api = start().await;
    let path = format!("/webhook/{}", api.client.webhook().await);
    let get = api.client.get(&path).await.expect(200);
    let head = send(api.client.request(Method::HEAD, &path))
        .await
        .expect(200);
    assert_eq!(head.text, "");
    assert_eq!(
        head.headers[header::CONTENT_TYPE],
        get.headers[header::CONTENT_TYPE]
    );
    send(api.client.request(Method::HEAD, "/webhook/nothing"))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400_with_the_place() {
    let api = start().await;
    let post = |body: &'static str| {
        send(
            api.client
                .request(Method::POST, "/webhook")
                .header("content-type", "application/json")
                .body(body),
        )
    };
    let reply = post("{\"target_url\":\n  oops}").await;
    reply.refused(400, "invalid_json");
    assert!(reply.text.contains("line 2, column 3"), "{}", reply.text);
    post("").await.refused(400, "invalid_json");
    post("{\"a\": \"\u{1}\"}")
        .await
        .refused(400, "invalid_json");
    post("[1] trailing").await.refused(400, "invalid_json");
    // Stored, it would be read as a number that is none.
    let reserved = r#"{"label": {"b": [{"a": 1, "$serde_json::private::Number": "x"}]}}"#;
    post(reserved).await.refused(400, "invalid_json");
    let reply = post("[]").await;
    assert_eq!(reply.refused(422, "validation_failed"), [""]);
    let deep = "[".repeat(100_000);
    let request = api
        .client
        .request(Method::POST, "/webhook")
        .header("content-type", "application/json")
        .body(deep);
    send(request).await.refused(400, "invalid_json");
    let not_utf8 = api
        .client
        .request(Method::POST, "/webhook")
        .header("content-type", "application/json");
    send(not_utf8.body(&b"{\"label\":\"\xff\"}"[..]))
        .await
        .refused(400, "invalid_json");
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let api = start().await;
    let post = |content_type: Option<&'static str>, encoding: Option<&'static str>| {
        let mut request = api
            .client
            .request(Method::POST, "/webhook")
            .body(r#"{"target_url":"https://example.com/"}"#);
        if let Some(value) = content_type {
            request = request.header(header::CONTENT_TYPE, value);
        }
        if let Some(value) = encoding {
            request = request.header(header::CONTENT_ENCODING, value);
        }
        send(request)
    };
    post(None, None)
        .await
        .refused(415, "unsupported_media_type");
    post(Some("text/plain"), None)
        .await
        .refused(415, "unsupported_media_type");
    post(Some("application/json; charset=latin1"), None)
        .await
        .refused(415, "unsupported_media_type");
    post(Some("application/json"), Some("gzip"))
        .await
        .refused(415, "unsupported_media_type");
    post(Some("Application/JSON; charset=UTF-8"), None)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_is_408_and_makes_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let api = start().await;
    let address = api.origin.trim_start_matches("http://");
    let answer_to = async |length_and_body: &str| {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("connected");
        let request = format!(
            "POST {}/webhook HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{length_and_body}",
            crate::support::BASE,
            api.client.token()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        // To its end: the connection is closed too.
        let mut answer = Vec::new();
        let read = tokio::time::timeout(4 * BODY_TIMEOUT, stream.read_to_end(&mut answer));
        read.await.expect("an end").expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answers = tokio::join!(
        answer_to("content-length: 60\r\n\r\n{"),
        answer_to("transfer-encoding: chunked\r\n\r\n5\r\n{"),
    );
    for answer in [answers.0, answers.1] {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"request_timeout\""), "{answer}");
    }
    let webhooks = api.client.get("/webhook").await.json();
    assert_eq!(webhooks["result"], json!([]));
}

#[tokio::test]
async fn a_body_of_more_than_a_mebibyte_is_413() {
    let api = start().await;
    let body = format!("{{\"label\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
    let request = api
        .client
        .request(Method::POST, "/webhook")
        .header("content-type", "application/json");
    send(request.body(body))
        .await
        .refused(413, "payload_too_large");
    // Without a declared length it is counted while it arrives.
    let chunk =
        futures::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![b' '; 600 * 1024])));
    let request = api
        .client
        .request(Method::POST, "/webhook")
        .header("content-type", "application/json");
    send(request.body(reqwest::Body::wrap_stream(chunk)))
        .await
        .refused(413, "payload_too_large");
}

#[tokio::test]
async fn a_parameter_that_is_unknown_or_out_of_bounds_is_400_and_named() {
    let api = start().await;
    for (query, name) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("next_cursor=AAAA", "next_cursor"),
        ("next_cursor=%21%21", "next_cursor"),
        ("is_activ=true", "is_activ"),
        ("is_active=yes", "is_active"),
    ] {
        let reply = api.client.get(&format!("/webhook?{query}")).await;
        assert_eq!(reply.refused(400, "invalid_parameter"), [name], "{query}");
    }
    let reply = api.client.get("/sync-job-run?sync_job_id=wh_1").await;
    assert_eq!(reply.refused(400, "invalid_parameter"), ["sync_job_id"]);
}

#[tokio::test]
async fn a_request_keeps_its_sane_id_and_gets_a_new_one_otherwise() {
    let api = start().await;
    let with = |id: &str| {
        send(
            api.client
                .request(Method::GET, "/nothing")
                .header("x-request-id", id.to_owned()),
        )
    };
    let reply = with("order-42:a.b_c").await;
    reply.refused(404, "not_found");
    assert_eq!(reply.headers["x-request-id"], "order-42:a.b_c");
    for id in ["two words", "quote\"", &"x".repeat(129)] {
        let reply = with(id).await;
        reply.refused(404, "not_found");
        assert_eq!(reply.headers["x-request-id"].len(), 26);
    }
    let fine = api.client.get("/webhook").await.expect(200);
    assert_eq!(fine.headers["x-request-id"].len(), 26);
}

#[tokio::test]
async fn a_list_is_newest_first_and_its_cursors_stay_true_while_rows_are_added() {
    let api = start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(api.client.webhook().await);
    }
    ids.sort();
    ids.reverse();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let reply = api
            .client
            .get(&format!("/webhook?limit=2&next_cursor={cursor}"))
            .await
            .expect(200)
            .json();
        assert_eq!(reply["limit"], 2);
        let rows = reply["result"].as_array().expect("rows").clone();
        seen.extend(
            rows.iter()
                .map(|row| row["id"].as_str().expect("an id").to_owned()),
        );
        if page == 0 {
            api.client.webhook().await;
        }
        match reply["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let whole = api.client.get("/webhook").await.expect(200).json();
    assert_eq!(whole["limit"], 50);
    assert!(whole["next_cursor"].is_null());
}

#[tokio::test]
async fn a_full_last_page_has_no_next_cursor() {
    let api = start().await;
    api.client.webhook().await;
    api.client.webhook().await;
    let page = api.client.get("/webhook?limit=2").await.expect(200).json();
    assert_eq!(page["result"].as_array().map(Vec::len), Some(2));
    assert!(page["next_cursor"].is_null());
}

#[tokio::test]
async fn without_the_store_everything_is_503_with_retry_after_and_nothing_was_accepted() {
    let nowhere = std::env::temp_dir().join("syncline-no-redis-here.sock");
    let store =
        Store::open(&format!("redis+unix://{}", nowhere.display()), "none").expect("a store");
    let api = start_on(store).await;
    let reply = api
        .client
        .post("/webhook", json!({"target_url": "https://example.com/"}))
        .await;
    reply.refused(503, "store_unavailable");
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    api.client
        .get("//readyz")
        .await
        .refused(503, "store_unavailable");
    api.client.get("//livez").await.expect(200);
}
