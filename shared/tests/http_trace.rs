//! Where an exchange says its time went.
mod http_support;

use std::time::Duration;

use http_support::{Server, client, post, read_head};
use shared::{
    http::{Outbound, OutboundErrorKind, Timings, Trace},
    model::attempt::Phase,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

/// Time enough for what a local peer does, and soon over where it does nothing.
const SHORT: Duration = Duration::from_millis(400);
const MAX_BODY: u64 = 1024;

/// Sends, reads the whole answer; the kind of failure, and what was noted.
async fn traced(outbound: &Outbound, url: &str) -> (Option<OutboundErrorKind>, Trace) {
    let trace = Trace::default();
    let mut request = post(url, "{}");
    request.timeout = SHORT;
    let failed = match outbound.send_traced(request, MAX_BODY, &trace).await {
        Ok(mut response) => response.prefix(1024).await.err(),
        Err(error) => Some(error),
    };
    (failed.map(|error| error.kind), trace)
}

async fn silent(port: &TcpListener) -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(port.accept().await.expect("a connection"));
    }
}

#[tokio::test]
async fn a_new_connection_shows_its_phases_and_a_kept_one_shows_none() {
    let server = Server::start(|mut stream, _| async move {
        loop {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            let mut body = [0; 2];
            let _ = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await;
            if read_head(&mut stream).await.is_none() {
                return;
            }
        }
    })
    .await;
    let outbound = client(&["127.0.0.0/8"], true);
    let url = format!("http://localhost:{}/", server.port);
    let (failed, trace) = traced(&outbound, &url).await;
    let timings = trace.timings();
    assert_eq!((failed, trace.phase()), (None, Some(Phase::Body)));
    assert!(timings.dns.is_some() && timings.connect.is_some() && timings.first_byte.is_some());
    assert_eq!(timings.tls, None, "plain http has no handshake");
    let (failed, trace) = traced(&outbound, &url).await;
    let kept = trace.timings();
    assert_eq!(
        server.connections(),
        1,
        "the second request needs the kept connection"
    );
    assert_eq!((failed, trace.phase()), (None, Some(Phase::Body)));
    assert_eq!((kept.dns, kept.connect, kept.tls), (None, None, None));
    assert!(kept.first_byte.is_some());
}

#[tokio::test]
async fn an_address_in_the_url_needs_no_look_up() {
    let server = Server::with_bytes("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (failed, trace) = traced(&server.client(), &server.url("/")).await;
    assert_eq!(failed, None);
    assert_eq!(trace.timings().dns, None);
    assert!(trace.timings().connect.is_some());
}

#[tokio::test]
async fn a_name_that_is_unknown_fails_in_the_look_up() {
    let outbound = client(&[], false);
    let trace = Trace::default();
    let request = post("https://nowhere.invalid/", "{}");
    let failed = outbound.send_traced(request, MAX_BODY, &trace).await;
    assert_eq!(
        failed.err().map(|error| error.kind),
        Some(OutboundErrorKind::Dns)
    );
    assert_eq!(trace.phase(), Some(Phase::Dns));
    assert!(trace.timings().dns.is_some());
    assert_eq!(trace.timings().connect, None);
}

#[tokio::test]
async fn a_closed_port_fails_while_connecting() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let outbound = client(&["127.0.0.0/8"], true);
    let (failed, trace) = traced(&outbound, &format!("http://{address}/")).await;
    assert_eq!(failed, Some(OutboundErrorKind::Connect));
    assert_eq!(trace.phase(), Some(Phase::Connect));
    assert!(!trace.connected());
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_runs_out_of_time_in_tls() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = port.local_addr().expect("an address");
    let outbound = client(&["127.0.0.0/8"], false);
    let url = format!("https://{address}/");
    let (failed, trace) = tokio::select! {
        traced = traced(&outbound, &url) => traced,
        _ = silent(&port) => unreachable!("it never ends"),
    };
    assert_eq!(failed, Some(OutboundErrorKind::Timeout));
    assert_eq!(trace.phase(), Some(Phase::Tls));
    assert!(trace.timings().connect.is_some());
    assert_eq!(trace.timings().tls, None, "the handshake did not end");
    assert!(!trace.connected());
}

#[tokio::test]
async fn a_handshake_with_a_server_that_has_no_tls_fails_in_tls() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = server.local_addr().expect("an address");
    let plain = async {
        let (mut stream, _): (TcpStream, _) = server.accept().await.expect("a connection");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("written");
        std::future::pending::<()>().await;
    };
    let outbound = client(&["127.0.0.0/8"], false);
    let url = format!("https://{address}/");
    let (failed, trace) = tokio::select! {
        traced = traced(&outbound, &url) => traced,
        () = plain => unreachable!("it never ends"),
    };
    assert_eq!(failed, Some(OutboundErrorKind::Tls));
    assert_eq!(trace.phase(), Some(Phase::Tls));
    assert!(trace.timings().connect.is_some() && trace.timings().tls.is_some());
}

#[tokio::test]
async fn a_receiver_that_never_answers_runs_out_of_time_waiting_for_the_head() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", port.local_addr().expect("an address"));
    let outbound = client(&["127.0.0.0/8"], true);
    let (failed, trace) = tokio::select! {
        traced = traced(&outbound, &url) => traced,
        _ = silent(&port) => unreachable!("it never ends"),
    };
    assert_eq!(failed, Some(OutboundErrorKind::Timeout));
    assert_eq!(trace.phase(), Some(Phase::Headers));
    assert!(trace.connected());
    assert_eq!(trace.timings().first_byte, None);
}

#[tokio::test]
async fn an_answer_that_stops_in_its_body_runs_out_of_time_there() {
    let server = Server::start(|mut stream, _| async move {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let (failed, trace) = traced(&server.client(), &server.url("/")).await;
    assert_eq!(failed, Some(OutboundErrorKind::Timeout));
    assert_eq!(trace.phase(), Some(Phase::Body));
    assert!(trace.timings().first_byte.is_some());
}

#[tokio::test]
async fn a_refused_target_never_begins() {
    let outbound = client(&[], false);
    let (failed, trace) = traced(&outbound, "https://10.0.0.1/").await;
    assert_eq!(failed, Some(OutboundErrorKind::Blocked));
    assert_eq!(trace.phase(), None);
    assert_eq!(trace.timings(), Timings::default());
}
