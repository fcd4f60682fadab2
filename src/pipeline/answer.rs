//! Every refusal and every fault, turned into the reply that the client sees. Nowhere else.
//!
//! Replies carry a stable word and a reference, never a person's history (`docs/reference/smtp-replies.md`).

use std::borrow::Cow;
use std::time::Duration;

use crate::mail::{DecisionRef, EnhancedStatus, ListName, Reply};
use crate::message::{BodyLinkError, HEADER_MAX, RewriteError, SectionError};
use crate::policy::{Decision, Permanence, Verdict};
use crate::spool::SpoolError;
use crate::store::StoreError;
use crate::tell::TellError;

const POLICY: EnhancedStatus = EnhancedStatus::new(5, 7, 1);
const CONTENT: EnhancedStatus = EnhancedStatus::new(5, 6, 0);

/// A recipient was refused by policy.
pub(super) fn refused(decision: &Decision, reference: DecisionRef) -> Reply {
    let text = format!("recipient refused by policy ({}; ref={reference})", decision.reason);
    match &decision.verdict {
        Verdict::Refuse(refusal) if refusal.permanence == Permanence::Transient => {
            Reply::new(451, EnhancedStatus::new(4, 7, 1), text)
        }
        Verdict::Refuse(_) | Verdict::Permit(_) => Reply::new(550, POLICY, text),
    }
}

/// Every recipient of a message was refused after DATA.
pub(super) fn all_refused(first: &Decision, reference: DecisionRef) -> Reply {
    Reply::new(550, POLICY, format!("no recipient may be sent this message ({}; ref={reference})", first.reason))
}

/// The facts cannot be had: nothing is decided (promise P4).
pub(super) fn store_down(_error: &StoreError) -> Reply {
    Reply::new(451, EnhancedStatus::new(4, 3, 0), "consent store unavailable, nothing was decided; try again later")
}

/// The spool cannot keep the message.
pub(super) fn not_kept(error: &SpoolError) -> Reply {
    match error {
        SpoolError::Full => {
            Reply::new(452, EnhancedStatus::new(4, 3, 1), "no space left in the spool; try again later")
        }
        SpoolError::Unfit(why) => Reply::new(550, CONTENT, *why),
        SpoolError::Failed(_) | SpoolError::Unusable(_) => Reply::new(
            451,
            EnhancedStatus::new(4, 3, 0),
            "spool unavailable, the message was not kept; try again later",
        ),
    }
}

/// Another session hands in the same just now, and nobody knows yet what becomes of it.
pub(super) fn being_taken() -> Reply {
    Reply::new(451, EnhancedStatus::new(4, 3, 0), "the same message is being handed in just now; try again later")
}

/// The header section is not one.
pub(super) fn malformed(error: &SectionError) -> Reply {
    Reply::new(550, CONTENT, format!("header section: {error}"))
}

/// No blank line within the bound.
pub(super) fn endless_header() -> Reply {
    Reply::new(552, EnhancedStatus::new(5, 3, 4), format!("header section longer than {HEADER_MAX} octets"))
}

/// From cannot be read.
pub(super) fn author(error: &impl std::fmt::Display) -> Reply {
    Reply::new(550, CONTENT, error.to_string())
}

/// A control header is wrong.
pub(super) fn control(error: &impl std::fmt::Display) -> Reply {
    Reply::new(550, CONTENT, format!("control header: {error}"))
}

/// A control header asks for a list that the stream does not have.
pub(super) fn foreign_list(list: &ListName) -> Reply {
    Reply::new(550, POLICY, format!("Consentry-List: `{list}` is not a list of this stream"))
}

/// The message cannot be rewritten as its stream asks.
pub(super) fn not_rewritten(error: &RewriteError) -> Reply {
    Reply::new(550, CONTENT, error.to_string())
}

/// The message cannot have the links that it asks for.
pub(super) fn no_links(error: BodyLinkError) -> Reply {
    if error.is_permanent() { Reply::new(550, CONTENT, error.to_string()) } else { ours() }
}

/// Placeholders in a message whose copies would be too long to have a body each (RFC 3463 section 3.4).
pub(super) fn too_large_for_links(max: u64) -> Reply {
    Reply::new(
        552,
        EnhancedStatus::new(5, 3, 4),
        format!("unsubscribe placeholders in a body longer than {max} octets; expected a shorter one"),
    )
}

/// So many recipients that their bodies together would be too long.
pub(super) fn too_many_for_links(max: usize) -> Reply {
    Reply::new(
        552,
        EnhancedStatus::new(5, 3, 4),
        format!("the recipients' own bodies, with their links, pass {max} octets; expected fewer recipients at once"),
    )
}

/// Signing or composing failed on our side.
pub(super) fn ours() -> Reply {
    Reply::new(451, EnhancedStatus::new(4, 3, 0), "the message could not be prepared; try again later")
}

/// Too many relays have seen this message (RFC 5321 section 6.3).
pub(super) fn loops() -> Reply {
    Reply::new(554, EnhancedStatus::new(5, 4, 6), "too many hops, this message loops")
}

/// The stream of a credential is gone from the configuration.
pub(super) fn no_stream() -> Reply {
    Reply::new(451, EnhancedStatus::new(4, 3, 5), "the stream of this credential is not configured; try again later")
}

/// The credential of a session is gone from the configuration.
pub(super) fn no_credential() -> Reply {
    Reply::new(530, EnhancedStatus::new(5, 7, 0), "the credential of this session is not known any more")
}

/// A reverse path whose domain the stream does not have.
pub(super) fn foreign_reverse_path() -> Reply {
    Reply::new(553, POLICY, "this stream may not send from that domain")
}

/// A rate is used up.
pub(super) fn too_fast(what: &str, wait: Duration) -> Reply {
    let text = format!("too many {what} from this client; try again in {} s", seconds(wait));
    Reply::new(451, EnhancedStatus::new(4, 7, 1), text)
}

/// Too many wrong logins; right ones are not looked at meanwhile.
pub(super) fn wait_for_login(wait: Duration) -> Reply {
    let text = format!("too many failed authentications; try again in {} s", seconds(wait));
    Reply::new(454, EnhancedStatus::new(4, 7, 0), text)
}

/// Whole seconds, rounded up: who comes then is not too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// AUTH failed. One text for every cause.
pub(super) fn not_authenticated() -> Reply {
    Reply::new(535, EnhancedStatus::new(5, 7, 8), "authentication failed")
}

/// AUTH could not be checked now.
pub(super) fn cannot_authenticate() -> Reply {
    Reply::new(
        454,
        EnhancedStatus::new(4, 7, 0),
        Cow::Borrowed("authentication cannot be checked now; try again later"),
    )
}

/// The tool's own unsubscribe URL cannot be kept, so the tool could not be told of an opt-out.
pub(super) fn tool_not_kept(error: &TellError) -> Reply {
    tracing::error!(%error, "a message was not taken, because its tool could not be told of an opt-out");
    Reply::new(451, EnhancedStatus::new(4, 3, 0), "the message could not be kept; try again later")
}
