//! Which targets outbound calls may reach.

use std::{net::IpAddr, sync::Arc};

use url::{Host, Url};

use super::ranges;
use crate::config::targets::{self, TargetRule};

/// Length of a URL, in bytes.
pub const MAX_URL_BYTES: usize = 8192;

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
];

/// Which targets outbound calls may reach: public ones by https, and what the rules add.
#[derive(Debug, Clone, Default)]
pub struct TargetPolicy {
    rules: Arc<[TargetRule]>,
    allow_http: bool,
}

impl TargetPolicy {
    /// `allow`: CIDR or CIDR:port rules (`SYNCLINE_ALLOW_TARGETS`); `allow_http`: plain http to allowed targets.
    ///
    /// # Errors
    /// One message a rule that can't be read.
    pub fn new(allow: &[String], allow_http: bool) -> Result<Self, Vec<String>> {
        let rules = targets::parse_rules(allow)?.into();
        Ok(Self { rules, allow_http })
    }

    /// Checks what can be checked without a look-up: scheme, host form, literal addresses, user info.
    ///
    /// # Errors
    /// A message for the person who gave the URL.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(format!("the URL is longer than {MAX_URL_BYTES} bytes"));
        }
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err("the URL must start with https://".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL must not carry a user name or password; use a header".to_owned());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL has no host".to_owned());
        };
        if port == 0 {
            return Err("port 0 can't be reached".to_owned());
        }
        let admission = self.admission(port, plain);
        if plain && admission.rules.is_empty() {
            return Err("plain http is refused; use https (http is for targets of \
                        SYNCLINE_ALLOW_TARGETS, with SYNCLINE_ALLOW_HTTP)"
                .to_owned());
        }
        let admitted = match host {
            Host::Ipv4(address) => admission.admits(address.into()),
            Host::Ipv6(address) => admission.admits(address.into()),
            // RFC 6761: these names mean this host whatever a resolver says.
            Host::Domain(name) if is_localhost(name) => {
                LOOPBACK.iter().any(|address| admission.admits(*address))
            }
            Host::Domain(_) => true,
        };
        if admitted {
            Ok(())
        } else {
            Err(admission.refusal())
        }
    }

    /// The ports that rules name, each once.
    pub(super) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.rules.iter().filter_map(|rule| rule.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What may be dialled on `port`, by plain http or by https.
    pub(super) fn admission(&self, port: u16, plain: bool) -> Admission<'_> {
        let rules = if plain && !self.allow_http {
            &[]
        } else {
            &*self.rules
        };
        // Most calls go to a port that no rule speaks of: no copy then.
        let rules = if rules.iter().any(|rule| rule.covers_port(port)) {
            rules
        } else {
            &[]
        };
        Admission { rules, port, plain }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// What may be dialled on one port by one scheme.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission<'a> {
    /// Empty when none covers the port, or the scheme allows none.
    rules: &'a [TargetRule],
    port: u16,
    plain: bool,
}

impl Admission<'_> {
    /// Whether `address` may be dialled.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let address = ranges::canonical(address);
        self.rules
            .iter()
            .any(|rule| rule.allows(address, self.port))
            || (!self.plain && ranges::refusal(address).is_none())
    }

    /// Says why nothing was admitted; never what a name resolved to, which is
    /// knowledge about the network inside.
    pub(super) fn refusal(&self) -> String {
        if self.plain {
            "plain http is allowed to targets of SYNCLINE_ALLOW_TARGETS only; use https".to_owned()
        } else {
            "the host is not public; whoever runs Syncline can allow it in SYNCLINE_ALLOW_TARGETS"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], allow_http: bool) -> TargetPolicy {
        let allow: Vec<_> = allow.iter().map(|rule| (*rule).to_owned()).collect();
        TargetPolicy::new(&allow, allow_http).expect("rules")
    }

    fn passes(policy: &TargetPolicy, url: &str) -> bool {
        policy.check_url(&Url::parse(url).expect("a URL")).is_ok()
    }

    #[test]
    fn a_rule_allows_its_network_on_its_port_only() {
        let policy = policy(
            &["127.0.0.0/8:9000", "[fd00::/8]:9001", "10.0.0.0/8"],
            false,
        );
        assert!(passes(&policy, "https://127.0.0.1:9000/"));
        assert!(passes(&policy, "https://[::ffff:127.0.0.1]:9000/"));
        assert!(passes(&policy, "https://localhost:9000/"));
        assert!(passes(&policy, "https://[fd00::1]:9001/"));
        assert!(passes(&policy, "https://10.1.1.1:77/"));
        assert!(!passes(&policy, "https://127.0.0.1:9001/"));
        assert!(!passes(&policy, "https://localhost/"));
        assert!(!passes(&policy, "https://[fd00::1]:9000/"));
        assert!(!passes(&policy, "https://192.168.0.1/"));
    }

    #[test]
    fn plain_http_needs_the_setting_and_a_rule() {
        assert!(!passes(
            &policy(&["127.0.0.0/8"], false),
            "http://127.0.0.1/"
        ));
        assert!(!passes(&policy(&[], true), "http://127.0.0.1/"));
        assert!(!passes(&policy(&[], true), "http://example.com/"));
        assert!(!passes(&policy(&["127.0.0.0/8"], true), "http://8.8.8.8/"));
        assert!(!passes(
            &policy(&["127.0.0.0/8:81"], true),
            "http://name.internal/"
        ));
        assert!(passes(&policy(&["127.0.0.0/8"], true), "http://127.0.0.1/"));
        assert!(passes(
            &policy(&["127.0.0.0/8"], true),
            "http://name.internal/"
        ));
    }
}
