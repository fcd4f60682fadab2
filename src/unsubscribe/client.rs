//! Who is asking: the address behind a proxy that we trust, and the neighbourhood that limits count by. Pure.

use std::net::{IpAddr, Ipv6Addr};

use crate::cidr::AddressRange;

/// Whoever can use one address of an IPv6 /64 can use all of them (RFC 4291 section 2.5.1); an IPv4 address is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Neighbourhood(IpAddr);

impl Neighbourhood {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The address that a request comes from. `X-Forwarded-For` is read from the right, for as long as it was written by
/// somebody we trust; what a stranger wrote into it before counts for nothing.
pub(super) fn address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[AddressRange],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer.to_canonical();
    for hop in forwarded.rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(client) {
            return client;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => return client,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_their_last_word() {
        let trusted: Vec<_> = ["10.0.0.0/8", "::1"].map(|text| AddressRange::parse(text).unwrap()).into();
        for (peer, forwarded, expected) in [
            ("203.0.113.9", vec!["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["192.0.2.66", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            ("10.0.0.1", vec!["192.0.2.66, nonsense, 10.0.0.7"], "10.0.0.7"),
            ("::ffff:10.0.0.1", vec!["2001:db8::5"], "2001:db8::5"),
            ("::1", vec!["<script>"], "::1"),
        ] {
            assert_eq!(address(ip(peer), forwarded.iter().copied(), &trusted), ip(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_neighbourhood_is_an_ipv4_address_or_an_ipv6_64() {
        let same = |a: &str, b: &str| Neighbourhood::of(ip(a)) == Neighbourhood::of(ip(b));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
    }
}
