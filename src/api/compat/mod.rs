//! The suppression endpoints of other services: their requests as ours, our facts in their shapes.
//!
//! What each field means here stands in `crate::compat`; this is where it meets the store. Everything stays within one controller,
//! which the token names, or for a token of the whole gateway the path.

pub(super) mod mailgun;
pub(super) mod postmark;
pub(super) mod sendgrid;

use serde::Serialize;
use serde_json::Value;

use super::call::Call;
use super::problem::Problem;
use super::reach::Reach;
use super::suppressions::{gone_events, record};
use crate::compat::{SaidBy, Shown, Wanted};
use crate::mail::{ControllerId, ListName, Mailbox};
use crate::pipeline::Stream;
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{Cursor, Entry, Match, NewSuppression, PAGE_MAX, Removal, Selection, Subject};

/// Entries that one listing looks at.
const LOOKED_AT_MAX: usize = 200 * PAGE_MAX;

/// Whose facts a request is about: the token's controller, or else the only one among `streams`.
fn controller<'a>(call: &Call, streams: impl Iterator<Item = &'a Stream>) -> Result<ControllerId, Problem> {
    let reach = call.caller.reach();
    let mut found: Vec<_> = streams.map(|stream| &stream.rules.controller).filter(|own| reach.holds(own)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Problem::absent("nothing of that name is within what this token is for")),
        _ => Err(Problem::malformed("more than one controller is meant; expected a token made with --controller")),
    }
}

/// Records what is wanted; it is in effect when this returns.
async fn add(call: &Call, controller: &ControllerId, wanted: Vec<Wanted>) -> Result<(), Problem> {
    let now = call.desk.control.clock.now();
    let new = wanted.into_iter().map(|wanted| {
        let Wanted { mailbox, cause, reach, evidence, since } = wanted;
        let scope = reach.scope(controller);
        if !call.caller.reach().holds_entry(&scope, cause) {
            return Err(Problem::forbidden(format!(
                "an entry of cause `{cause}` counts for everybody; expected a token of the whole gateway"
            )));
        }
        let evidence = evidence.filter(|text| !text.is_empty()).or_else(|| Some(format!("request {}", call.id)));
        let since = since.filter(|since| *since <= now).unwrap_or(now);
        let fact = Suppression { scope, cause, origin: Origin::Api, evidence, since, expires: None };
        Ok(NewSuppression::new(Subject::Address(mailbox), fact, now)?)
    });
    let new: Vec<_> = new.collect::<Result<_, _>>()?;
    for chunk in new.chunks(crate::store::CHUNK_MAX) {
        record(call, chunk.to_vec()).await?;
    }
    Ok(())
}

/// Which entries a request is about.
#[derive(Clone, Debug)]
struct Wish {
    controller: ControllerId,
    reach: Reach,
    causes: Vec<Cause>,
    extent: Extent,
}

/// How far they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    /// The whole controller or any of its lists.
    Any,
    /// The whole controller.
    Whole,
    /// Some list.
    Lists,
    /// This list.
    List(ListName),
}

impl Wish {
    fn new(call: &Call, controller: ControllerId, causes: &[Cause], extent: Extent) -> Self {
        Self { controller, reach: call.caller.reach().clone(), causes: causes.to_vec(), extent }
    }

    fn covers(&self, entry: &Entry) -> bool {
        let fact = &entry.fact;
        let within = match &fact.scope {
            // Whoever may see all sees also what counts for all.
            Scope::Everything => self.extent == Extent::Any,
            Scope::Controller(of) => *of == self.controller && matches!(self.extent, Extent::Any | Extent::Whole),
            Scope::List(of, list) => {
                *of == self.controller
                    && match &self.extent {
                        Extent::Any | Extent::Lists => true,
                        Extent::Whole => false,
                        Extent::List(wanted) => wanted == list,
                    }
            }
        };
        within && self.reach.holds_entry(&fact.scope, fact.cause) && self.causes.contains(&fact.cause)
    }
}

/// Entries with addresses in clear, `limit` of them behind `after`, and where to go on.
async fn list(
    call: &Call,
    wish: Wish,
    mut after: Cursor,
    limit: usize,
) -> Result<(Vec<Entry>, Option<Cursor>), Problem> {
    call.blocking(move |desk| {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        loop {
            let page = desk.store.list(&Selection::default(), after, PAGE_MAX)?;
            looked_at += page.entries.len();
            for entry in page.entries {
                let cursor = entry.cursor;
                if entry.address.is_some() && wish.covers(&entry) {
                    found.push(entry);
                    if found.len() == limit {
                        return Ok((found, Some(cursor)));
                    }
                }
            }
            match page.next {
                Some(next) if looked_at < LOOKED_AT_MAX => after = next,
                next => return Ok((found, next)),
            }
        }
    })
    .await
}

/// The entries of one mailbox.
async fn of(call: &Call, wish: Wish, mailbox: Mailbox) -> Result<Vec<Entry>, Problem> {
    call.blocking(move |desk| {
        let found = desk.store.matching(&Subject::Address(mailbox))?;
        Ok(found
            .into_iter()
            .filter(|(how, entry)| *how != Match::Domain && wish.covers(entry))
            .map(|(_, e)| e)
            .collect())
    })
    .await
}

/// Removes the entries of one mailbox; answers how many went.
///
/// # Errors
/// 409 for what needs a reason: none of these services has a field for it.
async fn remove(call: &Call, wish: Wish, mailbox: Mailbox) -> Result<usize, Problem> {
    let chosen = of(call, wish, mailbox.clone()).await?;
    let (by, at, whom) = (call.caller.to_string(), call.desk.control.clock.now(), Subject::Address(mailbox));
    let subject = whom.clone();
    let gone = call
        .blocking(move |desk| {
            let guarded = |entry: &&Entry| matches!(entry.fact.cause, Cause::Complaint | Cause::LegalObjection);
            if let Some(entry) = chosen.iter().find(guarded) {
                return Err(crate::store::StoreError::ReasonNeeded { cause: entry.fact.cause }.into());
            }
            let mut gone = Vec::new();
            for entry in chosen {
                let (scope, cause) = (Some(entry.fact.scope), Some(entry.fact.cause));
                let (subject, by) = (subject.clone(), by.clone());
                gone.extend(desk.store.blocking_remove(&Removal { subject, scope, cause, by, because: None, at })?);
            }
            Ok(gone)
        })
        .await?;
    gone_events(call, &whom, &gone);
    Ok(gone.len())
}

/// An entry as the shapes of others want it; none for one whose address is not kept.
fn shown(entry: &Entry) -> Option<Shown<'_>> {
    let fact = &entry.fact;
    Some(Shown {
        address: entry.address.as_deref()?,
        list: match &fact.scope {
            Scope::List(_, list) => Some(list),
            Scope::Everything | Scope::Controller(_) => None,
        },
        cause: fact.cause,
        evidence: fact.evidence.as_deref(),
        since: fact.since,
        said_by: match fact.origin {
            Origin::Operator | Origin::Import | Origin::Api => SaidBy::Customer,
            Origin::OneClick | Origin::Page | Origin::Mailto | Origin::Dsn | Origin::Fbl => SaidBy::Recipient,
        },
    })
}

fn address(text: &str) -> Result<Mailbox, Problem> {
    Mailbox::parse(text.trim()).map_err(|error| Problem::malformed(format!("`{text}` is no address: {error}")))
}

/// A part of the path.
fn part<'a>(call: &'a Call, name: &str) -> &'a str {
    call.path.get(name).map(String::as_str).unwrap_or_default()
}

/// Plain data as JSON.
fn json_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
