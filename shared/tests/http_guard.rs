//! No call reaches a target that is neither public nor allowed, however its address is written.

mod http_support;

use http_support::{LATE, Server, client, get, policy};
use shared::http::{OutboundErrorKind, Redirects};
use url::Url;

const BODY: u64 = 1024;

/// Ways to write an address that must not be reached; `PORT` is one where something listens on 127.0.0.1.
const REFUSED: &[&str] = &[
    // Loopback, and the forms in which a URL may write it.
    "https://127.0.0.1:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://127.255.255.254:PORT/",
    "https://2130706433:PORT/",
    "https://017700000001:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.1:PORT/",
    "https://0x7f.0x0.0x0.0x1:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://0177.0.0.0x1:PORT/",
    "https://%31%32%37.0.0.1:PORT/",
    "https://127。0。0。1:PORT/",
    "https://①②⑦.⓪.⓪.①:PORT/",
    "https://127.0.0.1:PORT\\@example.com/",
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://a.localhost:PORT/",
    "https://0:PORT/",
    "https://0.0.0.0:PORT/",
    "https://0.1.2.3:PORT/",
    // Private and shared networks.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    // Metadata services.
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.170.2/v2/credentials",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://168.63.129.16/",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    // Other special IPv4 networks.
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    // IPv6, alone and with an IPv4 address inside.
    "https://[::1]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "https://[::]:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[::ffff:0:127.0.0.1]:PORT/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::127.0.0.1]/",
    "https://[64:ff9b:1::8.8.8.8]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456:789a::1]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2606:4700::5efe:127.0.0.1]/",
    // Not https, not plain, not a host.
    "http://127.0.0.1:PORT/",
    "http://localhost:PORT/",
    "http://example.com/",
    "http://8.8.8.8/",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/",
    "unix:/run/redis.sock",
    "data:text/plain,x",
    "https://user:password@example.com/",
    "https://user@127.0.0.1:PORT/",
    "https://example.com:0/",
];

fn cases(port: u16) -> Vec<Url> {
    REFUSED
        .iter()
        .map(|text| {
            let text = text.replace("PORT", &port.to_string());
            Url::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
        })
        .collect()
}

#[tokio::test]
async fn no_way_to_write_a_forbidden_target_is_dialled() {
    let server = Server::with_bytes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = client(&[], false);
    for url in cases(server.port) {
        assert!(
            policy(&[], false).check_url(&url).is_err(),
            "{url} passed the check"
        );
        let error = client
            .send(get(url.as_str()), Redirects::SameOrigin, BODY)
            .await
            .expect_err(url.as_str());
        assert_eq!(error.kind, OutboundErrorKind::Blocked, "{url}: {error}");
    }
    assert_eq!(server.connections(), 0);
    assert!(REFUSED.len() >= 60);
}

#[test]
fn a_url_has_a_bounded_length() {
    let long = format!(
        "https://example.com/{}",
        "a".repeat(shared::http::MAX_URL_BYTES)
    );
    assert!(
        policy(&[], false)
            .check_url(&Url::parse(&long).expect("a URL"))
            .is_err()
    );
    let public = Url::parse("https://example.com/hook?key=1").expect("a URL");
    assert_eq!(policy(&[], false).check_url(&public), Ok(()));
}

#[tokio::test]
async fn a_target_is_allowed_on_the_port_of_its_rule_only() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (allowed, other) = (
        Server::with_bytes(answer).await,
        Server::with_bytes(answer).await,
    );
    let client = client(&[&format!("127.0.0.0/8:{}", allowed.port)], true);
    for host in ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", allowed.port);
        let response = client
            .send(get(&url), Redirects::None, BODY)
            .await
            .expect(host);
        assert_eq!(response.status, 200);
        let url = format!("http://{host}:{}/", other.port);
        let error = client
            .send(get(&url), Redirects::None, BODY)
            .await
            .expect_err(host);
        assert_eq!(error.kind, OutboundErrorKind::Blocked);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_name_is_dialled_at_its_allowed_addresses_only() {
    let server = Server::with_bytes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // `localhost` could be ::1, so the URL passes; what it resolves to, 127.0.0.1, must not.
    let client = client(&[&format!("[::1]:{}", server.port)], true);
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://localhost:{}/", server.port);
        let error = client
            .send(get(&url), Redirects::None, BODY)
            .await
            .expect_err(scheme);
        // Connect where the machine has an ::1 on which nothing listens.
        assert!(
            matches!(
                error.kind,
                OutboundErrorKind::Blocked | OutboundErrorKind::Connect
            ),
            "{error:?}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn plain_http_is_refused_by_default_even_to_allowed_targets() {
    let server = Server::with_bytes("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = client(&["127.0.0.0/8"], false);
    let error = client
        .send(get(&server.url("/")), Redirects::None, BODY)
        .await
        .expect_err("plain http");
    assert_eq!(error.kind, OutboundErrorKind::Blocked);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let client = client(&[], false);
    let mut request = get("https://nothing.invalid/path?key=hunter2");
    request.timeout = LATE;
    let error = client
        .send(request, Redirects::None, BODY)
        .await
        .expect_err("no such name");
    // A machine without any resolver runs into the connect timeout instead.
    assert!(
        matches!(
            error.kind,
            OutboundErrorKind::Dns | OutboundErrorKind::Timeout
        ),
        "{error:?}"
    );
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
