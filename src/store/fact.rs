//! Events as columns and text: what `sqlite3` shows in twenty years, and what `consentry consent` prints.

use serde::{Deserialize, Serialize};

use super::event::{Declaration, Told};
use crate::mail::ControllerId;
use crate::policy::{Confirmation, ConsentFact, Contract, Country, Function, ProductFamily, Provenance, Sale};
use crate::time::Timestamp;

/// Version of the text that this release writes and reads.
pub(super) const TEXT_VERSION: u32 = 1;
/// Words for an open confirmation; an instant stands for a given one.
const NOT_ASKED: &str = "not_asked";
const PENDING: &str = "pending";

/// What an event tells, as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// `consent` or `contact`.
    pub(super) kind: String,
    /// Empty for a declaration.
    pub(super) controller: String,
    /// Empty for a declaration.
    pub(super) purpose: String,
    /// JSON.
    pub(super) fact: String,
}

impl Columns {
    pub(super) fn of(told: &Told) -> Self {
        let (kind, controller, purpose, fact) = match told {
            Told::Consent(fact) => {
                let text = serde_json::to_string(&ConsentText::of(fact));
                ("consent", fact.controller.to_string(), fact.purpose.to_string(), text)
            }
            Told::Contact(told) => {
                ("contact", String::new(), String::new(), serde_json::to_string(&ContactText::of(told)))
            }
            // The kinds of events are the database's own; what is taken back stands among what is declared.
            Told::Retraction(by) => {
                let text = RetractionText { v: TEXT_VERSION, retracts: by.clone() };
                ("contact", String::new(), String::new(), serde_json::to_string(&text))
            }
        };
        // Text of text cannot fail; if it ever did, the empty text would not read back and so be refused.
        Self { kind: kind.to_owned(), controller, purpose, fact: fact.unwrap_or_default() }
    }

    /// `None` for anything that [`Columns::of`] does not write.
    pub(super) fn read(&self) -> Option<Told> {
        match self.kind.as_str() {
            "consent" => {
                let text: ConsentText = serde_json::from_str(&self.fact).ok()?;
                text.into_fact(&self.controller, &self.purpose).map(|fact| Told::Consent(Box::new(fact)))
            }
            "contact" if self.controller.is_empty() && self.purpose.is_empty() => {
                if let Ok(RetractionText { v: TEXT_VERSION, retracts }) = serde_json::from_str(&self.fact) {
                    return Some(Told::Retraction(retracts));
                }
                let text: ContactText = serde_json::from_str(&self.fact).ok()?;
                text.into_declaration().map(Told::Contact)
            }
            _ => None,
        }
    }
}

/// A consent record in words; controller and purpose stand beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentText {
    v: u32,
    basis: String,
    standing: String,
    collected_at: String,
    collected: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
    refusal_box: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sale: Option<SaleText>,
    confirmation: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_contact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_mailing: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<std::net::IpAddr>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleText {
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    kind: String,
}

impl ConsentText {
    pub(crate) fn of(fact: &ConsentFact) -> Self {
        let sale = |sale: &Sale| SaleText {
            at: sale.at.rfc3339(),
            family: sale.family.as_ref().map(ToString::to_string),
            kind: sale.kind.to_string(),
        };
        Self {
            v: TEXT_VERSION,
            basis: fact.basis.to_string(),
            standing: fact.standing.to_string(),
            collected_at: fact.collected_at.rfc3339(),
            collected: fact.collected.to_string(),
            notice: fact.notice.as_deref().map(str::to_owned),
            refusal_box: fact.refusal_box.to_string(),
            sale: fact.sale.as_ref().map(sale),
            confirmation: match fact.confirmation {
                Confirmation::NotAsked => NOT_ASKED.to_owned(),
                Confirmation::Pending => PENDING.to_owned(),
                Confirmation::At(at) => at.rfc3339(),
            },
            last_contact: fact.last_contact.map(Timestamp::rfc3339),
            last_mailing: fact.last_mailing.map(Timestamp::rfc3339),
            expires: fact.expires.map(Timestamp::rfc3339),
            evidence: fact.evidence.as_deref().map(str::to_owned),
            source: fact.provenance.source.as_deref().map(str::to_owned),
            method: fact.provenance.method.as_deref().map(str::to_owned),
            ip: fact.provenance.ip,
        }
    }

    fn into_fact(self, controller: &str, purpose: &str) -> Option<ConsentFact> {
        let when = |text: Option<String>| text.map(|text| Timestamp::parse(&text)).transpose().ok();
        let sale = match self.sale {
            None => None,
            Some(sale) => Some(Sale {
                at: Timestamp::parse(&sale.at).ok()?,
                family: sale.family.map(|family| ProductFamily::new(&family)).transpose().ok()?,
                kind: sale.kind.parse().ok()?,
            }),
        };
        (self.v == TEXT_VERSION).then_some(())?;
        Some(ConsentFact {
            controller: ControllerId::new(controller).ok()?,
            purpose: purpose.parse().ok()?,
            basis: self.basis.parse().ok()?,
            standing: self.standing.parse().ok()?,
            collected_at: Timestamp::parse(&self.collected_at).ok()?,
            collected: self.collected.parse().ok()?,
            notice: self.notice.map(Into::into),
            refusal_box: self.refusal_box.parse().ok()?,
            sale,
            confirmation: match self.confirmation.as_str() {
                NOT_ASKED => Confirmation::NotAsked,
                PENDING => Confirmation::Pending,
                instant => Confirmation::At(Timestamp::parse(instant).ok()?),
            },
            last_contact: when(self.last_contact)?,
            last_mailing: when(self.last_mailing)?,
            expires: when(self.expires)?,
            evidence: self.evidence.map(Into::into),
            provenance: Provenance {
                source: self.source.map(Into::into),
                method: self.method.map(Into::into),
                ip: self.ip,
            },
        })
    }
}

/// An import that was taken back, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetractionText {
    v: u32,
    retracts: String,
}

/// A declaration in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactText {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    functions: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
}

impl ContactText {
    pub(crate) fn of(told: &Declaration) -> Self {
        Self {
            v: TEXT_VERSION,
            class: told.class.map(|class| class.to_string()),
            country: told.country.map(|country| country.to_string()),
            functions: told.functions.as_ref().map(|all| all.iter().map(ToString::to_string).collect()),
            contract: told.contract.map(|contract| contract_word(contract).to_owned()),
        }
    }

    fn into_declaration(self) -> Option<Declaration> {
        (self.v == TEXT_VERSION).then_some(())?;
        let functions = |all: Vec<String>| all.iter().map(|text| Function::new(text)).collect::<Result<_, _>>();
        Some(Declaration {
            class: self.class.map(|text| text.parse()).transpose().ok()?,
            country: self.country.map(|text| Country::parse(&text)).transpose().ok()?,
            functions: self.functions.map(functions).transpose().ok()?,
            contract: match self.contract.as_deref() {
                None => None,
                Some("none") => Some(Contract::None),
                Some("in_force") => Some(Contract::InForce),
                Some(_) => return None,
            },
        })
    }
}

/// The word for a contract, on command lines and in files.
pub(crate) const fn contract_word(contract: Contract) -> &'static str {
    match contract {
        Contract::None => "none",
        Contract::InForce => "in_force",
    }
}
