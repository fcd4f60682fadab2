//! The header of a proxy in front of a connection. Only the addresses that the operator names may write one, and they
//! must: else a client could choose where it seems to come from.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::smtp::wire::proxy::{Origin, Preface, V2_MAX, parse};

/// How long a proxy may take for its header. It writes it right after it has connected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the header that a proxy at `proxy` has put in front, and not an octet more. Gives who the client is.
///
/// # Errors
/// The connection's; or there is no header, or not in time.
pub(super) async fn client(stream: &mut TcpStream, proxy: SocketAddr) -> io::Result<SocketAddr> {
    let origin = tokio::time::timeout(HEADER_TIMEOUT, header(stream)).await??;
    Ok(match origin {
        Origin::Client(client) => client,
        Origin::Proxy => proxy,
    })
}

/// Looks at what is there before it takes any of it: what follows the header belongs to the client, and may be the
/// beginning of a handshake.
async fn header(stream: &mut TcpStream) -> io::Result<Origin> {
    let mut seen = Vec::with_capacity(V2_MAX);
    loop {
        let taken = seen.len();
        seen.resize(V2_MAX, 0);
        let ahead = stream.peek(seen.get_mut(taken..).unwrap_or_default()).await?;
        if ahead == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.truncate(taken + ahead);
        let (length, origin) = match parse(&seen) {
            Preface::Malformed => return Err(io::ErrorKind::InvalidData.into()),
            Preface::Incomplete => (seen.len(), None),
            Preface::Header(length, origin) => (length, Some(origin)),
        };
        stream.read_exact(seen.get_mut(taken..length).unwrap_or_default()).await?;
        if let Some(origin) = origin {
            return Ok(origin);
        }
    }
}
