//! The connection under a session: in clear, or protected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What octets go through.
#[derive(Debug)]
pub(super) enum Channel {
    /// As they are.
    Clear(TcpStream),
    /// Under TLS.
    Protected(Box<TlsStream<TcpStream>>),
}

impl Channel {
    /// Whether written octets may wait inside and have to be flushed out.
    pub(super) const fn buffers(&self) -> bool {
        match self {
            Self::Clear(_) => false,
            Self::Protected(_) => true,
        }
    }

    /// What has come and can be read without waiting; `None` when nothing has.
    pub(super) async fn read_now(&mut self, space: &mut [u8]) -> Option<io::Result<usize>> {
        std::future::poll_fn(|context| {
            let mut buffer = ReadBuf::new(space);
            Poll::Ready(match Pin::new(&mut *self).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) => Some(Ok(buffer.filled().len())),
                Poll::Ready(Err(error)) => Some(Err(error)),
                Poll::Pending => None,
            })
        })
        .await
    }
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Protected(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Protected(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Protected(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Protected(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Protected(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
