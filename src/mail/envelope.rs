//! The envelope (RFC 5321 section 2.3.1) and what the gateway knows beside it.

use std::fmt;

use super::address::Mailbox;
use super::name::{CampaignId, ControllerId, ListName, StreamName};
use super::notification::{Notify, OriginalRecipient, Reporting};

/// Where failures are reported to: RFC 5321 section 4.1.1.2; `<>` for notices that must not be answered (4.5.5).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The text between the angle brackets.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => fmt::Debug::fmt(mailbox, f),
        }
    }
}

/// Whom a message is for: one accepted RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// The mailbox, spelled as the client spelled it.
    pub mailbox: Mailbox,
    /// When its sender wants a report (NOTIFY).
    pub notify: Notify,
    /// Whom the sender meant in the first place (ORCPT); never written to.
    pub original: Option<OriginalRecipient>,
}

impl Recipient {
    /// A recipient about whom nothing more was said.
    pub const fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, notify: Notify::Unsaid, original: None }
    }
}

/// What the client declared about the content (RFC 6152, RFC 6531).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyType {
    /// Seven bits, or nothing declared.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// Sender and recipients of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// From MAIL.
    pub reverse_path: ReversePath,
    /// From RCPT, in order, at least one.
    pub recipients: Vec<Recipient>,
    /// From the BODY parameter.
    pub body: BodyType,
    /// Whether the client used SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// What MAIL said about reports (RFC 3461).
    pub reporting: Reporting,
}

/// What travels with a queued copy so that it can be decided again before each attempt, and named in logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The stream that the credential led to.
    pub stream: StreamName,
    /// Who is responsible, as decided at intake.
    pub controller: ControllerId,
    /// The list, after a control header has narrowed the stream.
    pub list: Option<ListName>,
    /// The campaign, when the tool named one.
    pub campaign: Option<CampaignId>,
}
