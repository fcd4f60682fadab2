//! May this be sent to this person now, and under which duties?
//!
//! **Promise:** [`decide`] is a pure function of a [`Case`] and a [`Rulebook`]: same input, same decision, no
//! panic. Only this room can make a [`Permit`], and a permit carries its recipient: a permit for A cannot send to B.
//!
//! **Owns:** suppression facts, message classes, stream rules, reason codes, decisions.
//!
//! **Never knows:** I/O, the wall clock, SMTP codes, header syntax, how facts are stored.
//!
//! **Standards:** CPCE article L34-5 and GDPR articles 17 and 21 (why an opt-out stops marketing and an erasure
//! stops everything), RFC 8058 (the one-click obligation of marketing mail).

mod decide;
mod decision;
mod rulebook;
mod suppression;

pub use decide::{Case, decide, precheck};
pub use decision::{Decision, Obligations, OneClick, Permanence, Permit, ReasonCode, Refusal, Verdict};
pub use rulebook::{FromDomains, Rule, RuleId, Rulebook, StreamRules};
pub use suppression::{Cause, Origin, Scope, Suppression};

/// What kind of mail a message is. The stream says it; nothing in a message can turn marketing into something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageClass {
    /// Prospection, newsletters: everything that needs a basis and a way out.
    Marketing,
    /// Receipts, password resets, notices that the person's own action caused.
    Transactional,
}

impl MessageClass {
    /// The word used in configuration and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Transactional => "transactional",
        }
    }
}
