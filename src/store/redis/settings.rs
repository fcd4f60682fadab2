//! Where the fleet's store is, and how it is spoken to.

use std::path::PathBuf;

/// Where the fleet's store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which servers, and how they are arranged.
    pub topology: Topology,
    /// Whether the connections are encrypted, and whom they believe.
    pub security: Security,
    /// The ACL user; the server's default user when not given.
    pub user: Option<String>,
    /// The file with the password on its first line.
    pub password_file: Option<PathBuf>,
    /// The database's number; a cluster has only number 0.
    pub database: u16,
    /// What every key begins with.
    pub prefix: String,
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Server),
    /// A server that Sentinels watch over and replace.
    Sentinel {
        /// The Sentinels; any of them may answer.
        sentinels: Vec<Server>,
        /// What they call the server.
        master: String,
    },
    /// A cluster.
    Cluster(Vec<Server>),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Server {
    /// Reads `HOST:PORT`, with an IPv6 address in brackets.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected HOST:PORT such as 10.0.0.5:6379 or [2001:db8::5]:6379");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let fits =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(expected)?;
        if fits { Ok(Self { host: host.to_owned(), port }) } else { Err(expected()) }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether the connections are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// In clear: for loopback and private networks.
    Plain,
    /// TLS, with chain and name verified against the operating system's roots or those of a PEM file.
    Tls {
        /// The only roots that are believed, when given.
        roots: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_read_back_and_rubbish_is_refused() {
        let server = Server::parse("[::1]:6379").unwrap();
        assert_eq!((server.host.as_str(), server.port), ("::1", 6379));
        assert_eq!(Server::parse("r.example:7000").unwrap().to_string(), "r.example:7000");
        for bad in ["", "r.example", "r.example:", "r.example:0", "r.example:70000", ":6379", "redis://r:1", "u@r:1"] {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }
}
