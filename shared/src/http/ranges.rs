//! Which addresses are public, after the IANA special-purpose address registries
//! (RFC 6890 and its successors) and what clouds put on addresses of their own.
//!
//! IPv4 is a list of refused networks. IPv6 is the other way round: only global
//! unicast (`2000::/3`) and the NAT64 prefix can be public, less the special
//! networks in there. Exceptions that the registries call globally reachable
//! inside a refused network (anycast services of the IETF) stay refused: no
//! webhook or source lives there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, its prefix length, and what it is.
type Network<A> = (A, u32, &'static str);

const fn v4([a, b, c, d]: [u8; 4], bits: u32, what: &'static str) -> Network<Ipv4Addr> {
    (Ipv4Addr::new(a, b, c, d), bits, what)
}

/// From the first three groups; the rest is zero.
const fn v6([a, b, c]: [u16; 3], bits: u32, what: &'static str) -> Network<Ipv6Addr> {
    (Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits, what)
}

const REFUSED_V4: &[Network<Ipv4Addr>] = &[
    v4([0, 0, 0, 0], 8, "an address of this host (RFC 791)"),
    v4([10, 0, 0, 0], 8, "private (RFC 1918)"),
    v4([100, 64, 0, 0], 10, "shared address space (RFC 6598)"),
    v4([127, 0, 0, 0], 8, "loopback (RFC 1122)"),
    v4([168, 63, 129, 16], 32, "a cloud's host service"),
    v4([169, 254, 0, 0], 16, "link-local (RFC 3927)"),
    v4([172, 16, 0, 0], 12, "private (RFC 1918)"),
    v4([192, 0, 0, 0], 24, "for protocols (RFC 6890)"),
    v4([192, 0, 2, 0], 24, "for documentation (RFC 5737)"),
    v4([192, 31, 196, 0], 24, "the AS112 service (RFC 7535)"),
    v4([192, 52, 193, 0], 24, "the AMT service (RFC 7450)"),
    v4([192, 88, 99, 0], 24, "a 6to4 relay (RFC 7526)"),
    v4([192, 168, 0, 0], 16, "private (RFC 1918)"),
    v4([192, 175, 48, 0], 24, "the AS112 service (RFC 7534)"),
    v4([198, 18, 0, 0], 15, "for benchmarks (RFC 2544)"),
    v4([198, 51, 100, 0], 24, "for documentation (RFC 5737)"),
    v4([203, 0, 113, 0], 24, "for documentation (RFC 5737)"),
    v4([224, 0, 0, 0], 4, "multicast (RFC 5771)"),
    v4([240, 0, 0, 0], 4, "reserved (RFC 1112)"),
];

const REFUSED_V6: &[Network<Ipv6Addr>] = &[
    v6([0x2001, 0, 0], 32, "Teredo (RFC 4380)"),
    v6([0x2001, 0, 0], 23, "for protocols (RFC 2928)"),
    v6([0x2001, 0xdb8, 0], 32, "for documentation (RFC 3849)"),
    v6([0x2002, 0, 0], 16, "6to4 (RFC 3056)"),
    v6([0x2620, 0x4f, 0x8000], 48, "the AS112 service (RFC 7534)"),
    v6([0x3fff, 0, 0], 20, "for documentation (RFC 9637)"),
];

/// NAT64 well-known prefix (RFC 6052): the last 32 bits are the IPv4 address that is reached.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// An IPv4 address written as IPv6 (`::ffff:a.b.c.d`) as IPv4: the kernel
/// dials the same host for both.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// `None` when `address` is public; otherwise what it is.
#[must_use]
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match canonical(address) {
        IpAddr::V4(v4) => refusal_v4(v4),
        IpAddr::V6(v6) => refusal_v6(v6),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    REFUSED_V4
        .iter()
        .find(|(network, bits, _)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *bits)
        .map(|(_, _, what)| *what)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    let within = |(network, bits): (Ipv6Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).leading_zeros() >= bits
    };
    if within(NAT64) {
        return refusal_v4(last_32_bits(address));
    }
    if !within(GLOBAL_UNICAST) {
        return Some(if address.is_loopback() {
            "loopback (RFC 4291)"
        } else if address.is_unspecified() {
            "an address of this host (RFC 4291)"
        } else if address.is_multicast() {
            "multicast (RFC 4291)"
        } else if address.is_unicast_link_local() {
            "link-local (RFC 4291)"
        } else if address.is_unique_local() {
            "private (RFC 4193)"
        } else {
            "not global unicast (RFC 4291)"
        });
    }
    if let Some((_, _, what)) = REFUSED_V6
        .iter()
        .find(|(net, bits, _)| within((*net, *bits)))
    {
        return Some(what);
    }
    // ISATAP (RFC 5214) carries an IPv4 address in the interface id of any prefix.
    let [.., high, low, _, _] = address.segments();
    if low == 0x5efe && (high == 0 || high == 0x200) {
        return refusal_v4(last_32_bits(address));
    }
    None
}

fn last_32_bits(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        refusal(text.parse().expect("an address")).is_none()
    }

    #[test]
    fn the_edges_of_each_refused_network_are_refused_and_their_neighbours_are_not() {
        for (network, bits, what) in REFUSED_V4 {
            let size = (1_u64 << (32 - bits)) - 1;
            let last = Ipv4Addr::from_bits(network.to_bits() | u32::try_from(size).expect("fits"));
            assert_eq!(refusal(IpAddr::V4(*network)), Some(*what));
            assert_eq!(refusal(IpAddr::V4(last)), Some(*what));
        }
        for neighbour in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
        ] {
            assert!(is_public(neighbour), "{neighbour}");
        }
    }

    #[test]
    fn only_global_unicast_is_public_in_ipv6() {
        for public in [
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2001:200::1",
        ] {
            assert!(is_public(public), "{public}");
        }
        for refused in [
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "100::1",
            "100:0:0:1::1",
            "64:ff9b:1::808:808",
            "2001::1",
            "2001:1::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "2620:4f:8000::1",
        ] {
            assert!(!is_public(refused), "{refused}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_judged_as_itself() {
        assert!(is_public("::ffff:8.8.8.8"));
        assert!(is_public("64:ff9b::8.8.8.8"));
        assert!(is_public("2606:4700::5efe:808:808"));
        for refused in [
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2606:4700::5efe:127.0.0.1",
            "2606:4700::200:5efe:10.0.0.1",
        ] {
            assert!(!is_public(refused), "{refused}");
        }
    }
}
