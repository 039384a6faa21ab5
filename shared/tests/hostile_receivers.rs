//! Receivers that do everything wrong, one after the other: each attempt ends by its deadline, in bounded memory, and says
//! what happened and where. A sender that has heard enough hangs up, so what a receiver can't write any more (`let _`) is of
//! no interest; its waits (`sleep`) are what makes it slow.

mod http_support;

use std::{
    future::Future,
    io::Write,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use http_support::{client, read_head};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use shared::{
    delivery::{ANSWER_BYTES, Attempt, Message, Sent, Target, send},
    ids::{EventId, WebhookId},
    integration::errors::Secrets,
    model::{
        attempt::{ANSWER_KEPT_BYTES, AttemptErrorKind, AttemptOutcome, AttemptRecord, Phase},
        webhook::{Delivery, SignatureEncoding},
    },
    seal::{Secret, signature::SigningKey},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// A credential that the webhook is sent with.
const SECRET: &str = "sk_hostile_5a7c1f";
/// Deadline of attempts that it ends before there is a head.
const TIMEOUT_MS: u32 = 1_000;
/// And in the body: the head must have come by then, also on a machine that the others of a test keep busy until their own.
const BODY_TIMEOUT_MS: u32 = 5_000;
/// And of those that end before it, also on a busy machine.
const PATIENT_MS: u32 = 10_000;
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(3);
/// A body that fits into no socket's buffers.
const LARGE: usize = 16 * 1024 * 1024;
/// What the buffers of a connection hold at most, bytes.
const BUFFERED: u64 = 16 * 1024 * 1024;

type Behaviour =
    Box<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static>;

/// How an attempt must end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// An answer with this status.
    Answered(u16),
    /// Without a whole answer, at this place; the status, if the head arrived.
    Broken(AttemptErrorKind, Phase, Option<u16>),
}

const fn broken(kind: AttemptErrorKind, phase: Phase) -> End {
    End::Broken(kind, phase, None)
}

struct Case {
    name: &'static str,
    scheme: &'static str,
    body_bytes: usize,
    behaviour: Behaviour,
    end: End,
}

fn case<F>(
    name: &'static str,
    end: End,
    behaviour: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> Case
where
    F: Future<Output = ()> + Send + 'static,
{
    Case {
        name,
        scheme: "http",
        body_bytes: 2,
        behaviour: Box::new(move |stream| Box::pin(behaviour(stream))),
        end,
    }
}

/// Reads the request and answers with `bytes`, then closes.
fn answers(name: &'static str, end: End, bytes: impl Into<Vec<u8>>) -> Case {
    let bytes: Arc<[u8]> = bytes.into().into();
    case(name, end, move |mut stream| {
        let bytes = bytes.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            // Until the other side closes, so that nothing is lost to a reset.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
}

/// The head and the two bytes of a small body.
async fn read_request(stream: &mut TcpStream) {
    if read_head(stream).await.is_some() {
        let _ = stream.read_exact(&mut [0; 2]).await;
    }
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().expect("an open socket");
}

/// Writes `head`, then a byte a tick.
fn drips(name: &'static str, end: End, head: &'static str, drop: &'static [u8]) -> Case {
    case(name, end, move |mut stream| async move {
        read_request(&mut stream).await;
        let mut sent = stream.write_all(head.as_bytes()).await;
        for byte in drop.iter().cycle() {
            if sent.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            sent = stream.write_all(&[*byte]).await;
        }
    })
}

fn target(url: &str, timeout_ms: u32) -> Target {
    let secret = Secret::from("whsec_bm90IHNlY3JldCwgZm9yIHRlc3RzIG9ubHk=".to_owned());
    Target {
        url: url.parse().expect("a URL"),
        active: true,
        headers: http::HeaderMap::new(),
        secrets: Secrets::of(&SECRET.into(), None),
        delivery: Delivery {
            timeout_ms,
            ..Delivery::default()
        },
        legacy_encoding: SignatureEncoding::Hex,
        keys: vec![SigningKey::new(&secret).expect("a key")],
    }
}

/// A receiver, and how often it was connected to.
async fn receiver(behaviour: Behaviour) -> (u16, Arc<AtomicU64>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let connections = Arc::new(AtomicU64::new(0));
    let seen = connections.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            open.spawn(behaviour(stream));
        }
    });
    (port, connections, tasks)
}

async fn attempt(url: &str, body_bytes: usize, timeout_ms: u32) -> (Attempt, AttemptRecord) {
    let outbound = client(&["127.0.0.0/8"], url.starts_with("http:"));
    let event = EventId::generate();
    let message = Message {
        id: event.to_string(),
        body: vec![b' '; body_bytes].into(),
    };
    let attempt = send(&outbound, &target(url, timeout_ms), &message).await;
    let sent = Sent {
        webhook: WebhookId::generate(),
        event,
        event_type: "test",
        run: None,
        number: 1,
    };
    let record = attempt.record(&sent, &target(url, timeout_ms).secrets);
    (attempt, record)
}

fn end(attempt: &Attempt, record: &AttemptRecord) -> End {
    match (&attempt.result, &record.error) {
        (Ok(answered), _) => End::Answered(answered.status.as_u16()),
        (Err(_), Some(error)) => End::Broken(
            error.kind,
            error.phase.expect("an attempt that began"),
            record.status_code,
        ),
        (Err(_), None) => panic!("a failure without an error: {record:?}"),
    }
}

/// Meets them all at once, each with a client of its own.
async fn meet(cases: Vec<Case>) {
    let mut meetings = JoinSet::new();
    for case in cases {
        meetings.spawn(async move {
            let (port, connections, _tasks) = receiver(case.behaviour).await;
            let timeout_ms = match case.end {
                End::Broken(AttemptErrorKind::Timeout, Phase::Body, _) => BODY_TIMEOUT_MS,
                End::Broken(AttemptErrorKind::Timeout, ..) => TIMEOUT_MS,
                _ => PATIENT_MS,
            };
            // What may be shown must not have come with the query.
            let url = format!("{}://127.0.0.1:{port}/hook?key=hunter2", case.scheme);
            let (attempt, record) = attempt(&url, case.body_bytes, timeout_ms).await;
            let found = end(&attempt, &record);
            let mut faults = Vec::new();
            if found != case.end {
                faults.push(format!("ended as {found:?}, not {:?}", case.end));
            }
            if attempt.elapsed > Duration::from_millis(timeout_ms.into()) + SLACK {
                faults.push("ended late".to_owned());
            }
            let connections = connections.load(Ordering::SeqCst);
            if connections != 1 {
                faults.push(format!("was connected to {connections} times"));
            }
            if attempt.exchange.bytes_received > 2 * ANSWER_BYTES as u64
                || record
                    .answer
                    .is_some_and(|text| text.len() > ANSWER_KEPT_BYTES)
            {
                faults.push("was read too far".to_owned());
            }
            let delivered = matches!(case.end, End::Answered(200..=299));
            if (record.outcome == AttemptOutcome::Delivered) != delivered {
                faults.push(format!("is logged as {:?}", record.outcome));
            }
            let problem = attempt.problem();
            if ["hunter2", SECRET]
                .iter()
                .any(|secret| problem.contains(secret))
                || problem.len() > 1_000
            {
                faults.push("shows too much".to_owned());
            }
            for fault in &faults {
                println!("{}: {fault}; {problem}", case.name);
            }
            faults.is_empty()
        });
    }
    let fine = meetings.join_all().await;
    assert!(fine.into_iter().all(|fine| fine), "see above");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_breaks_the_connection_ends_the_attempt_at_once() {
    let large = |case| Case {
        body_bytes: LARGE,
        ..case
    };
    let headers = broken(AttemptErrorKind::Reset, Phase::Headers);
    meet(vec![
        case("closes before it reads", headers, |stream| async move {
            drop(stream);
        }),
        case("resets before it reads", headers, |stream| async move {
            let _ = stream.peek(&mut [0]).await;
            reset(&stream);
        }),
        large(case(
            "resets in the middle of the body",
            headers,
            |mut stream| async move {
                read_head(&mut stream).await;
                let _ = stream.read_exact(&mut [0; 100_000]).await;
                reset(&stream);
            },
        )),
        large(case(
            "stops reading the body",
            broken(AttemptErrorKind::Timeout, Phase::Headers),
            |mut stream| async move {
                read_head(&mut stream).await;
                std::future::pending::<()>().await;
            },
        )),
        case(
            "resets after the request",
            headers,
            |mut stream| async move {
                read_request(&mut stream).await;
                reset(&stream);
            },
        ),
        answers("closes after the request", headers, ""),
        answers("closes in the status line", headers, "HTTP/1.1 20"),
        answers(
            "closes in the headers",
            headers,
            "HTTP/1.1 200 OK\r\nx-a: b\r\n",
        ),
        case(
            "resets in the answer",
            End::Broken(AttemptErrorKind::Reset, Phase::Body, Some(200)),
            |mut stream| async move {
                read_request(&mut stream).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    .await;
                // The head must have been read before the reset throws it away.
                tokio::time::sleep(Duration::from_millis(300)).await;
                reset(&stream);
            },
        ),
        answers(
            "promises more than it sends",
            End::Broken(AttemptErrorKind::Reset, Phase::Body, Some(200)),
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        ),
        answers(
            "closes between two chunks",
            End::Broken(AttemptErrorKind::Reset, Phase::Body, Some(200)),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
    ])
    .await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", closed.local_addr().expect("an address"));
    drop(closed);
    let (attempt, record) = attempt(&url, 2, PATIENT_MS).await;
    assert_eq!(
        end(&attempt, &record),
        broken(AttemptErrorKind::Connect, Phase::Connect)
    );
    assert_eq!(record.bytes_sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_forever_is_left_at_the_deadline() {
    let headers = broken(AttemptErrorKind::Timeout, Phase::Headers);
    let body = End::Broken(AttemptErrorKind::Timeout, Phase::Body, Some(200));
    meet(vec![
        case("never reads", headers, |stream| async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        }),
        case("never answers", headers, |mut stream| async move {
            read_request(&mut stream).await;
            std::future::pending::<()>().await;
        }),
        case("answers too late", headers, |mut stream| async move {
            read_request(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(u64::from(TIMEOUT_MS) + 500)).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }),
        drips("drips its status line", headers, "", b"HTTP/1.1 200 OK\r\n"),
        drips(
            "drips its headers",
            headers,
            "HTTP/1.1 200 OK\r\nx-a: ",
            b"x",
        ),
        drips(
            "drips a body of known length",
            body,
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            b"x",
        ),
        drips(
            "drips chunks",
            body,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
        drips(
            "drips until the end of the connection",
            body,
            "HTTP/1.1 200 OK\r\n\r\n",
            b"x",
        ),
        drips(
            "drips the length of a chunk",
            body,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0",
            b"0",
        ),
        case(
            "continues and says no more",
            headers,
            |mut stream| async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
                std::future::pending::<()>().await;
            },
        ),
        case(
            "gives early hints forever",
            headers,
            |mut stream| async move {
                read_request(&mut stream).await;
                while stream
                    .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
                    .await
                    .is_ok()
                {}
            },
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_a_protocol_error() {
    let headers = broken(AttemptErrorKind::Protocol, Phase::Headers);
    let body = End::Broken(AttemptErrorKind::Protocol, Phase::Body, Some(200));
    meet(vec![
        answers("speaks something else", headers, "220 mail.example ESMTP\r\n"),
        answers("answers like HTTP/0.9", headers, "<html>welcome</html>\r\n\r\n"),
        answers("answers with zeros", headers, vec![0; 100_000]),
        answers("answers with a TLS alert", headers, *b"\x15\x03\x01\x00\x02\x02\x0a"),
        answers("has a NUL in a header", headers, "HTTP/1.1 200 OK\r\nx-a: a\0b\r\ncontent-length: 0\r\n\r\n"),
        answers("has a header without a colon", headers, "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
        answers("has a status of letters", headers, "HTTP/1.1 two OK\r\n\r\n"),
        answers("has two lengths", headers, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        answers("has a negative length", headers, "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        answers("has a chunk of no length", body, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        answers("says gzip and sends text", body, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\nnot gzip, not at all"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_odd_but_clear_is_taken_for_what_it_says() {
    let large = |case| Case {
        body_bytes: LARGE,
        ..case
    };
    meet(vec![
        answers(
            "has a body where there is none",
            End::Answered(204),
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
        ),
        answers(
            "sends more than it promised",
            End::Answered(200),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n",
        ),
        answers(
            "says gzip and sends nothing",
            End::Answered(200),
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
        ),
        answers(
            "says gzip and has no content",
            End::Answered(204),
            "HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n",
        ),
        answers("is old", End::Answered(200), "HTTP/1.0 200 OK\r\n\r\nok"),
        answers(
            "has an unknown status",
            End::Answered(799),
            "HTTP/1.1 799 What\r\ncontent-length: 0\r\n\r\n",
        ),
        answers(
            "continues first",
            End::Answered(200),
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        answers(
            "switches protocols",
            End::Answered(101),
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tea\r\n\r\n",
        ),
        answers(
            "fails without an end",
            End::Answered(500),
            "HTTP/1.1 500 No\r\ncontent-length: 10\r\n\r\nhalf",
        ),
        answers(
            "is gone without an end",
            End::Answered(410),
            "HTTP/1.1 410 Gone\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        drips(
            "is busy and drips its body",
            End::Answered(429),
            "HTTP/1.1 429 No\r\nretry-after: 60\r\ncontent-length: 1000\r\n\r\n",
            b"x",
        ),
        large(case(
            "finds the body too large before it has read it",
            End::Answered(413),
            |mut stream| async move {
                read_head(&mut stream).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 413 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                    .await;
                let _ = stream.shutdown().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            },
        )),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_read_to_a_bound_and_no_further() {
    let gzip = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            encoder.write_all(&vec![b'0'; 1 << 20]).expect("in memory");
        }
        encoder.finish().expect("in memory")
    };
    let protocol = broken(AttemptErrorKind::Protocol, Phase::Headers);
    let taken = End::Answered(200);
    let cases: [(&str, End, &str, Vec<u8>); 7] = [
        ("headers", protocol, "", b"x: y\r\n".repeat(100)),
        ("one header", protocol, "x: ", vec![b'y'; 4096]),
        ("body", taken, "\r\n", vec![b'y'; 4096]),
        (
            "body of a length",
            taken,
            "content-length: 9223372036854775807\r\n\r\n",
            vec![b'y'; 4096],
        ),
        (
            "chunks",
            taken,
            "transfer-encoding: chunked\r\n\r\n",
            b"10\r\nyyyyyyyyyyyyyyyy\r\n".repeat(100),
        ),
        (
            "one chunk",
            taken,
            "transfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n",
            vec![b'y'; 4096],
        ),
        ("gzip", taken, "content-encoding: gzip\r\n\r\n", gzip),
    ];
    for (name, expected, head, more) in cases {
        let (written, head) = (
            Arc::new(AtomicU64::new(0)),
            format!("HTTP/1.1 200 OK\r\n{head}"),
        );
        let (count, more) = (written.clone(), Arc::<[u8]>::from(more));
        let behaviour: Behaviour = Box::new(move |mut stream| {
            let (count, head, more) = (count.clone(), head.clone(), more.clone());
            Box::pin(async move {
                read_request(&mut stream).await;
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(&more).await;
                    count.fetch_add(more.len() as u64, Ordering::SeqCst);
                }
            })
        });
        let (port, _, _tasks) = receiver(behaviour).await;
        let (attempt, record) = attempt(&format!("http://127.0.0.1:{port}/"), 2, PATIENT_MS).await;
        assert_eq!(
            end(&attempt, &record),
            expected,
            "{name}: {}",
            attempt.problem()
        );
        let written = written.load(Ordering::SeqCst);
        assert!(written < BUFFERED, "{name}: {written} bytes were taken");
        let read = record.bytes_received;
        assert!(
            read <= 2 * ANSWER_BYTES as u64,
            "{name}: {read} bytes were read"
        );
        if expected == taken {
            let body = attempt.result.expect("an answer").body.len();
            assert_eq!(body, ANSWER_BYTES, "{name}");
            let kept = record.answer.expect("a body").len();
            assert_eq!(kept, ANSWER_KEPT_BYTES, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_costs_one_request_and_is_shown_without_its_secrets() {
    let echo =
        format!("HTTP/1.1 302 Found\r\nlocation: /login/{SECRET}\r\ncontent-length: 0\r\n\r\n");
    let long = format!(
        "HTTP/1.1 302 Found\r\nlocation: /{}\r\n\r\n",
        "x".repeat(100_000)
    );
    meet(vec![
        answers("redirects to itself", End::Answered(302), "HTTP/1.1 302 Found\r\nlocation: /hook?key=hunter2\r\ncontent-length: 0\r\n\r\n"),
        answers("redirects elsewhere", End::Answered(307), "HTTP/1.1 307 Found\r\nlocation: http://169.254.169.254/#hunter2\r\ncontent-length: 0\r\n\r\n"),
        answers("redirects with a password", End::Answered(308), "HTTP/1.1 308 Found\r\nlocation: https://user:hunter2@example.com/\r\ncontent-length: 0\r\n\r\n"),
        answers("redirects to no URL", End::Answered(301), b"HTTP/1.1 301 Found\r\nlocation: \xff\xfe\r\ncontent-length: 0\r\n\r\n".to_vec()),
        answers("repeats a credential", End::Answered(302), echo),
        answers("redirects nowhere", End::Answered(302), "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"),
        answers("redirects far away", End::Answered(302), long),
    ])
    .await;
    let behaviour = |mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: https://example.com/new/hook?key=hunter2\r\ncontent-length: 0\r\n\r\n").await;
    };
    let (port, _, _tasks) = receiver(case("", End::Answered(302), behaviour).behaviour).await;
    let (attempt, _) = attempt(&format!("http://127.0.0.1:{port}/"), 2, PATIENT_MS).await;
    assert_eq!(
        attempt.problem(),
        "the receiver answered 302 Found to https://example.com/new/hook; redirects are not followed"
    );
}

/// Speaks TLS with a certificate of `localhost`.
fn acceptor(certificate: &[u8]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(certificate).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("certificates/key.pem"));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.expect("a key"))
        .expect("a certificate with its key");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_a_trusted_handshake_gets_no_event() {
    let tls = broken(AttemptErrorKind::Tls, Phase::Tls);
    let with = |name, certificate: &'static [u8]| {
        case(name, tls, move |stream| async move {
            if let Ok(mut stream) = acceptor(certificate).accept(stream).await {
                let mut first = [0; 16];
                let read = stream.read(&mut first).await.unwrap_or(0);
                // An answer would be a success, which the case doesn't expect.
                if read > 0 {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await;
                }
            }
        })
    };
    let cases = vec![
        with(
            "has an expired certificate",
            include_bytes!("certificates/expired.pem"),
        ),
        with(
            "has signed its certificate itself",
            include_bytes!("certificates/self_signed.pem"),
        ),
        case("closes in the handshake", tls, |mut stream| async move {
            let _ = stream.read(&mut [0; 64]).await;
        }),
        case("resets in the handshake", tls, |mut stream| async move {
            let _ = stream.read(&mut [0; 64]).await;
            reset(&stream);
        }),
        case(
            "closes in the middle of its hello",
            tls,
            |mut stream| async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"\x16\x03\x03\x01\x00\x02\x00\x00").await;
                let _ = stream.shutdown().await;
            },
        ),
        case(
            "drips its hello",
            broken(AttemptErrorKind::Timeout, Phase::Tls),
            |mut stream| async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut sent = stream.write_all(b"\x16\x03\x03\x40\x00").await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    sent = stream.write_all(b"\x02").await;
                }
            },
        ),
        case("speaks plain HTTP", tls, |mut stream| async move {
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
            let _ = stream.read(&mut [0; 4096]).await;
        }),
    ];
    let https = |case| Case {
        scheme: "https",
        ..case
    };
    let plain = case(
        "speaks TLS to plain HTTP",
        broken(AttemptErrorKind::Protocol, Phase::Headers),
        |stream| async move {
            // It answers what it takes for a broken hello with an alert.
            let _ = acceptor(include_bytes!("certificates/self_signed.pem"))
                .accept(stream)
                .await;
        },
    );
    meet(cases.into_iter().map(https).chain([plain]).collect()).await;
}
