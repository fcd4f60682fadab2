//! May this be sent to this person now, and under which duties?
//!
//! **Promise:** [`decide`] is a pure function of a [`Case`] and a [`Rulebook`]: same input, same decision, no
//! panic. Only this room can make a [`Permit`], and a permit carries its recipient: a permit for A cannot send to B.
//!
//! **Owns:** suppression facts, consent facts, message classes, stream rules, the vocabulary that rules of law are
//! written in, recipient classes and how an address is read, reason codes, decisions, civil deadlines.
//!
//! **Never knows:** I/O, the wall clock, SMTP codes, header syntax, how facts are stored, which language rules of law
//! are written down in.
//!
//! **Standards:** CPCE article L34-5 and GDPR articles 17 and 21 (why an opt-out stops marketing and an erasure
//! stops everything), Directive 2002/58 article 13 (on what basis people may be written to), RFC 8058 (the one-click
//! obligation of marketing mail). What a country adds stands in its rule pack.

pub mod calendar;
mod classify;
mod consent;
mod decide;
mod decision;
mod law;
mod rulebook;
mod ruling;
mod statute;
mod suppression;
mod trace;
mod view;
mod word;

pub use classify::{Classified, Classifier, fold_word};
pub use consent::{
    Basis, Collected, Confirmation, ConsentFact, Contact, Contract, Provenance, Purpose, RecipientClass, RefusalBox,
    Sale, SaleKind, Standing,
};
pub use decide::{Case, decide, explain, precheck};
pub use decision::{Decision, FactsUsed, Obligations, OneClick, Permanence, Permit, ReasonCode, Refusal, Verdict};
pub use law::{
    Assumptions, Duty, Enforcement, Facts, FreeAccounts, Law, ListCheck, Listed, MessageFacts, OpenTracking, StreamLaw,
    UnsubscribeLife,
};
pub use rulebook::{CODE_MAX, EVERYWHERE, FromDomains, Rule, RuleId, Rulebook, STRICT, StreamRules};
pub use statute::{
    Acknowledge, AddressKind, AfterOptOut, Ask, Certainty, Condition, Effect, LawRule, Override, Pack, Requirement,
    Review, Route, Since, Stage,
};
pub use suppression::{Cause, Origin, Scope, Suppression};
pub use trace::{Considered, Outcome, Trace};
pub(crate) use word::words;
pub use word::{Country, Function, ProductFamily, RegisterName, Sector, TERM_MAX, Topic};

word::words! {
    /// What kind of mail a message is. The stream says it; nothing in a message can turn marketing into something else.
    MessageClass {
        /// Prospection, newsletters: everything that needs a basis and a way out.
        Marketing = "marketing",
        /// Receipts, password resets, notices that the person's own action caused.
        Transactional = "transactional",
    }
    expected "`marketing` or `transactional`"
}
