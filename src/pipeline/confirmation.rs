//! Double opt-in for a site that has none: a person who entered an address is asked, by a letter to it, whether they meant
//! to. The request waits in the link of that letter and nowhere else (ADR 0029); the page behind it records the consent.

mod guard;

use std::net::IpAddr;
use std::sync::Arc;

use crate::locale::{Language, Names, say};
use crate::mail::{ControllerId, Label, ListName, Mailbox, QueueId, Recipient, StreamName};
use crate::message::{HeaderSection, sign_own};
use crate::policy::{Basis, Country, Law, Purpose, Suppression};
use crate::spool::{Batch, Body, Entry, Manifest, SpoolError};
use crate::store::{Dossier, StoreError, Way, way};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;
use crate::token::confirmation::{self, Asked, WORDS_MAX};

use super::letter::{Automatic, Letter};
use super::settings::{Confirming, Settings};
use super::{Pipeline, notice};

pub(super) use guard::Guard;

/// What a link is spelled like behind the public URL.
const PATH: &str = "/c/";
const DAY_SECS: u64 = 24 * 60 * 60;

/// An address that was entered, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The address.
    pub mailbox: Mailbox,
    /// Who wants to write to it.
    pub controller: ControllerId,
    /// What for.
    pub purpose: Purpose,
    /// Version of the notice shown at collection.
    pub notice: Option<Arc<str>>,
    /// Form, URL or event.
    pub source: Option<Arc<str>>,
    /// From which address on the network it was entered.
    pub ip: Option<IpAddr>,
    /// The language of the form; what the person's country suggests when there is none.
    pub language: Option<Language>,
    /// Who hands it in: the name of a token, for the audit trail.
    pub by: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asking {
    /// A letter is on its way; its link works until then.
    Asked {
        /// The letter.
        id: QueueId,
        /// The link's end.
        until: Timestamp,
    },
    /// The mailbox has confirmed this before, and it holds. Nobody is asked twice.
    Confirmed,
    /// This address may not even be asked: a complaint, an objection to everything, a dead mailbox, an operator's entry.
    Shut,
    /// It was asked a moment ago, or too much is asked of it or from there.
    TooOften,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum CannotAsk {
    /// The operator's: who the letter would be from is not configured.
    #[error("no [[sender]] of `{0}` has a `from`, the mailbox that confirmation letters come from")]
    NoSender(ControllerId),
    /// The caller's: tracking of opens is nothing that a letter without advertising asks for.
    #[error("a confirmation is asked for marketing, a topic or a list, not for `{0}`")]
    Purpose(Purpose),
    /// The caller's.
    #[error("{what} is longer than {WORDS_MAX} octets")]
    TooLong {
        /// Which text.
        what: &'static str,
    },
    /// Nobody's here: the facts cannot be had now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody's here: the letter cannot be kept now.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Ours: the letter could not be written.
    #[error("the letter could not be written: {0}")]
    Letter(String),
}

/// What stands against delivering the letter now: whatever stops every letter, and any word of the person since they were
/// asked. An earlier unsubscription does not: they have just entered their address.
pub(super) fn objection<'a>(entry: &Entry, dossier: &'a Dossier, now: Timestamp) -> Option<&'a Suppression> {
    let Label { controller, list, .. } = &entry.manifest.label;
    let asked = entry.manifest.received;
    dossier.suppressions.iter().filter(|fact| fact.counts_at(now)).find(|fact| {
        let covers = fact.cause.reaches_everything() || fact.scope.covers(controller, list.as_ref());
        covers && (is_final(fact) || fact.since >= asked)
    })
}

fn is_final(fact: &Suppression) -> bool {
    !fact.cause.is_opt_out() || fact.scope == crate::policy::Scope::Everything
}

impl Pipeline {
    /// Asks the mailbox of `request`, unless it needs no asking or may not be asked.
    ///
    /// # Errors
    /// [`CannotAsk`]; nothing was sent, and whose fault it is stands there.
    pub async fn ask_to_confirm(&self, request: &Request) -> Result<Asking, CannotAsk> {
        let settings = self.settings.load_full();
        let confirming =
            settings.confirming.get(&request.controller).ok_or(CannotAsk::NoSender(request.controller.clone()))?;
        check(request)?;
        let dossier = self.store.dossier(&[&request.mailbox]).await?.pop().ok_or(StoreError::Stopping)?;
        let now = self.clock.now();
        let list = list_of(&request.purpose);
        match way(&dossier, &request.controller, list, now) {
            Way::Shut => return Ok(Asking::Shut),
            Way::Open if is_confirmed(&dossier, request, now) => return Ok(Asking::Confirmed),
            Way::Open | Way::Left => {}
        }
        let question = question(request);
        if !self.guard.lets(&request.mailbox, &question, request.ip) {
            return Ok(Asking::TooOften);
        }
        let asked = Asked {
            mailbox: request.mailbox.clone(),
            controller: request.controller.clone(),
            purpose: request.purpose.clone(),
            message: self.ids.queue_id(now),
            at: now,
            until: now.plus(confirming.within),
            notice: request.notice.clone(),
            source: request.source.clone(),
            ip: request.ip,
        };
        let language = language(request, confirming, &dossier);
        let mut batch = self.letter(&settings, confirming, &asked, language)?;
        let mut event = Event::new(EventType::ConsentAsked, now);
        event.recipient = Some(self.privacy.form(&request.mailbox));
        event.id = Some(asked.message.to_string());
        event.controller = Some(request.controller.to_string());
        event.queue = Some(question);
        event.evidence = Some(format!("handed in by {}", request.by));
        let line = event.to_json();
        batch.note(line.clone());
        self.spool.commit(batch).await?;
        self.log.write(line);
        Ok(Asking::Asked { id: asked.message, until: asked.until })
    }

    fn letter(
        &self,
        settings: &Settings,
        confirming: &Confirming,
        asked: &Asked,
        language: Language,
    ) -> Result<Batch, CannotAsk> {
        let fault = |error: &dyn std::fmt::Display| CannotAsk::Letter(error.to_string());
        let token = confirmation::mint(&self.keyring, asked).map_err(|error| fault(&error))?;
        let url = format!("{}{PATH}{token}", settings.public_url);
        let (subject, text) = words(confirming, asked, language, &url);
        let letter = Letter {
            brand: &confirming.name,
            from: confirming.from.as_str(),
            to: &asked.mailbox,
            host: &settings.hostname,
            now: asked.at,
            kind: Automatic::Generated,
        };
        let (header, body) =
            letter.compose(&asked.message.to_string(), &subject, &text).ok_or_else(|| fault(&"its author"))?;
        let section = HeaderSection::parse(header).map_err(|error| fault(&error))?;
        let header = sign_own(&section, &body, &confirming.stream.signing, asked.at).map_err(|error| fault(&error))?;
        let manifest = notice::manifest(asked.at, settings.give_up).ok_or_else(|| fault(&"its label"))?;
        let label = Label {
            stream: StreamName::new(notice::LETTER_STREAM).map_err(|error| fault(&error))?,
            controller: asked.controller.clone(),
            list: list_of(&asked.purpose).cloned(),
            campaign: None,
        };
        // There is no use in a letter that arrives behind the end of its link.
        let expires = manifest.expires.min(asked.until);
        let manifest = Manifest { label, expires, smtputf8: asked.mailbox.needs_smtputf8(), ..manifest };
        let to = Recipient::new(asked.mailbox.clone());
        Ok(Batch::notice(asked.message, to, header, manifest, Body::Memory(body)))
    }
}

fn check(request: &Request) -> Result<(), CannotAsk> {
    if request.purpose == Purpose::OpenTracking {
        return Err(CannotAsk::Purpose(request.purpose.clone()));
    }
    for (what, text) in [("the version of the notice", &request.notice), ("the source", &request.source)] {
        if text.as_ref().is_some_and(|text| text.len() > WORDS_MAX) {
            return Err(CannotAsk::TooLong { what });
        }
    }
    Ok(())
}

const fn list_of(purpose: &Purpose) -> Option<&ListName> {
    match purpose {
        Purpose::List(list) => Some(list),
        Purpose::Marketing | Purpose::Topic(_) | Purpose::OpenTracking => None,
    }
}

/// `controller:purpose`, as events name it.
fn question(request: &Request) -> String {
    format!("{}:{}", request.controller, request.purpose)
}

fn is_confirmed(dossier: &Dossier, request: &Request, now: Timestamp) -> bool {
    dossier.consents.iter().any(|consent| {
        consent.basis == Basis::DoubleOptIn
            && (&consent.controller, &consent.purpose) == (&request.controller, &request.purpose)
            && consent.counts_at(now)
    })
}

/// The form's language; else what the person's country suggests, the sender's, the ending of the address; else English.
fn language(request: &Request, confirming: &Confirming, dossier: &Dossier) -> Language {
    let declared = dossier.contact.as_ref().and_then(|contact| contact.country);
    let suggested = || declared.or_else(|| country(confirming)).and_then(Language::of_country);
    let ending = || Language::of_domain(request.mailbox.domain());
    request.language.or_else(suggested).or_else(ending).unwrap_or(Language::English)
}

fn country(confirming: &Confirming) -> Option<Country> {
    match &confirming.stream.rules.law {
        Law::NotApplied => None,
        Law::Applied(law) => law.default_recipient_country.or(Some(law.establishment)),
    }
}

/// Subject and text. Nothing that a form brought in stands there: it would be an advertisement for whoever wrote it.
fn words(confirming: &Confirming, asked: &Asked, language: Language, url: &str) -> (String, String) {
    let titled = match &asked.purpose {
        Purpose::List(list) => Some(confirming.titles.get(list).map_or(list.as_str(), String::as_str)),
        Purpose::Topic(topic) => Some(topic.as_str()),
        Purpose::Marketing | Purpose::OpenTracking => None,
    };
    let days = asked.until.since(asked.at).as_secs().div_ceil(DAY_SECS).to_string();
    let names = Names {
        sender: &confirming.name,
        address: asked.mailbox.as_str(),
        list: titled.unwrap_or_default(),
        lists: "",
        days: &days,
    };
    let say = |id| say(language, id, &names);
    let (subject, what) = match titled {
        Some(_) => (say("confirm-subject-list"), say("confirm-asked-list")),
        None => (say("confirm-subject-all"), say("confirm-asked-all")),
    };
    (subject, format!("{what}\r\n\r\n{}\r\n\r\n{url}\r\n\r\n{}", say("confirm-do"), say("confirm-not-you")))
}
