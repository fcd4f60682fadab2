//! The page behind a confirmation letter: one question, one button, and the consent that pressing it records.
//!
//! Opening the link changes nothing, since programs open links too; the button is a POST (promise P8).

use axum::http::StatusCode;
use axum::response::Response;

use super::Door;
use super::answer::page;
use super::coming_back::NOTICE;
use super::page::{Notice, Question, Scene, notice};
use super::routes::{Visitor, too_often};
use super::sender::{Offer, Sender, Shown};
use crate::crowd::Pass;
use crate::locale::Language;
use crate::policy::{Basis, Confirmation, ConsentFact, Provenance, Purpose, Suppression};
use crate::store::{Dossier, NewEvent, StoreError, Way, way};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;
use crate::token::confirmation::Asked;

/// Who enters these records.
const BY: &str = "confirmation page";

/// The page that asks. GET and HEAD.
pub(super) async fn ask(door: &Door, visitor: &Visitor, asked: &Asked) -> Response {
    let case = Case::new(door, visitor, asked);
    match case.look().await {
        Ok(State::Open | State::Confirmed) => case.answer(StatusCode::OK, Question::Asked),
        Ok(State::Expired) => case.answer(StatusCode::GONE, Question::Expired),
        Ok(State::Left) => case.answer(StatusCode::CONFLICT, Question::Left),
        Err(error) => case.later(&error),
    }
}

/// The button. Pressed again, it changes nothing and is thanked for again.
pub(super) async fn confirm(door: &Door, visitor: &Visitor, asked: &Asked) -> Response {
    let case = Case::new(door, visitor, asked);
    let done = match case.look().await {
        Ok(State::Open) if door.limits.confirmation(asked) == Pass::No => return too_often(visitor),
        Ok(State::Open) => case.record().await,
        Ok(State::Confirmed) => Ok(()),
        Ok(State::Expired) => return case.answer(StatusCode::GONE, Question::Expired),
        Ok(State::Left) => return case.answer(StatusCode::CONFLICT, Question::Left),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => case.answer(StatusCode::OK, Question::Confirmed),
        Err(error) => case.later(&error),
    }
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It can be confirmed.
    Open,
    /// It was.
    Confirmed,
    /// Too late.
    Expired,
    /// The person has said no since, or the address is blocked for good: that counts, and an old link lifts nothing.
    Left,
}

struct Case<'a> {
    door: &'a Door,
    visitor: &'a Visitor,
    asked: &'a Asked,
    sender: Sender,
    /// What is asked for, when it is not everything.
    offer: Option<Offer>,
}

impl<'a> Case<'a> {
    fn new(door: &'a Door, visitor: &'a Visitor, asked: &'a Asked) -> Self {
        let settings = door.settings.load();
        let known = settings.senders.get(&asked.controller).cloned();
        let sender = known.unwrap_or_else(|| Sender::forgotten(&asked.controller));
        let offer = match &asked.purpose {
            Purpose::List(list) => Some(sender.offer(list)),
            Purpose::Topic(topic) => Shown::new(topic.as_str()).ok().and_then(Offer::of_topic),
            Purpose::Marketing | Purpose::OpenTracking => None,
        };
        Self { door, visitor, asked, sender, offer }
    }

    async fn look(&self) -> Result<State, StoreError> {
        let dossier = self.door.opt_outs.store.dossier(&[&self.asked.mailbox]).await?;
        let dossier = dossier.into_iter().next().ok_or(StoreError::Stopping)?;
        Ok(state(self.asked, &dossier, self.door.opt_outs.clock.now()))
    }

    fn language(&self) -> Language {
        let suggested = || self.sender.country.and_then(Language::of_country);
        let ending = || Language::of_domain(self.asked.mailbox.domain());
        self.visitor.asked.or_else(suggested).or_else(ending).unwrap_or(Language::English)
    }

    fn answer(&self, status: StatusCode, question: Question) -> Response {
        let scene = Scene {
            language: self.language(),
            sender: &self.sender,
            mailbox: &self.asked.mailbox,
            list: self.offer.as_ref(),
        };
        page(status, scene.confirmation(question))
    }

    fn later(&self, error: &StoreError) -> Response {
        tracing::error!(%error, "the store did not answer the confirmation page");
        page(StatusCode::SERVICE_UNAVAILABLE, notice(Notice::Later, self.language()))
    }

    async fn record(&self) -> Result<(), StoreError> {
        let (asked, parts) = (self.asked, &self.door.opt_outs);
        let now = parts.clock.now();
        let shown = format!("{NOTICE}/{}", self.language().tag());
        let evidence = format!(
            "address entered at {}; button pressed from {} under {shown} behind the link in message {}",
            asked.at.rfc3339(),
            self.visitor.from,
            asked.message
        );
        let fact = ConsentFact {
            confirmation: Confirmation::At(now),
            last_contact: Some(now),
            notice: Some(asked.notice.clone().unwrap_or_else(|| shown.into())),
            evidence: Some(evidence.as_str().into()),
            provenance: Provenance { source: asked.source.clone(), method: Some("double opt-in".into()), ip: asked.ip },
            ..ConsentFact::new(asked.controller.clone(), asked.purpose.clone(), Basis::DoubleOptIn, asked.at)
        };
        let new = NewEvent::consent(asked.mailbox.clone(), fact, BY.to_owned(), now)?;
        parts.store.record(new).await?;
        let mut event = Event::new(EventType::ConsentAdded, now);
        event.recipient = Some(parts.privacy.form(&asked.mailbox));
        event.evidence = Some(evidence);
        event.id = Some(asked.message.to_string());
        event.controller = Some(asked.controller.to_string());
        event.queue = Some(format!("{}:{}", asked.controller, asked.purpose));
        (parts.audit)(parts.log.record(&event));
        Ok(())
    }
}

/// Pure. A confirmation that was recorded for this request has its instant of collection.
fn state(asked: &Asked, dossier: &Dossier, now: Timestamp) -> State {
    let list = match &asked.purpose {
        Purpose::List(list) => Some(list),
        Purpose::Marketing | Purpose::Topic(_) | Purpose::OpenTracking => None,
    };
    let since = |fact: &Suppression| fact.since >= asked.at && fact.scope.covers(&asked.controller, list);
    if way(dossier, &asked.controller, list, now) == Way::Shut || dossier.suppressions.iter().any(since) {
        return State::Left;
    }
    let of_this_request = |consent: &&ConsentFact| {
        (&consent.controller, &consent.purpose) == (&asked.controller, &asked.purpose)
            && consent.collected_at == asked.at
            && matches!(consent.confirmation, Confirmation::At(_))
    };
    if dossier.consents.iter().any(|consent| of_this_request(&consent)) {
        return State::Confirmed;
    }
    if now < asked.until { State::Open } else { State::Expired }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{ControllerId, Mailbox, QueueId};
    use crate::policy::{Cause, Origin};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn asked() -> Asked {
        Asked {
            mailbox: Mailbox::parse("ann@b.example").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            purpose: "list:weekly".parse().unwrap(),
            message: QueueId::from_u64(1),
            at: at(100),
            until: at(200),
            notice: None,
            source: None,
            ip: None,
        }
    }

    fn left(scope: &str, cause: Cause, since: i64) -> Dossier {
        let fact = Suppression {
            scope: scope.parse().unwrap(),
            cause,
            origin: Origin::Page,
            evidence: None,
            since: at(since),
            expires: None,
        };
        Dossier { suppressions: vec![fact], ..Dossier::default() }
    }

    #[test]
    fn a_request_is_open_until_its_end_and_until_the_person_says_no() {
        let of = |dossier: &Dossier, now| state(&asked(), dossier, at(now));
        let nothing = Dossier::default();
        assert_eq!((of(&nothing, 199), of(&nothing, 200)), (State::Open, State::Expired));
        let scope = "list:acme/weekly";
        assert_eq!(of(&left(scope, Cause::Unsubscribe, 99), 150), State::Open, "they have entered it again since");
        assert_eq!(of(&left(scope, Cause::Unsubscribe, 100), 150), State::Left);
        assert_eq!(of(&left("list:acme/other", Cause::Unsubscribe, 120), 150), State::Open);
        assert_eq!(of(&left("controller:acme", Cause::LegalObjection, 120), 150), State::Left);
        assert_eq!(of(&left("everything", Cause::HardBounce, 1), 150), State::Left);
    }

    #[test]
    fn what_was_confirmed_is_told_from_other_consents() {
        let asked = asked();
        let mut fact = ConsentFact::new(asked.controller.clone(), asked.purpose.clone(), Basis::DoubleOptIn, asked.at);
        let of = |fact: &ConsentFact| {
            state(&asked, &Dossier { consents: vec![fact.clone()], ..Dossier::default() }, at(150))
        };
        assert_eq!(of(&fact), State::Open, "not confirmed");
        fact.confirmation = Confirmation::At(at(120));
        assert_eq!(of(&fact), State::Confirmed);
        fact.collected_at = at(90);
        assert_eq!(of(&fact), State::Open, "an earlier sign-up");
    }
}
