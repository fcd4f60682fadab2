//! Commands: RFC 5321 section 4.1.1, RFC 4954 section 4.

use super::limits::{AUTH_LINE_MAX, CLIENT_NAME_MAX, COMMAND_LINE_MAX, PATH_LINE_MAX};
use super::params::{MailParams, RcptParams};
use super::path::{self, ForwardPath};
use crate::mail::{AddressError, EnhancedStatus, NotificationError, Reply, ReversePath};
use crate::smtp::Secret;

/// One command, well formed in itself; whether it is in order is for the session to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO with the name that the client gives itself.
    Ehlo(String),
    /// HELO with that name.
    Helo(String),
    /// MAIL.
    Mail {
        /// Where failures go.
        path: ReversePath,
        /// What it declares.
        params: MailParams,
    },
    /// RCPT.
    Rcpt {
        /// Whom the message is for.
        path: ForwardPath,
        /// What its sender wants to be told of them.
        params: RcptParams,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// AUTH.
    Auth {
        /// The mechanism.
        mechanism: Mechanism,
        /// The initial response, still in base64; `=` stands for an empty one (RFC 4954 section 4).
        initial: Option<Secret>,
    },
    /// STARTTLS (RFC 3207).
    StartTls,
    /// BDAT (RFC 3030), which is not offered. Octets that are no commands follow it.
    Bdat,
    /// A command that exists but is not offered: EXPN, ETRN, TURN, ATRN, SEND, SOML, SAML.
    NotImplemented,
    /// The first word of an HTTP request: a browser, or a server that was tricked into talking to us.
    Http,
}

/// A SASL mechanism (RFC 4422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// User name and password as two responses; never standardised, widely used.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// Any other.
    Unknown,
}

impl Mechanism {
    /// Its registered name; empty for one that we do not know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Unknown => "",
        }
    }
}

/// Why a line is no command. Always the client's fault; the same line never succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such verb.
    #[error("command not recognized")]
    Unknown,
    /// A control character (a bare CR, a NUL) or octets that are not UTF-8.
    #[error("control character or malformed UTF-8 in command line")]
    Characters,
    /// Beyond the limit for its verb.
    #[error("command line too long")]
    TooLong,
    /// A verb with the wrong arguments; the text says what was expected.
    #[error("syntax error: {0}")]
    Syntax(&'static str),
    /// A reverse path that is none.
    #[error("bad sender address: {0}")]
    Sender(AddressError),
    /// A forward path that is none.
    #[error("bad recipient address: {0}")]
    Recipient(AddressError),
    /// A reverse path beyond ASCII in a MAIL command without SMTPUTF8.
    #[error("a sender address beyond ASCII needs SMTPUTF8")]
    SenderNeedsUtf8,
    /// A parameter of RFC 3461 with a value that it cannot have.
    #[error("syntax error: {0}")]
    Notification(NotificationError),
    /// A well-formed parameter of MAIL or RCPT that was not offered.
    #[error("parameter not recognized or not implemented")]
    UnknownParameter,
}

impl CommandError {
    /// The reply: RFC 5321 section 4.2.2 and 4.1.1.11, RFC 3463, RFC 6531 section 3.5.
    pub fn reply(self) -> Reply {
        let (code, subject, detail) = match self {
            Self::Unknown | Self::Characters | Self::TooLong => (500, 5, 2),
            Self::Syntax(_) | Self::Notification(_) => (501, 5, 4),
            Self::Sender(_) => (501, 1, 7),
            Self::Recipient(_) => (501, 1, 3),
            Self::SenderNeedsUtf8 => (553, 6, 7),
            Self::UnknownParameter => (555, 5, 4),
        };
        Reply::new(code, EnhancedStatus::new(5, subject, detail), self.to_string())
    }
}

impl Command {
    /// Parses one line without its CRLF.
    ///
    /// Blanks at the end are ignored (RFC 5321 section 4.1.1); every other octet must be where the grammar has it,
    /// but a blank behind `FROM:` and `TO:`, which widespread clients send.
    ///
    /// # Errors
    /// [`CommandError`], which knows its reply.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let verb_end = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (verb, rest) = line.split_at_checked(verb_end).unwrap_or((line, &[]));
        if line.len() + 2 > line_max(verb) {
            return Err(CommandError::TooLong);
        }
        let rest = text(rest)?;
        let verb = text(verb)?;
        let argument = rest.trim_matches(' ');
        let is = |name: &str| verb.eq_ignore_ascii_case(name);
        // In the order of their frequency.
        if is("RCPT") {
            rcpt(argument)
        } else if is("MAIL") {
            mail(argument)
        } else if is("DATA") {
            bare(argument, Self::Data)
        } else if is("RSET") {
            bare(argument, Self::Rset)
        } else if is("QUIT") {
            bare(argument, Self::Quit)
        } else if is("EHLO") {
            client_name(argument).map(Self::Ehlo)
        } else if is("HELO") {
            client_name(argument).map(Self::Helo)
        } else if is("AUTH") {
            auth(argument)
        } else {
            rare(verb, argument)
        }
    }
}

fn line_max(verb: &[u8]) -> usize {
    if verb.eq_ignore_ascii_case(b"MAIL") || verb.eq_ignore_ascii_case(b"RCPT") {
        PATH_LINE_MAX
    } else if verb.eq_ignore_ascii_case(b"AUTH") {
        AUTH_LINE_MAX
    } else {
        COMMAND_LINE_MAX
    }
}

fn text(octets: &[u8]) -> Result<&str, CommandError> {
    let text = std::str::from_utf8(octets).map_err(|_| CommandError::Characters)?;
    if text.chars().any(char::is_control) { Err(CommandError::Characters) } else { Ok(text) }
}

fn rare(verb: &str, argument: &str) -> Result<Command, CommandError> {
    let is_one_of = |names: &[&str]| names.iter().any(|name| verb.eq_ignore_ascii_case(name));
    if is_one_of(&["NOOP"]) {
        Ok(Command::Noop)
    } else if is_one_of(&["VRFY"]) {
        Ok(Command::Vrfy)
    } else if is_one_of(&["HELP"]) {
        Ok(Command::Help)
    } else if is_one_of(&["STARTTLS"]) {
        // RFC 3207 section 4: 501 when it has parameters.
        bare(argument, Command::StartTls)
    } else if is_one_of(&["BDAT"]) {
        Ok(Command::Bdat)
    } else if is_one_of(&["EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"]) {
        Ok(Command::NotImplemented)
    } else if is_one_of(&["GET", "POST", "CONNECT", "PUT", "HEAD", "OPTIONS"]) {
        Ok(Command::Http)
    } else {
        Err(CommandError::Unknown)
    }
}

fn bare(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Syntax("this command takes no argument")) }
}

fn mail(argument: &str) -> Result<Command, CommandError> {
    let path = after_keyword(argument, "FROM:").ok_or(CommandError::Syntax("expected MAIL FROM:<address>"))?;
    let (path, rest) = path::reverse_path(path).map_err(CommandError::Sender)?;
    let params = MailParams::parse(rest)?;
    let beyond_ascii = matches!(&path, ReversePath::Mailbox(mailbox) if mailbox.needs_smtputf8());
    if beyond_ascii && !params.smtputf8 {
        return Err(CommandError::SenderNeedsUtf8);
    }
    Ok(Command::Mail { path, params })
}

fn rcpt(argument: &str) -> Result<Command, CommandError> {
    let path = after_keyword(argument, "TO:").ok_or(CommandError::Syntax("expected RCPT TO:<address>"))?;
    let (path, rest) = path::forward_path(path).map_err(CommandError::Recipient)?;
    Ok(Command::Rcpt { path, params: RcptParams::parse(rest)? })
}

fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, tail) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| tail.trim_start_matches(' '))
}

/// The name of the client. RFC 5321 section 4.1.4 forbids refusing a client because its name does not resolve, and
/// many give names that are no domains (`localhost`, `web_01`, `192.0.2.1`). Accepted is what cannot do harm in a
/// Received field or a log.
fn client_name(argument: &str) -> Result<String, CommandError> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    let is_literal = |text: &str| {
        text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).is_some_and(|inner| {
            !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
        })
    };
    if argument.len() <= CLIENT_NAME_MAX && (is_name(argument) || is_literal(argument)) {
        Ok(argument.to_owned())
    } else {
        Err(CommandError::Syntax("expected a domain or an address literal"))
    }
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let (name, initial) = argument.split_once(' ').map_or((argument, None), |(name, rest)| (name, Some(rest)));
    let mechanism = if name.eq_ignore_ascii_case("PLAIN") {
        Mechanism::Plain
    } else if name.eq_ignore_ascii_case("LOGIN") {
        Mechanism::Login
    } else if name.eq_ignore_ascii_case("SCRAM-SHA-256") {
        Mechanism::ScramSha256
    } else if name.is_empty() || initial.is_some_and(|text| text.contains(' ')) {
        return Err(CommandError::Syntax("expected AUTH mechanism [initial-response]"));
    } else {
        Mechanism::Unknown
    };
    Ok(Command::Auth { mechanism, initial: initial.map(|text| Secret::new(text.to_owned())) })
}

#[cfg(test)]
mod tests;
