//! The small server: it answers, it bounds its connections, and it stops in order.

mod http_support;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use http_support::{LATE, client, get};
use shared::http::{Redirects, serve::serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn answer(text: impl Into<Bytes>) -> http::Response<Full<Bytes>> {
    http::Response::new(Full::new(text.into()))
}

#[tokio::test]
async fn a_request_is_answered_by_the_handler() {
    let (listener, port) = listener().await;
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, 8, stop.clone(), |request| async move {
        answer(request.uri().path().to_owned())
    }));
    let client = client(&["127.0.0.0/8"], true);
    let url = format!("http://127.0.0.1:{port}/livez");
    let mut response = client
        .send(get(&url), Redirects::None, 100)
        .await
        .expect("an answer");
    assert_eq!(&response.prefix(100).await.expect("a body")[..], b"/livez");
    stop.cancel();
    // The client still keeps its connection; the server must not wait for it.
    timeout(LATE, server)
        .await
        .expect("stops")
        .expect("no panic");
}

#[tokio::test]
async fn a_request_in_work_is_answered_before_the_server_stops() {
    let (listener, port) = listener().await;
    let stop = CancellationToken::new();
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (seen, gate) = (entered.clone(), leave.clone());
    let server = tokio::spawn(serve(listener, 8, stop.clone(), move |_| {
        let (seen, gate) = (seen.clone(), gate.clone());
        async move {
            seen.add_permits(1);
            gate.acquire().await.expect("open").forget();
            answer("done")
        }
    }));
    let client = client(&["127.0.0.0/8"], true);
    let url = format!("http://127.0.0.1:{port}/");
    let request = tokio::spawn(async move { client.send(get(&url), Redirects::None, 100).await });
    timeout(LATE, entered.acquire())
        .await
        .expect("arrives")
        .expect("open")
        .forget();
    stop.cancel();
    leave.add_permits(1);
    let response = timeout(LATE, request)
        .await
        .expect("answers")
        .expect("no panic");
    assert_eq!(response.expect("an answer").status, 200);
    timeout(LATE, server)
        .await
        .expect("stops")
        .expect("no panic");
}

#[tokio::test]
async fn connections_past_the_bound_wait_for_a_place() {
    let (listener, port) = listener().await;
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, 1, stop.clone(), |_| async { answer("ok") }));
    let mut first = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connects");
    let mut second = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("queues");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    first.write_all(request).await.expect("sends");
    let mut byte = [0];
    timeout(LATE, first.read_exact(&mut byte))
        .await
        .expect("answers")
        .expect("a byte");
    second.write_all(request).await.expect("sends");
    // The first one was answered and keeps its place. Absence can only be waited for.
    let wait = std::time::Duration::from_millis(150);
    assert!(timeout(wait, second.read_exact(&mut byte)).await.is_err());
    drop(first);
    timeout(LATE, second.read_exact(&mut byte))
        .await
        .expect("answers")
        .expect("a byte");
    assert_eq!(&byte, b"H");
    stop.cancel();
    timeout(LATE, server)
        .await
        .expect("stops")
        .expect("no panic");
}
