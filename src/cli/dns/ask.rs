//! The house's resolver, asked by somebody who wants to see what is there: no record is an answer like any other.

use std::net::{IpAddr, SocketAddr};

use crate::dns::{DnsError, Exchange, Settings};
use crate::mail::Domain;

/// No answer: the server cannot be reached, or says that it cannot tell. Asking later may help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Silent(pub(super) String);

/// Asks the system's name servers, or one that was named.
pub(super) struct Resolver(crate::dns::Resolver);

impl Resolver {
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        crate::dns::Resolver::new(&Settings { servers: server.into_iter().collect(), dnssec: None }).map(Self)
    }

    /// TXT records, the strings of each joined.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<String>, Silent> {
        there(self.0.texts(name).await)
    }

    /// MX records.
    pub(super) async fn exchanges(&self, name: &str) -> Result<Vec<Exchange>, Silent> {
        let domain = Domain::parse(name).map_err(|error| Silent(error.to_string()))?;
        there(self.0.exchanges(&domain).await.map(|answer| answer.records))
    }

    /// IPv4 and IPv6 addresses.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Silent> {
        there(self.0.addresses(name).await.map(|addresses| addresses.list))
    }
}

fn there<T>(answer: Result<Vec<T>, DnsError>) -> Result<Vec<T>, Silent> {
    match answer {
        Ok(found) => Ok(found),
        Err(DnsError::NoSuchName(_) | DnsError::NoRecord(_)) => Ok(Vec::new()),
        Err(error @ (DnsError::Bogus(_) | DnsError::Unavailable { .. })) => Err(Silent(error.to_string())),
    }
}
