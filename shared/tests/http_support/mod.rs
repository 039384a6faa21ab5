//! A server that answers with whatever bytes a test wants, and requests to it.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{
    http::{Outbound, TargetPolicy},
    integration::HttpRequest,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// Late enough that only a hanging test meets it.
pub const LATE: Duration = Duration::from_secs(20);

/// A server on a free port of 127.0.0.1; stops when dropped.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Each connection is handed to `answer` after the head of its first request was read.
    pub async fn start<F>(answer: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = connections.clone();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    if let Some(head) = read_head(&mut stream).await {
                        answer(stream, head).await;
                    }
                });
            }
        });
        Self {
            port,
            connections,
            task,
        }
    }

    /// Answers every connection with `bytes` and closes it.
    pub async fn with_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream, _| {
            let bytes = bytes.clone();
            async move {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A client that may reach this server by plain http.
    pub fn client(&self) -> Outbound {
        client(&[&format!("127.0.0.0/8:{}", self.port)], true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to and with the empty line.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

pub fn policy(allow: &[&str], allow_http: bool) -> TargetPolicy {
    let allow: Vec<_> = allow.iter().map(|rule| (*rule).to_owned()).collect();
    TargetPolicy::new(&allow, allow_http).expect("rules that can be read")
}

pub fn client(allow: &[&str], allow_http: bool) -> Outbound {
    Outbound::new(policy(allow, allow_http)).expect("a client")
}

pub fn get(url: &str) -> HttpRequest {
    HttpRequest {
        method: http::Method::GET,
        url: Url::parse(url).expect("a URL"),
        headers: http::HeaderMap::new(),
        body: None,
        shown_url: None,
        timeout: LATE,
    }
}

pub fn post(url: &str, body: &str) -> HttpRequest {
    HttpRequest {
        method: http::Method::POST,
        body: Some(body.to_owned().into()),
        ..get(url)
    }
}
