//! What the outbound client makes of answers that are slow, huge, broken or redirecting.

mod http_support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use http_support::{Server, client, get, post};
use shared::http::{OutboundError, OutboundErrorKind, Redirects, Response, USER_AGENT};
use tokio::io::AsyncWriteExt;

const MIB: u64 = 1024 * 1024;

async fn read_all(response: &mut Response) -> Result<Vec<u8>, OutboundError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Sends a GET and reads the whole body.
async fn fetch(server: &Server, max_body_bytes: u64) -> Result<Vec<u8>, OutboundError> {
    let request = get(&server.url("/path?key=hunter2"));
    let mut response = server
        .client()
        .send(request, Redirects::None, max_body_bytes)
        .await?;
    read_all(&mut response).await
}

async fn failure(server: &Server, max_body_bytes: u64) -> OutboundErrorKind {
    let error = fetch(server, max_body_bytes).await.expect_err("a failure");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error.kind
}

#[tokio::test]
async fn an_answer_comes_with_status_headers_and_body() {
    let server =
        Server::with_bytes("HTTP/1.1 418 Teapot\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello").await;
    let mut response = server
        .client()
        .send(get(&server.url("/")), Redirects::None, MIB)
        .await
        .expect("an answer");
    assert_eq!(response.status, 418);
    assert_eq!(response.headers["x-a"], "1");
    assert_eq!(read_all(&mut response).await.expect("a body"), b"hello");
    assert_eq!(response.bytes_read(), 5);
    assert!(response.chunk().await.expect("still the end").is_none());
}

#[tokio::test]
async fn a_request_names_syncline_and_no_reserved_header_of_the_caller() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let server = Server::start(move |mut stream, head| {
        seen.lock().expect("no panic before").push(head);
        async move {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let mut request = post(&server.url("/hook"), "{}");
    for (name, value) in [
        ("host", "evil"),
        ("transfer-encoding", "chunked"),
        ("x-own", "kept"),
    ] {
        request
            .headers
            .insert(name, http::HeaderValue::from_static(value));
    }
    server
        .client()
        .send(request, Redirects::None, MIB)
        .await
        .expect("an answer");
    let head = heads
        .lock()
        .expect("no panic before")
        .join("")
        .to_lowercase();
    assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
    for part in [
        &format!("user-agent: {}", USER_AGENT.to_lowercase()),
        &format!("host: 127.0.0.1:{}", server.port),
        "content-length: 2",
        "x-own: kept",
        "accept-encoding: gzip",
    ] {
        assert!(head.contains(part), "{part} is not in {head}");
    }
    assert!(
        !head.contains("evil") && !head.contains("transfer-encoding"),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_is_kept_and_used_again() {
    let server = Server::start(|mut stream, _| async move {
        loop {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.write_all(answer).await.is_err() {
                break;
            }
            if http_support::read_head(&mut stream).await.is_none() {
                break;
            }
        }
    })
    .await;
    let client = server.client();
    for _ in 0..10 {
        let mut response = client
            .send(get(&server.url("/")), Redirects::None, MIB)
            .await
            .expect("an answer");
        assert_eq!(&response.prefix(64).await.expect("a body")[..], b"ok");
        assert!(response.chunk().await.expect("the end").is_none());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_drips_is_cut_at_the_deadline() {
    let server = Server::start(|mut stream, _| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        let mut drip = tokio::time::interval(Duration::from_millis(50));
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            drip.tick().await;
            sent = stream.write_all(b"x").await;
        }
    })
    .await;
    let mut request = get(&server.url("/"));
    request.timeout = Duration::from_millis(400);
    let started = Instant::now();
    let mut response = server
        .client()
        .send(request, Redirects::None, MIB)
        .await
        .expect("a head in time");
    let error = read_all(&mut response).await.expect_err("the deadline");
    assert_eq!(error.kind, OutboundErrorKind::Timeout);
    assert!(
        started.elapsed() >= Duration::from_millis(390),
        "{:?}",
        started.elapsed()
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(
        response.chunk().await.is_err(),
        "half a body must not look like a whole one"
    );
}

#[tokio::test]
async fn the_time_that_the_reader_takes_is_not_taken_off_the_servers() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let server = Server::start(|mut stream, _| async move {
        let first = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc";
        stream.write_all(first).await.ok();
        stream.flush().await.ok();
        // A piece of its own.
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(b"def").await.ok();
    })
    .await;
    let mut request = get(&server.url("/"));
    request.timeout = TIMEOUT;
    let sent = server.client().send(request, Redirects::None, MIB).await;
    let mut response = sent.expect("a head in time");
    let first = response.chunk().await.expect("a piece").expect("no end");
    // The reader is at something else.
    tokio::time::sleep(TIMEOUT * 2).await;
    let rest = read_all(&mut response).await.expect("the rest");
    assert_eq!([&first[..], &rest].concat(), b"abcdef");
}

#[tokio::test]
async fn a_silent_server_is_cut_at_the_deadline() {
    let server = Server::start(|stream, _| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut request = get(&server.url("/"));
    request.timeout = Duration::from_millis(200);
    let error = server
        .client()
        .send(request, Redirects::None, MIB)
        .await
        .expect_err("the deadline");
    assert_eq!(error.kind, OutboundErrorKind::Timeout);
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound() {
    let body = "x".repeat(100_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = Server::with_bytes(answer).await;
    assert_eq!(
        fetch(&server, 100_000).await.expect("a body").len(),
        100_000
    );
    assert_eq!(
        failure(&server, 99_999).await,
        OutboundErrorKind::BodyTooLarge
    );
}

#[tokio::test]
async fn the_prefix_of_a_huge_body_is_read_and_the_rest_is_not() {
    let server = Server::start(|mut stream, _| async move {
        let mut sent = stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .await;
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 4096]).await;
        }
    })
    .await;
    let client = server.client();
    for (limit, max) in [(10_000, MIB), (MIB, 10_000)] {
        let mut response = client
            .send(get(&server.url("/")), Redirects::None, max)
            .await
            .expect("an answer");
        let limit = usize::try_from(limit).expect("fits");
        assert_eq!(
            response.prefix(limit).await.expect("a prefix").len(),
            10_000
        );
    }
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_bound_of_decoded_bytes() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![0; 1 << 20]).expect("in memory");
    }
    let bomb = encoder.finish().expect("in memory");
    assert!((bomb.len() as u64) < MIB);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    answer.extend(bomb);
    let server = Server::with_bytes(answer).await;
    let mut response = server
        .client()
        .send(get(&server.url("/")), Redirects::None, MIB)
        .await
        .expect("a head");
    let error = read_all(&mut response).await.expect_err("the bound");
    assert_eq!(error.kind, OutboundErrorKind::BodyTooLarge);
    assert!(response.bytes_read() < 2 * MIB, "{}", response.bytes_read());
}

#[tokio::test]
async fn a_redirect_is_returned_as_it_is_where_none_are_followed() {
    let server =
        Server::with_bytes("HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n")
            .await;
    let response = server
        .client()
        .send(get(&server.url("/")), Redirects::None, MIB)
        .await
        .expect("an answer");
    assert_eq!(response.status, 302);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_with_its_headers() {
    let server = Server::start(|mut stream, head| async move {
        let answer = if head.starts_with("GET /final ") && head.contains("authorization: secret") {
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nthere"
        } else {
            "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: /final\r\ncontent-length: 0\r\n\r\n"
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let mut request = post(&server.url("/start"), "{}");
    request
        .headers
        .insert("authorization", http::HeaderValue::from_static("secret"));
    let mut response = server
        .client()
        .send(request, Redirects::SameOrigin, MIB)
        .await
        .expect("an answer");
    assert_eq!(response.status, 200);
    assert_eq!(read_all(&mut response).await.expect("a body"), b"there");
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_not_followed() {
    let other = Server::with_bytes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for location in [
        other.url("/"),
        "https://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("//127.0.0.1:{}/", other.port),
    ] {
        let server = Server::with_bytes(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let client = client(&["127.0.0.0/8"], true);
        let response = client
            .send(get(&server.url("/")), Redirects::SameOrigin, MIB)
            .await
            .expect("an answer");
        assert_eq!(response.status, 307, "{location}");
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_checked_like_any_target() {
    let server = Server::start(|mut stream, head| async move {
        let host = head
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nlocation: http://user:pw@{host}/\r\ncontent-length: 0\r\n\r\n"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let error = server
        .client()
        .send(get(&server.url("/")), Redirects::SameOrigin, MIB)
        .await
        .expect_err("user info");
    assert_eq!(error.kind, OutboundErrorKind::Blocked);
    assert!(!error.to_string().contains("pw"));
}

#[tokio::test]
async fn endless_redirects_end_after_five() {
    let server = Server::with_bytes(
        "HTTP/1.1 302 Found\r\nconnection: close\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let error = server
        .client()
        .send(get(&server.url("/")), Redirects::SameOrigin, MIB)
        .await
        .expect_err("a loop");
    assert_eq!(error.kind, OutboundErrorKind::Protocol);
    assert_eq!(server.connections(), 6);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_a_reset() {
    let server = Server::start(|stream, _| async move { drop(stream) }).await;
    assert_eq!(failure(&server, MIB).await, OutboundErrorKind::Reset);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_a_reset() {
    let server = Server::with_bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    assert_eq!(failure(&server, MIB).await, OutboundErrorKind::Reset);
    let server =
        Server::with_bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
    assert_eq!(failure(&server, MIB).await, OutboundErrorKind::Reset);
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_a_protocol_error() {
    for bytes in [
        "rubbish\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\nnot gzip, not at all",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        let server = Server::with_bytes(bytes).await;
        assert_eq!(
            failure(&server, MIB).await,
            OutboundErrorKind::Protocol,
            "{bytes}"
        );
    }
}

#[tokio::test]
async fn endless_headers_are_bounded() {
    for line in ["x: y\r\n".to_owned(), format!("x: {}", "y".repeat(1000))] {
        let server = Server::start(move |mut stream, _| {
            let line = line.clone();
            async move {
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                while sent.is_ok() {
                    sent = stream.write_all(line.as_bytes()).await;
                }
            }
        })
        .await;
        assert_eq!(failure(&server, MIB).await, OutboundErrorKind::Protocol);
    }
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error() {
    let server = Server::with_bytes("").await;
    let (client, url) = (server.client(), server.url("/"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let closed = listener.local_addr().expect("an address").port();
    drop(listener);
    let client_of_closed = http_support::client(&["127.0.0.0/8"], true);
    let error = client_of_closed
        .send(
            get(&format!("http://127.0.0.1:{closed}/")),
            Redirects::None,
            MIB,
        )
        .await
        .expect_err("nothing listens");
    assert_eq!(error.kind, OutboundErrorKind::Connect, "{error}");
    // The guard, not the network, refuses the same target to a client without the rule.
    assert!(client.send(get(&url), Redirects::None, MIB).await.is_err());
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = client(&[&format!("127.0.0.1:{port}")], false)
        .send(
            get(&format!("https://127.0.0.1:{port}/")),
            Redirects::None,
            MIB,
        )
        .await
        .expect_err("no handshake");
    server.abort();
    assert_eq!(error.kind, OutboundErrorKind::Tls, "{error}");
}
