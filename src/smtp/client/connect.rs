//! From a name to a TCP connection: addresses in turn, from the address that we are told to use.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::{ClientError, Settings};

/// Addresses of one host that are tried before it counts as unreachable: each may take the whole patience for
/// connecting, and hosts with more than a few addresses answer at one of the first or at none.
pub const ADDRESSES_MAX: usize = 6;

/// The host that a session goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name (or address, when it has none): for certificates, logs and reports.
    pub name: Arc<str>,
    /// Where it can be reached, in the order in which to try.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// A host of which `addresses` are known: IPv6 and IPv4 in turns, beginning with the family that comes first, so
    /// that a family that leads nowhere costs one attempt before the other is tried (as RFC 8305 section 4 orders
    /// them), and no more than [`ADDRESSES_MAX`].
    pub fn new(name: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for address in addresses {
            let same = first.first().is_none_or(|known: &SocketAddr| known.is_ipv4() == address.is_ipv4());
            if same { first.push(address) } else { second.push(address) }
        }
        let mut second = second.into_iter();
        let mut ordered: Vec<_> = first.into_iter().flat_map(|one| [Some(one), second.next()]).flatten().collect();
        ordered.extend(second);
        ordered.truncate(ADDRESSES_MAX);
        Self { name: Arc::from(name), addresses: ordered }
    }

    /// Asks the system, which knows the operator's hosts file as well as the DNS.
    ///
    /// # Errors
    /// [`ClientError::Resolve`].
    pub async fn resolve(host: &str, port: u16, patience: Duration) -> Result<Self, ClientError> {
        match timeout(patience, lookup_host((host, port))).await {
            Err(_) => Err(ClientError::Resolve("no answer in time".to_owned())),
            Ok(Err(error)) => Err(ClientError::Resolve(error.to_string())),
            Ok(Ok(addresses)) => Ok(Self::new(host, addresses)),
        }
    }
}

/// An address of ours that connections may be made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// What EHLO says from there: the name that the address has in the DNS.
    pub hello: String,
}

/// An open connection and what to call ourselves on it.
#[derive(Debug)]
pub(super) struct Connected<'a> {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) hello: &'a str,
}

/// Tries the addresses in turn. `turn` chooses among several sources of one family.
pub(super) async fn connect<'a>(
    target: &Target,
    settings: &'a Settings,
    turn: usize,
) -> Result<Connected<'a>, ClientError> {
    let patience = settings.timeouts.connect;
    let mut last = ClientError::Resolve("it has no address".to_owned());
    for address in &target.addresses {
        let source = match source_for(address, &settings.sources, turn) {
            Ok(source) => source,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let fault = |reason: &dyn std::fmt::Display| ClientError::Connect(format!("{address}: {reason}"));
        match timeout(patience, dial(*address, source)).await {
            Err(_) => last = fault(&"no answer in time"),
            Ok(Err(error)) => last = fault(&error),
            Ok(Ok(stream)) => {
                // Without it the network waits for an acknowledgement before it sends the last part of a message.
                stream.set_nodelay(true).map_err(|error| fault(&error))?;
                let hello = source.map_or(settings.hello.as_str(), |source| source.hello.as_str());
                return Ok(Connected { stream, peer: *address, hello });
            }
        }
    }
    Err(last)
}

/// None when any will do. Where sources are named, an address of another family is not connected to.
fn source_for<'a>(to: &SocketAddr, sources: &'a [Source], turn: usize) -> Result<Option<&'a Source>, ClientError> {
    if sources.is_empty() {
        return Ok(None);
    }
    let fitting: Vec<_> = sources.iter().filter(|source| source.address.is_ipv4() == to.is_ipv4()).collect();
    let chosen = turn.checked_rem(fitting.len()).and_then(|place| fitting.get(place)).copied();
    chosen.map(Some).ok_or_else(|| ClientError::Connect(format!("{to}: the route has no source address of its family")))
}

async fn dial(to: SocketAddr, source: Option<&Source>) -> std::io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source.address, 0))?;
    socket.connect(to).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_and_no_more_than_six_are_tried() {
        let given = ["[::1]:25", "[::2]:25", "[::3]:25", "1.1.1.1:25"].map(at);
        let expected = ["[::1]:25", "1.1.1.1:25", "[::2]:25", "[::3]:25"].map(at);
        assert_eq!(Target::new("x", given).addresses, expected);
        let many = |count: u8| Target::new("x", (0..count).map(|n| SocketAddr::from(([192, 0, 2, n], 25)))).addresses;
        assert_eq!((many(6).len(), many(7).len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert!(Target::new("x", []).addresses.is_empty());
    }

    #[test]
    fn sources_of_the_family_take_turns_and_another_family_is_not_connected_to() {
        let source = |text: &str| Source { address: text.parse().unwrap(), hello: text.to_owned() };
        let sources = [source("192.0.2.1"), source("192.0.2.2")];
        let chosen = |turn| source_for(&at("1.1.1.1:25"), &sources, turn).unwrap().unwrap().hello.clone();
        assert_eq!([chosen(0), chosen(1), chosen(2)], ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
        assert!(source_for(&at("[::1]:25"), &sources, 0).is_err());
        assert_eq!(source_for(&at("[::1]:25"), &[], 0).unwrap(), None);
    }
}
