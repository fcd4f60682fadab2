//! What a decision says: verdict, reason, rule, and the duties that come with a permit.

use crate::mail::Recipient;

use super::rulebook::RuleId;

/// Stable word for why a decision fell as it did; the list is `docs/reference/reasons.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(pub(super) &'static str);

impl ReasonCode {
    /// The word: `SUP_UNSUBSCRIBE`, `OK_MARKETING`…
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// What must be done to a permitted message before it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// RFC 8058 one-click headers, unique to this recipient, under a DKIM signature where keys are configured.
    pub one_click: OneClick,
}

/// Whether the one-click headers are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneClick {
    /// Marketing: List-Unsubscribe and List-Unsubscribe-Post.
    Owed,
    /// Anything else.
    NotOwed,
}

/// The right to send one message to one recipient. Only [`super::decide`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    recipient: Recipient,
    obligations: Obligations,
}

impl Permit {
    pub(super) const fn new(recipient: Recipient, obligations: Obligations) -> Self {
        Self { recipient, obligations }
    }

    /// For whom.
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Under which duties.
    pub const fn obligations(&self) -> Obligations {
        self.obligations
    }

    /// Takes the recipient out when the message has been rewritten for them.
    pub fn into_recipient(self) -> Recipient {
        self.recipient
    }

    /// Makes a permit for tests of other rooms, which need one without a case.
    #[cfg(test)]
    pub(crate) const fn for_test(recipient: Recipient, one_click: OneClick) -> Self {
        Self::new(recipient, Obligations { one_click })
    }
}

/// Whether asking again can change the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permanence {
    /// The same message to the same person will be refused again: SMTP 5yz.
    Permanent,
    /// It may be allowed later: SMTP 4yz.
    Transient,
}

/// A no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether asking again can help.
    pub permanence: Permanence,
}

/// Yes or no. There is no third answer: when the facts cannot be had, nobody decides (promise P4).
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send, under the permit's duties.
    Permit(Permit),
    /// Do not send.
    Refuse(Refusal),
}

impl Verdict {
    /// The word in logs and audit records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Permit(_) => "permit",
            Self::Refuse(_) => "refuse",
        }
    }
}

/// A verdict that explains itself (promise P5).
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why, in one stable word.
    pub reason: ReasonCode,
    /// The rule that decided.
    pub rule: RuleId,
    /// Version of that rule.
    pub rule_version: u32,
    /// The legal or technical source of the rule.
    pub source: &'static str,
    /// What proves the deciding fact, where there is one.
    pub evidence: Option<String>,
}
