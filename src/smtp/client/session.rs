//! Opening a session, and reading replies with deadlines.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::write::{WriteError, write_pieces};
use super::{ClientError, Misfit, Outgoing, Settings, Stage, Timeouts};
use crate::mail::Reply;
use crate::smtp::wire::reply::{Capabilities, Received, ReplyReader};

/// Octets asked of the system at once when replies are read: the replies to several commands fit.
const READ_MAX: usize = 4096;

/// An open session after EHLO. One task owns it; after any [`ClientError`] it must be dropped, not reused.
#[derive(Debug)]
pub struct Session {
    pub(super) stream: TcpStream,
    pub(super) replies: ReplyReader,
    pub(super) offers: Capabilities,
    pub(super) timeouts: Timeouts,
    /// Commands are put together here; kept for its memory.
    pub(super) commands: Vec<u8>,
    /// The envelope of the next message is already on its way; see `Session::content`.
    pub(super) announced: bool,
    /// Transactions begun.
    pub(super) transactions: u32,
    peer: SocketAddr,
}

impl Session {
    /// Resolves `host`, connects to the first of its addresses that answers, awaits the greeting and says EHLO
    /// (HELO when EHLO is not known: RFC 5321 section 3.2).
    ///
    /// # Errors
    /// [`ClientError`]: the fault of the upstream or of the way to it, never of a message.
    pub async fn open(host: &str, port: u16, settings: &Settings) -> Result<Self, ClientError> {
        let timeouts = settings.timeouts;
        let (stream, peer) = connect(host, port, timeouts.connect).await?;
        let mut session = Self {
            stream,
            replies: ReplyReader::new(),
            offers: Capabilities::default(),
            timeouts,
            commands: Vec::with_capacity(1024),
            announced: false,
            transactions: 0,
            peer,
        };
        let greeting = session.reply(Stage::Greeting, timeouts.greeting).await?;
        if greeting.code().as_u16() != 220 {
            return Err(ClientError::Refused { stage: Stage::Greeting, reply: greeting });
        }
        session.hello(&settings.hello).await?;
        Ok(session)
    }

    /// What the upstream offers in this session.
    pub const fn offers(&self) -> &Capabilities {
        &self.offers
    }

    /// Its address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How many transactions were begun on it.
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Whether this upstream, as it presented itself in this session, can take `message`.
    ///
    /// # Errors
    /// [`Misfit`], permanent for this message; nothing was sent and the session remains good.
    pub fn fits(&self, message: &Outgoing) -> Result<(), Misfit> {
        if let Some(limit) = self.offers.size_limit.filter(|limit| message.size() > *limit) {
            return Err(Misfit::Size { size: message.size(), limit });
        }
        if !self.offers.smtputf8 && message.needs_smtputf8() {
            return Err(Misfit::Utf8);
        }
        if !self.offers.eight_bit_mime && message.needs_eight_bit() {
            return Err(Misfit::EightBit);
        }
        Ok(())
    }

    /// Takes leave (RFC 5321 section 4.1.1.10). Nobody depends on the answer, so errors are of no interest.
    pub async fn quit(mut self) {
        let patience = self.timeouts.quit;
        self.commands.extend_from_slice(b"QUIT\r\n");
        if timeout(patience, self.send(Stage::Reset)).await.is_ok_and(|sent| sent.is_ok()) {
            let _leave = self.reply(Stage::Reset, patience).await;
        }
    }

    async fn hello(&mut self, name: &str) -> Result<(), ClientError> {
        let patience = self.timeouts.command;
        for verb in ["EHLO", "HELO"] {
            self.in_step(Stage::Hello)?;
            self.commands.extend_from_slice(format!("{verb} {name}\r\n").as_bytes());
            self.send(Stage::Hello).await?;
            let (reply, offers) =
                self.receive(Stage::Hello, patience, |r| (r.reply(), Capabilities::parse(&r))).await?;
            if reply.code().is_success() {
                self.offers = if verb == "EHLO" { offers } else { Capabilities::default() };
                return Ok(());
            }
            if verb == "HELO" || !matches!(reply.code().as_u16(), 500 | 502) {
                return Err(ClientError::Refused { stage: Stage::Hello, reply });
            }
        }
        Ok(())
    }

    /// Nothing may have come that no command of ours has asked for.
    pub(super) fn in_step(&self, stage: Stage) -> Result<(), ClientError> {
        if self.replies.is_empty() {
            return Ok(());
        }
        Err(ClientError::OutOfStep { stage, what: "a reply that nothing was asked for" })
    }

    /// Writes the commands put together so far.
    pub(super) async fn send(&mut self, stage: Stage) -> Result<(), ClientError> {
        let mut written = 0;
        let sent =
            write_pieces(&mut self.stream, &[self.commands.as_slice()], self.timeouts.command, &mut written).await;
        self.commands.clear();
        sent.map_err(|error| write_error(error, stage))
    }

    /// The next reply; 421 is an error, because the other side closes after it.
    pub(super) async fn reply(&mut self, stage: Stage, patience: Duration) -> Result<Reply, ClientError> {
        let reply = self.receive(stage, patience, |received| received.reply()).await?;
        if reply.code().as_u16() == 421 { Err(ClientError::Closing { stage, reply }) } else { Ok(reply) }
    }

    /// The deadline is that of the whole reply: a reply that trickles in does not get a new one with each octet.
    async fn receive<T>(
        &mut self,
        stage: Stage,
        patience: Duration,
        read: impl Fn(Received<'_>) -> T,
    ) -> Result<T, ClientError> {
        let garbled = |error| ClientError::Garbled { stage, error };
        if let Some(received) = self.replies.next_reply().map_err(garbled)? {
            return Ok(read(received));
        }
        let whole = async {
            loop {
                self.fill(stage).await?;
                if let Some(received) = self.replies.next_reply().map_err(garbled)? {
                    return Ok(read(received));
                }
            }
        };
        timeout(patience, whole).await.unwrap_or(Err(ClientError::Timeout(stage)))
    }

    async fn fill(&mut self, stage: Stage) -> Result<(), ClientError> {
        let space = self.replies.space();
        space.reserve(READ_MAX);
        match self.stream.read_buf(&mut space.limit(READ_MAX)).await {
            Ok(0) => Err(ClientError::Closed(stage)),
            Ok(_) => Ok(()),
            Err(error) => Err(ClientError::Io { stage, error }),
        }
    }

    /// Takes what has come without waiting; says whether something has.
    pub(super) fn peek(&mut self, stage: Stage) -> Result<bool, ClientError> {
        let space = self.replies.space();
        space.reserve(READ_MAX);
        match self.stream.try_read_buf(&mut space.limit(READ_MAX)) {
            Ok(0) => Err(ClientError::Closed(stage)),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(ClientError::Io { stage, error }),
        }
    }
}

pub(super) fn write_error(error: WriteError, stage: Stage) -> ClientError {
    match error {
        WriteError::Timeout => ClientError::Timeout(stage),
        WriteError::Io(error) => ClientError::Io { stage, error },
    }
}

async fn connect(host: &str, port: u16, patience: Duration) -> Result<(TcpStream, SocketAddr), ClientError> {
    let addresses = match timeout(patience, lookup_host((host, port))).await {
        Err(_) => return Err(ClientError::Resolve("no answer in time".to_owned())),
        Ok(Err(error)) => return Err(ClientError::Resolve(error.to_string())),
        Ok(Ok(addresses)) => addresses,
    };
    let mut last = ClientError::Resolve("it has no address".to_owned());
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Err(_) => last = ClientError::Connect(format!("{address}: no answer in time")),
            Ok(Err(error)) => last = ClientError::Connect(format!("{address}: {error}")),
            Ok(Ok(stream)) => {
                // Without it the network waits for an acknowledgement before it sends the last part of a message.
                stream.set_nodelay(true).map_err(|error| ClientError::Connect(format!("{address}: {error}")))?;
                return Ok((stream, address));
            }
        }
    }
    Err(last)
}
