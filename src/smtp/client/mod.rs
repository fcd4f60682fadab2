//! One SMTP session towards an upstream.
//!
//! **Promise:** every operation ends: by its reply, by its deadline, or by an error. A reply is only ever taken for
//! the command it answers; when that is in doubt the session reports it and must be dropped. Content with a bare
//! CR, LF or NUL is not sent.
//!
//! **Owns:** connecting, greeting, EHLO or HELO, TLS, AUTH, MAIL/RCPT/DATA (pipelined where offered), dot-stuffing,
//! deadlines.
//!
//! **Never knows:** queues, retries, what a refusal means for a recipient, policy.
//!
//! **Standards:** RFC 5321 (sections 3.8, 4.1.1, 4.5.2 and 4.5.3.2), RFC 2920, RFC 1870, RFC 3461, RFC 6152, RFC 6531,
//! RFC 3207, RFC 8314, RFC 4954.

mod channel;
mod connect;
mod hold;
mod login;
mod protect;
mod session;
mod transaction;
mod write;

#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::mail::{Recipient, Reply, Reporting, ReversePath};
use crate::smtp::wire::reply::ReplyError;

pub use connect::{ADDRESSES_MAX, Source, Target};
pub use hold::Hold;
pub use login::{Login, LoginFault};
pub use protect::{Blame, Protected, Protection, TlsFault};
pub use session::Session;
pub use transaction::{EnvelopeReplies, Interrupted};
pub use write::Unclean;

use write::Scanner;

/// A body in memory up to this size may have the next envelope behind it in the same write. A longer one takes its
/// time on the wire, and the next recipients must have been decided on just before they are named (promise P3).
pub const LOOK_AHEAD_MAX: u64 = 256 * 1024;

/// How long each operation may take: RFC 5321 section 4.5.3.2 gives the least values, these are its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, and the TCP connection to each address. The RFC names none; 30 s is what TCP needs at worst.
    pub connect: Duration,
    /// Until the 220 (4.5.3.2.1).
    pub greeting: Duration,
    /// EHLO, MAIL, RCPT, RSET (4.5.3.2.2 and 4.5.3.2.3).
    pub command: Duration,
    /// Until the 354 (4.5.3.2.4).
    pub data: Duration,
    /// For each block of content to be taken by the network (4.5.3.2.5).
    pub block: Duration,
    /// Until the reply to the final dot (4.5.3.2.6). Being impatient here makes duplicates.
    pub dot: Duration,
    /// How long QUIT may delay the closing of a session that is not needed any more. Courtesy, so it is short.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            command: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
            quit: Duration::from_secs(2),
        }
    }
}

/// Settings of a client session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What EHLO says: our own host name, or an address literal (RFC 5321 section 4.1.1.1).
    pub hello: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// TLS.
    pub protection: Protection,
    /// Said after TLS, when the upstream is to know us.
    pub login: Option<Arc<Login>>,
    /// Addresses to connect from, each with its EHLO name; none leaves it to the system.
    pub sources: Vec<Source>,
}

impl Settings {
    /// Defaults, in clear, greeting as `hello`.
    pub fn new(hello: String) -> Self {
        Self { hello, timeouts: Timeouts::default(), protection: Protection::Clear, login: None, sources: Vec::new() }
    }
}

/// What the session was doing when something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Looking up the upstream's name, connecting.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The content and its final dot.
    Content,
    /// RSET or a lone dot, to leave a transaction that nobody is left in.
    Reset,
}

impl Stage {
    /// The word for logs and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::Tls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "the content",
            Self::Reset => "RSET",
        }
    }
}

/// Why a session cannot go on. The session is of no further use after any of them; nobody's mail is at fault, so
/// everything on it is tried again later. [`ClientError::Unclean`] alone is about the message.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The upstream's name does not resolve, or has no address.
    #[error("the name of the upstream cannot be resolved: {0}")]
    Resolve(String),
    /// No address of it takes connections.
    #[error("cannot connect to the upstream: {0}")]
    Connect(String),
    /// It greets us with our own name: mail would go in a circle.
    #[error("the upstream calls itself {0}, as we do: mail would come back to us")]
    Loop(String),
    /// It cannot be protected as it has to be.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// We cannot log in.
    #[error(transparent)]
    Login(#[from] LoginFault),
    /// The greeting was not 220, or EHLO and HELO were refused, or AUTH for now.
    #[error("the upstream refused the session at {}: {reply}", .stage.as_str())]
    Refused {
        /// Greeting, Hello or Auth.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
    /// 421: it closes the connection (RFC 5321 section 3.8).
    #[error("the upstream closes the session at {}: {reply}", .stage.as_str())]
    Closing {
        /// When.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
    /// A deadline passed.
    #[error("the upstream took too long at {}", .0.as_str())]
    Timeout(Stage),
    /// The connection broke.
    #[error("the connection broke at {}: {error}", .stage.as_str())]
    Io {
        /// When.
        stage: Stage,
        /// How.
        error: std::io::Error,
    },
    /// The other side closed it.
    #[error("the upstream closed the connection at {}", .0.as_str())]
    Closed(Stage),
    /// What came is no reply.
    #[error("protocol error at {}: {error}", .stage.as_str())]
    Garbled {
        /// When.
        stage: Stage,
        /// What is wrong with it.
        error: ReplyError,
    },
    /// A reply that cannot be the answer to its command: replies and commands are out of step, or the other side
    /// speaks something else.
    #[error("protocol error at {}: {what}", .stage.as_str())]
    OutOfStep {
        /// When.
        stage: Stage,
        /// What was wrong.
        what: &'static str,
    },
    /// The content, read from its file, must not be sent.
    #[error(transparent)]
    Unclean(#[from] Unclean),
    /// Our own copy of the body cannot be read.
    #[error("the body cannot be read: {0}")]
    Body(std::io::Error),
}

/// A message that this upstream cannot take, known before anything of it is sent. Permanent for this upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Larger than the limit that EHLO announced (RFC 1870 section 6.1): 5.3.4.
    #[error("message of {size} octets is larger than the {limit} that the upstream takes")]
    Size {
        /// Octets of the message.
        size: u64,
        /// Announced limit.
        limit: u64,
    },
    /// An address or header needs SMTPUTF8 and the upstream has it not (RFC 6531 section 3.2): 5.6.7.
    #[error("the upstream does not offer SMTPUTF8, which an address or header of this message needs")]
    Utf8,
    /// The body was declared 8BITMIME and the upstream has it not (RFC 6152 section 3): 5.6.3.
    #[error("the upstream does not offer 8BITMIME, which this message needs")]
    EightBit,
}

/// Where the body is.
#[derive(Clone, Debug)]
pub enum Payload {
    /// In memory.
    Memory(Bytes),
    /// In a file, because it is large; read in blocks while it is sent.
    File {
        /// Where.
        path: PathBuf,
        /// Octets.
        len: u64,
    },
}

/// One message for one transaction, checked and ready to be written.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) reverse_path: ReversePath,
    pub(super) recipients: Vec<Recipient>,
    pub(super) header: Bytes,
    pub(super) body: Payload,
    /// Offsets in header and body (in memory) where a dot must be doubled.
    pub(super) header_dots: Vec<usize>,
    pub(super) body_dots: Vec<usize>,
    eight_bit: bool,
    smtputf8: bool,
    pub(super) reporting: Reporting,
    /// Given back when every recipient has been named.
    pub(super) hold: Hold,
}

/// What the client declared when it handed the message in; see [`Outgoing::new`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
}

impl Outgoing {
    /// Looks through header and body once: finds the dots to double (RFC 5321 section 4.5.2) and refuses what must
    /// never reach an upstream. A body in a file is looked through while it is sent.
    ///
    /// # Errors
    /// [`Unclean`]: a fault on our side of the intake; sending it later will not help.
    pub fn new(
        reverse_path: ReversePath,
        recipients: Vec<Recipient>,
        header: Bytes,
        body: Payload,
        declared: Declared,
    ) -> Result<Self, Unclean> {
        let mut scanner = Scanner::default();
        let (mut header_dots, mut body_dots) = (Vec::new(), Vec::new());
        scanner.scan(&header, &mut header_dots)?;
        if let Payload::Memory(body) = &body {
            scanner.scan(body, &mut body_dots)?;
            scanner.finish()?;
        }
        let Declared { eight_bit, smtputf8 } = declared;
        Ok(Self {
            reverse_path,
            recipients,
            header,
            body,
            header_dots,
            body_dots,
            eight_bit,
            smtputf8,
            reporting: Reporting::default(),
            hold: Hold::default(),
        })
    }

    /// The same message, holding something until all its recipients have been named.
    #[must_use]
    pub fn holding(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// The same message with what its sender said about reports, for an upstream that offers DSN (RFC 3461).
    #[must_use]
    pub fn reporting(mut self, reporting: Reporting) -> Self {
        self.reporting = reporting;
        self
    }

    /// Octets of the message, without stuffed dots (RFC 1870 section 3).
    pub fn size(&self) -> u64 {
        let body = match &self.body {
            Payload::Memory(body) => u64::try_from(body.len()).unwrap_or(u64::MAX),
            Payload::File { len, .. } => *len,
        };
        body.saturating_add(u64::try_from(self.header.len()).unwrap_or(u64::MAX))
    }

    /// Whom it is for, in the order of the RCPT commands.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// Whether another envelope may follow this message in the same write; see [`LOOK_AHEAD_MAX`].
    pub fn is_short(&self) -> bool {
        matches!(self.body, Payload::Memory(_)) && self.size() <= LOOK_AHEAD_MAX
    }

    /// Whether address or header cannot be said without SMTPUTF8. A client may declare more than it uses.
    fn needs_smtputf8(&self) -> bool {
        let path = match &self.reverse_path {
            ReversePath::Null => false,
            ReversePath::Mailbox(mailbox) => mailbox.needs_smtputf8(),
        };
        path || self.recipients.iter().any(|to| to.mailbox.needs_smtputf8())
            || (self.smtputf8 && !self.header.is_ascii())
    }

    /// Whether octets beyond ASCII were declared and, as far as it can be told cheaply, are there.
    fn needs_eight_bit(&self) -> bool {
        self.eight_bit
            && match &self.body {
                Payload::Memory(body) => !body.is_ascii() || !self.header.is_ascii(),
                Payload::File { .. } => true,
            }
    }
}
