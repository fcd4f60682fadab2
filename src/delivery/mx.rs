//! Where the mail servers of a domain are: RFC 5321 section 5.1, RFC 7505.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::outcome::{self, Fate, Verdict};
use crate::dns::{Authenticity, DnsError, Exchange, Resolver};
use crate::mail::{Domain, EnhancedStatus, Reply};
use crate::replies::Class;
use crate::smtp::client::Target;

/// Hosts of one domain that are looked up; what comes behind is not tried. Large providers name five at most, and a
/// list without end would be a way to keep a worker busy (RFC 5321 section 5.1 asks for two at least).
pub const HOSTS_MAX: usize = 10;

/// What to do about mail servers that are this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// Mail would come back to us, so these and all that are less preferred are left out (RFC 5321 section 5.1).
    Refuse,
    /// Deliver to them: a laboratory on one machine.
    Deliver,
}

/// Why there is no server to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoWay {
    /// It takes no mail, and says so (RFC 7505 section 3).
    #[error("the domain {0} takes no mail (null MX)")]
    NullMx(Domain),
    /// It does not exist, or has neither MX nor address.
    #[error("the domain of the address cannot take mail: {0}")]
    NoDomain(DnsError),
    /// No server of it has an address.
    #[error("none of the mail servers of {0} has an address")]
    NoAddress(Domain),
    /// We are its best server.
    #[error("the mail servers of {0} are this machine: mail would come back to us")]
    Loop(Domain),
    /// Not known now.
    #[error("{0}")]
    Unknown(DnsError),
}

impl NoWay {
    /// Nobody has set up a resolver that validates, and the route needs one.
    pub(super) fn not_validated(domain: &Domain) -> Self {
        let reason = "no resolver validates here".to_owned();
        Self::Unknown(DnsError::Unavailable { name: domain.to_string(), reason })
    }

    /// What it means for the recipients there. What a zone says is final; what it could not say is not.
    pub(super) fn verdict(&self) -> Verdict {
        let status = |class, subject, detail| EnhancedStatus::new(class, subject, detail);
        let (fate, code, status, class) = match self {
            // RFC 7505 section 4.2 and RFC 3463 (registry of enhanced status codes): 556 5.1.10.
            Self::NullMx(_) => (Fate::Bounced, 556, status(5, 1, 10), Class::DomainDead),
            Self::NoDomain(_) => (Fate::Bounced, 550, status(5, 1, 2), Class::DomainDead),
            Self::NoAddress(_) => (Fate::Bounced, 550, status(5, 4, 4), Class::Routing),
            Self::Loop(_) => (Fate::Bounced, 554, status(5, 4, 6), Class::Routing),
            Self::Unknown(_) => (Fate::Deferred, 451, status(4, 4, 3), Class::Dns),
        };
        let reply = Reply::new(code, status, self.to_string());
        outcome::own_words(reply, fate, fate == Fate::Deferred, class)
    }
}

/// One mail server of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Where it is.
    pub(super) target: Target,
    /// Where its TLSA records may stand; nowhere, unless all that led here is signed (RFC 7672 section 2.2).
    pub(super) tlsa_bases: Vec<String>,
}

/// The servers of `domain` with their addresses, in the order in which to try them; `random` orders those of one
/// preference (RFC 5321 section 5.1 asks for it).
pub(super) async fn servers(
    resolver: &Resolver,
    domain: &Domain,
    port: u16,
    loopback: Loopback,
    random: impl Fn() -> u32,
) -> Result<Vec<Server>, NoWay> {
    let is_us = |address: &IpAddr| loopback == Loopback::Refuse && is_this_machine(*address);
    if let Some(address) = literal(domain) {
        let target = Target::new(domain.as_str(), [SocketAddr::new(address, port)]);
        let server = Server { target, tlsa_bases: Vec::new() };
        return if is_us(&address) { Err(NoWay::Loop(domain.clone())) } else { Ok(vec![server]) };
    }
    // Without MX the domain's own addresses say whether it is signed.
    let (mut implicit, mut authenticity) = (false, Authenticity::Secure);
    let groups = match resolver.exchanges(domain).await {
        Ok(exchanges) => {
            authenticity = exchanges.authenticity;
            in_order(exchanges.records, random).ok_or_else(|| NoWay::NullMx(domain.clone()))?
        }
        // Without MX the domain is its own mail server.
        Err(DnsError::NoRecord(_)) => {
            implicit = true;
            vec![vec![domain.as_str().to_owned()]]
        }
        Err(error @ DnsError::NoSuchName(_)) => return Err(NoWay::NoDomain(error)),
        Err(error @ (DnsError::Bogus(_) | DnsError::Unavailable { .. })) => return Err(NoWay::Unknown(error)),
    };
    let mut found = Vec::new();
    let mut unknown = None;
    for group in groups {
        let mut servers = Vec::new();
        for host in group {
            match resolver.addresses(&host).await {
                Ok(addresses) if addresses.list.iter().any(&is_us) => {
                    return if found.is_empty() { Err(NoWay::Loop(domain.clone())) } else { Ok(found) };
                }
                Ok(addresses) => {
                    let tlsa_bases = match authenticity {
                        Authenticity::Secure => addresses.tlsa_bases,
                        Authenticity::Insecure => Vec::new(),
                    };
                    let addresses = addresses.list.into_iter().map(|address| SocketAddr::new(address, port));
                    servers.push(Server { target: Target::new(&host, addresses), tlsa_bases });
                }
                Err(error @ (DnsError::Bogus(_) | DnsError::Unavailable { .. })) => unknown = Some(error),
                Err(error) if implicit => return Err(NoWay::NoDomain(error)),
                Err(DnsError::NoSuchName(_) | DnsError::NoRecord(_)) => {}
            }
        }
        found.append(&mut servers);
    }
    match unknown {
        _ if !found.is_empty() => Ok(found),
        Some(error) => Err(NoWay::Unknown(error)),
        None => Err(NoWay::NoAddress(domain.clone())),
    }
}

/// Hosts by preference, those of one preference together and shuffled; `None` for the null MX. A root beside other
/// hosts names no host (RFC 7505 section 3 forbids it) and is left out.
fn in_order(mut exchanges: Vec<Exchange>, random: impl Fn() -> u32) -> Option<Vec<Vec<String>>> {
    exchanges.retain(|exchange| !exchange.host.is_empty());
    if exchanges.is_empty() {
        return None;
    }
    let mut keyed: Vec<_> =
        exchanges.into_iter().map(|exchange| (exchange.preference, random(), exchange.host)).collect();
    keyed.sort();
    keyed.truncate(HOSTS_MAX);
    let groups = keyed.chunk_by(|one, other| one.0 == other.0);
    Some(groups.map(|group| group.iter().map(|(_, _, host)| host.clone()).collect()).collect())
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3).
fn literal(domain: &Domain) -> Option<IpAddr> {
    let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").unwrap_or(inner).parse().ok()
}

/// Whether a connection to this address would end here: a socket can only be bound to an address that we have.
fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn exchange(preference: u16, host: &str) -> Exchange {
        Exchange { preference, host: host.to_owned() }
    }

    #[test]
    fn hosts_stand_by_preference_and_are_shuffled_within() {
        let given = || vec![exchange(20, "c"), exchange(10, "a"), exchange(10, "b"), exchange(10, "")];
        let sequence = |numbers: [u32; 3]| {
            let at = Cell::new(0);
            in_order(given(), || {
                at.set(at.get() + 1);
                numbers[at.get() - 1]
            })
        };
        assert_eq!(sequence([0, 1, 2]).unwrap(), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(sequence([0, 2, 1]).unwrap(), [vec!["b", "a"], vec!["c"]]);
        assert_eq!(in_order(vec![exchange(0, "")], || 0), None, "RFC 7505");
    }

    #[test]
    fn no_more_than_the_first_ten_are_looked_up() {
        let many = |count: u16| (0..count).map(|n| exchange(n, &format!("mx{n}"))).collect();
        let hosts = |count| in_order(many(count), || 0).unwrap().concat();
        assert_eq!((hosts(10).len(), hosts(11).len()), (HOSTS_MAX, HOSTS_MAX));
        assert_eq!(hosts(11).last().unwrap(), "mx9");
    }

    #[test]
    fn literals_are_addresses_and_ours_are_known() {
        let of = |text: &str| literal(&Domain::parse(text).unwrap());
        assert_eq!(of("[192.0.2.1]"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(of("[IPv6:2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(of("example.org"), None);
        for ours in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::ffff:127.0.0.1"] {
            assert!(is_this_machine(ours.parse().unwrap()), "{ours}");
        }
        assert!(!is_this_machine("192.0.2.1".parse().unwrap()), "TEST-NET-1 is nobody's");
    }

    #[test]
    fn what_a_zone_says_is_final_and_what_it_cannot_say_is_not() {
        let domain = Domain::parse("x.example").unwrap();
        let name = "x.example".to_owned();
        let cases = [
            (NoWay::NullMx(domain.clone()), "556 5.1.10"),
            (NoWay::NoDomain(DnsError::NoSuchName(name.clone())), "550 5.1.2"),
            (NoWay::NoAddress(domain.clone()), "550 5.4.4"),
            (NoWay::Loop(domain), "554 5.4.6"),
            (NoWay::Unknown(DnsError::Unavailable { name, reason: "SERVFAIL".to_owned() }), "451 4.4.3"),
        ];
        for (no_way, expected) in cases {
            let verdict = no_way.verdict();
            assert!(verdict.reply.to_string().starts_with(expected), "{}", verdict.reply);
            assert_eq!(verdict.fate == Fate::Deferred, expected.starts_with('4'));
            assert_eq!(verdict.route_fault, expected.starts_with('4'));
        }
    }
}
