//! The rules in force and the streams they apply to.

use crate::mail::{ControllerId, Domain, ListName, StreamName};

use super::MessageClass;
use super::decision::ReasonCode;

/// Stable name of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(super) &'static str);

impl RuleId {
    /// The name: `X-010`, `STREAM-1`…
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for RuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// One rule: what it is called, what it asks, where that comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name.
    pub id: RuleId,
    /// Grows whenever the meaning changes.
    pub version: u32,
    /// Plain-language title.
    pub title: &'static str,
    /// Law, standard or operator's choice behind it.
    pub source: &'static str,
    /// The word that a refusal (or permit) by this rule carries.
    pub reason: ReasonCode,
}

/// What policy needs to know about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRules {
    /// Its name.
    pub name: StreamName,
    /// Who is responsible for its mail.
    pub controller: ControllerId,
    /// What kind of mail it is.
    pub class: MessageClass,
    /// Its list, unless a control header names another.
    pub list: Option<ListName>,
    /// From domains that it may use, subdomains included.
    pub from_domains: FromDomains,
}

/// Which author domains (RFC 5322 section 3.6.2) a stream may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromDomains {
    /// Any: the demo, and gateways with a single trusted tool.
    Any,
    /// These and their subdomains.
    Only(Vec<Domain>),
}

impl FromDomains {
    /// Whether `domain` may appear in From.
    pub fn allow(&self, domain: &Domain) -> bool {
        match self {
            Self::Any => true,
            Self::Only(list) => list.iter().any(|allowed| domain.is_within(allowed)),
        }
    }
}

/// The rules that [`super::decide`] knows at this version. Rule packs by country join it through the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rulebook {
    version: &'static str,
}

impl Rulebook {
    /// The rules that are built in.
    pub const fn built_in() -> Self {
        Self { version: "2026.11" }
    }

    /// Version of the whole book, recorded with each decision.
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Every rule, for documentation and its test.
    pub const fn rules(&self) -> &'static [Rule] {
        RULES
    }
}

const fn rule(id: &'static str, reason: &'static str, title: &'static str, source: &'static str) -> Rule {
    Rule { id: RuleId(id), version: 1, title, source, reason: ReasonCode(reason) }
}

pub(super) const COMPLAINT: Rule = rule(
    "X-012",
    "SUP_COMPLAINT",
    "Nobody who reported our mail as spam is sent marketing",
    "GDPR art. 21(3); RFC 5965",
);
pub(super) const OBJECTION: Rule = rule(
    "X-010",
    "SUP_OBJECTION",
    "Nobody who objected to marketing is sent marketing",
    "GDPR art. 21(2)-(3); CPCE art. L34-5",
);
pub(super) const UNSUBSCRIBE: Rule =
    rule("X-011", "SUP_UNSUBSCRIBE", "Nobody who left a list is written to on that list", "CPCE art. L34-5; RFC 8058");
pub(super) const MANUAL: Rule =
    rule("X-015", "SUP_MANUAL", "Nobody whom the operator suppressed is written to in that scope", "operator's entry");
pub(super) const ERASED: Rule =
    rule("X-016", "SUP_ERASED", "Nobody whose data was erased is written to", "GDPR art. 17");
pub(super) const INVALID: Rule =
    rule("X-017", "SUP_INVALID", "An address known to be invalid is not written to", "RFC 5321 section 4.1.2");
pub(super) const HARD_BOUNCE: Rule =
    rule("X-013", "SUP_HARD_BOUNCE", "A mailbox that does not exist is not written to again", "RFC 3463 section 3.2");
pub(super) const FROM_DOMAIN: Rule = rule(
    "STREAM-1",
    "STREAM_FROM_DOMAIN",
    "A stream uses its own author domains only",
    "stream setting `from_domains`; RFC 6409 section 6.1",
);
pub(super) const MARKETING: Rule = rule(
    "CLASS-1",
    "OK_MARKETING",
    "Marketing may leave with one-click unsubscribe when nothing stops it",
    "RFC 8058; CPCE art. L34-5",
);
pub(super) const TRANSACTIONAL: Rule = rule(
    "CLASS-2",
    "OK_TRANSACTIONAL",
    "Transactional mail may leave unless nobody may be written to",
    "stream setting `class`",
);

const RULES: &[Rule] =
    &[COMPLAINT, OBJECTION, UNSUBSCRIBE, MANUAL, ERASED, INVALID, HARD_BOUNCE, FROM_DOMAIN, MARKETING, TRANSACTIONAL];
