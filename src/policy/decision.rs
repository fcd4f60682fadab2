//! What a decision says: verdict, reason, rule, and the duties that come with a permit.

use std::sync::Arc;

use crate::mail::Recipient;

use super::consent::{Basis, RecipientClass, Standing};
use super::rulebook::{CODE_MAX, Rule, RuleId, is_code};
use super::statute::{Certainty, Override};
use super::word::Country;

/// Stable word for why a decision fell as it did; the list is `docs/reference/reasons.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(pub(super) &'static str);

impl ReasonCode {
    /// The word: `SUP_UNSUBSCRIBE`, `OK_MARKETING`…
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Makes the reason code of a rule of law.
    ///
    /// # Errors
    /// A sentence, unless it is 1 to [`CODE_MAX`] of A-Z, 0-9, `_`, beginning with `LAW_`.
    pub fn new(word: &'static str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if word.starts_with("LAW_") && is_code(word, fits) {
            Ok(Self(word))
        } else {
            Err(format!(
                "`{word}` is no reason code; expected at most {CODE_MAX} of A-Z, 0-9, `_`, like `LAW_FR_NO_OPTIN`"
            ))
        }
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

/// The facts that rules of law were applied to, each with how sure it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsUsed {
    /// The recipient's country; `None` when unknown, which is read as the strictest.
    pub country: Option<Country>,
    /// Declared by the contact, or assumed from the stream's default.
    pub country_is: Certainty,
    /// Where the sender is established.
    pub establishment: Country,
    /// What the recipient is.
    pub class: RecipientClass,
    /// Declared, or read from the address.
    pub class_is: Certainty,
    /// The basis that opened the way, and what stands behind it; `None` where none was needed or none was found.
    pub basis: Option<(Basis, Standing)>,
    /// The proof of that basis.
    pub evidence: Option<Arc<str>>,
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
    /// What the rules of law were applied to; `None` where no law applies.
    pub facts: Option<FactsUsed>,
    /// Rules of law that were not fulfilled and only warn, each once.
    pub warnings: Vec<Rule>,
    /// In shadow: the rule of law that would have refused.
    pub would_refuse: Option<Rule>,
    /// Rules of law that would have refused, and that the operator chose not to follow.
    pub overrides: Vec<Override>,
}
