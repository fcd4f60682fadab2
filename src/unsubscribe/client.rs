//! Who is asking: the address behind a proxy that we trust. Pure.

use std::net::IpAddr;

use crate::cidr::AddressRange;

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
}
