//! A case as the rules of law see it: who the recipient is, which laws apply, what is held.

use crate::time::Timestamp;

use super::MessageClass;
use super::calendar::is_within_months;
use super::classify::Classified;
use super::consent::{
    Basis, Collected, ConsentFact, Contract, Purpose, RecipientClass, RefusalBox, SaleKind, Standing,
};
use super::decide::Case;
use super::law::{Assumptions, FreeAccounts, Listed, OpenTracking, StreamLaw, UnsubscribeLife};
use super::rulebook::{Profile, Rulebook};
use super::statute::{AddressKind, Ask, Certainty, Condition, Requirement, Route, Since};
use super::word::{Country, Function, Topic};

/// Whether every fact is in view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// At RCPT: the list may still be named by a header, so consent to a list counts for any.
    Early,
    /// Everything that will be known is known.
    Full,
}

/// What a requirement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fulfilment<'a> {
    /// Fulfilled; by this record, where a basis was asked for and one is needed.
    Yes(Option<&'a ConsentFact>),
    /// Not fulfilled.
    No,
    /// It asks about a message, and none is in view.
    NotInView,
}

/// See the module.
pub(super) struct View<'a> {
    case: &'a Case<'a>,
    law: &'a StreamLaw,
    rules: &'a Rulebook,
    stand: Stand,
    pub(super) class: RecipientClass,
    pub(super) class_is: Certainty,
    pub(super) address: AddressKind,
    pub(super) country: Option<Country>,
    pub(super) country_is: Certainty,
    hint: Option<Country>,
}

impl<'a> View<'a> {
    pub(super) fn new(case: &'a Case<'a>, law: &'a StreamLaw, rules: &'a Rulebook, stand: Stand) -> Self {
        let mailbox = &case.recipient.mailbox;
        let Classified { class: assumed, address } = rules.classifier().classify(mailbox);
        let contact = case.facts.contact;
        let declared = contact.and_then(|contact| contact.class);
        let (class, class_is) = match (declared, law.assumptions) {
            (Some(class), _) => (class, Certainty::Declared),
            (None, Assumptions::Allowed) => (assumed, Certainty::Assumed),
            (None, Assumptions::Never) => (RecipientClass::Unknown, Certainty::Assumed),
        };
        let declared_country = contact.and_then(|contact| contact.country);
        let (country, country_is, hint) = match declared_country {
            Some(country) => (Some(country), Certainty::Declared, None),
            None => (law.default_recipient_country, Certainty::Assumed, country_hint(mailbox.domain().as_str())),
        };
        Self { case, law, rules, stand, class, class_is, address, country, country_is, hint }
    }

    /// The laws that apply, the recipient's first, and last what applies everywhere.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &'a Profile> + use<'a> {
        self.countries().chain(self.rules.everywhere())
    }

    /// The laws of countries that apply. The law of a country that the domain's ending hints at is added,
    /// never put in another's place: a hint can make the answer stricter only.
    pub(super) fn countries(&self) -> impl Iterator<Item = &'a Profile> + use<'a> {
        let recipient = self.rules.profile_of(self.country);
        let hint = self.hint.and_then(|country| self.rules.own_profile(country));
        let establishment = self.rules.profile_of(Some(self.law.establishment));
        let hint = hint.filter(|hint| !is_same(recipient, Some(*hint)));
        let establishment = establishment.filter(|own| !is_same(recipient, Some(*own)) && !is_same(hint, Some(*own)));
        recipient.into_iter().chain(hint).chain(establishment)
    }

    /// Whether a law is known for the recipient and for the sender: without one nothing can be granted.
    pub(super) fn laws_are_known(&self) -> bool {
        self.rules.profile_of(self.country).is_some() && self.rules.profile_of(Some(self.law.establishment)).is_some()
    }

    pub(super) const fn mail(&self) -> MessageClass {
        self.case.stream.class
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.case.now
    }

    pub(super) const fn law(&self) -> &'a StreamLaw {
        self.law
    }

    pub(super) fn applies(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Class(classes) => self.class == RecipientClass::Unknown || classes.contains(&self.class),
            Condition::ClassIs(certainty) => self.class == RecipientClass::Unknown || self.class_is == *certainty,
            Condition::Address(kinds) => kinds.contains(&self.address),
            Condition::Sector(sectors) => self.law.sector.as_ref().is_some_and(|sector| sectors.contains(sector)),
            Condition::Holds(bases) => self.held().any(|fact| bases.contains(&fact.basis)),
            Condition::Lacks(bases) => !self.held().any(|fact| bases.contains(&fact.basis)),
            Condition::NoContract => {
                self.case.facts.contact.is_none_or(|contact| contact.contract != Contract::InForce)
            }
            Condition::OpenTracking => {
                self.case.facts.message.is_some_and(|message| message.open_tracking() == OpenTracking::Individual)
            }
            Condition::FirstAfterIndirect => {
                !self.held().any(|fact| fact.collected == Collected::FromPerson || fact.last_mailing.is_some())
            }
        }
    }

    pub(super) fn fulfils(&self, requirement: &Requirement) -> Fulfilment<'a> {
        let holds = match requirement {
            Requirement::Never => false,
            Requirement::OneOf(routes) => return self.by_route(routes),
            Requirement::Within(months, since) => {
                self.held().any(|fact| is_within_months(since_when(fact, *since), *months, self.now()))
            }
            Requirement::Register(name, days) => {
                let age = i64::from(*days).saturating_mul(MILLIS_PER_DAY);
                let oldest = Timestamp::from_millis(self.now().as_millis().saturating_sub(age));
                let mut checks = self.case.facts.registers.iter().filter(|check| check.list == *name).peekable();
                let is_fresh = checks.clone().any(|check| check.fresh_on >= oldest && check.fresh_on <= self.now());
                is_fresh && checks.all(|check| check.answer == Listed::No)
            }
            Requirement::Message(duty) => match self.case.facts.message {
                Some(message) => message.fulfils(*duty),
                None => return Fulfilment::NotInView,
            },
            Requirement::TrackingConsent => self.tracking_is_agreed(),
            Requirement::UnsubscribeLife(days) => match self.law.unsubscribe_life {
                UnsubscribeLife::Unlimited => true,
                UnsubscribeLife::Days(lived) => lived >= *days,
            },
            Requirement::OptOutWithin(days) => self.law.opt_out_business_days <= *days,
        };
        if holds { Fulfilment::Yes(None) } else { Fulfilment::No }
    }

    /// The first way that is open. Where several records open it, the one that proves most is named: order and
    /// duplicates of the records do not matter.
    fn by_route(&self, routes: &[Route]) -> Fulfilment<'a> {
        for route in routes {
            if route.needs_nothing() && route.asks.iter().all(|ask| self.meets_without_record(ask)) {
                return Fulfilment::Yes(None);
            }
            let open = self
                .held()
                .filter(|fact| route.basis.contains(&fact.basis) && route.asks.iter().all(|ask| self.meets(fact, ask)))
                .min_by(|a, b| preference(a).cmp(&preference(b)));
            if let Some(fact) = open {
                return Fulfilment::Yes(Some(fact));
            }
        }
        Fulfilment::No
    }

    fn meets_without_record(&self, ask: &Ask) -> bool {
        match ask {
            Ask::TopicMeetsFunction => self.topic_meets_function(),
            Ask::Address(kind) => self.address == *kind,
            Ask::Proven
            | Ask::Evidence
            | Ask::Informed
            | Ask::RefusalOffered
            | Ask::FromPerson
            | Ask::SimilarProduct
            | Ask::Sale(_)
            | Ask::Within(..) => false,
        }
    }

    fn meets(&self, fact: &ConsentFact, ask: &Ask) -> bool {
        match ask {
            Ask::Proven => fact.standing == Standing::Proven,
            Ask::Evidence => fact.evidence.is_some(),
            Ask::Informed => fact.notice.is_some(),
            Ask::RefusalOffered => fact.refusal_box == RefusalBox::Offered,
            Ask::FromPerson => fact.collected == Collected::FromPerson,
            Ask::SimilarProduct => {
                let sold = fact.sale.as_ref().and_then(|sale| sale.family.as_ref());
                sold.is_some() && sold == self.law.product_family.as_ref()
            }
            Ask::Sale(kinds) => fact.sale.as_ref().is_some_and(|sale| {
                sale.at <= self.now()
                    && kinds.contains(&sale.kind)
                    && (sale.kind == SaleKind::Purchase || self.law.free_accounts == FreeAccounts::Counted)
            }),
            Ask::Within(months, since) => is_within_months(since_when(fact, *since), *months, self.now()),
            Ask::TopicMeetsFunction | Ask::Address(_) => self.meets_without_record(ask),
        }
    }

    fn topic_meets_function(&self) -> bool {
        let functions: &[Function] = self.case.facts.contact.map_or(&[], |contact| &contact.functions);
        self.law.topics.iter().any(|topic| self.rules.topic_meets(topic, functions))
    }

    fn tracking_is_agreed(&self) -> bool {
        self.ours().any(|fact| fact.purpose == Purpose::OpenTracking && fact.basis.is_express())
    }

    /// Records that count now and cover this message. The operator's assertion stands in only where this controller
    /// has no record at all, not even one that has expired: a record that ran out is known to have run out.
    pub(super) fn held(&self) -> impl Iterator<Item = &'a ConsentFact> {
        let is_marketing = |fact: &&ConsentFact| fact.purpose != Purpose::OpenTracking;
        let on_record =
            self.case.facts.consents.iter().any(|fact| fact.controller == *self.case.controller && is_marketing(&fact));
        let asserted = self.law.asserted.as_ref().filter(|fact| !on_record && fact.counts_at(self.now()));
        self.ours().chain(asserted).filter(|fact| self.covers(fact)).filter(|fact| fact.basis != Basis::None)
    }

    fn ours(&self) -> impl Iterator<Item = &'a ConsentFact> + use<'a> {
        let (controller, now) = (self.case.controller, self.case.now);
        self.case.facts.consents.iter().filter(move |fact| fact.controller == *controller && fact.counts_at(now))
    }

    fn covers(&self, fact: &ConsentFact) -> bool {
        match &fact.purpose {
            Purpose::Marketing => true,
            Purpose::Topic(topic) => is_only(&self.law.topics, topic),
            Purpose::List(list) => match (self.case.list, self.stand) {
                (Some(named), _) => named == list,
                (None, Stand::Early) => true,
                (None, Stand::Full) => false,
            },
            Purpose::OpenTracking => false,
        }
    }
}

const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

fn is_same(a: Option<&Profile>, b: Option<&Profile>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if std::ptr::eq(a, b))
}

fn is_only(topics: &[Topic], topic: &Topic) -> bool {
    !topics.is_empty() && topics.iter().all(|declared| declared == topic)
}

/// Proven before asserted, with evidence before without, the newest first; the rest only makes the order total.
fn preference(fact: &ConsentFact) -> impl Ord + '_ {
    (fact.standing, fact.evidence.is_none(), std::cmp::Reverse(fact.collected_at), fact.basis, fact.evidence.as_deref())
}

fn since_when(fact: &ConsentFact, since: Since) -> Timestamp {
    let sold = fact.sale.as_ref().map(|sale| sale.at);
    let contact = || [fact.last_contact, sold].into_iter().flatten().fold(fact.collected_at, Timestamp::max);
    match since {
        Since::Collection => fact.collected_at,
        Since::Sale => sold.unwrap_or(fact.collected_at),
        Since::SaleOrMailing => {
            let sale = sold.unwrap_or(fact.collected_at);
            fact.last_mailing.map_or(sale, |mailing| mailing.max(sale))
        }
        Since::Contact => contact(),
        Since::Use => fact.last_mailing.map_or_else(contact, |mailing| mailing.max(contact())),
    }
}

/// The country that a domain's ending stands for; only those with a rule pack of their own come to matter.
fn country_hint(domain: &str) -> Option<Country> {
    domain.rsplit('.').next().and_then(|last| Country::parse(last).ok())
}
