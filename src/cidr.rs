//! Ranges of network addresses.
//!
//! **Promise:** a range holds the addresses that its prefix says, however an IPv4 address is dressed.
//!
//! **Never knows:** whose the addresses are.
//!
//! **Standards:** RFC 4632 section 3.1 and RFC 4291 section 2.3 (the written form).

use std::net::IpAddr;

/// A range of addresses in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not an address range; expected 192.0.2.0/24, 2001:db8::/32 or an address");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let network: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |p| p.parse::<u8>().map_err(|_| expected()))?;
        if prefix > longest { Err(expected()) } else { Ok(Self { network, prefix }) }
    }

    /// Whether `address` lies within; an IPv4 address that arrives as `::ffff:a.b.c.d` counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let width = if self.network.is_ipv4() { 32 } else { 128 };
        let shift = u32::from(width - self.prefix);
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4()
            && (bits(address) ^ bits(self.network)).checked_shr(shift).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_should() {
        let range = AddressRange::parse("192.0.2.128/25").unwrap();
        assert!(range.contains("192.0.2.128".parse().unwrap()) && range.contains("192.0.2.255".parse().unwrap()));
        assert!(!range.contains("192.0.2.127".parse().unwrap()) && !range.contains("::1".parse().unwrap()));
        assert!(range.contains("::ffff:192.0.2.200".parse().unwrap()));
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(AddressRange::parse("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(AddressRange::parse("::1").unwrap().contains("::1".parse().unwrap()));
        for bad in ["", "192.0.2.0/33", "192.0.2/24", "x/8", "192.0.2.0/-1"] {
            assert!(AddressRange::parse(bad).is_err(), "{bad}");
        }
    }
}
