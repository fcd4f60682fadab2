//! Rules of law as data: a small closed vocabulary of conditions and requirements, and no scripting.

use std::borrow::Cow;

use crate::time::Timestamp;

use super::MessageClass;
use super::consent::{Basis, RecipientClass, SaleKind};
use super::law::Duty;
use super::rulebook::{Rule, RuleId};
use super::word::{Country, RegisterName, Sector, words};

words! {
    /// The order in which rules are asked.
    Stage {
        /// Mail that is forbidden whatever the person agreed to. Asked before suppression.
        Ban = "ban",
        /// National opt-out lists. Asked after suppression.
        Register = "register",
        /// On what basis somebody may be written to.
        Basis = "basis",
        /// How old that may be.
        Age = "age",
        /// What the message must show.
        Message = "message",
        /// What mailbox providers ask for.
        Provider = "provider",
    }
    expected "`ban`, `register`, `basis`, `age`, `message` or `provider`"
}

words! {
    /// What becomes of a message that a rule does not allow.
    Effect {
        /// It is refused.
        Refuse = "refuse",
        /// It leaves, and the decision carries a warning.
        Warn = "warn",
    }
    expected "`refuse` or `warn`"
}

words! {
    /// What an address looks like.
    AddressKind {
        /// A mailbox at a provider of private mailboxes, or an alias of one.
        Personal = "personal",
        /// A technical address that nobody reads as a person: `postmaster@`, `noreply@`.
        Technical = "technical",
        /// Anything else.
        Work = "work",
    }
    expected "`personal`, `technical` or `work`"
}

words! {
    /// Whether a fact was declared or read from the address.
    Certainty {
        /// Somebody who knows said so.
        Declared = "declared",
        /// The gateway assumed it.
        Assumed = "assumed",
    }
    expected "`declared` or `assumed`"
}

words! {
    /// From when a period runs.
    Since {
        /// Collection of the address.
        Collection = "collection",
        /// The sale; without one, collection.
        Sale = "sale",
        /// The sale, or the last message on this record if later (SI 336/2011 regulation 13(11)).
        SaleOrMailing = "sale_or_mailing",
        /// The last contact by the person: collection, click, reply, purchase; never an open.
        Contact = "contact",
        /// The last contact or the last message, whichever is later: when the consent was last used.
        Use = "use",
    }
    expected "`collection`, `sale`, `sale_or_mailing`, `contact` or `use`"
}

/// When a rule applies. All conditions of a rule must hold; a rule without any always applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The recipient is one of these. An unknown class is every class.
    Class(Box<[RecipientClass]>),
    /// The class is declared, or assumed. An unknown class is both.
    ClassIs(Certainty),
    /// The address looks like one of these.
    Address(Box<[AddressKind]>),
    /// The stream advertises one of these trades.
    Sector(Box<[Sector]>),
    /// At least one of these bases is held.
    Holds(Box<[Basis]>),
    /// None of these bases is held.
    Lacks(Box<[Basis]>),
    /// No contract with the controller is in force.
    NoContract,
    /// The message tracks opens one by one.
    OpenTracking,
    /// The first message to somebody whose data did not come from them: no record was collected from the person and
    /// none was written to before.
    FirstAfterIndirect,
}

/// What a held basis must bring with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A record, not the operator's word.
    Proven,
    /// A reference to the proof.
    Evidence,
    /// The person was informed at collection.
    Informed,
    /// A refusal was offered at collection.
    RefusalOffered,
    /// The address came from the person.
    FromPerson,
    /// A topic of the stream belongs to a declared function of the person.
    TopicMeetsFunction,
    /// The sale was of the stream's product family.
    SimilarProduct,
    /// There was a sale of one of these kinds. A free account counts on streams that count them only.
    Sale(Box<[SaleKind]>),
    /// No longer ago than so many calendar months.
    Within(u32, Since),
    /// The address looks like this.
    Address(AddressKind),
}

/// One way to be allowed: one of these bases with all that is asked of it. `none` needs nothing to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Any of these.
    pub basis: Box<[Basis]>,
    /// And all of this.
    pub asks: Box<[Ask]>,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing can fulfil this one.
    Never,
    /// One of these ways.
    OneOf(Box<[Route]>),
    /// Some held basis runs since no longer than so many calendar months.
    Within(u32, Since),
    /// The list was consulted in a copy no older than so many days, and the recipient is not on it.
    Register(RegisterName, u32),
    /// The message shows this.
    Message(Duty),
    /// The person agreed to tracking of opens.
    TrackingConsent,
    /// The way out works at least so many days after sending.
    UnsubscribeLife(u32),
    /// An opt-out is effective within so many business days.
    OptOutWithin(u32),
}

/// An operator's decision not to follow a rule, with a name to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Which rule.
    pub rule: RuleId,
    /// Why.
    pub reason: &'static str,
    /// Who decided it.
    pub by: &'static str,
    /// On which day, as written (`2026-11-24`).
    pub on: &'static str,
}

/// One rule of law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LawRule {
    /// Name, version, title, source, reason code.
    pub rule: Rule,
    /// When in the order it is asked.
    pub stage: Stage,
    /// What becomes of a message that it does not allow.
    pub effect: Effect,
    /// To which kinds of mail it applies.
    pub mail: Box<[MessageClass]>,
    /// When it applies; all must hold.
    pub when: Box<[Condition]>,
    /// What it asks; all must be fulfilled.
    pub require: Box<[Requirement]>,
    /// In force from this instant on.
    pub effective_from: Option<Timestamp>,
    /// No longer in force from this instant on.
    pub effective_until: Option<Timestamp>,
    /// The operator's loosening, where there is one.
    pub overridden: Option<Override>,
}

impl LawRule {
    /// Whether the rule is in force at `now`: from the first instant on, up to just before the last.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.effective_from.is_none_or(|from| from <= now) && self.effective_until.is_none_or(|until| now < until)
    }

    /// Whether the rule can be what lets a message pass: it says on what basis somebody may be written to.
    pub fn grants(&self) -> bool {
        self.require.iter().any(|require| matches!(require, Requirement::OneOf(_)))
    }
}

/// What a jurisdiction asks after an opt-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AfterOptOut {
    /// By when it must be effective at the latest; `None`: at once.
    pub business_days: Option<u32>,
    /// Whether the person is owed one acknowledgement by mail (Belgian royal decree of 4 April 2003 article 2).
    pub acknowledge: Acknowledge,
}

words! {
    /// Whether an opt-out is acknowledged by mail.
    #[derive(Default)]
    Acknowledge {
        /// Nothing is sent.
        #[default]
        No = "no",
        /// One message, to the address that opted out.
        Once = "once",
    }
    expected "`no` or `once`"
}

/// The law of one jurisdiction as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// `FR`, `EU`, `STRICT`, `ALL`…
    pub name: &'static str,
    /// In plain words.
    pub title: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Who signed it off, and when; `None` until a lawyer has.
    pub review: Option<Review>,
    /// The countries whose law this is.
    pub countries: Vec<Country>,
    /// Its rules in the order of their stages, and within a stage as written.
    pub rules: Vec<LawRule>,
    /// Deadlines and duties after an opt-out.
    pub after_opt_out: AfterOptOut,
}

/// A lawyer's signature under a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// Who.
    pub by: &'static str,
    /// On which day, as written.
    pub on: &'static str,
}

fn list<T: Copy>(items: &[T], word: impl Fn(T) -> &'static str) -> String {
    let words: Vec<_> = items.iter().map(|item| format!("`{}`", word(*item))).collect();
    words.join(" or ")
}

impl Ask {
    /// What is asked, as half a sentence after "a basis … with".
    pub fn describe(&self) -> Cow<'static, str> {
        match self {
            Self::Proven => "a record of it (not only the operator's word)".into(),
            Self::Evidence => "a reference to its proof".into(),
            Self::Informed => "the notice shown at collection".into(),
            Self::RefusalOffered => "a refusal offered at collection".into(),
            Self::FromPerson => "the address given by the person".into(),
            Self::TopicMeetsFunction => "a topic that belongs to the person's function at work".into(),
            Self::SimilarProduct => "a sale of a similar product".into(),
            Self::Sale(kinds) => format!("a sale ({})", list(kinds, SaleKind::as_str)).into(),
            Self::Within(months, since) => format!("no more than {months} months since {}", since.describe()).into(),
            Self::Address(kind) => format!("a {kind} address").into(),
        }
    }
}

impl Since {
    /// From when, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::Sale => "the sale",
            Self::SaleOrMailing => "the sale or the last message",
            Self::Contact => "the last contact by the person",
            Self::Use => "the last contact or message",
        }
    }
}

impl Route {
    /// The way, in words.
    pub fn describe(&self) -> String {
        if self.needs_nothing() && self.asks.is_empty() {
            return String::from("no basis is needed");
        }
        let bases = if self.needs_nothing() { String::from("no basis") } else { list(&self.basis, Basis::as_str) };
        let asks: Vec<_> = self.asks.iter().map(Ask::describe).collect();
        if asks.is_empty() { bases } else { format!("{bases} with {}", asks.join(", ")) }
    }

    /// Whether this way needs no basis to be held.
    pub fn needs_nothing(&self) -> bool {
        self.basis.contains(&Basis::None)
    }
}

impl Requirement {
    /// What would fulfil it, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Never => String::from("nothing: this mail is forbidden"),
            Self::OneOf(routes) => routes.iter().map(Route::describe).collect::<Vec<_>>().join("; or "),
            Self::Within(months, since) => format!("no more than {months} months since {}", since.describe()),
            Self::Register(name, days) => {
                format!("list `{name}` consulted in a copy no older than {days} days, without a hit")
            }
            Self::Message(duty) => format!("the message shows `{duty}`"),
            Self::TrackingConsent => String::from("consent to tracking of opens, or no pixel"),
            Self::UnsubscribeLife(days) => format!("a way out that works {days} days after sending"),
            Self::OptOutWithin(days) => format!("opt-outs effective within {days} business days"),
        }
    }
}

impl Condition {
    /// When the rule applies, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Class(classes) => format!("recipient is {}", list(classes, RecipientClass::as_str)),
            Self::ClassIs(certainty) => format!("class is {certainty}"),
            Self::Address(kinds) => format!("address is {}", list(kinds, AddressKind::as_str)),
            Self::Sector(sectors) => {
                let words: Vec<_> = sectors.iter().map(|sector| format!("`{sector}`")).collect();
                format!("sector is {}", words.join(" or "))
            }
            Self::Holds(bases) => format!("held: {}", list(bases, Basis::as_str)),
            Self::Lacks(bases) => format!("not held: {}", list(bases, Basis::as_str)),
            Self::NoContract => String::from("no contract in force"),
            Self::OpenTracking => String::from("opens are tracked one by one"),
            Self::FirstAfterIndirect => String::from("first message to data not collected from the person"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ReasonCode, RuleId};

    #[test]
    fn a_rule_is_in_force_from_its_first_instant_until_just_before_its_last() {
        let (id, reason) = (RuleId::new("X-1").unwrap(), ReasonCode::new("LAW_X").unwrap());
        let mut law = LawRule {
            rule: Rule { id, version: 1, title: "t", source: "s", reason },
            stage: Stage::Basis,
            effect: Effect::Refuse,
            mail: Box::from([MessageClass::Marketing]),
            when: Box::default(),
            require: Box::from([Requirement::Never]),
            effective_from: None,
            effective_until: None,
            overridden: None,
        };
        assert!(law.is_in_force(Timestamp::from_secs(0)));
        law.effective_from = Some(Timestamp::from_secs(10));
        law.effective_until = Some(Timestamp::from_secs(20));
        for (now, holds) in [(9_999, false), (10_000, true), (19_999, true), (20_000, false)] {
            assert_eq!(law.is_in_force(Timestamp::from_millis(now)), holds, "{now}");
        }
    }

    #[test]
    fn names_of_rules_and_reasons_are_capitals() {
        for bad in ["", "fr-c1", "FR C1", "FR_C1"] {
            assert!(RuleId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "LAW-X", "SUP_OBJECTION", "law_x"] {
            assert!(ReasonCode::new(bad).is_err(), "{bad}");
        }
    }
}
