//! TLS as reqwest would set it up by itself, but for a session cache that notes
//! where handshakes begin.
//!
//! There is no other place between TCP and TLS that can be seen from outside:
//! rustls asks its cache for a ticket first thing in each handshake, in the task of
//! the exchange that dials.

use std::sync::Arc;

use rustls::{
    ClientConfig, NamedGroup,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    crypto::aws_lc_rs,
    pki_types::ServerName,
};
use rustls_platform_verifier::Verifier;

use super::{client::Versions, trace};

/// Servers whose sessions are remembered by one client, rustls's own default.
const SESSIONS: usize = 256;

/// The system's roots, TLS 1.2 and 1.3, and the versions of HTTP by ALPN.
///
/// # Errors
/// When the roots can't be loaded.
pub(super) fn config(versions: Versions) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(provider.clone())?;
    // `dangerous` is rustls's word for any verifier that isn't its own; this one is the platform's.
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = match versions {
        Versions::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::One => vec![b"http/1.1".to_vec()],
    };
    config.resumption = Resumption::store(Arc::new(TracedSessions(ClientSessionMemoryCache::new(
        SESSIONS,
    ))));
    Ok(config)
}

/// rustls's cache in memory, with a note at its first use in a handshake.
#[derive(Debug)]
struct TracedSessions(ClientSessionMemoryCache);

impl ClientSessionStore for TracedSessions {
    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        trace::tls_began();
        self.0.take_tls13_ticket(server_name)
    }

    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.0.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(server_name, value);
    }
}
