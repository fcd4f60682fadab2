//! Where a URL leads. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::http::uri::PathAndQuery;

use crate::mail::Domain;

/// The port of https (RFC 9110 section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// A host as it stands in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// To be resolved.
    Name(Domain),
    /// As it is.
    Address(IpAddr),
}

impl Host {
    /// Reads a name, a dotted IPv4 address or an IPv6 address in brackets. Other ways to write an address (`0x7f000001`,
    /// `2130706433`, `127.1`) are nobody's name and are not read.
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit())) {
            return None;
        }
        Domain::parse(text).ok().map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => write!(f, "{domain}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Where to send the POST.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub host: Host,
    /// At which door.
    pub port: u16,
    /// What stands behind the host. It may name a person.
    pub(super) path: PathAndQuery,
}

impl Target {
    /// Reads an https URL without user information. What is not understood is not called.
    pub fn parse(url: &str) -> Option<Self> {
        let scheme = "https://";
        let rest = url.get(..scheme.len()).filter(|s| s.eq_ignore_ascii_case(scheme)).and(url.get(scheme.len()..))?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (host, port) = host_and_port(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { host, port, path: PathAndQuery::try_from(path).ok()? })
    }

    /// `host` or `host:port`, as the Host field has it (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        if self.port == HTTPS_PORT { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Shows the host only: the path may name a person, and knowing it may be enough to unsubscribe them.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/…", self.authority())
    }
}

/// Reads `host` or `host:port`; the port is that of https unless it is said.
pub fn host_and_port(authority: &str) -> Option<(Host, u16)> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(after_brackets..)?.find(':').map(|at| at + after_brackets);
    let Some(colon) = colon else { return Some((Host::parse(authority)?, HTTPS_PORT)) };
    let (host, port) = authority.split_at_checked(colon)?;
    let port = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    Some((Host::parse(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_in_one_way_or_not_at_all() {
        for (url, authority, path) in [
            ("https://tool.example/u/1?x=y", "tool.example", "/u/1?x=y"),
            ("HTTPS://Tool.Example", "tool.example", "/"),
            ("https://tool.example?x", "tool.example", "/?x"),
            ("https://tool.example/a#b", "tool.example", "/a"),
            ("https://tool.example:8443/", "tool.example:8443", "/"),
            ("https://tool.example:443/", "tool.example", "/"),
            ("https://192.0.2.1/", "192.0.2.1", "/"),
            ("https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443", "/x"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|| panic!("{url}"));
            assert_eq!((target.authority().as_str(), target.path.as_str()), (authority, path), "{url}");
            assert!(!format!("{target:?}").contains("u/1"));
        }
        for bad in [
            "http://tool.example/",
            "tool.example/",
            "https://",
            "https:///x",
            "https://user@tool.example/",
            "https://tool.example@evil.example/",
            "https://tool.example:0/",
            "https://tool.example:x/",
            "https://tool.example:70000/",
            "https://tool.example:/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0X7F.1/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://[::1/",
            "https://[::1]x/",
            "https://tool.example./",
            "https://%6c.example/",
            "https://tool.example\\@evil.example/",
            "https://a b/",
        ] {
            assert_eq!(Target::parse(bad), None, "{bad}");
        }
    }
}
