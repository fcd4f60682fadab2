//! The acts of a person: leaving, coming back, choosing; and the page that offers them.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::page;
use super::effect::NotYet;
use super::page::{Done, Notice, Scene, Standing, notice};
use super::routes::{Visitor, too_often};
use super::sender::{Offer, Sender};
use super::wish::{Choice, Reach, Wish};
use super::{Door, coming_back, effect};
use crate::crowd::Pass;
use crate::locale::Language;
use crate::mail::ListName;
use crate::optout::OptOut;
use crate::policy::{Cause, Origin, Purpose, Scope};
use crate::store::{Dossier, StoreError, Way, way};
use crate::token::Subject;

/// Why a wish was not fulfilled.
enum Refused {
    /// Not recorded; trying again is safe.
    Later,
    /// This person changes their mind too often.
    Often,
    /// As things stand it would change nothing.
    Vain,
}

impl From<NotYet> for Refused {
    fn from(_told_already: NotYet) -> Self {
        Self::Later
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store did not answer the unsubscribe page");
        Self::Later
    }
}

/// One request, with everything that is known around it.
struct Case<'a> {
    door: &'a Door,
    visitor: &'a Visitor,
    subject: &'a Subject,
    sender: Sender,
    list: Option<Offer>,
}

/// The page with all choices.
pub(super) async fn overview(door: &Door, visitor: &Visitor, subject: &Subject, status: StatusCode) -> Response {
    let case = Case::new(door, visitor, subject);
    match case.dossier().await {
        Ok(dossier) => page(status, case.scene(Some(&dossier)).overview(&case.standing(&dossier))),
        Err(_told_already) => case.later(),
    }
}

/// Does what is asked for, and says what was done.
pub(super) async fn fulfil(door: &Door, visitor: &Visitor, subject: &Subject, wish: Wish) -> Response {
    let case = Case::new(door, visitor, subject);
    let outcome = match wish {
        Wish::OneClick => case.one_click().await,
        Wish::Leave(reach) => case.leave(reach).await,
        Wish::ComeBack(reach) => case.come_back(reach).await,
        Wish::Choose(choice) => case.choose(&choice).await,
        // A button of another page: nothing to confirm behind an unsubscribe link.
        Wish::Confirm => Err(Refused::Vain),
    };
    match outcome {
        Ok(done) => page(StatusCode::OK, case.scene(None).done(done)),
        Err(Refused::Later) => case.later(),
        Err(Refused::Often) => too_often(visitor),
        Err(Refused::Vain) => page(StatusCode::CONFLICT, case.scene(None).shut()),
    }
}

impl<'a> Case<'a> {
    fn new(door: &'a Door, visitor: &'a Visitor, subject: &'a Subject) -> Self {
        let settings = door.settings.load();
        let known = settings.senders.get(&subject.controller).cloned();
        let sender = known.unwrap_or_else(|| Sender::forgotten(&subject.controller));
        let list = subject.list.as_ref().map(|list| sender.offer(list));
        Self { door, visitor, subject, sender, list }
    }

    /// What the browser asks for; else what the person's country suggests, as far as it is known; else English.
    fn scene(&self, dossier: Option<&Dossier>) -> Scene<'_> {
        let declared = dossier.and_then(|dossier| dossier.contact.as_ref()).and_then(|contact| contact.country);
        let country = declared.or(self.sender.country);
        let suggested = || country.and_then(Language::of_country);
        let ending = || Language::of_domain(self.subject.mailbox.domain());
        let language = self.visitor.asked.or_else(suggested).or_else(ending).unwrap_or(Language::English);
        Scene { language, sender: &self.sender, mailbox: &self.subject.mailbox, list: self.list.as_ref() }
    }

    fn later(&self) -> Response {
        page(StatusCode::SERVICE_UNAVAILABLE, notice(Notice::Later, self.scene(None).language))
    }

    async fn dossier(&self) -> Result<Dossier, Refused> {
        let answers = self.door.opt_outs.store.dossier(&[&self.subject.mailbox]).await?;
        answers.into_iter().next().ok_or(Refused::Later)
    }

    fn way(&self, dossier: &Dossier, list: Option<&ListName>) -> Way {
        way(dossier, &self.subject.controller, list, self.door.opt_outs.clock.now())
    }

    fn standing(&self, dossier: &Dossier) -> Standing {
        let own = self.list.iter().filter(|own| !self.sender.lists.contains(own));
        let lists = self.sender.lists.iter().chain(own);
        Standing {
            sender: self.way(dossier, None),
            list: self.way(dossier, self.subject.list.as_ref()),
            lists: lists.map(|offer| (offer.clone(), self.way(dossier, Some(&offer.name)))).collect(),
        }
    }

    /// RFC 8058: the list, or all of the sender where the stream says so or the message had no list.
    async fn one_click(&self) -> Result<Done, Refused> {
        let whole = self.door.settings.load().whole_controller.contains(&self.subject.controller);
        let list = self.subject.list.as_ref().filter(|_| !whole);
        self.end(list, Cause::Unsubscribe, Origin::OneClick).await?;
        Ok(Done::Left(if list.is_some() { Reach::List } else { Reach::Sender }))
    }

    /// A button of the page. "All of this sender" is an objection to marketing (GDPR article 21(2)).
    async fn leave(&self, reach: Reach) -> Result<Done, Refused> {
        match (reach, &self.subject.list) {
            (Reach::List, Some(list)) => {
                self.end(Some(list), Cause::Unsubscribe, Origin::Page).await?;
                Ok(Done::Left(Reach::List))
            }
            (Reach::List, None) | (Reach::Sender, _) => {
                self.end(None, Cause::LegalObjection, Origin::Page).await?;
                Ok(Done::Left(Reach::Sender))
            }
        }
    }

    async fn end(&self, list: Option<&ListName>, cause: Cause, origin: Origin) -> Result<(), Refused> {
        let controller = self.subject.controller.clone();
        let scope = match list {
            Some(list) => Scope::List(controller, list.clone()),
            None => Scope::Controller(controller),
        };
        let wish = OptOut { subject: self.subject.clone(), scope, cause, origin };
        let bound = self.door.settings.load().effect_bound;
        effect::record(&self.door.opt_outs, &self.door.effects, wish, self.visitor.arrival.at, bound).await?;
        Ok(())
    }

    async fn come_back(&self, reach: Reach) -> Result<Done, Refused> {
        let purpose = coming_back::purpose(reach, self.subject.list.as_ref()).ok_or(Refused::Vain)?;
        let list = match reach {
            Reach::List => self.subject.list.as_ref(),
            Reach::Sender => None,
        };
        self.allow(&[(list, purpose)]).await?;
        Ok(Done::Back(reach))
    }

    async fn choose(&self, choice: &Choice) -> Result<Done, Refused> {
        let own = self.list.iter().map(|offer| &offer.name);
        let known: Vec<_> = self.sender.lists.iter().map(|offer| &offer.name).chain(own).collect();
        // Only lists that there are: names that somebody made up would fill the store.
        for list in choice.off.iter().filter(|list| known.contains(list)) {
            self.end(Some(list), Cause::Unsubscribe, Origin::Page).await?;
        }
        let on: Vec<_> = choice.on.iter().filter(|list| known.contains(list)).collect();
        let on: Vec<_> = on.into_iter().map(|list| (Some(list), Purpose::List(list.clone()))).collect();
        if !on.is_empty() {
            self.allow(&on).await?;
        }
        Ok(Done::Chosen)
    }

    /// Records opt-ins for what was left. Nothing is recorded that would change nothing: not while all of the sender is
    /// left and one list is asked for, nor where the block is not the person's own.
    async fn allow(&self, wanted: &[(Option<&ListName>, Purpose)]) -> Result<(), Refused> {
        let before = self.dossier().await?;
        let blocked = wanted.iter().any(|(list, _)| {
            let whole = list.is_some() && self.way(&before, None) != Way::Open;
            whole || self.way(&before, *list) == Way::Shut
        });
        if blocked {
            return Err(Refused::Vain);
        }
        let left: Vec<_> = wanted.iter().filter(|(list, _)| self.way(&before, *list) == Way::Left).collect();
        if !left.is_empty() && self.door.limits.change(self.subject) == Pass::No {
            return Err(Refused::Often);
        }
        let language = self.scene(Some(&before)).language;
        for (_, purpose) in left {
            coming_back::record(self.door, self.subject, purpose.clone(), language, self.visitor.from).await?;
        }
        let after = self.dossier().await?;
        let open = wanted.iter().all(|(list, _)| self.way(&after, *list) == Way::Open);
        if open { Ok(()) } else { Err(Refused::Vain) }
    }
}
