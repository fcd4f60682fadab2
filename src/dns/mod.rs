//! Look-ups in the DNS.
//!
//! **Promise:** an answer, or that there is none, or that it cannot be had now: three things that are never mixed up. Who
//! asks to validate learns whether an answer is signed, provably not signed, or forged; a forged one is no answer.
//! NXDOMAIN is not SERVFAIL, and a name without records of a type is not a name that does not exist. Every look-up
//! ends within [`TIMEOUT`] for each of [`ATTEMPTS`] rounds; answers are kept as long as they allow.
//!
//! **Owns:** which name servers are asked, their cache, its size.
//!
//! **Never knows:** what an answer is for.
//!
//! **Standards:** RFC 1035, RFC 2308 (negative answers), RFC 5321 section 5.1 (MX), RFC 7208 section 3.3 (TXT),
//! RFC 4035 and RFC 7672 section 2 (DNSSEC), RFC 6698 (TLSA).

mod validation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::RData;

use crate::mail::Domain;

pub use validation::{Addresses, Anchors, Answer, Authenticity, Tlsa};

/// For each question to each server.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Rounds over the servers.
pub const ATTEMPTS: usize = 2;
/// Answers kept. A few octets to some hundred each; a campaign to 20,000 companies asks for MX and addresses of each.
const CACHE_MAX: u64 = 65_536;
/// An answer that is not there is kept for this long at most, whatever its zone says: a domain that has just been
/// registered, or a record that was forgotten and added, should not wait for a day.
const NEGATIVE_MAX: Duration = Duration::from_mins(15);

/// Which name servers are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Empty: those of the system (resolv.conf).
    pub servers: Vec<SocketAddr>,
    /// Whether answers can be validated, and from where on.
    pub dnssec: Option<Anchors>,
}

/// Why there are no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN). Asking again will not help soon.
    #[error("{0} does not exist in the DNS")]
    NoSuchName(String),
    /// The name exists, and has no record of this type.
    #[error("{0} has no such record")]
    NoRecord(String),
    /// Its zone is signed and this is not what was signed there: a forgery, or a zone in disorder.
    #[error("the answer about {0} is not what its zone has signed (DNSSEC)")]
    Bogus(String),
    /// No answer, or one that says that the server cannot tell (SERVFAIL, REFUSED). Asking later may help.
    #[error("{name} cannot be looked up now: {reason}")]
    Unavailable {
        /// Which.
        name: String,
        /// What came instead of an answer.
        reason: String,
    },
}

/// One MX record (RFC 5321 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The lowest is tried first.
    pub preference: u16,
    /// The host, without the final dot; empty for the root, which is the null MX of RFC 7505.
    pub host: String,
}

/// Asks and remembers. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    asks: TokioResolver,
    validates: Option<Box<Resolver>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver(..)")
    }
}

impl Resolver {
    /// Reads the system's configuration where the settings name no server. Asks nobody yet.
    ///
    /// # Errors
    /// In words: the system's configuration or the file with trust anchors cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let anchors = settings.dnssec.as_ref().map(Anchors::load).transpose()?;
        let validates = anchors.map(|anchors| set_up(settings, Some(anchors))).transpose()?;
        let validates = validates.map(|asks| Box::new(Self { asks, validates: None }));
        Ok(Self { asks: set_up(settings, None)?, validates })
    }

    /// One that validates; none where the settings do not ask for it.
    pub fn validating(&self) -> Option<&Self> {
        self.validates.as_deref()
    }

    /// MX records.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn exchanges(&self, domain: &Domain) -> Result<Answer<Exchange>, DnsError> {
        let name = domain.as_str();
        let found = self.asks.mx_lookup(rooted(name)).await.map_err(|error| failure(name, &error))?;
        self.answer(name, &found, |data| {
            let RData::MX(mx) = data else { return None };
            Some(Exchange { preference: mx.preference, host: unrooted(&mx.exchange.to_ascii()) })
        })
    }

    /// TLSA records.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn tlsa(&self, name: &str) -> Result<Answer<Tlsa>, DnsError> {
        let found = self.asks.tlsa_lookup(rooted(name)).await.map_err(|error| failure(name, &error))?;
        self.answer(name, &found, |data| {
            let RData::TLSA(tlsa) = data else { return None };
            let (usage, selector, matching) = (tlsa.cert_usage.into(), tlsa.selector.into(), tlsa.matching.into());
            Some(Tlsa { usage, selector, matching, data: tlsa.cert_data.clone() })
        })
    }

    fn answer<T>(&self, name: &str, found: &Lookup, read: impl Fn(&RData) -> Option<T>) -> Result<Answer<T>, DnsError> {
        let records: Vec<_> = records(found).filter_map(read).collect();
        if records.is_empty() {
            return Err(DnsError::NoRecord(name.to_owned()));
        }
        Ok(Answer { records, authenticity: self.authenticity(name, found)? })
    }

    /// Nobody has looked, unless this is a resolver that does.
    fn authenticity(&self, name: &str, found: &Lookup) -> Result<Authenticity, DnsError> {
        if self.asks.options().validate {
            validation::authenticity(name, found.answers())
        } else {
            Ok(Authenticity::Insecure)
        }
    }

    /// TXT records, the strings of each joined (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3).
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let found = self.asks.txt_lookup(rooted(name)).await.map_err(|error| failure(name, &error))?;
        let texts = records(&found).filter_map(|data| {
            let RData::TXT(txt) = data else { return None };
            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
        });
        Ok(texts.collect())
    }

    /// Addresses of a host, IPv6 and IPv4; those that could be had when the other kind could not.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn addresses(&self, host: &str) -> Result<Addresses, DnsError> {
        let (v6, v4) = tokio::join!(self.asks.ipv6_lookup(rooted(host)), self.asks.ipv4_lookup(rooted(host)));
        let mut addresses = Addresses { list: Vec::new(), tlsa_bases: Vec::new() };
        let mut failures = Vec::new();
        for answer in [v6, v4] {
            let found = answer.map_err(|error| failure(host, &error));
            match found.and_then(|found| self.authenticity(host, &found).map(|authenticity| (found, authenticity))) {
                Ok((found, authenticity)) => {
                    let bases = validation::tlsa_bases(host, found.answers(), authenticity);
                    // What only one of them vouches for nobody does.
                    if addresses.list.is_empty() {
                        addresses.tlsa_bases = bases;
                    } else {
                        addresses.tlsa_bases.retain(|base| bases.contains(base));
                    }
                    addresses.list.extend(records(&found).filter_map(RData::ip_addr));
                }
                Err(error) => failures.push(error),
            }
        }
        if !addresses.list.is_empty() {
            return Ok(addresses);
        }
        // What one kind cannot tell for now decides: the other may be all that the host has.
        let unknown = failures.iter().position(|error| !error.is_final());
        let worst = unknown.map(|at| failures.swap_remove(at)).or_else(|| failures.pop());
        Err(worst.unwrap_or_else(|| DnsError::NoRecord(host.to_owned())))
    }
}

impl DnsError {
    /// Whether it is what the zone says, and not that nobody could tell.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NoSuchName(_) | Self::NoRecord(_) => true,
            Self::Bogus(_) | Self::Unavailable { .. } => false,
        }
    }
}

fn set_up(settings: &Settings, anchors: Option<TrustAnchors>) -> Result<TokioResolver, String> {
    let mut builder = if settings.servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("the system's resolver configuration: {error}"))?
    } else {
        let servers = settings.servers.iter().map(|server| name_server(*server)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    adjust(builder.options_mut());
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(Arc::new(anchors));
    }
    builder.build().map_err(|error| format!("the resolver cannot be set up: {error}"))
}

fn name_server(at: SocketAddr) -> NameServerConfig {
    let connection = |mut config: ConnectionConfig| {
        config.port = at.port();
        config
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(at.ip(), true, connections)
}

fn adjust(options: &mut ResolverOpts) {
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHE_MAX;
    options.negative_max_ttl = Some(NEGATIVE_MAX);
    options.edns0 = true;
    options.try_tcp_on_error = true;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Mail for a domain goes where its own zone says.
    options.use_hosts_file = ResolveHosts::Never;
}

/// A name with its final dot is not looked for under the system's search domains.
fn rooted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn unrooted(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn records(found: &Lookup) -> impl Iterator<Item = &RData> {
    found.answers().iter().map(|record| &record.data)
}

fn failure(name: &str, error: &NetError) -> DnsError {
    if let Some(failure) = validation::failure(name, error) {
        return failure;
    }
    let name = name.to_owned();
    if error.is_nx_domain() {
        DnsError::NoSuchName(name)
    } else if error.is_no_records_found() {
        DnsError::NoRecord(name)
    } else {
        DnsError::Unavailable { name, reason: error.to_string() }
    }
}
