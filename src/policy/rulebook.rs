//! The rules in force and the streams they apply to.

use std::collections::BTreeMap;

use crate::mail::{ControllerId, Domain, ListName, StreamName};

use super::MessageClass;
use super::classify::Classifier;
use super::decision::ReasonCode;
use super::law::Law;
use super::statute::{AfterOptOut, LawRule, Pack, Stage};
use super::word::{Country, Function, Topic};

/// The longest rule id and reason code, in octets: both stand in an SMTP reply line of 512 octets.
pub const CODE_MAX: usize = 40;

pub(super) fn is_code(text: &str, fits: impl Fn(u8) -> bool) -> bool {
    (1..=CODE_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Stable name of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(super) &'static str);

impl RuleId {
    /// The name: `X-010`, `FR-P1`…
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Makes the name of a rule of law.
    ///
    /// # Errors
    /// A sentence, unless it is 1 to [`CODE_MAX`] of A-Z, 0-9, `-`.
    pub fn new(name: &'static str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
        if is_code(name, fits) { Ok(Self(name)) } else { Err(format!("`{name}` is no rule id; expected like `FR-P1`")) }
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
    /// Which law applies to it. [`Law::NotApplied`] until its operator says so.
    pub law: Law,
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

/// The law of one jurisdiction, ready to be asked stage by stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile {
    stages: [Vec<LawRule>; Stage::ALL.len()],
}

impl Profile {
    fn new(rules: &[LawRule]) -> Self {
        let of = |stage: Stage| rules.iter().filter(|rule| rule.stage == stage).cloned().collect();
        Self {
            stages: [
                of(Stage::Ban),
                of(Stage::Register),
                of(Stage::Basis),
                of(Stage::Age),
                of(Stage::Message),
                of(Stage::Provider),
            ],
        }
    }

    /// The rules of one stage, as written.
    pub(super) const fn rules(&self, stage: Stage) -> &[LawRule] {
        let [ban, register, basis, age, message, provider] = &self.stages;
        match stage {
            Stage::Ban => ban.as_slice(),
            Stage::Register => register.as_slice(),
            Stage::Basis => basis.as_slice(),
            Stage::Age => age.as_slice(),
            Stage::Message => message.as_slice(),
            Stage::Provider => provider.as_slice(),
        }
    }
}

/// Name of the pack for recipients of an unknown country, and of countries without a pack.
pub const STRICT: &str = "STRICT";
/// Name of the pack that applies beside every other.
pub const EVERYWHERE: &str = "ALL";

/// All rules that [`super::decide`] goes by: those built in, and the rule packs.
#[derive(Clone, Debug)]
pub struct Rulebook {
    version: &'static str,
    packs: Vec<Pack>,
    profiles: Vec<Profile>,
    by_country: BTreeMap<Country, usize>,
    strict: Option<usize>,
    everywhere: Option<usize>,
    classifier: Classifier,
    topics: BTreeMap<Topic, Vec<Function>>,
}

impl Rulebook {
    /// The rules that are built in, and no rule pack: enough for streams without law, and nothing may leave on others.
    pub const fn built_in() -> Self {
        Self {
            version: "2026.11",
            packs: Vec::new(),
            profiles: Vec::new(),
            by_country: BTreeMap::new(),
            strict: None,
            everywhere: None,
            classifier: EMPTY_CLASSIFIER,
            topics: BTreeMap::new(),
        }
    }

    /// The rules that are built in together with rule packs, the words that addresses are classified by, and the
    /// functions that topics belong to. Of two packs for one country the first counts.
    pub fn with_law(
        version: &'static str,
        packs: Vec<Pack>,
        classifier: Classifier,
        topics: BTreeMap<Topic, Vec<Function>>,
    ) -> Self {
        let profiles = packs.iter().map(|pack| Profile::new(&pack.rules)).collect();
        let place = |name: &str| packs.iter().position(|pack| pack.name == name);
        let (strict, everywhere) = (place(STRICT), place(EVERYWHERE));
        let mut by_country = BTreeMap::new();
        for (index, pack) in packs.iter().enumerate() {
            for country in &pack.countries {
                by_country.entry(*country).or_insert(index);
            }
        }
        Self { version, packs, profiles, by_country, strict, everywhere, classifier, topics }
    }

    /// Version of the whole book, recorded with each decision.
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Every built-in rule, for documentation and its test.
    pub const fn rules(&self) -> &'static [Rule] {
        RULES
    }

    /// The rule packs, in the order of loading.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// How addresses are classified.
    pub const fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// What the law of a country asks after an opt-out; of an unknown country, what the strict pack asks.
    pub fn after_opt_out(&self, country: Option<Country>) -> AfterOptOut {
        let index = country.and_then(|country| self.by_country.get(&country).copied()).or(self.strict);
        index.and_then(|index| self.packs.get(index)).map(|pack| pack.after_opt_out).unwrap_or_default()
    }

    /// The law of a country; without a pack of its own, or with no country known, the strict one.
    pub(super) fn profile_of(&self, country: Option<Country>) -> Option<&Profile> {
        let own = country.and_then(|country| self.own_profile(country));
        own.or_else(|| self.strict.and_then(|index| self.profiles.get(index)))
    }

    /// The law of a country that has a pack.
    pub(super) fn own_profile(&self, country: Country) -> Option<&Profile> {
        self.by_country.get(&country).and_then(|index| self.profiles.get(*index))
    }

    pub(super) fn everywhere(&self) -> Option<&Profile> {
        self.everywhere.and_then(|index| self.profiles.get(index))
    }

    /// Whether a topic belongs to one of these functions: by the topics' table, or because it bears its name.
    pub(super) fn topic_meets(&self, topic: &Topic, functions: &[Function]) -> bool {
        let mapped = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        functions.iter().any(|function| function.as_str() == topic.as_str() || mapped.contains(function))
    }
}

const EMPTY_CLASSIFIER: Classifier = Classifier::empty();

impl Default for Rulebook {
    fn default() -> Self {
        Self::built_in()
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

pub(super) const NO_LAW: Rule = rule(
    "LAW-0",
    "LAW_NO_RULE",
    "What no rule of an applied law allows is not sent",
    "Directive 2002/58 article 13(1); product default",
);

const RULES: &[Rule] = &[
    COMPLAINT,
    OBJECTION,
    UNSUBSCRIBE,
    MANUAL,
    ERASED,
    INVALID,
    HARD_BOUNCE,
    FROM_DOMAIN,
    MARKETING,
    TRANSACTIONAL,
    NO_LAW,
];
