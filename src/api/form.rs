//! What one says about a consent, at the command line, in a line of a file or in a request: the same names, read the same way.

use clap::Args;

use crate::mail::ControllerId;
use crate::policy::{
    Basis, Collected, Confirmation, ConsentFact, Contract, Country, Function, ProductFamily, Provenance, Purpose,
    RefusalBox, Sale, SaleKind, Standing,
};
use crate::store::Declaration;
use crate::time::Timestamp;

/// What stands between functions in one cell of a file.
const FUNCTION_BREAKS: [char; 4] = [',', ';', '|', ' '];

/// Everything that can be said, each in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Form {
    /// To whom the consent was given.
    #[arg(long, value_name = "NAME")]
    pub controller: Option<String>,
    /// What for: `marketing` (the default), `topic:NAME`, `list:NAME` or `open_tracking`.
    #[arg(long)]
    pub purpose: Option<String>,
    /// On what it rests: opt_in, double_opt_in, existing_customer, opt_out_active, opt_out_passive, published, none
    /// and the implied ones; `none` takes an earlier consent back.
    #[arg(long)]
    pub basis: Option<String>,
    /// What the recipient is: consumer, professional, sole_trader, generic, public_body or unknown.
    #[arg(long)]
    pub class: Option<String>,
    /// Where the recipient is: two letters such as `FR`.
    #[arg(long)]
    pub country: Option<String>,
    /// What the person does at work; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub function: Vec<String>,
    /// Whether a contract is in force with the controller: `none` or `in_force`.
    #[arg(long)]
    pub contract: Option<String>,
    /// Version of the notice shown at collection.
    #[arg(long, value_name = "VERSION")]
    pub notice: Option<String>,
    /// The refusal box: offered, ticked or not_offered.
    #[arg(long, value_name = "STATE")]
    pub refusal_box: Option<String>,
    /// When something was sold.
    #[arg(long, value_name = "WHEN")]
    pub sale_at: Option<String>,
    /// What was sold.
    #[arg(long, value_name = "NAME")]
    pub sale_family: Option<String>,
    /// For money or not: `purchase` (the default) or `free_account`.
    #[arg(long, value_name = "KIND")]
    pub sale_kind: Option<String>,
    /// When the address was collected; now when not given.
    #[arg(long, value_name = "WHEN")]
    pub collected_at: Option<String>,
    /// From whom: `from_person` (the default) or `indirectly`.
    #[arg(long, value_name = "HOW")]
    pub collected: Option<String>,
    /// Last contact by the person: a click, a reply, a purchase; an open is none.
    #[arg(long, value_name = "WHEN")]
    pub last_contact: Option<String>,
    /// When the consent ends.
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Form, URL or event that it came from.
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// By what action: form, api, paper.
    #[arg(long, value_name = "TEXT")]
    pub method: Option<String>,
    /// From which address on the network.
    #[arg(long)]
    pub ip: Option<String>,
    /// What proves it. Without evidence the record is the operator's word: asserted, not proven.
    #[arg(long, value_name = "TEXT")]
    pub evidence: Option<String>,
    /// When the mailbox confirmed a double opt-in; the date of collection when not given.
    #[arg(long, value_name = "WHEN", conflicts_with = "pending")]
    pub confirmed_at: Option<String>,
    /// A double opt-in that the mailbox has not confirmed yet: it counts for nothing until then.
    #[arg(long)]
    pub pending: bool,
}

/// What a form says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) fact: ConsentFact,
    pub(crate) contact: Declaration,
}

impl Form {
    /// Reads everything; `now` is the date of collection that nobody gave.
    ///
    /// # Errors
    /// A sentence naming the field and what was expected.
    pub(crate) fn read(&self, now: Timestamp) -> Result<Said, String> {
        let controller = self.controller.as_deref().ok_or("controller: missing; expected to whom it was given")?;
        let controller = ControllerId::new(controller).map_err(|e| format!("controller: {e}"))?;
        let purpose = word("purpose", self.purpose.as_deref())?.unwrap_or(Purpose::Marketing);
        let basis = word("basis", self.basis.as_deref())?.ok_or("basis: missing; expected on what it rests")?;
        let collected_at = when("collected-at", self.collected_at.as_deref())?.unwrap_or(now);
        if collected_at > now {
            return Err("collected-at: lies in the future".to_owned());
        }
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let fact = ConsentFact {
            standing: if self.evidence.is_some() { Standing::Proven } else { Standing::Asserted },
            collected: word("collected", self.collected.as_deref())?.unwrap_or(Collected::FromPerson),
            notice: text(&self.notice),
            refusal_box: word("refusal-box", self.refusal_box.as_deref())?.unwrap_or(RefusalBox::NotOffered),
            sale: self.sale()?,
            confirmation: self.confirmation(basis, collected_at, now)?,
            last_contact: when("last-contact", self.last_contact.as_deref())?,
            expires: when("expires", self.expires.as_deref())?,
            evidence: text(&self.evidence),
            provenance: Provenance {
                source: text(&self.source),
                method: text(&self.method),
                ip: word("ip", self.ip.as_deref())?,
            },
            ..ConsentFact::new(controller, purpose, basis, collected_at)
        };
        Ok(Said { fact, contact: self.contact()? })
    }

    fn sale(&self) -> Result<Option<Sale>, String> {
        let family: Option<ProductFamily> = word("sale-family", self.sale_family.as_deref())?;
        let kind: Option<SaleKind> = word("sale-kind", self.sale_kind.as_deref())?;
        match when("sale-at", self.sale_at.as_deref())? {
            Some(at) => Ok(Some(Sale { at, family, kind: kind.unwrap_or(SaleKind::Purchase) })),
            None if family.is_none() && kind.is_none() => Ok(None),
            None => Err("sale-at: missing; a sale has a date".to_owned()),
        }
    }

    fn confirmation(&self, basis: Basis, collected_at: Timestamp, now: Timestamp) -> Result<Confirmation, String> {
        let confirmed_at = when("confirmed-at", self.confirmed_at.as_deref())?;
        if basis != Basis::DoubleOptIn {
            let said = self.pending || confirmed_at.is_some();
            return if said {
                Err("pending, confirmed-at: only a double opt-in is confirmed".to_owned())
            } else {
                Ok(Confirmation::NotAsked)
            };
        }
        match (self.pending, confirmed_at) {
            (true, None) => Ok(Confirmation::Pending),
            (true, Some(_)) => Err("pending, confirmed-at: it cannot be both".to_owned()),
            (false, Some(at)) if at < collected_at || at > now => {
                Err("confirmed-at: lies before the collection or in the future".to_owned())
            }
            (false, at) => Ok(Confirmation::At(at.unwrap_or(collected_at))),
        }
    }

    fn contact(&self) -> Result<Declaration, String> {
        let named = self.function.iter().flat_map(|cell| cell.split(FUNCTION_BREAKS)).filter(|name| !name.is_empty());
        let functions: Vec<Function> =
            named.map(|name| Function::new(name).map_err(|e| format!("function: {e}"))).collect::<Result<_, _>>()?;
        Ok(Declaration {
            class: word("class", self.class.as_deref())?,
            country: word::<Country>("country", self.country.as_deref())?,
            functions: (!functions.is_empty()).then_some(functions),
            contract: match self.contract.as_deref() {
                None => None,
                Some("none") => Some(Contract::None),
                Some("in_force") => Some(Contract::InForce),
                Some(other) => return Err(format!("contract: `{other}` is not known; expected `none` or `in_force`")),
            },
        })
    }

    /// Takes one named cell of a file; of doubled ones the first counts. Answers whether the name is known.
    ///
    /// # Errors
    /// A sentence for a `pending` that is neither yes nor no.
    pub(crate) fn take(&mut self, name: &str, cell: &str) -> Result<bool, String> {
        let name = name.replace('-', "_");
        if matches!(name.as_str(), "function" | "functions") {
            self.function.push(cell.to_owned());
            return Ok(true);
        }
        if name == "pending" {
            self.pending = match cell.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => true,
                "false" | "no" | "0" => false,
                _ => return Err(format!("pending: `{cell}` is not known; expected `true` or `false`")),
            };
            return Ok(true);
        }
        let Some(field) = self.field(&name) else { return Ok(false) };
        field.get_or_insert_with(|| cell.to_owned());
        Ok(true)
    }

    /// Whether a column of a file may have this name.
    pub(crate) fn knows(name: &str) -> bool {
        Self::default().take(name, "no").unwrap_or(false)
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "controller" => Some(&mut self.controller),
            "purpose" => Some(&mut self.purpose),
            "basis" => Some(&mut self.basis),
            "class" => Some(&mut self.class),
            "country" => Some(&mut self.country),
            "contract" => Some(&mut self.contract),
            "notice" => Some(&mut self.notice),
            "refusal_box" => Some(&mut self.refusal_box),
            "sale_at" => Some(&mut self.sale_at),
            "sale_family" => Some(&mut self.sale_family),
            "sale_kind" => Some(&mut self.sale_kind),
            "collected_at" => Some(&mut self.collected_at),
            "collected" => Some(&mut self.collected),
            "last_contact" => Some(&mut self.last_contact),
            "expires" => Some(&mut self.expires),
            "source" => Some(&mut self.source),
            "method" => Some(&mut self.method),
            "ip" => Some(&mut self.ip),
            "evidence" => Some(&mut self.evidence),
            "confirmed_at" => Some(&mut self.confirmed_at),
            _ => None,
        }
    }
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, String> {
    text.map(|text| text.trim().parse().map_err(|e| format!("{name}: {e}"))).transpose()
}

fn when(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, String> {
    text.map(|text| Timestamp::parse(text).map_err(|e| format!("{name}: {e}"))).transpose()
}
