//! Questions to the DNS, and the three kinds of answer: records, none, and no answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

/// For each question to each server: an operator waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Rounds over the servers: a packet may be lost.
const ATTEMPTS: usize = 2;

/// No answer: the server cannot be reached, or says that it cannot tell. Asking later may help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Silent(pub(super) String);

/// One MX record (RFC 5321 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) preference: u16,
    /// Without the final dot: empty for a domain that takes no mail (RFC 7505).
    pub(super) host: String,
}

/// Asks the system's name servers, or one that was named.
pub(super) struct Resolver(TokioResolver);

impl Resolver {
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let mut builder = match server {
            None => {
                TokioResolver::builder_tokio().map_err(|error| format!("the system's resolver settings: {error}"))?
            }
            Some(server) => {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![config]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        // What other machines see counts, not what this one's hosts file says.
        options.use_hosts_file = ResolveHosts::Never;
        options.attempts = ATTEMPTS;
        builder.build().map(Self).map_err(|error| format!("the resolver cannot be set up: {error}"))
    }

    /// TXT records, the strings of each joined (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3).
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<String>, Silent> {
        let text = |data: &RData| {
            let RData::TXT(txt) = data else { return None };
            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
        };
        taken(self.0.txt_lookup(rooted(name)).await, text)
    }

    /// MX records.
    pub(super) async fn exchanges(&self, name: &str) -> Result<Vec<Exchange>, Silent> {
        let exchange = |data: &RData| {
            let RData::MX(mx) = data else { return None };
            let host = mx.exchange.to_ascii().trim_end_matches('.').to_lowercase();
            Some(Exchange { preference: mx.preference, host })
        };
        taken(self.0.mx_lookup(rooted(name)).await, exchange)
    }

    /// IPv4 and IPv6 addresses.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Silent> {
        let address = |data: &RData| data.ip_addr();
        let mut addresses = taken(self.0.ipv4_lookup(rooted(name)).await, address)?;
        addresses.extend(taken(self.0.ipv6_lookup(rooted(name)).await, address)?);
        Ok(addresses)
    }
}

/// A final dot keeps the system's search list out of it.
fn rooted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn taken<T>(answer: Result<Lookup, NetError>, take: impl Fn(&RData) -> Option<T>) -> Result<Vec<T>, Silent> {
    match answer {
        Ok(lookup) => Ok(lookup.answers().iter().filter_map(|record| take(&record.data)).collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(Silent(error.to_string())),
    }
}
