//! The suppression endpoints of other services: their requests as ours, our facts in their shapes.
//!
//! What each field means here stands in `crate::compat`; this is where it meets the store. Everything stays within one controller,
//! which the token names, or for a token of the whole gateway the path.

pub(super) mod mailgun;
pub(super) mod postmark;
pub(super) mod sendgrid;

use std::ops::Range;

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
use crate::store::{Cursor, Entry, Match, NewSuppression, PAGE_MAX, Removal, Selection, Store, StoreError, Subject};
use crate::time::Timestamp;

/// Entries that one listing looks at.
const LOOKED_AT_MAX: usize = 200 * PAGE_MAX;
/// Every instant.
const ALWAYS: Range<Timestamp> = Timestamp::from_millis(i64::MIN)..Timestamp::from_millis(i64::MAX);

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
    /// That began to count then or later, and before the other.
    times: Range<Timestamp>,
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
        Self { controller, reach: call.caller.reach().clone(), causes: causes.to_vec(), extent, times: ALWAYS }
    }

    fn within(self, times: Range<Timestamp>) -> Self {
        Self { times, ..self }
    }

    fn covers(&self, entry: &Entry) -> bool {
        let fact = &entry.fact;
        if !self.times.contains(&fact.since) {
            return false;
        }
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

/// Some entries, and where to go on when there may be more.
#[derive(Debug)]
struct Found {
    entries: Vec<Entry>,
    next: Option<Cursor>,
}

/// Entries with addresses in clear behind `after`: `limit` of them, or those among the next `looked_at_max`.
fn collect(
    store: &Store,
    wish: &Wish,
    mut after: Cursor,
    limit: usize,
    looked_at_max: usize,
) -> Result<Found, StoreError> {
    let (mut entries, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = store.list(&Selection::default(), after, PAGE_MAX)?;
        looked_at += page.entries.len();
        for entry in page.entries {
            let cursor = entry.cursor;
            if entry.address.is_some() && wish.covers(&entry) {
                entries.push(entry);
                if entries.len() == limit {
                    return Ok(Found { entries, next: Some(cursor) });
                }
            }
        }
        match page.next {
            Some(next) if looked_at < looked_at_max => after = next,
            next => return Ok(Found { entries, next }),
        }
    }
}

/// One page, for those who have a way to go on.
async fn page(call: &Call, wish: Wish, after: Cursor, limit: usize) -> Result<Found, Problem> {
    call.blocking(move |desk| Ok(collect(&desk.store, &wish, after, limit, LOOKED_AT_MAX)?)).await
}

/// The first `count`; fewer only if there are no more.
///
/// # Errors
/// 400 when too many would have to be looked at: an answer that is short without saying so would be taken for the whole.
async fn first(call: &Call, wish: Wish, count: usize) -> Result<Vec<Entry>, Problem> {
    let Found { entries, next } = page(call, wish, Cursor::default(), count).await?;
    if next.is_some() && entries.len() < count { Err(too_many()) } else { Ok(entries) }
}

/// All of them, at most `most`.
///
/// # Errors
/// 400 when there are more.
async fn all(call: &Call, wish: Wish, most: usize) -> Result<Vec<Entry>, Problem> {
    let entries = first(call, wish, most + 1).await?;
    if entries.len() > most { Err(too_many()) } else { Ok(entries) }
}

fn too_many() -> Problem {
    Problem::malformed("the store has more entries than this answer can have; read GET /v1/suppressions page by page")
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
    let turn = call.desk.turn.lock().await;
    let chosen = of(call, wish, mailbox.clone()).await?;
    let (subject, by, at) = (Subject::Address(mailbox), call.caller.to_string(), call.desk.control.clock.now());
    let whom = subject.clone();
    let gone = call.blocking(move |desk| take_out(&desk.store, &subject, chosen, &by, at)).await?;
    gone_events(call, &whom, &gone);
    drop(turn);
    Ok(gone.len())
}

/// Takes out `chosen`, all of them or none: one that needs a reason holds up the others.
fn take_out(store: &Store, whom: &Subject, chosen: Vec<Entry>, by: &str, at: Timestamp) -> Result<Vec<Entry>, Problem> {
    if let Some(entry) = chosen.iter().find(|entry| entry.needs_reason()) {
        return Err(StoreError::ReasonNeeded { cause: entry.fact.cause }.into());
    }
    let mut gone = Vec::new();
    for Entry { fact: Suppression { scope, cause, .. }, .. } in chosen {
        let (scope, cause, reach) = (Some(scope), Some(cause), Reach::Gateway);
        let (subject, by, because) = (whom.clone(), by.to_owned(), None);
        gone.extend(store.blocking_remove(&Removal { subject, scope, cause, reach, by, because, at })?);
    }
    Ok(gone)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(list: &str) -> Wish {
        let controller = ControllerId::new("acme").unwrap();
        let extent = Extent::List(ListName::new(list).unwrap());
        let reach = Reach::Controller(controller.clone());
        Wish { controller, reach, causes: vec![Cause::Unsubscribe], extent, times: ALWAYS }
    }

    /// Every tenth entry is on the list `a`, the others on `b`; each a second later than the one before.
    fn store(count: usize) -> Store {
        let store = Store::memory();
        let entry = |number: usize| {
            let scope = if number.is_multiple_of(10) { "list:acme/a" } else { "list:acme/b" };
            let at = Timestamp::from_secs(i64::try_from(number).unwrap());
            let mailbox = Mailbox::parse(&format!("p{number}@b.example")).unwrap();
            NewSuppression::lasting(mailbox, scope.parse().unwrap(), Cause::Unsubscribe, Origin::Api, None, at)
        };
        for chunk in (0..count).map(entry).collect::<Vec<_>>().chunks(crate::store::CHUNK_MAX) {
            store.add_chunk(chunk).unwrap();
        }
        store
    }

    #[test]
    fn a_listing_ends_at_its_limit_or_at_what_it_may_look_at_and_can_go_on() {
        let (store, wish) = (store(3 * PAGE_MAX), wish("a"));
        let found = |after, limit, most| collect(&store, &wish, after, limit, most).unwrap();
        let whole = found(Cursor::default(), 1000, 3 * PAGE_MAX + 1);
        assert_eq!((whole.entries.len(), whole.next), (3 * PAGE_MAX / 10, None));
        let some = found(Cursor::default(), 7, 3 * PAGE_MAX);
        assert_eq!(some.entries.len(), 7);
        let rest = found(some.next.unwrap(), 1000, 3 * PAGE_MAX + 1);
        assert_eq!(rest.entries.len(), 3 * PAGE_MAX / 10 - 7);
        let cut = found(Cursor::default(), 1000, PAGE_MAX);
        assert_eq!((cut.entries.len(), cut.next.is_some()), (PAGE_MAX / 10, true), "and says that there is more");
    }

    #[test]
    fn times_and_lists_narrow_a_listing() {
        let store = store(100);
        let seconds = |from, to| Timestamp::from_secs(from)..Timestamp::from_secs(to);
        let count = |wish: &Wish| collect(&store, wish, Cursor::default(), 1000, PAGE_MAX).unwrap().entries.len();
        assert_eq!((count(&wish("a")), count(&wish("b")), count(&wish("c"))), (10, 90, 0));
        assert_eq!(count(&wish("a").within(seconds(10, 30))), 2, "the end is not part of it");
        let other = Wish { reach: Reach::Controller(ControllerId::new("other").unwrap()), ..wish("a") };
        assert_eq!(count(&other), 0);
    }
}
