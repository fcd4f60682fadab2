//! What lies between the smarthost and us: told apart in code, so that no file can make it a recipient's fault.

use crate::mail::Reply;

use super::class::{Class, Stage};

/// A refusal that says nothing about any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// Everything on this route would be refused.
    Circuit(Class, &'static str),
    /// It is between us, but one odd address must not stop everybody's mail.
    Again(Class, &'static str),
}

/// Looks at reply codes that are reserved for it, and at the words that smarthosts use for strangers.
pub(super) fn look(stage: Stage, reply: &Reply) -> Option<Local> {
    let text = reply.text().to_ascii_lowercase();
    let is_tls = ["tls", "ssl", "encrypt"].iter().any(|word| text.contains(word));
    match reply.code().as_u16() {
        523 | 538 => Some(Local::Circuit(Class::Tls, "encryption is asked for (RFC 4954 section 6, RFC 5248)")),
        454 | 530 if is_tls => Some(Local::Circuit(Class::Tls, "TLS is asked for or failed (RFC 3207 section 4)")),
        432 | 454 | 530 | 534 | 535 => {
            Some(Local::Circuit(Class::Auth, "authentication is asked for or failed (RFC 4954 section 6)"))
        }
        500 | 502 | 503 => Some(Local::Circuit(
            Class::Protocol,
            "a command is not understood or out of order (RFC 5321 section 4.2.4)",
        )),
        // A parameter that it cannot read may be an address it does not like; then it says so in the status.
        501 | 504 | 555 if !is_about_address(stage, reply) => {
            Some(Local::Again(Class::Protocol, "a parameter is not understood (RFC 5321 section 4.2.4)"))
        }
        _ if denies_relay(reply, &text) => {
            Some(Local::Circuit(Class::RelayDenied, "the smarthost does not relay for us (RFC 5321 section 3.6.1)"))
        }
        _ => None,
    }
}

/// RFC 3463 section 3.2: X.1.XXX is about an address.
fn is_about_address(stage: Stage, reply: &Reply) -> bool {
    matches!(stage, Stage::Mail | Stage::Rcpt) && reply.enhanced().is_some_and(|status| status.subject == 1)
}

/// A smarthost that does not relay for us does not know us; that is no news about the recipient.
fn denies_relay(reply: &Reply, text: &str) -> bool {
    let status_allows = reply.enhanced().is_none_or(|status| status.subject == 7);
    reply.code().is_permanent()
        && status_allows
        && text.contains("relay")
        && ["denied", "not permitted", "not allowed", "prohibited", "refused"].iter().any(|word| text.contains(word))
}
