//! Which hosts a stream allows. Pure.

use crate::https::{Host, Target, host_and_port};

/// A host that a stream's tool may be told at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: u16,
    reach: Reach,
}

/// Which names an allowed one stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Itself.
    Itself,
    /// Those below it.
    Below,
}

impl AllowedHost {
    /// Reads `lists.tool.example`, `*.tool.example` (the names below, not the name itself), each also with `:PORT`.
    ///
    /// # Errors
    /// A sentence with what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}`: expected a host such as lists.tool.example or *.tool.example, with :PORT unless it is 443"
            )
        };
        let (reach, rest) = text.strip_prefix("*.").map_or((Reach::Itself, text), |rest| (Reach::Below, rest));
        let (host, port) = host_and_port(rest).ok_or_else(expected)?;
        match (&host, reach) {
            // A star over a whole top-level domain would allow everybody in it.
            (Host::Name(domain), Reach::Below) if !domain.as_str().contains('.') => Err(expected()),
            (Host::Address(_), Reach::Below) => Err(expected()),
            (Host::Name(_), Reach::Below | Reach::Itself) | (Host::Address(_), Reach::Itself) => {
                Ok(Self { host, port, reach })
            }
        }
    }

    /// Whether `target` is one of these.
    pub(super) fn covers(&self, target: &Target) -> bool {
        let named = match (self.reach, &self.host, &target.host) {
            (Reach::Itself, own, host) => own == host,
            (Reach::Below, Host::Name(own), Host::Name(host)) => host != own && host.is_within(own),
            (Reach::Below, Host::Name(_) | Host::Address(_), _) => false,
        };
        named && self.port == target.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_by_name_and_port() {
        let covers =
            |allowed: &str, url: &str| AllowedHost::parse(allowed).unwrap().covers(&Target::parse(url).unwrap());
        for (allowed, url, expected) in [
            ("tool.example", "https://tool.example/", true),
            ("TOOL.example", "https://tool.EXAMPLE/", true),
            ("tool.example", "https://x.tool.example/", false),
            ("tool.example", "https://xtool.example/", false),
            ("tool.example", "https://tool.example.evil.example/", false),
            ("tool.example", "https://tool.example:8443/", false),
            ("tool.example:8443", "https://tool.example:8443/", true),
            ("*.tool.example", "https://a.b.tool.example/", true),
            ("*.tool.example", "https://tool.example/", false),
            ("*.tool.example", "https://xtool.example/", false),
            ("10.1.2.3", "https://10.1.2.3/", true),
            ("10.1.2.3", "https://10.1.2.4/", false),
            ("[fd00::1]:8443", "https://[fd00:0::1]:8443/", true),
        ] {
            assert_eq!(covers(allowed, url), expected, "{allowed} {url}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "*.example",
            "*.10.1.2.3",
            "https://tool.example",
            "tool.example/x",
            "a b",
            "tool.example:0",
        ] {
            assert!(AllowedHost::parse(bad).unwrap_err().contains("expected a host"), "{bad}");
        }
    }
}
