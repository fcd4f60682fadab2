//! Look-ups in the DNS.
//!
//! **Promise:** an answer, or that there is none, or that it cannot be had now: three things that are never mixed up.
//! NXDOMAIN is not SERVFAIL, and a name without records of a type is not a name that does not exist. Every look-up
//! ends within [`TIMEOUT`] for each of [`ATTEMPTS`] rounds; answers are kept as long as they allow.
//!
//! **Owns:** which name servers are asked, their cache, its size.
//!
//! **Never knows:** what an answer is for.
//!
//! **Standards:** RFC 1035, RFC 2308 (negative answers), RFC 5321 section 5.1 (MX), RFC 7208 section 3.3 (TXT).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::mail::Domain;

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
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver(..)")
    }
}

impl Resolver {
    /// Reads the system's configuration where the settings name no server. Asks nobody yet.
    ///
    /// # Errors
    /// In words: the system's configuration cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| format!("the system's resolver configuration: {error}"))?
        } else {
            let servers = settings.servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        adjust(builder.options_mut());
        builder.build().map(Self).map_err(|error| format!("the resolver cannot be set up: {error}"))
    }

    /// MX records, in no order.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn exchanges(&self, domain: &Domain) -> Result<Vec<Exchange>, DnsError> {
        let name = domain.as_str();
        let found = self.0.mx_lookup(rooted(name)).await.map_err(|error| failure(name, &error))?;
        let exchanges: Vec<_> = records(&found)
            .filter_map(|data| {
                let RData::MX(mx) = data else { return None };
                Some(Exchange { preference: mx.preference, host: unrooted(&mx.exchange.to_ascii()) })
            })
            .collect();
        if exchanges.is_empty() { Err(DnsError::NoRecord(name.to_owned())) } else { Ok(exchanges) }
    }

    /// TXT records, the strings of each joined (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3).
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let found = self.0.txt_lookup(rooted(name)).await.map_err(|error| failure(name, &error))?;
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
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let (v6, v4) = tokio::join!(self.0.ipv6_lookup(rooted(host)), self.0.ipv4_lookup(rooted(host)));
        let mut addresses = Vec::new();
        let mut failures = Vec::new();
        for answer in [v6, v4] {
            match answer {
                Ok(found) => addresses.extend(records(&found).filter_map(RData::ip_addr)),
                Err(error) => failures.push(failure(host, &error)),
            }
        }
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        // What one kind cannot tell for now decides: the other may be all that the host has.
        let unavailable = failures.iter().position(|error| matches!(error, DnsError::Unavailable { .. }));
        let worst = unavailable.map(|at| failures.swap_remove(at)).or_else(|| failures.pop());
        Err(worst.unwrap_or_else(|| DnsError::NoRecord(host.to_owned())))
    }
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
    let name = name.to_owned();
    if error.is_nx_domain() {
        DnsError::NoSuchName(name)
    } else if error.is_no_records_found() {
        DnsError::NoRecord(name)
    } else {
        DnsError::Unavailable { name, reason: error.to_string() }
    }
}
