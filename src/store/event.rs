//! What people agreed to and what is declared about them: told once, kept for good, never changed.
//!
//! An event is added and nothing else ever happens to it. What holds now is derived from all of them: the last word
//! for each controller and purpose, and the last word for each declared trait. So "show me that this person agreed"
//! (GDPR article 7(1)) has an answer that nobody could have edited later.

use std::sync::Arc;

use super::entry::{Cursor, TEXT_MAX};
use super::fact;
use super::key::{AddressKey, StoreKey};
use super::{Cleartext, StoreError};
use crate::mail::Mailbox;
use crate::policy::{ConsentFact, Contact, Contract, Country, Function, RecipientClass, Suppression};
use crate::time::Timestamp;

/// Most functions that one person is declared to have: a job description, not a list of everything (promise P11).
pub const FUNCTIONS_MAX: usize = 32;

/// What is declared about a person or address; what is `None` leaves the earlier word standing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// What they are in the eyes of marketing law.
    pub class: Option<RecipientClass>,
    /// Where they live or work.
    pub country: Option<Country>,
    /// What they do at work; an empty list takes earlier ones back.
    pub functions: Option<Vec<Function>>,
    /// Whether a contract is in force.
    pub contract: Option<Contract>,
}

impl Declaration {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, contact: &mut Contact) {
        contact.class = self.class.or(contact.class);
        contact.country = self.country.or(contact.country);
        if let Some(functions) = &self.functions {
            contact.functions.clone_from(functions);
        }
        contact.contract = self.contract.unwrap_or(contact.contract);
    }
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// On what basis somebody may be written to, or no longer.
    Consent(Box<ConsentFact>),
    /// Who they are.
    Contact(Declaration),
    /// That everything which was recorded about this address with exactly these words in `by` counts no more: an import was
    /// taken back. It stays in the history.
    Retraction(String),
}

/// An event to be recorded; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    mailbox: Mailbox,
    told: Told,
    by: String,
    at: Timestamp,
}

impl NewEvent {
    /// A consent record about exactly this spelling of an address, entered at `at` by `by`. Line breaks in its texts
    /// become blanks.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] past [`TEXT_MAX`]; [`StoreError::Unfit`] for instants that no calendar can write down.
    pub fn consent(mailbox: Mailbox, mut fact: ConsentFact, by: String, at: Timestamp) -> Result<Self, StoreError> {
        one_line("notice version", &mut fact.notice)?;
        one_line("evidence", &mut fact.evidence)?;
        one_line("source", &mut fact.provenance.source)?;
        one_line("method", &mut fact.provenance.method)?;
        Self::checked(mailbox, Told::Consent(Box::new(fact)), by, at)
    }

    /// A declaration about exactly this spelling of an address, entered at `at` by `by`.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] when it says nothing or names more than [`FUNCTIONS_MAX`] functions.
    pub fn contact(mailbox: Mailbox, told: Declaration, by: String, at: Timestamp) -> Result<Self, StoreError> {
        if told.is_empty() {
            return Err(StoreError::Unfit { what: "a declaration says at least one thing" });
        }
        if told.functions.as_ref().is_some_and(|functions| functions.len() > FUNCTIONS_MAX) {
            return Err(StoreError::Unfit { what: "a person has at most 32 functions" });
        }
        Self::checked(mailbox, Told::Contact(told), by, at)
    }

    fn checked(mailbox: Mailbox, told: Told, by: String, at: Timestamp) -> Result<Self, StoreError> {
        if by.len() > TEXT_MAX {
            return Err(StoreError::TooLong { what: "name", max: TEXT_MAX });
        }
        // Whatever cannot be read back exactly must not be acknowledged.
        let columns = fact::Columns::of(&told);
        if columns.read().as_ref() != Some(&told) {
            return Err(StoreError::Unfit { what: "a record holds instants between the years 0 and 9999" });
        }
        Ok(Self { mailbox, told, by, at })
    }

    /// Whom it is about.
    pub const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What it tells.
    pub const fn told(&self) -> &Told {
        &self.told
    }

    /// The event as it will lie in the store, still without its number.
    pub(super) fn event(&self, key: &StoreKey, cleartext: Cleartext, buffer: &mut String) -> Event {
        let address = match cleartext {
            Cleartext::Keep => Some(self.mailbox.as_str().to_owned()),
            Cleartext::HashOnly => None,
        };
        let exact = key.exact(&self.mailbox, buffer);
        Event { cursor: Cursor(0), exact, address, told: self.told.clone(), at: self.at, by: self.by.clone() }
    }
}

/// One event as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order of recording.
    pub cursor: Cursor,
    /// Key of the exact spelling: a consent of `a+x@` is none of `a@`.
    pub exact: AddressKey,
    /// The address as it was given, when the store keeps it.
    pub address: Option<String>,
    /// What it tells.
    pub told: Told,
    /// When it was entered.
    pub at: Timestamp,
    /// Who entered it: a login, a door.
    pub by: String,
}

impl Event {
    /// Whether two records are one event, whatever their places and whether the address stands beside.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.exact, &self.told, self.at, &self.by) == (&other.exact, &other.told, other.at, &other.by)
    }
}

/// What all events about one address come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) contact: Option<Contact>,
    pub(super) consents: Vec<ConsentFact>,
    /// Imports that were taken back.
    retracted: Vec<String>,
}

impl View {
    /// The last word on everything that was not taken back; `events` stand in the order of recording.
    pub(super) fn of(events: &[Event]) -> Self {
        let mut view = Self::default();
        for event in events {
            if let Told::Retraction(_) = event.told {
                view.apply(&event.told);
            }
        }
        for event in events.iter().filter(|event| !matches!(event.told, Told::Retraction(_))) {
            if !view.retracted.contains(&event.by) {
                view.apply(&event.told);
            }
        }
        view
    }

    fn apply(&mut self, told: &Told) {
        match told {
            Told::Retraction(by) => {
                if !self.retracted.contains(by) {
                    self.retracted.push(by.clone());
                }
            }
            Told::Contact(declaration) => declaration.apply(self.contact.get_or_insert_default()),
            Told::Consent(fact) => {
                let about =
                    |known: &&mut ConsentFact| (&known.controller, &known.purpose) == (&fact.controller, &fact.purpose);
                match self.consents.iter_mut().find(about) {
                    Some(known) => known.clone_from(fact),
                    None => self.consents.push((**fact).clone()),
                }
            }
        }
    }

    /// Whether a consent of the same address lifts `suppression` at `now`.
    pub(super) fn lifts(&self, suppression: &Suppression, now: Timestamp) -> bool {
        self.consents.iter().any(|consent| consent.lifts(suppression, now))
    }

    /// Whether recording `told` changes nothing.
    pub(super) fn holds(&self, told: &Told) -> bool {
        let mut after = self.clone();
        after.apply(told);
        after == *self
    }
}

/// A text as it is kept: one line. Too long is refused rather than cut, because a reference cut short leads nowhere.
fn one_line(what: &'static str, text: &mut Option<Arc<str>>) -> Result<(), StoreError> {
    let Some(given) = text else { return Ok(()) };
    if given.len() > TEXT_MAX {
        return Err(StoreError::TooLong { what, max: TEXT_MAX });
    }
    if given.contains(char::is_control) {
        *text = Some(given.replace(char::is_control, " ").into());
    }
    Ok(())
}
