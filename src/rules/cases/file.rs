//! The TOML of case files.

use serde::Deserialize;
use std::sync::Arc;

use crate::mail::{ControllerId, ListName, Mailbox, Recipient, StreamName};
use crate::policy::{
    Assumptions, Basis, Case, Confirmation, ConsentFact, Contact, Contract, Country, Duty, Enforcement, Facts,
    FreeAccounts, FromDomains, Law, ListCheck, MessageFacts, Purpose, RegisterName, Sale, SaleKind, Standing,
    StreamLaw, StreamRules, Suppression, Topic, UnsubscribeLife,
};
use crate::time::Timestamp;

use super::super::error::{Problem, RulesError};

/// One file: what all its cases share, and the cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// Where the sender is established, unless a case says otherwise.
    establishment: String,
    /// Where recipients are, unless a case says otherwise; `unknown` for nobody knows.
    country: String,
    /// When the question is asked.
    now: String,
    case: Vec<toml::Spanned<CaseSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseSpec {
    title: String,
    /// A rule of the source document that the case shows, for the reader.
    #[serde(default, rename = "seed")]
    _seed: Option<String>,
    address: String,
    class: Option<String>,
    country: Option<String>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    contract: bool,
    now: Option<String>,
    #[serde(default)]
    stream: StreamSpec,
    #[serde(default)]
    held: Vec<HeldSpec>,
    #[serde(default)]
    suppressed: Vec<SuppressedSpec>,
    #[serde(default)]
    registers: Vec<RegisterSpec>,
    message: Option<MessageSpec>,
    expect: Expectation,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StreamSpec {
    mail: Option<String>,
    establishment: Option<String>,
    default_country: Option<String>,
    sector: Option<String>,
    #[serde(default)]
    topics: Vec<String>,
    product_family: Option<String>,
    asserts: Option<HeldSpec>,
    enforcement: Option<String>,
    assumptions: Option<String>,
    free_accounts: Option<String>,
    unsubscribe_works_days: Option<u32>,
    #[serde(default)]
    opt_out_business_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldSpec {
    basis: String,
    collected_at: String,
    collected: Option<String>,
    purpose: Option<String>,
    notice: Option<String>,
    refusal_box: Option<String>,
    sale: Option<SaleSpec>,
    confirmed_at: Option<String>,
    last_contact: Option<String>,
    last_mailing: Option<String>,
    expires: Option<String>,
    evidence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleSpec {
    at: String,
    family: Option<String>,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuppressedSpec {
    cause: String,
    scope: String,
    since: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterSpec {
    list: String,
    fresh_on: String,
    listed: String,
}

/// A message shows everything except what is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageSpec {
    #[serde(default)]
    without: Vec<String>,
    tracking: Option<String>,
}

/// The answer that a case expects.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectation {
    pub(super) verdict: String,
    pub(super) rule: String,
    pub(super) reason: Option<String>,
    /// Words that the rule's source contains.
    pub(super) source: String,
    /// Rules that warn, in order; any when not given.
    pub(super) warns: Option<Vec<String>>,
    pub(super) would_refuse: Option<String>,
    #[serde(default)]
    pub(super) overrides: Vec<String>,
}

/// A file that was understood as TOML, but not yet as law.
pub(super) struct CaseFile<'a> {
    file: &'a str,
    text: &'a str,
    spec: Spec,
}

/// One case, ready to be decided.
pub(super) struct Question {
    pub(super) title: String,
    pub(super) line: usize,
    pub(super) expect: Expectation,
    recipient: Recipient,
    stream: StreamRules,
    contact: Contact,
    consents: Vec<ConsentFact>,
    suppressions: Vec<Suppression>,
    registers: Vec<ListCheck>,
    message: Option<MessageFacts>,
    now: Timestamp,
}

impl Question {
    pub(super) fn case(&self) -> Case<'_> {
        Case {
            suppressions: &self.suppressions,
            facts: Facts {
                contact: Some(&self.contact),
                consents: &self.consents,
                registers: &self.registers,
                message: self.message.as_ref(),
            },
            ..Case::new(&self.recipient, &self.stream, self.now)
        }
    }
}

impl<'a> CaseFile<'a> {
    pub(super) fn read(file: &'a str, text: &'a str) -> Result<Self, RulesError> {
        let spec = toml::from_str(text).map_err(|error| {
            let line = line_at(text, error.span().map_or(0, |span| span.start));
            let message = error.message().to_owned();
            RulesError::Wrong(vec![Problem { file: file.to_owned(), line, within: None, message }])
        })?;
        Ok(Self { file, text, spec })
    }

    /// Every case, or every problem.
    pub(super) fn questions(&self) -> Result<Vec<Question>, RulesError> {
        let mut questions = Vec::new();
        let mut problems = Vec::new();
        for case in &self.spec.case {
            let line = line_at(self.text, case.span().start);
            match question(&self.spec, case.get_ref(), line) {
                Ok(question) => questions.push(question),
                Err(message) => {
                    let within = Some(case.get_ref().title.clone());
                    problems.push(Problem { file: self.file.to_owned(), line, within, message });
                }
            }
        }
        if problems.is_empty() { Ok(questions) } else { Err(RulesError::Wrong(problems)) }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).bytes().filter(|b| *b == b'\n').count() + 1
}

/// The controller of every case file.
const CONTROLLER: &str = "sender";
/// The list of every case file.
const LIST: &str = "news";

fn question(spec: &Spec, case: &CaseSpec, line: usize) -> Result<Question, String> {
    let mailbox = Mailbox::parse(&case.address).map_err(|error| format!("`address`: {error}"))?;
    let country = case.country.as_ref().unwrap_or(&spec.country);
    let contact = Contact {
        class: parsed(case.class.as_ref())?,
        country: if country == "unknown" { None } else { Some(country.parse()?) },
        functions: case.functions.iter().map(|function| function.parse()).collect::<Result<_, _>>()?,
        contract: if case.contract { Contract::InForce } else { Contract::None },
    };
    Ok(Question {
        title: case.title.clone(),
        line,
        expect: case.expect.clone(),
        recipient: Recipient::new(mailbox),
        stream: stream(spec, &case.stream)?,
        contact,
        consents: case.held.iter().map(held).collect::<Result<_, _>>()?,
        suppressions: case.suppressed.iter().map(suppressed).collect::<Result<_, _>>()?,
        registers: case.registers.iter().map(register).collect::<Result<_, _>>()?,
        message: case.message.as_ref().map(message).transpose()?,
        now: Timestamp::parse(case.now.as_ref().unwrap_or(&spec.now))?,
    })
}

fn parsed<T: std::str::FromStr<Err = String>>(text: Option<&String>) -> Result<Option<T>, String> {
    text.map(|text| text.parse()).transpose()
}

fn at(text: Option<&String>) -> Result<Option<Timestamp>, String> {
    text.map(|text| Timestamp::parse(text)).transpose()
}

fn stream(spec: &Spec, stream: &StreamSpec) -> Result<StreamRules, String> {
    let establishment: Country = stream.establishment.as_ref().unwrap_or(&spec.establishment).parse()?;
    let asserted = stream.asserts.as_ref().map(held).transpose()?;
    let law = StreamLaw {
        default_recipient_country: parsed(stream.default_country.as_ref())?,
        sector: parsed(stream.sector.as_ref())?,
        topics: stream.topics.iter().map(|topic| topic.parse::<Topic>()).collect::<Result<_, _>>()?,
        product_family: parsed(stream.product_family.as_ref())?,
        asserted: asserted.map(|fact| ConsentFact { standing: Standing::Asserted, ..fact }),
        enforcement: parsed(stream.enforcement.as_ref())?.unwrap_or(Enforcement::Enforce),
        assumptions: parsed(stream.assumptions.as_ref())?.unwrap_or(Assumptions::Allowed),
        free_accounts: parsed(stream.free_accounts.as_ref())?.unwrap_or(FreeAccounts::Ignored),
        unsubscribe_life: stream.unsubscribe_works_days.map_or(UnsubscribeLife::Unlimited, UnsubscribeLife::Days),
        opt_out_business_days: stream.opt_out_business_days,
        ..StreamLaw::new(establishment)
    };
    let named = |error: crate::mail::NameError| error.to_string();
    Ok(StreamRules {
        name: StreamName::new("case").map_err(named)?,
        controller: ControllerId::new(CONTROLLER).map_err(named)?,
        class: parsed(stream.mail.as_ref())?.unwrap_or(crate::policy::MessageClass::Marketing),
        list: Some(ListName::new(LIST).map_err(named)?),
        from_domains: FromDomains::Any,
        law: Law::Applied(Box::new(law)),
    })
}

fn held(spec: &HeldSpec) -> Result<ConsentFact, String> {
    let controller = ControllerId::new(CONTROLLER).map_err(|error| error.to_string())?;
    let basis: Basis = spec.basis.parse()?;
    let fact =
        ConsentFact::new(controller, purpose(spec.purpose.as_ref())?, basis, Timestamp::parse(&spec.collected_at)?);
    let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
    Ok(ConsentFact {
        collected: parsed(spec.collected.as_ref())?.unwrap_or(fact.collected),
        notice: shared(&spec.notice),
        refusal_box: parsed(spec.refusal_box.as_ref())?.unwrap_or(fact.refusal_box),
        sale: spec.sale.as_ref().map(sale).transpose()?,
        confirmation: at(spec.confirmed_at.as_ref())?.map_or(fact.confirmation, Confirmation::At),
        last_contact: at(spec.last_contact.as_ref())?,
        last_mailing: at(spec.last_mailing.as_ref())?,
        expires: at(spec.expires.as_ref())?,
        evidence: shared(&spec.evidence),
        ..fact
    })
}

/// `marketing` (also when not given), `open_tracking`, `topic:NAME` or `list:NAME`.
fn purpose(text: Option<&String>) -> Result<Purpose, String> {
    text.map_or("marketing", String::as_str).parse()
}

fn sale(spec: &SaleSpec) -> Result<Sale, String> {
    let kind: SaleKind = spec.kind.parse()?;
    Ok(Sale { at: Timestamp::parse(&spec.at)?, family: parsed(spec.family.as_ref())?, kind })
}

fn suppressed(spec: &SuppressedSpec) -> Result<Suppression, String> {
    Ok(Suppression {
        scope: spec.scope.parse()?,
        cause: spec.cause.parse()?,
        origin: crate::policy::Origin::Operator,
        evidence: None,
        since: Timestamp::parse(&spec.since)?,
        expires: None,
    })
}

fn register(spec: &RegisterSpec) -> Result<ListCheck, String> {
    let list: RegisterName = spec.list.parse()?;
    Ok(ListCheck { list, fresh_on: Timestamp::parse(&spec.fresh_on)?, answer: spec.listed.parse()? })
}

fn message(spec: &MessageSpec) -> Result<MessageFacts, String> {
    let mut facts = Duty::ALL.iter().fold(MessageFacts::new(), |facts, duty| facts.with(*duty));
    for duty in &spec.without {
        facts = facts.without(duty.parse()?);
    }
    Ok(match parsed(spec.tracking.as_ref())? {
        Some(tracking) => facts.tracking(tracking),
        None => facts,
    })
}
