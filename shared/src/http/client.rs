//! Sending: one connection pool for each scheme and each port that a rule names.
//!
//! The resolver is asked for a name without a port, so a rule such as
//! `127.0.0.0/8:9000` needs a resolver, and with it a client, of its own. The
//! clients are made when first used; their number is bounded by the rules.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderName, Method, StatusCode, header};
use tokio::time::Instant;
use url::Url;

use super::{
    OutboundError, OutboundErrorKind, Response, TargetPolicy,
    resolver::{GuardedResolver, Lookups},
    tls,
    trace::{self, Trace, TraceDials},
};
use crate::{integration::HttpRequest, model::attempt::Phase};

/// Sent unless the request has one of its own.
pub const USER_AGENT: &str = concat!("Syncline/", env!("CARGO_PKG_VERSION"));
/// Redirects of one request that are followed.
pub const MAX_REDIRECTS: usize = 5;
/// The longest exchange; a longer timeout is cut to this.
pub const MAX_TIMEOUT: Duration = Duration::from_hours(1);
/// Header bytes of an HTTP/2 answer.
pub const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Looking up, connecting and TLS together, within the exchange's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the 5 s after which common servers (Node, uvicorn, Apache) hang up, so that a kept connection is rarely
/// found closed: a request that meets that moment fails.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Kept connections to one host; above what one worker has in work by default, so
/// that a busy host is not dialled anew for each burst.
const POOL_MAX_IDLE_PER_HOST: usize = 256;
/// Between pings of an HTTP/2 connection in use, and until one must be answered: requests that time out leave such a
/// connection open, and all that follow would use it though the peer is gone.
const HTTP2_PING: Duration = Duration::from_secs(10);
/// Finds peers that vanished during a long answer.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Headers that belong to the connection or frame the message; whoever sets one
/// could address another host or smuggle a request, so they are dropped.
const RESERVED_HEADERS: &[HeaderName] = &[
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// Whether the client sets this header itself and drops what a request says.
#[must_use]
pub fn is_reserved_header(name: &HeaderName) -> bool {
    RESERVED_HEADERS.contains(name)
}

/// What becomes of a 3xx with a `Location`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// 3xx is returned as it is.
    None,
    /// Followed within the same scheme, host and port, at most [`MAX_REDIRECTS`];
    /// one that leads elsewhere is returned as it is.
    SameOrigin,
}

/// One per process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    policy: TargetPolicy,
    /// Of the ports that no rule names.
    other: Pools,
    /// Of each port that a rule names.
    ports: Vec<(u16, Pools)>,
    lookups: Arc<Lookups>,
    versions: Versions,
}

/// Versions of HTTP that are offered over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    /// HTTP/2, or 1.1.
    Both,
    /// HTTP/1.1: a connection carries one request at a time.
    One,
}

/// The clients of one port.
#[derive(Debug, Default)]
struct Pools {
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

impl Outbound {
    /// # Errors
    /// When the TLS roots can't be loaded.
    pub fn new(policy: TargetPolicy) -> Result<Self, OutboundError> {
        let ports = policy
            .ports()
            .into_iter()
            .map(|port| (port, Pools::default()))
            .collect();
        let inner = Inner {
            policy,
            other: Pools::default(),
            ports,
            lookups: Arc::default(),
            versions: Versions::Both,
        };
        // Loads the roots now, so that a program without them says so when it starts.
        inner.client(443, false)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// One for deliveries, under the same rules, that shares nothing with this one: whatever calls here wait for, it has
    /// connections and look-ups of names to itself. It speaks HTTP/1.1: webhooks of one host would share one connection under
    /// HTTP/2, and requests that hang at one of them could use up the streams that the host allows (RFC 9113, section 5.1.2).
    #[must_use]
    pub fn for_receivers(&self) -> Self {
        let pools = |(port, _): &(u16, Pools)| (*port, Pools::default());
        Self {
            inner: Arc::new(Inner {
                policy: self.inner.policy.clone(),
                other: Pools::default(),
                ports: self.inner.ports.iter().map(pools).collect(),
                lookups: Arc::default(),
                versions: Versions::One,
            }),
        }
    }

    /// The rules that every call is held against.
    #[must_use]
    pub fn policy(&self) -> &TargetPolicy {
        &self.inner.policy
    }

    /// Sends; `request.timeout` bounds the whole exchange, waiting for pieces of the body included.
    ///
    /// # Errors
    /// See [`OutboundErrorKind`].
    pub async fn send(
        &self,
        request: HttpRequest,
        redirects: Redirects,
        max_body_bytes: u64,
    ) -> Result<Response, OutboundError> {
        let started = Instant::now();
        let timeout = request.timeout.min(MAX_TIMEOUT);
        let deadline = started + timeout;
        let exchange = async {
            match redirects {
                Redirects::None => self.exchange(request).await,
                Redirects::SameOrigin => self.follow(request).await,
            }
        };
        let answer = tokio::time::timeout_at(deadline, exchange)
            .await
            .map_err(|_| Response::timed_out(timeout))??;
        Ok(Response::new(answer, started, timeout, max_body_bytes))
    }

    /// As [`Self::send`] without following redirects; `trace` tells where the time went,
    /// also when this fails.
    ///
    /// # Errors
    /// See [`OutboundErrorKind`].
    pub async fn send_traced(
        &self,
        request: HttpRequest,
        max_body_bytes: u64,
        trace: &Trace,
    ) -> Result<Response, OutboundError> {
        let sending = self.send(request, Redirects::None, max_body_bytes);
        let sent = trace.follow(sending).await;
        let response = sent.map_err(|error| handshake_error(error, trace))?;
        trace.head_arrived();
        Ok(response)
    }

    /// One request, one answer.
    async fn exchange(&self, request: HttpRequest) -> Result<reqwest::Response, OutboundError> {
        let HttpRequest {
            method,
            url,
            mut headers,
            body,
            timeout: _,
            shown_url: _,
        } = request;
        self.inner
            .policy
            .check_url(&url)
            .map_err(|message| OutboundError::new(OutboundErrorKind::Blocked, message))?;
        for name in RESERVED_HEADERS {
            headers.remove(name);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let client = self.inner.client(port, url.scheme() == "http")?;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        trace::started();
        client
            .execute(request)
            .await
            .map_err(|error| OutboundError::from_reqwest(&error))
    }

    async fn follow(&self, mut request: HttpRequest) -> Result<reqwest::Response, OutboundError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.exchange(request.clone()).await?;
            match redirect_within_origin(&request.url, &answer) {
                Some(url) => redirected(&mut request, answer.status(), url),
                None => return Ok(answer),
            }
        }
        Err(OutboundError::new(
            OutboundErrorKind::Protocol,
            format!("redirected more than {MAX_REDIRECTS} times"),
        ))
    }
}

impl Inner {
    fn client(&self, port: u16, plain: bool) -> Result<&reqwest::Client, OutboundError> {
        let pools = self
            .ports
            .iter()
            .find(|(own, _)| *own == port)
            .map_or(&self.other, |(_, pools)| pools);
        let cell = if plain { &pools.plain } else { &pools.tls };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let made = self.build(port, plain)?;
        Ok(cell.get_or_init(|| made))
    }

    fn build(&self, port: u16, plain: bool) -> Result<reqwest::Client, OutboundError> {
        let resolver = GuardedResolver {
            policy: self.policy.clone(),
            port,
            plain,
            lookups: self.lookups.clone(),
        };
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            .connector_layer(TraceDials)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(USER_AGENT)
            .gzip(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
            .tcp_nodelay(true)
            .tcp_keepalive(TCP_KEEPALIVE)
            .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
            .http2_keep_alive_interval(HTTP2_PING)
            .http2_keep_alive_timeout(HTTP2_PING)
            .https_only(!plain);
        if plain || self.versions == Versions::One {
            builder = builder.http1_only();
        }
        if plain {
            // No handshake will happen: don't load the system's roots.
            builder = builder.tls_certs_only([]);
        } else {
            let config =
                tls::config(self.versions).map_err(|error| no_roots(&error.to_string()))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        builder
            .build()
            .map_err(|error| no_roots(&OutboundError::from_reqwest(&error).message))
    }
}

/// A connection that breaks within the handshake is no different from one that could not be made, to reqwest.
fn handshake_error(mut error: OutboundError, trace: &Trace) -> OutboundError {
    if error.kind == OutboundErrorKind::Connect && trace.phase() == Some(Phase::Tls) {
        error.kind = OutboundErrorKind::Tls;
    }
    error
}

fn no_roots(detail: &str) -> OutboundError {
    OutboundError::new(
        OutboundErrorKind::Tls,
        format!("no TLS roots; install the package ca-certificates ({detail})"),
    )
}

/// Where a 3xx leads, when that is the same scheme, host and port.
fn redirect_within_origin(from: &Url, answer: &reqwest::Response) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let to = from.join(location).ok()?;
    (to.origin() == from.origin()).then_some(to)
}

/// The next request, by RFC 9110 section 15.4: 303 turns into `GET`, 301 and
/// 302 turn `POST` into `GET`, the others keep method and body.
fn redirected(request: &mut HttpRequest, status: StatusCode, url: Url) {
    let to_get = match status {
        StatusCode::SEE_OTHER => request.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => request.method == Method::POST,
        _ => false,
    };
    if to_get {
        request.method = Method::GET;
        request.body = None;
        request.headers.remove(header::CONTENT_TYPE);
    }
    request.url = url;
}
