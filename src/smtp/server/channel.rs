//! One connection: an input and an output buffer, one timer, and the signal to stop.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::limits::Share;
use super::link::{Cover, Link};
use crate::mail::Reply;
use crate::smtp::Fingerprint;

/// Room for one read of commands: a pipelined group of a few recipients.
const COMMAND_READ: usize = 4 * 1024;
/// Room for one read of content: what a socket usually holds, so that a message takes few reads.
pub(super) const DATA_READ: usize = 64 * 1024;
/// Content is read on into what is left of the buffer down to this; below, a new one is taken.
const DATA_READ_MIN: usize = 16 * 1024;
/// Replies are written out at the latest when this much is waiting, so that the buffer stays small.
const OUTPUT_FULL: usize = 16 * 1024;
/// What is read and dropped of a client that is being sent away, so that the last reply reaches it instead of a reset.
const LINGER_OCTETS: usize = 256 * 1024;
/// And how long that may take in all.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Why nothing more is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The client closed the connection, or it broke.
    Gone,
    /// The client took longer than it may.
    TimedOut,
    /// The session or its transaction has lasted its time.
    Expired,
    /// The server is shutting down.
    Stopping,
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// A command: the wait ends when the server stops.
    Command,
    /// Content: the client may finish its message.
    Content,
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection as a session sees it.
pub(super) struct Channel<S> {
    link: Link<S>,
    /// What was read and not yet consumed.
    pub(super) input: BytesMut,
    holds_large_buffer: bool,
    output: BytesMut,
    /// What its content takes of the memory.
    pub(super) share: Share,
    // One timer for the whole session: moving it later costs no lock, making a new one would.
    timer: Pin<Box<Sleep>>,
    ends: Instant,
    transaction_ends: Option<Instant>,
    shutdown: watch::Receiver<bool>,
    stop: Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Channel<S> {
    /// A channel over `stream` that lasts `session_timeout` at most while it waits for the client.
    pub(super) fn new(stream: S, session_timeout: Duration, share: Share, shutdown: watch::Receiver<bool>) -> Self {
        let ends = Instant::now() + session_timeout;
        let mut signal = shutdown.clone();
        // A sender that is gone can never order a stop any more: that is one.
        let stop = Box::pin(async move { signal.wait_for(|stop| *stop).await.map_or((), drop) });
        Self {
            link: Link::Clear(stream),
            input: BytesMut::new(),
            holds_large_buffer: false,
            output: BytesMut::with_capacity(512),
            share,
            timer: Box::pin(tokio::time::sleep_until(ends)),
            ends,
            transaction_ends: None,
            shutdown,
            stop,
        }
    }

    /// Writes out what is queued, then makes the connection one under TLS. A client that is not done with its
    /// handshake in time is gone: there is no protocol left to tell it in.
    pub(super) async fn secure(&mut self, acceptor: &TlsAcceptor, wait: Duration) -> Result<(), Halt> {
        self.flush(wait).await?;
        let handshake = self.link.secure(acceptor);
        match within(handshake, self.timer.as_mut(), wait, self.ends, Some(&mut self.stop)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                Err(Halt::Gone)
            }
            Err(halt) => {
                tracing::debug!(?halt, "TLS handshake broken off");
                Err(Halt::Gone)
            }
        }
    }

    /// Whether the connection is under TLS.
    pub(super) const fn cover(&self) -> Cover {
        self.link.cover()
    }

    /// The certificate that the client has shown.
    pub(super) fn client_certificate(&self) -> Option<Fingerprint> {
        self.link.client_certificate()
    }

    /// From now on a transaction is under way, which lasts `timeout` at most while it waits for the client.
    pub(super) fn begin_transaction(&mut self, timeout: Duration) {
        self.transaction_ends = Some(Instant::now() + timeout);
    }

    /// It is over.
    pub(super) const fn end_transaction(&mut self) {
        self.transaction_ends = None;
    }

    /// When the session is over for a client that is still waited for.
    fn ends(&self) -> Instant {
        self.transaction_ends.map_or(self.ends, |transaction| transaction.min(self.ends))
    }

    /// Whether the server is to stop.
    pub(super) fn stopping(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Queues one line of a reply.
    pub(super) fn line(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Queues a reply.
    pub(super) fn reply(&mut self, reply: &Reply) {
        if write!(self.output, "{reply}").is_err() {
            tracing::error!("a reply could not be formatted");
        }
        self.output.extend_from_slice(b"\r\n");
    }

    /// Whether so much output waits that it should be written before more input is consumed.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= OUTPUT_FULL
    }

    /// Writes out what is queued.
    pub(super) async fn flush(&mut self, wait: Duration) -> Result<(), Halt> {
        let mut unsent = false;
        while !self.output.is_empty() {
            let (ends, timer) = (self.ends(), self.timer.as_mut());
            let written = within(self.link.write_buf(&mut self.output), timer, wait, ends, None).await?;
            if written.unwrap_or(0) == 0 {
                return Err(Halt::Gone);
            }
            unsent = true;
        }
        // TLS takes more than it can write at once; in clear there is nothing to do here.
        if unsent {
            let (ends, timer) = (self.ends, self.timer.as_mut());
            within(self.link.flush(), timer, wait, ends, None).await?.map_err(|_| Halt::Gone)?;
        }
        Ok(())
    }

    /// Writes out what is queued, then reads more input, at least one octet.
    pub(super) async fn fill(&mut self, awaiting: Awaiting, wait: Duration) -> Result<(), Halt> {
        self.flush(wait).await?;
        let ends = self.ends();
        let spare = self.input.capacity() - self.input.len();
        let stop = match awaiting {
            Awaiting::Command => {
                // A client that has gone quiet must not keep the large buffer of its last message.
                if self.input.is_empty() && std::mem::take(&mut self.holds_large_buffer) {
                    self.input = BytesMut::with_capacity(COMMAND_READ);
                }
                self.input.reserve(COMMAND_READ);
                Some(&mut self.stop)
            }
            Awaiting::Content => {
                if spare < DATA_READ_MIN {
                    self.input.reserve(DATA_READ);
                    self.holds_large_buffer = true;
                }
                None
            }
        };
        let read = self.link.read_buf(&mut self.input);
        match within(read, self.timer.as_mut(), wait, ends, stop).await? {
            Ok(0) | Err(_) => Err(Halt::Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Takes in what is already there, without waiting for it.
    pub(super) async fn peek(&mut self) -> Result<(), Halt> {
        self.input.reserve(COMMAND_READ);
        let mut read = pin!(self.link.read_buf(&mut self.input));
        poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Halt::Gone)),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Says the last words and closes. With `linger` what the client is still sending is read and dropped, within
    /// bounds: closing on unread input would reset the connection and may take the reply with it.
    pub(super) async fn close(mut self, wait: Duration, linger: bool) {
        if self.flush(wait).await.is_err() || self.link.shutdown().await.is_err() || !linger {
            return;
        }
        self.ends = self.ends.min(Instant::now() + LINGER_TIME);
        let mut left = LINGER_OCTETS;
        while left > 0 {
            self.input.clear();
            if self.fill(Awaiting::Content, LINGER_TIME).await.is_err() {
                return;
            }
            left = left.saturating_sub(self.input.remaining());
        }
    }
}

/// Runs `io` until it is done, `wait` has passed, the session `ends`, or `stop` says so.
///
/// Nothing of the clock is touched when `io` is ready at once, which it is whenever the client keeps us busy.
async fn within<T>(
    io: impl Future<Output = io::Result<T>>,
    mut timer: Pin<&mut Sleep>,
    wait: Duration,
    ends: Instant,
    mut stop: Option<&mut Stop>,
) -> Result<io::Result<T>, Halt> {
    let mut io = pin!(io);
    let mut deadline = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = io.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        if let Some(stop) = &mut stop
            && stop.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(Halt::Stopping));
        }
        let deadline = *deadline.get_or_insert_with(|| {
            let deadline = ends.min(Instant::now() + wait);
            timer.as_mut().reset(deadline);
            deadline
        });
        match timer.as_mut().poll(context) {
            Poll::Ready(()) if deadline == ends => Poll::Ready(Err(Halt::Expired)),
            Poll::Ready(()) => Poll::Ready(Err(Halt::TimedOut)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
