//! What a session's octets travel over: a connection in clear, or the same one under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::smtp::Fingerprint;

/// Whether others on the network can read along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// They can.
    Clear,
    /// They cannot.
    Tls,
}

/// A connection. There is no way back from TLS: when it ends, the connection has ended.
pub(super) enum Link<S> {
    Clear(S),
    Tls(Box<TlsStream<S>>),
    /// A handshake has failed or been broken off.
    Dead,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(super) const fn cover(&self) -> Cover {
        match self {
            Self::Clear(_) | Self::Dead => Cover::Clear,
            Self::Tls(_) => Cover::Tls,
        }
    }

    /// The certificate that the client has shown and proven to hold.
    pub(super) fn client_certificate(&self) -> Option<Fingerprint> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(|cert| Fingerprint::of(cert)),
            Self::Clear(_) | Self::Dead => None,
        }
    }

    /// The handshake. A link that is not in clear, or whose handshake fails, is dead afterwards.
    pub(super) async fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        match std::mem::replace(self, Self::Dead) {
            Self::Clear(stream) => {
                *self = Self::Tls(Box::new(acceptor.accept(stream).await?));
                Ok(())
            }
            Self::Tls(_) | Self::Dead => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Link<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Dead => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, octets),
            Self::Dead => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            Self::Dead => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Self::Dead => Poll::Ready(Ok(())),
        }
    }
}
