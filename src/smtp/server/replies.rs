//! The fixed replies of a session, all in one place.

use crate::mail::{EnhancedStatus, Reply};

/// RFC 5321 section 4.1.1.2; RFC 3463 X.1.0.
pub(super) const MAIL_OK: &str = "250 2.1.0 Ok";
/// RFC 3463 X.1.5.
pub(super) const RCPT_OK: &str = "250 2.1.5 Ok";
/// RSET and NOOP.
pub(super) const OK: &str = "250 2.0.0 Ok";
/// RFC 5321 section 4.1.1.4.
pub(super) const START_DATA: &str = "354 End data with <CRLF>.<CRLF>";
/// RFC 5321 section 7.3: no word on who exists.
pub(super) const VRFY: &str = "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery";
/// RFC 5321 section 4.1.1.8.
pub(super) const HELP: &str = "214 2.0.0 This is an SMTP sending gateway, see RFC 5321";
/// RFC 5321 section 4.1.1.10.
pub(super) const BYE: &str = "221 2.0.0 Bye";
/// RFC 4954 section 4.
pub(super) const AUTH_OK: &str = "235 2.7.0 Authentication successful";
/// An empty challenge.
pub(super) const AUTH_GO_ON: &str = "334 ";
/// `Username:` in base64.
pub(super) const AUTH_NAME: &str = "334 VXNlcm5hbWU6";
/// `Password:` in base64.
pub(super) const AUTH_PASSWORD: &str = "334 UGFzc3dvcmQ6";

/// RFC 3207 section 4.
pub(super) const START_TLS: &str = "220 2.0.0 Ready to start TLS";

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal $class:literal $subject:literal $detail:literal $text:literal;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name() -> Reply {
            Reply::new($code, EnhancedStatus::new($class, $subject, $detail), $text)
        }
    )*};
}

refusals! {
    /// A line feed alone.
    bare_lf = 500 5 5 2 "lines end in CRLF";
    /// No line end in sight.
    endless = 500 5 5 2 "line too long";
    /// HTTP, TLS, or whoever talks out of turn.
    not_smtp = 554 5 5 0 "this is SMTP, and you do not seem to speak it";
    /// Before EHLO and HELO.
    hello_first = 503 5 5 1 "send EHLO or HELO first";
    /// Within a transaction.
    nested_mail = 503 5 5 1 "nested MAIL command";
    /// RCPT or DATA without MAIL.
    mail_first = 503 5 5 1 "send MAIL first";
    /// DATA without RCPT.
    rcpt_first = 503 5 5 1 "send RCPT first";
    /// DATA after refused RCPTs only.
    no_recipients = 554 5 5 1 "no valid recipients";
    /// Nobody we know.
    who_are_you = 530 5 7 0 "authentication required";
    /// RFC 1870 section 6.1.
    too_large = 552 5 3 4 "message size exceeds the maximum";
    /// RFC 5321 section 4.5.3.1.10.
    too_many_recipients = 452 4 5 3 "too many recipients";
    /// Percent hack, bang path: RFC 5321 section 7 and appendix F.2.
    routed = 550 5 1 3 "address would be routed further, which is refused";
    /// A mailbox on a host named by its address: no entry of a suppression list would be found under it.
    literal = 550 5 1 3 "address literals are not written to; name the domain";
    /// RFC 6531 section 3.5.
    needs_smtputf8 = 553 5 6 7 "an address beyond ASCII needs SMTPUTF8";
    /// STARTTLS under TLS, before EHLO, after AUTH or within a transaction.
    tls_out_of_order = 503 5 5 1 "STARTTLS is not permitted now";
    /// Commands sent along with STARTTLS.
    talks_before_tls = 554 5 5 0 "wait for the reply to STARTTLS and for the handshake";
    /// A command that exists elsewhere.
    not_implemented = 502 5 5 1 "command not implemented";
    /// More nonsense than a client sends.
    too_many_errors = 421 4 7 0 "too many errors";
    /// More idle talk than a client needs.
    too_many_idle_commands = 421 4 7 0 "too many commands without a message";
    /// Guessing.
    too_many_failed_logins = 421 4 7 0 "too many failed authentications";
    /// RFC 5321 section 4.5.3.2.
    timeout = 421 4 4 2 "timeout waiting for a command";
    /// The session has lasted its time.
    session_over = 421 4 4 2 "session lasted too long";
    /// RFC 5321 section 3.8.
    stopping = 421 4 3 2 "service shutting down";
    /// At the door.
    too_many_connections = 421 4 7 0 "too many connections";
    /// A receipt for content that was not taken whole: our own fault.
    broken_receipt = 451 4 3 0 "message was not taken";
    /// RFC 4954 section 4.
    no_mechanism = 504 5 5 4 "mechanism not supported";
    /// RFC 4954 section 4: AUTH is for extended sessions, once, outside transactions.
    auth_out_of_order = 503 5 5 1 "AUTH is not permitted now";
    /// RFC 4954 section 6.
    auth_needs_tls = 538 5 7 11 "authentication is not offered on this connection";
    /// No randomness: our own fault.
    cannot_authenticate = 454 4 7 0 "authentication cannot be checked now";
    /// RFC 4954 section 4.
    auth_cancelled = 501 5 7 0 "authentication cancelled";
    /// RFC 4954 section 4.
    auth_malformed = 501 5 5 2 "malformed authentication response";
    /// RFC 4954 section 6.
    auth_too_long = 500 5 5 6 "authentication response too long";
    /// An authorization identity that is not the user: RFC 4616 section 2.
    auth_refused = 535 5 7 8 "authentication credentials invalid";
}
