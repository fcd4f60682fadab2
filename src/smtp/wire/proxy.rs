//! The PROXY protocol, versions 1 and 2: what a proxy writes in front of a connection, so that we know who is behind it.
//!
//! The grammar is that of the protocol's own specification (HAProxy, "The PROXY protocol, versions 1 & 2"), sections
//! 2.1 and 2.2. It is read as strictly as commands are: a header that is not exactly one is refused, because whoever
//! may write one may choose the address that credentials and limits go by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1 with its CRLF, in octets: section 2.1 of the specification counts 107.
pub const V1_MAX: usize = 107;
/// The longest header of version 2, in octets. The two addresses of IPv6 and what HAProxy and the large clouds add
/// (names, TLS facts, checksums) stay below 600; the specification's own limit of 65 551 is more than anybody sends.
pub const V2_MAX: usize = 2048;

/// Signature, version and command, family, length: section 2.2.
const V2_PREFIX: usize = 16;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_SIGNATURE: &[u8; 6] = b"PROXY ";

/// What stands at the front of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// All of it belongs to a header, which goes on.
    Incomplete,
    /// A header of this many octets, and on whose behalf the proxy connects.
    Header(usize, Origin),
    /// Not a header.
    Malformed,
}

/// On whose behalf a proxy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This client's.
    Client(SocketAddr),
    /// Its own, to see whether we are there: `LOCAL` in version 2, `UNKNOWN` in version 1.
    Proxy,
}

/// Reads the header at the front of `octets`; what follows it is not looked at.
pub fn parse(octets: &[u8]) -> Preface {
    if starts_like(octets, V2_SIGNATURE) {
        version_2(octets)
    } else if starts_like(octets, V1_SIGNATURE) {
        version_1(octets)
    } else {
        Preface::Malformed
    }
}

/// Whether `octets` begin with `signature`, or are the beginning of it.
fn starts_like(octets: &[u8], signature: &[u8]) -> bool {
    octets.starts_with(signature) || signature.starts_with(octets)
}

fn version_1(octets: &[u8]) -> Preface {
    let Some(lf) = memchr::memchr(b'\n', octets) else {
        return if octets.len() >= V1_MAX { Preface::Malformed } else { Preface::Incomplete };
    };
    let length = lf + 1;
    let line = octets.get(..length).and_then(|line| line.strip_suffix(b"\r\n"));
    match line.filter(|_| length <= V1_MAX).and_then(|line| std::str::from_utf8(line).ok()).and_then(origin_1) {
        Some(origin) => Preface::Header(length, origin),
        None => Preface::Malformed,
    }
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and anything.
fn origin_1(line: &str) -> Option<Origin> {
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Origin::Proxy);
    }
    let mut words = rest.split(' ');
    let family = words.next()?;
    let (source, _destination) = (address_1(family, words.next()?)?, address_1(family, words.next()?)?);
    let (port, _destination_port) = (port_1(words.next()?)?, port_1(words.next()?)?);
    words.next().is_none().then(|| Origin::Client(SocketAddr::new(source, port)))
}

fn address_1(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// Digits without a leading zero.
fn port_1(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

fn version_2(octets: &[u8]) -> Preface {
    let Some((prefix, rest)) = octets.split_at_checked(V2_PREFIX) else { return Preface::Incomplete };
    let Some([version_and_command, family, high, low]) = prefix.last_chunk::<4>() else { return Preface::Malformed };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if V2_PREFIX + length > V2_MAX {
        return Preface::Malformed;
    }
    let origin = |body: &[u8]| match version_and_command {
        0x20 => Some(Origin::Proxy),
        0x21 => origin_2(*family, body),
        _ => None,
    };
    // A wrong version is said at once; the length of what is no header means nothing.
    if !matches!(version_and_command, 0x20 | 0x21) {
        return Preface::Malformed;
    }
    let Some(body) = rest.get(..length) else { return Preface::Incomplete };
    match origin(body) {
        Some(origin) => Preface::Header(V2_PREFIX + length, origin),
        None => Preface::Malformed,
    }
}

/// TCP over IPv4 or IPv6 alone: mail comes over nothing else. What follows the addresses is passed over.
fn origin_2(family: u8, body: &[u8]) -> Option<Origin> {
    match family {
        0x11 => {
            let (addresses, ports) = (body.first_chunk::<4>()?, body.get(8..12)?);
            let port = ports.first_chunk::<2>()?;
            Some(Origin::Client(SocketAddr::from((*addresses, u16::from_be_bytes(*port)))))
        }
        0x21 => {
            let (addresses, ports) = (body.first_chunk::<16>()?, body.get(32..36)?);
            let port = ports.first_chunk::<2>()?;
            Some(Origin::Client(SocketAddr::from((*addresses, u16::from_be_bytes(*port)))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Origin {
        Origin::Client(text.parse().unwrap())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    fn four() -> Vec<u8> {
        [&[192, 0, 2, 7, 198, 51, 100, 1][..], &40_000_u16.to_be_bytes(), &25_u16.to_be_bytes()].concat()
    }

    fn headers() -> Vec<(Vec<u8>, Origin)> {
        let six = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9][..], &[0; 16], &[0, 80, 0, 25]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n".to_vec(), client("192.0.2.7:40000")),
            (b"PROXY TCP6 2001:db8::9 ::1 0 65535\r\n".to_vec(), client("[2001:db8::9]:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Proxy),
            (b"PROXY UNKNOWN ffff::1 whatever\r\n".to_vec(), Origin::Proxy),
            (v2(0x21, 0x11, &four()), client("192.0.2.7:40000")),
            (v2(0x21, 0x11, &[four(), b"\x03\x00\x04abcd".to_vec()].concat()), client("192.0.2.7:40000")),
            (v2(0x21, 0x21, &six), client("[2001:db8::9]:80")),
            (v2(0x20, 0x00, &[]), Origin::Proxy),
            (v2(0x20, 0x11, &four()), Origin::Proxy),
        ]
    }

    #[test]
    fn a_header_is_read_to_its_end_and_no_further_however_it_is_split() {
        for (header, origin) in headers() {
            let followed = [header.as_slice(), b"EHLO x\r\n"].concat();
            assert_eq!(parse(&followed), Preface::Header(header.len(), origin), "{header:?}");
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Preface::Incomplete, "{header:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_exactly_a_header_is_none() {
        for bad in [
            "EHLO x\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 25\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 25 \r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 01 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 25\r\n",
            "PROXY TCP4 ::1 ::1 1 25\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.999 198.51.100.1 1 25\r\n",
            "PROXY UNKNOWNX\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), Preface::Malformed, "{bad:?}");
        }
        for bad in [
            v2(0x11, 0x11, &four()),
            v2(0x22, 0x11, &four()),
            v2(0x21, 0x12, &four()),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x00, &[]),
            v2(0x21, 0x11, &four()[..11]),
            v2(0x21, 0x21, &[0; 35]),
        ] {
            assert_eq!(parse(&bad), Preface::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn both_versions_end_at_their_limit() {
        let unknown = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
        assert_eq!(parse(&unknown(V1_MAX)), Preface::Header(V1_MAX, Origin::Proxy));
        assert_eq!(parse(&unknown(V1_MAX + 1)), Preface::Malformed);
        assert_eq!(parse(&unknown(V1_MAX + 1)[..V1_MAX - 1]), Preface::Incomplete);
        assert_eq!(parse(&unknown(V1_MAX + 1)[..V1_MAX]), Preface::Malformed);
        let long = |length: usize| v2(0x20, 0, &vec![0; length - V2_PREFIX]);
        assert_eq!(parse(&long(V2_MAX)), Preface::Header(V2_MAX, Origin::Proxy));
        assert_eq!(parse(&long(V2_MAX + 1)[..V2_PREFIX]), Preface::Malformed);
    }
}
