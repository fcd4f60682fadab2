//! Whose an address is, as far as limits go. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// Whoever can use one address of an IPv6 /64 can use all of them (RFC 4291 section 2.5.1); an IPv4 address is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Neighbourhood(IpAddr);

impl Neighbourhood {
    /// The one that `address` is in.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbourhood_is_an_ipv4_address_or_an_ipv6_64() {
        let of = |text: &str| Neighbourhood::of(text.parse().unwrap());
        let same = |a: &str, b: &str| of(a) == of(b);
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
    }
}
