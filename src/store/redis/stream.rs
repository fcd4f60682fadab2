//! The octets of one connection, counted: a server that sends without end is cut off before it fills our memory.
//!
//! The library takes a string to be as long as it is announced, and holds all that came of it. What an answer may cost
//! has to be bounded before it is read (promise P11).

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::settings::Server;

/// The most that a server may send within a [`WINDOW`]: several times what the walk through a whole store reaches.
const OCTETS_MAX: usize = 128 << 20;
/// As long as an answer may take: who sends so much without ending an answer has lost the connection by then anyway.
const WINDOW: Duration = Duration::from_secs(1);

/// Either kind of connection.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

/// A connection whose server cannot send more than we hold.
pub(super) struct Counted {
    stream: Box<dyn Octets>,
    since: Instant,
    octets: usize,
}

impl Counted {
    /// Connects, and shakes hands under `tls`. The caller bounds the time.
    pub(super) async fn open(server: &Server, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Octets> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name =
                    ServerName::try_from(server.host.clone()).map_err(|e| Error::new(ErrorKind::InvalidInput, e))?;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        Ok(Self::around(stream))
    }

    fn around(stream: Box<dyn Octets>) -> Self {
        Self { stream, since: Instant::now(), octets: 0 }
    }

    fn count(&mut self, octets: usize, now: Instant) -> Result<()> {
        if now.duration_since(self.since) > WINDOW {
            (self.since, self.octets) = (now, 0);
        }
        self.octets = self.octets.saturating_add(octets);
        if self.octets > OCTETS_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "the server sends more than any answer has"));
        }
        Ok(())
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.count(buffer.filled().len() - before, Instant::now()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_send_up_to_the_bound_in_each_second_and_no_octet_more() {
        let mut counted = Counted::around(Box::new(tokio::io::empty()));
        let start = counted.since;
        for window in 0..3 {
            let now = start + (WINDOW + Duration::from_millis(1)) * window;
            assert!(counted.count(OCTETS_MAX, now).is_ok());
            assert!(counted.count(1, now + WINDOW).is_err());
        }
    }
}
