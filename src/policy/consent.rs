//! Consent facts: on what basis somebody may be written to, and what proves it.

use std::fmt;
use std::sync::Arc;

use crate::mail::{ControllerId, ListName};
use crate::time::Timestamp;

use super::suppression::{Scope, Suppression};
use super::word::{Country, Function, ProductFamily, Topic, words};

words! {
    /// On what a message to somebody rests. What each one must prove differs by law; the rules say so.
    Basis {
        /// Prior, specific, informed, affirmative consent (GDPR articles 4(11) and 7).
        OptIn = "opt_in",
        /// Such a consent, confirmed from the mailbox itself by a deliberate action.
        DoubleOptIn = "double_opt_in",
        /// A customer of the same seller (Directive 2002/58 article 13(2)).
        ExistingCustomer = "existing_customer",
        /// Enrolled unless a refusal box is ticked at collection ("opt-out actif").
        OptOutActive = "opt_out_active",
        /// Enrolled by obtaining something; may leave later ("opt-out passif").
        OptOutPassive = "opt_out_passive",
        /// Implied by a purchase or contract (CASL section 10(9)-(10)).
        ImpliedPurchase = "implied_purchase",
        /// Implied by an inquiry or application (CASL section 10(10)(e)).
        ImpliedInquiry = "implied_inquiry",
        /// Implied by an address that the person disclosed or conspicuously published, without a note against
        /// advertising (CASL section 10(9)(b)-(c); Spam Act 2003 schedule 2 clause 4).
        ImpliedPublished = "implied_published",
        /// Implied by a gift, volunteer work or membership (CASL section 10(9)(a), 10(13)).
        ImpliedMembership = "implied_membership",
        /// An address that a legal person published for receiving such mail (Dutch Tw article 11.7).
        Published = "published",
        /// On record as having none. In a rule: nothing is needed.
        None = "none",
    }
    expected "`opt_in`, `double_opt_in`, `existing_customer`, `opt_out_active`, `opt_out_passive`, `implied_purchase`, `implied_inquiry`, `implied_published`, `implied_membership`, `published` or `none`"
}

impl Basis {
    /// Whether the person said yes in so many words.
    pub const fn is_express(self) -> bool {
        matches!(self, Self::OptIn | Self::DoubleOptIn)
    }
}

words! {
    /// What somebody is in the eyes of marketing law.
    RecipientClass {
        /// Could not be told, or may not be assumed. The rules of every class apply.
        Unknown = "unknown",
        /// A natural person at a private address.
        Consumer = "consumer",
        /// A natural person in business alone. Only a declaration tells it; an address does not.
        SoleTrader = "sole_trader",
        /// A named natural person at a work address.
        Professional = "professional",
        /// A role or service address of a legal person.
        Generic = "generic",
        /// A role or service address of a public body.
        PublicBody = "public_body",
    }
    expected "`consumer`, `professional`, `sole_trader`, `generic`, `public_body` or `unknown`"
}

words! {
    /// What was sold.
    SaleKind {
        /// Something for money.
        Purchase = "purchase",
        /// A free account that a paid tier stands behind (CJEU C-654/23). Not every law counts it.
        FreeAccount = "free_account",
    }
    expected "`purchase` or `free_account`"
}

words! {
    /// What became of the box "do not send me information" at collection.
    RefusalBox {
        /// There was none, or nobody knows.
        NotOffered = "not_offered",
        /// It was there and left empty.
        Offered = "offered",
        /// It was ticked: the person refused, and no basis of this record counts.
        Ticked = "ticked",
    }
    expected "`not_offered`, `offered` or `ticked`"
}

words! {
    /// From whom an address came.
    Collected {
        /// From the person.
        FromPerson = "from_person",
        /// From somebody else: a partner, a directory, a purchase of data.
        Indirectly = "indirectly",
    }
    expected "`from_person` or `indirectly`"
}

words! {
    /// What stands behind a basis.
    Standing {
        /// A record of how it came about.
        Proven = "proven",
        /// The operator's word for a whole list. Never shown as proven.
        Asserted = "asserted",
    }
    expected "`proven` or `asserted`"
}

/// What a consent is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// All marketing of the controller.
    Marketing,
    /// Marketing about one topic.
    Topic(Topic),
    /// One list.
    List(ListName),
    /// Individual tracking of opens: a consent of its own (CNIL deliberation 2026-042), never one to marketing.
    OpenTracking,
}

/// `marketing`, `topic:NAME`, `list:NAME` or `open_tracking`: the form of command lines, files and logs.
impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Marketing => f.write_str("marketing"),
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::List(list) => write!(f, "list:{list}"),
            Self::OpenTracking => f.write_str("open_tracking"),
        }
    }
}

impl std::str::FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "marketing" => Ok(Self::Marketing),
            None if text == "open_tracking" => Ok(Self::OpenTracking),
            Some(("topic", name)) => Topic::new(name).map(Self::Topic),
            Some(("list", name)) => ListName::new(name).map(Self::List).map_err(|error| error.to_string()),
            Some(_) | None => Err(format!(
                "`{text}` is not a purpose; expected `marketing`, `open_tracking`, `topic:NAME` or `list:NAME`"
            )),
        }
    }
}

/// A sale, for "existing customer".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sale {
    /// When it was made.
    pub at: Timestamp,
    /// What was sold, when it was recorded.
    pub family: Option<ProductFamily>,
    /// For money or not.
    pub kind: SaleKind,
}

/// Whether the mailbox itself confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirmation {
    /// Nobody asked for it.
    NotAsked,
    /// Asked and not answered: the record counts for nothing yet.
    Pending,
    /// Confirmed by a deliberate action (a POST, never a GET) at this instant.
    At(Timestamp),
}

/// How a record came about, for proof (GDPR article 7(1)). Kept by the store; no rule reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// Form, URL, event or import.
    pub source: Option<Arc<str>>,
    /// By what action: `form`, `api`, `import`.
    pub method: Option<Arc<str>>,
    /// From which address on the network.
    pub ip: Option<std::net::IpAddr>,
}

/// What is declared about the person or address itself, apart from any consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Contact {
    /// Declared class; without one the address is read, and the answer marked as assumed.
    pub class: Option<RecipientClass>,
    /// Declared country.
    pub country: Option<Country>,
    /// What the person does at work.
    pub functions: Vec<Function>,
    /// A contract now in force with this controller (French Code de la consommation article L223-8).
    pub contract: Contract,
}

/// Whether a contract is in force between person and controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contract {
    /// None, or nobody said so.
    #[default]
    None,
    /// One is.
    InForce,
}

/// One consent record about one exact address. The address itself stays in the store.
///
/// Consent is matched by the exact address (a consent of `a+x@` is none of `a@`), suppression by the family.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsentFact {
    /// To whom it was given.
    pub controller: ControllerId,
    /// What for.
    pub purpose: Purpose,
    /// On what it rests.
    pub basis: Basis,
    /// What stands behind it.
    pub standing: Standing,
    /// When the address was collected.
    pub collected_at: Timestamp,
    /// From whom.
    pub collected: Collected,
    /// Version of the notice shown at collection; `None` when the person was not informed.
    pub notice: Option<Arc<str>>,
    /// The refusal box.
    pub refusal_box: RefusalBox,
    /// The sale, for an existing customer.
    pub sale: Option<Sale>,
    /// Double opt-in.
    pub confirmation: Confirmation,
    /// Last contact *by the person*: a click, a reply, a purchase. An open is none (CNIL SAN-2020-003).
    pub last_contact: Option<Timestamp>,
    /// When this person was last written to on this record; `None` when never.
    pub last_mailing: Option<Timestamp>,
    /// When it stops counting, where the record itself says so.
    pub expires: Option<Timestamp>,
    /// A reference to the proof.
    pub evidence: Option<Arc<str>>,
    /// How it came about.
    pub provenance: Provenance,
}

impl ConsentFact {
    /// A record that shows the least: collected from the person, and nothing else known.
    pub fn new(controller: ControllerId, purpose: Purpose, basis: Basis, collected_at: Timestamp) -> Self {
        Self {
            controller,
            purpose,
            basis,
            standing: Standing::Proven,
            collected_at,
            collected: Collected::FromPerson,
            notice: None,
            refusal_box: RefusalBox::NotOffered,
            sale: None,
            confirmation: Confirmation::NotAsked,
            last_contact: None,
            last_mailing: None,
            expires: None,
            evidence: None,
            provenance: Provenance::default(),
        }
    }

    /// Whether this counts at `now`: collected by then, not expired (strictly before `expires`), refusal box not
    /// ticked, no confirmation outstanding; a double opt-in counts from its confirmation on.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        let confirmed = match self.confirmation {
            Confirmation::NotAsked => self.basis != Basis::DoubleOptIn,
            Confirmation::Pending => false,
            Confirmation::At(at) => at <= now,
        };
        confirmed
            && self.collected_at <= now
            && self.expires.is_none_or(|end| now < end)
            && self.refusal_box != RefusalBox::Ticked
    }

    /// Whether this lifts `suppression`: an express consent of the person to this controller, dated after it, with
    /// evidence, and as wide as what it lifts (promise P10). Nothing else does: no import without proof, no new source
    /// of the same address, no consent to one list against an objection to all marketing.
    pub fn lifts(&self, suppression: &Suppression, now: Timestamp) -> bool {
        let given_at = match self.confirmation {
            Confirmation::At(at) => at.max(self.collected_at),
            Confirmation::NotAsked | Confirmation::Pending => self.collected_at,
        };
        suppression.cause.is_opt_out()
            && self.is_as_wide_as(&suppression.scope)
            && self.basis.is_express()
            && self.standing == Standing::Proven
            && self.collected == Collected::FromPerson
            && self.evidence.is_some()
            && self.counts_at(now)
            && given_at > suppression.since
    }

    fn is_as_wide_as(&self, scope: &Scope) -> bool {
        match (scope, &self.purpose) {
            (Scope::Controller(theirs) | Scope::List(theirs, _), Purpose::Marketing) => *theirs == self.controller,
            (Scope::List(theirs, list), Purpose::List(mine)) => *theirs == self.controller && list == mine,
            (Scope::Everything | Scope::Controller(_) | Scope::List(..), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Cause, Origin};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn opt_in(purpose: Purpose, when: i64) -> ConsentFact {
        let mut fact =
            ConsentFact::new(ControllerId::new("acme").unwrap(), purpose, Basis::OptIn, Timestamp::from_secs(when));
        fact.evidence = Some(Arc::from("form 1"));
        fact
    }

    fn opt_out(cause: Cause, scope: &str) -> Suppression {
        let scope = scope.parse().unwrap();
        Suppression { scope, cause, origin: Origin::Page, evidence: None, since: at(100), expires: None }
    }

    #[test]
    fn a_record_counts_from_collection_until_just_before_its_end() {
        let mut fact = opt_in(Purpose::Marketing, 100);
        fact.expires = Some(at(200));
        for (now, counts) in
            [(at(99), false), (at(100), true), (Timestamp::from_millis(199_999), true), (at(200), false)]
        {
            assert_eq!(fact.counts_at(now), counts, "{now}");
        }
        fact.refusal_box = RefusalBox::Ticked;
        assert!(!fact.counts_at(at(150)));
    }

    #[test]
    fn a_double_opt_in_counts_from_its_confirmation() {
        let mut fact = opt_in(Purpose::Marketing, 100);
        fact.basis = Basis::DoubleOptIn;
        for (confirmation, counts) in [
            (Confirmation::NotAsked, false),
            (Confirmation::Pending, false),
            (Confirmation::At(at(151)), false),
            (Confirmation::At(at(150)), true),
        ] {
            fact.confirmation = confirmation;
            assert_eq!(fact.counts_at(at(150)), counts, "{confirmation:?}");
        }
    }

    #[test]
    fn purposes_read_back_what_they_write() {
        for text in ["marketing", "open_tracking", "topic:it-security", "list:weekly"] {
            assert_eq!(text.parse::<Purpose>().unwrap().to_string(), text);
        }
        for bad in ["", "topic:", "list:a b", "open", "topic", "x:y"] {
            assert!(bad.parse::<Purpose>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_newer_proven_opt_in_as_wide_as_the_opt_out_lifts_it() {
        let list = Purpose::List(ListName::new("weekly").unwrap());
        let left = opt_out(Cause::Unsubscribe, "list:acme/weekly");
        let objected = opt_out(Cause::LegalObjection, "controller:acme");
        let now = at(300);
        assert!(opt_in(list.clone(), 101).lifts(&left, now));
        assert!(opt_in(Purpose::Marketing, 101).lifts(&objected, now));
        assert!(!opt_in(list.clone(), 100).lifts(&left, now), "not newer");
        assert!(!opt_in(list, 101).lifts(&objected, now), "one list against all marketing");
        assert!(!opt_in(Purpose::OpenTracking, 101).lifts(&left, now));
        assert!(!opt_in(Purpose::Marketing, 101).lifts(&opt_out(Cause::Erased, "controller:acme"), now));
        assert!(!opt_in(Purpose::Marketing, 101).lifts(&opt_out(Cause::Complaint, "everything"), now));
        let spoiled: [fn(&mut ConsentFact); 4] = [
            |fact| fact.evidence = None,
            |fact| fact.standing = Standing::Asserted,
            |fact| fact.basis = Basis::OptOutActive,
            |fact| fact.collected = Collected::Indirectly,
        ];
        for spoil in spoiled {
            let mut fact = opt_in(Purpose::Marketing, 101);
            spoil(&mut fact);
            assert!(!fact.lifts(&left, now), "{fact:?}");
        }
    }
}
