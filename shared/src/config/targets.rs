//! One rule of `SYNCLINE_ALLOW_TARGETS`: a network that outbound calls may reach
//! although it isn't public.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// Rules that are taken; each port among them costs a connection pool.
pub const MAX_RULES: usize = 64;

/// Reads every rule.
///
/// # Errors
/// One message a rule that can't be read, and one when there are too many.
pub fn parse_rules(texts: &[String]) -> Result<Vec<TargetRule>, Vec<String>> {
    let (mut rules, mut faults) = (Vec::new(), Vec::new());
    for text in texts {
        match text.parse::<TargetRule>() {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.push(fault),
        }
    }
    if rules.len() > MAX_RULES {
        faults.push(format!("lists more than {MAX_RULES} networks; merge some"));
    }
    if faults.is_empty() {
        Ok(rules)
    } else {
        Err(faults)
    }
}

/// A network, and the port it is allowed on; without a port, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRule {
    pub network: IpNet,
    pub port: Option<u16>,
}

impl TargetRule {
    /// Whether the rule speaks of `port`.
    #[must_use]
    pub fn covers_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    /// Whether `address` on `port` is allowed by this rule. The address must not
    /// be an IPv4 address written as IPv6 (`::ffff:…`).
    #[must_use]
    pub fn allows(&self, address: IpAddr, port: u16) -> bool {
        self.covers_port(port) && self.network.contains(&address)
    }
}

impl FromStr for TargetRule {
    type Err = String;

    /// Reads `10.0.0.0/8`, `10.1.2.3`, `127.0.0.0/8:9000`, `fd00::/8`, `[fd00::/8]:9000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (network, port) = match (bracketed, text.rsplit_once(':')) {
            (Some((network, "")), _) => (network, None),
            (Some((network, rest)), _) => match rest.strip_prefix(':') {
                Some(port) => (network, Some(port)),
                None => return Err(unreadable(text)),
            },
            // One colon only: with more of them it is IPv6 without a port.
            (None, Some((network, port))) if !network.contains(':') => (network, Some(port)),
            (None, _) => (text, None),
        };
        let network = network
            .parse::<IpNet>()
            .or_else(|_| network.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| unreadable(text))?;
        let port = match port {
            None => None,
            Some(port) => {
                Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                    format!("`{text}` has no port from 1 to 65535 after the colon")
                })?)
            }
        };
        if let IpNet::V6(v6) = network
            && v6.addr().to_ipv4_mapped().is_some()
        {
            return Err(format!(
                "`{text}` is an IPv4 network in IPv6 form; write it as IPv4"
            ));
        }
        Ok(Self {
            network: network.trunc(),
            port,
        })
    }
}

fn unreadable(text: &str) -> String {
    format!(
        "`{text}` is not a network; write CIDR or CIDR:port, e.g. `10.0.0.0/8`, \
         `127.0.0.0/8:9000`, `[fd00::/8]:9000`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, address: &str, port: u16) -> bool {
        let rule: TargetRule = rule.parse().expect("a rule");
        rule.allows(address.parse().expect("an address"), port)
    }

    #[test]
    fn a_rule_is_a_network_with_or_without_a_port() {
        assert!(allows("127.0.0.0/8:9000", "127.3.2.1", 9000));
        assert!(!allows("127.0.0.0/8:9000", "127.3.2.1", 9001));
        assert!(!allows("127.0.0.0/8", "10.0.0.1", 80));
        assert!(allows("10.1.2.3", "10.1.2.3", 80));
        assert!(!allows("10.1.2.3", "10.1.2.4", 80));
        assert!(allows("10.1.2.3/8:80", "10.9.9.9", 80));
        assert!(allows("fd00::/8", "fd12::1", 80));
        assert!(allows("[fd00::/8]:9000", "fd12::1", 9000));
        assert!(!allows("[fd00::/8]:9000", "fd12::1", 9001));
        assert!(allows("[::1]", "::1", 9001));
        assert!(!allows("0.0.0.0/0", "::1", 1));
    }

    #[test]
    fn every_rule_that_cannot_be_read_is_named() {
        let texts = ["x".to_owned(), "10.0.0.0/8".to_owned(), "y".to_owned()];
        assert_eq!(parse_rules(&texts).expect_err("two faults").len(), 2);
        let many: Vec<_> = (0..=MAX_RULES).map(|i| format!("10.0.0.{i}")).collect();
        assert!(parse_rules(&many).is_err());
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_how_to_write_it() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/8:0",
            "10.0.0.0/8:65536",
            "10.0.0.0/8:",
            "[fd00::/8]9000",
            "[fd00::/8",
            "::ffff:127.0.0.1",
            "10.0.0.0/8 10.1.0.0/16",
            ":80",
        ] {
            let message = text.parse::<TargetRule>().expect_err(text);
            assert!(message.starts_with(&format!("`{text}`")), "{message}");
        }
    }
}
