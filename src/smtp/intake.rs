//! What the server needs of the rest of the house.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::server::Cover;
use super::wire::scram::{Proven, Verifier};
use super::wire::{Defect, Mechanism};
use crate::mail::{CredentialName, EnhancedStatus, Envelope, Recipient, Reply, ReversePath, StreamName};

/// Who the client turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it presented itself with.
    pub credential: CredentialName,
    /// The stream that the credential is bound to.
    pub stream: StreamName,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        let mut octets = [0; 32];
        octets.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(octets)
    }
}

/// How a message came in: the `with` keyword of Received (RFC 3848, RFC 6531 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp,
    /// After EHLO and AUTH.
    Esmtpa,
    /// After EHLO, under TLS.
    Esmtps,
    /// After EHLO and AUTH, under TLS.
    Esmtpsa,
    /// After EHLO, with SMTPUTF8.
    Utf8Smtp,
    /// After EHLO and AUTH, with SMTPUTF8.
    Utf8Smtpa,
    /// After EHLO, under TLS, with SMTPUTF8.
    Utf8Smtps,
    /// After EHLO and AUTH, under TLS, with SMTPUTF8.
    Utf8Smtpsa,
}

impl Protocol {
    /// The keyword.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
            Self::Esmtpa => "ESMTPA",
            Self::Esmtps => "ESMTPS",
            Self::Esmtpsa => "ESMTPSA",
            Self::Utf8Smtp => "UTF8SMTP",
            Self::Utf8Smtpa => "UTF8SMTPA",
            Self::Utf8Smtps => "UTF8SMTPS",
            Self::Utf8Smtpsa => "UTF8SMTPSA",
        }
    }

    /// The keyword for a session under `cover`. For HELO under TLS none is registered.
    pub(super) const fn under(self, cover: Cover) -> Self {
        match (cover, self) {
            (Cover::Clear, _) | (_, Self::Smtp) => self,
            (Cover::Tls, Self::Esmtp | Self::Esmtps) => Self::Esmtps,
            (Cover::Tls, Self::Esmtpa | Self::Esmtpsa) => Self::Esmtpsa,
            (Cover::Tls, Self::Utf8Smtp | Self::Utf8Smtps) => Self::Utf8Smtps,
            (Cover::Tls, Self::Utf8Smtpa | Self::Utf8Smtpsa) => Self::Utf8Smtpsa,
        }
    }

    /// The keyword for a transaction with SMTPUTF8.
    pub(super) const fn with_utf8(self) -> Self {
        match self {
            Self::Smtp | Self::Esmtp | Self::Utf8Smtp => Self::Utf8Smtp,
            Self::Esmtpa | Self::Utf8Smtpa => Self::Utf8Smtpa,
            Self::Esmtps | Self::Utf8Smtps => Self::Utf8Smtps,
            Self::Esmtpsa | Self::Utf8Smtpsa => Self::Utf8Smtpsa,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What holds for a session once EHLO and AUTH are through; its transactions share it.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Names the session in logs.
    pub id: String,
    /// Where the client connects from.
    pub peer: SocketAddr,
    /// The name that it gives itself: at most 255 letters, digits and `.-_:[]`, and not to be trusted.
    pub helo: String,
    /// The `with` keyword.
    pub protocol: Protocol,
    /// Who it is.
    pub identity: Identity,
}

/// One mail transaction (RFC 5321 section 3.3) as far as it has come.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The session.
    pub session: Arc<SessionFacts>,
    /// The sender, and the recipients accepted so far; in [`Intake::data`] at least one.
    pub envelope: Envelope,
    /// SIZE in octets, when the client declared one.
    pub declared_size: Option<u64>,
}

/// Text that must not reach a log: it has no `Display`, and its `Debug` form is blank.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself; for comparing and hashing only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a client presents with AUTH.
#[derive(Debug)]
pub struct Login {
    /// The user name as the client sent it: UTF-8 without NUL.
    pub name: String,
    /// What it has shown.
    pub evidence: Evidence,
}

/// What shows that a client is who it says it is.
#[derive(Debug)]
pub enum Evidence {
    /// The password itself: UTF-8 without NUL.
    Password(Secret),
    /// How its proof came out against [`Intake::verifier`] of its name (RFC 5802).
    Scram(Proven),
}

/// Why content did not come to its end. The client's fault but for [`ContentError::NoMemory`] and
/// [`ContentError::Stopping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It is not what RFC 5321 calls mail data; the same content never succeeds.
    #[error("{0}")]
    Malformed(Defect),
    /// It is larger than the server takes; the same content never succeeds.
    #[error("message exceeds the maximum size")]
    TooLarge,
    /// There is no memory for it now. The client may try again.
    #[error("too many messages at a time, no memory left; try again later")]
    NoMemory,
    /// The client went away. There is nobody to answer.
    #[error("the client closed the connection within the content")]
    Gone,
    /// The client fell silent. It may try again.
    #[error("timeout waiting for message content")]
    TimedOut,
    /// The session has lasted its time, or the server has to stop now. The client may try again.
    #[error("session closed within the content")]
    Stopping,
}

impl ContentError {
    /// The reply to the client, RFC 5321 section 4.2.2 and RFC 3463. The session gives it itself; an [`Intake`] may
    /// return it to leave its `data` early.
    pub fn reply(self) -> Reply {
        let (code, class, subject, detail) = match self {
            Self::Malformed(_) => (550, 5, 6, 0),
            Self::TooLarge => (552, 5, 3, 4),
            Self::NoMemory => (452, 4, 3, 1),
            Self::Gone | Self::TimedOut => (421, 4, 4, 2),
            Self::Stopping => (421, 4, 3, 2),
        };
        Reply::new(code, EnhancedStatus::new(class, subject, detail), self.to_string())
    }
}

/// The content of DATA, pulled chunk by chunk so that a large message need not live in memory.
pub trait Content: Send {
    /// The next chunk, dots unstuffed, never empty; `None` when the end was reached and everything handed out.
    ///
    /// # Errors
    /// [`ContentError`]; whoever has taken chunks must forget them. Every later call fails too.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, ContentError>> + Send;
}

/// Whoever takes the mail. `Err` is always a ready 4yz or 5yz reply; a 421 also closes the session.
///
/// The futures are never dropped half way because a client is slow or gone: [`Intake::data`] sees that through
/// [`Content::next`].
pub trait Intake: Send + Sync + 'static {
    /// Proof of responsibility for a message: without it no 250. Its text goes into the reply.
    type Receipt: fmt::Display + Send;

    /// Who a client at `peer` is without AUTH, if its address alone says so. Asked at the first MAIL after EHLO.
    fn by_address(&self, peer: IpAddr) -> Option<Identity>;

    /// Who a client without AUTH is that has proven to hold the key of a certificate. Asked before its address is.
    fn by_certificate(&self, certificate: &Fingerprint) -> Option<Identity>;

    /// Which mechanisms of AUTH are offered: [`Mechanism::Unknown`] is none of them.
    fn mechanisms(&self) -> &'static [Mechanism];

    /// What SCRAM checks a client against that says it is `name`. For a name that has none: a decoy, so that nobody
    /// learns that.
    fn verifier(&self, name: &str) -> Verifier;

    /// Checks a login.
    ///
    /// # Errors
    /// 535 5.7.8 for a wrong one, 454 4.7.0 when it cannot be checked now or has to wait.
    fn authenticate(&self, login: Login, peer: IpAddr) -> impl Future<Output = Result<Identity, Reply>> + Send;

    /// Whether this session may send from `from`.
    ///
    /// # Errors
    /// The reply to MAIL.
    fn mail(&self, session: &SessionFacts, from: &ReversePath) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Whether this transaction may have this recipient, as far as can be said before the content.
    ///
    /// # Errors
    /// The reply to RCPT.
    fn rcpt(&self, transaction: &Transaction, to: &Recipient) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Takes responsibility for a message: pulls the content to its end, then makes it durable.
    ///
    /// An `Ok` before [`Content::next`] has returned `None` is not believed.
    ///
    /// # Errors
    /// The reply to the final dot. The rest of the content is read and dropped first.
    fn data<C: Content>(
        &self,
        transaction: Transaction,
        content: &mut C,
    ) -> impl Future<Output = Result<Self::Receipt, Reply>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        let login = Login { name: "u".to_owned(), evidence: Evidence::Password(Secret::new("hunter2".to_owned())) };
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn no_content_error_reads_as_success() {
        for error in [
            ContentError::Malformed(Defect::BareLf),
            ContentError::TooLarge,
            ContentError::NoMemory,
            ContentError::Gone,
            ContentError::TimedOut,
            ContentError::Stopping,
        ] {
            let code = error.reply().code();
            assert!(code.is_transient() || code.is_permanent(), "{error:?}");
        }
        assert_eq!(Protocol::Esmtpsa.with_utf8().to_string(), "UTF8SMTPSA");
        assert_eq!(Protocol::Esmtpa.with_utf8().to_string(), "UTF8SMTPA");
    }
}
