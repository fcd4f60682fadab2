//! Opening a session, and reading replies with deadlines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::channel::Channel;
use super::connect::{Connected, Target, connect};
use super::protect::{Protected, Protection, TlsFault, handshake};
use super::write::{WriteError, write_pieces};
use super::{ClientError, Misfit, Outgoing, Settings, Stage, Timeouts};
use crate::mail::Reply;
use crate::smtp::wire::reply::{Capabilities, Received, ReplyReader};

/// Octets asked of the system at once when replies are read: the replies to several commands fit.
const READ_MAX: usize = 4096;

/// An open session after EHLO. One task owns it; after any [`ClientError`] it must be dropped, not reused.
#[derive(Debug)]
pub struct Session {
    pub(super) channel: Channel,
    pub(super) replies: ReplyReader,
    pub(super) offers: Capabilities,
    pub(super) timeouts: Timeouts,
    /// Commands are put together here; kept for its memory.
    pub(super) commands: Vec<u8>,
    /// The envelope of the next message is already on its way; see `Session::content`.
    pub(super) announced: bool,
    /// Transactions begun.
    pub(super) transactions: u32,
    host: Arc<str>,
    peer: SocketAddr,
    protected: Option<Protected>,
    unprotected: Option<TlsFault>,
}

impl Session {
    /// Connects to the first address of `target` that answers, awaits the greeting, says EHLO (HELO when EHLO is not
    /// known: RFC 5321 section 3.2), protects the session and logs in, as the settings want it. `turn` chooses among
    /// several source addresses.
    ///
    /// # Errors
    /// [`ClientError`]: the fault of the upstream, of the way to it or of our settings, never of a message.
    pub async fn open(target: &Target, settings: &Settings, turn: usize) -> Result<Self, ClientError> {
        match Self::open_as(target, settings, &settings.protection, turn).await {
            // RFC 7435: some protection is better than none, none is better than no mail. Who can break the handshake
            // could have taken the offer away as well. Without TLS a password is not said.
            Err(ClientError::Tls(fault)) if may_go_on_in_clear(settings) => {
                let mut session = Self::open_as(target, settings, &Protection::Clear, turn).await?;
                session.unprotected = Some(fault);
                Ok(session)
            }
            other => other,
        }
    }

    async fn open_as(
        target: &Target,
        settings: &Settings,
        protection: &Protection,
        turn: usize,
    ) -> Result<Self, ClientError> {
        let timeouts = settings.timeouts;
        let Connected { stream, peer, hello } = connect(target, settings, turn).await?;
        let mut session = Self {
            channel: Channel::Clear(stream),
            replies: ReplyReader::new(),
            offers: Capabilities::default(),
            timeouts,
            commands: Vec::with_capacity(1024),
            announced: false,
            transactions: 0,
            host: Arc::clone(&target.name),
            peer,
            protected: None,
            unprotected: None,
        };
        if let Protection::Implicit(config) = protection {
            session = session.shake_hands(config).await?;
        }
        let greeting = session.reply(Stage::Greeting, timeouts.greeting).await?;
        if greeting.code().as_u16() != 220 {
            return Err(ClientError::Refused { stage: Stage::Greeting, reply: greeting });
        }
        session.hello(hello).await?;
        session = match protection {
            Protection::StartTls(config) => session.start_tls(config, hello).await?,
            Protection::Opportunistic(config) if session.offers.starttls => session.start_tls(config, hello).await?,
            Protection::Clear | Protection::Opportunistic(_) | Protection::Implicit(_) => session,
        };
        if let Some(login) = &settings.login {
            session.login(login).await?;
        }
        Ok(session)
    }

    /// RFC 3207 section 4. Whatever was said in clear counts no more, and what came behind the 220 in clear was put
    /// there by somebody (section 5).
    async fn start_tls(mut self, config: &Arc<ClientConfig>, hello: &str) -> Result<Self, ClientError> {
        if !self.offers.starttls {
            return Err(TlsFault::NotOffered.into());
        }
        self.in_step(Stage::Tls)?;
        self.commands.extend_from_slice(b"STARTTLS\r\n");
        self.send(Stage::Tls).await?;
        let reply = self.reply(Stage::Tls, self.timeouts.command).await?;
        if reply.code().as_u16() != 220 {
            return Err(TlsFault::Refused(reply).into());
        }
        let mut session = self.shake_hands(config).await?;
        session.offers = Capabilities::default();
        session.hello(hello).await?;
        Ok(session)
    }

    async fn shake_hands(mut self, config: &Arc<ClientConfig>) -> Result<Self, ClientError> {
        self.in_step(Stage::Tls)?;
        let Channel::Clear(stream) = self.channel else { return Ok(self) };
        let shaken = timeout(self.timeouts.command, handshake(stream, &self.host, config)).await;
        let stream = shaken.map_err(|_| ClientError::Timeout(Stage::Tls))??;
        self.protected = Some(Protected::of(&stream));
        self.channel = Channel::Protected(stream);
        Ok(self)
    }

    /// What the upstream offers in this session.
    pub const fn offers(&self) -> &Capabilities {
        &self.offers
    }

    /// Its address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Its name, as it was connected to.
    pub const fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// What protects it, if anything does.
    pub const fn protected(&self) -> Option<Protected> {
        self.protected
    }

    /// Why it is in clear although TLS was offered; told once.
    pub const fn take_unprotected(&mut self) -> Option<TlsFault> {
        self.unprotected.take()
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
                if reply.text().split_ascii_whitespace().next().is_some_and(|host| host.eq_ignore_ascii_case(name)) {
                    return Err(ClientError::Loop(name.to_owned()));
                }
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
            write_pieces(&mut self.channel, &[self.commands.as_slice()], self.timeouts.command, &mut written).await;
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
        match self.channel.read_buf(&mut space.limit(READ_MAX)).await {
            Ok(0) => Err(ClientError::Closed(stage)),
            Ok(_) => Ok(()),
            Err(error) => Err(ClientError::Io { stage, error }),
        }
    }

    /// Takes what has come without waiting; says whether something has.
    pub(super) async fn peek(&mut self, stage: Stage) -> Result<bool, ClientError> {
        let mut come = [0; 512];
        match self.channel.read_now(&mut come).await {
            None => Ok(false),
            Some(Ok(0)) => Err(ClientError::Closed(stage)),
            Some(Ok(octets)) => {
                self.replies.space().extend_from_slice(come.get(..octets).unwrap_or_default());
                Ok(true)
            }
            Some(Err(error)) => Err(ClientError::Io { stage, error }),
        }
    }
}

const fn may_go_on_in_clear(settings: &Settings) -> bool {
    matches!(settings.protection, Protection::Opportunistic(_)) && settings.login.is_none()
}

pub(super) fn write_error(error: WriteError, stage: Stage) -> ClientError {
    match error {
        WriteError::Timeout => ClientError::Timeout(stage),
        WriteError::Io(error) => ClientError::Io { stage, error },
    }
}
