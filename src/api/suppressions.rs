//! Who must not be written to.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::ITEMS_MAX;
use super::call::{Call, Reply};
use super::problem::{Problem, done};
use super::reach::{Reach, Right};
use super::table::{Dialect, Needs, PROBLEM, Parameter, Route, Verb};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{Added, Cursor, Entry, NewSuppression, PAGE_MAX, Record, Removal, Seen, Selection, Subject};
use crate::telemetry::{Event, EventType, Privacy};
use crate::time::Timestamp;

/// Entries that one page looks at: whoever sees few of many gets a short page with a cursor further on.
const LOOKED_AT_MAX: usize = 20 * PAGE_MAX;

const PAGE: &[Parameter] = &[
    Parameter::text("scope", "Only entries of exactly this scope."),
    Parameter::text("cause", "Only entries of this cause."),
    Parameter::text("after", "The `next` of an earlier page."),
    Parameter::of("limit", "Entries on the page.", r#"{"type":"integer","minimum":1,"maximum":1000}"#),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/suppressions",
        needs: Needs::Right(Right::SuppressionsRead),
        about: "One page of entries in the order of recording.",
        query: PAGE,
        body: None,
        answers: &[(200, "SuppressionPage")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(list(call)),
    },
    Route {
        verb: Verb::Put,
        path: "/v1/suppressions",
        needs: Needs::Right(Right::SuppressionsWrite),
        about: "Records one entry. It is on disk and in effect when this is answered; saying it again changes nothing. With If-Match \
                it is recorded only while the entries of its address or domain are those that were found, and refused (503) when that \
                cannot be compared now: a person's opt-out is better sent without.",
        query: &[],
        body: Some("NewSuppression"),
        answers: &[(200, "Recorded"), (201, "Recorded"), (412, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(put(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/suppressions/bulk",
        needs: Needs::Right(Right::SuppressionsWrite),
        about: "Records up to 1000 entries and answers for each.",
        query: &[],
        body: Some("NewSuppressions"),
        answers: &[(200, "BulkAnswer")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(bulk(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/suppressions/search",
        needs: Needs::Right(Right::SuppressionsRead),
        about: "Every entry that meets an address or a domain. The address stands in the body: URLs are logged on the way. The ETag is \
                of the entries of that address or domain itself; those of the domains above it have one of their own.",
        query: &[],
        body: Some("Search"),
        answers: &[(200, "Found")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(search(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/suppressions/remove",
        needs: Needs::Right(Right::SuppressionsWrite),
        about: "Removes entries of an address or a domain. Complaints and legal objections need a reason; with If-Match nothing is \
                removed when the entries are no longer those that were found, or (503) when that cannot be compared now.",
        query: &[],
        body: Some("Removal"),
        answers: &[(200, "Removed"), (409, PROBLEM), (412, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(remove(call)),
    },
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewText {
    address: String,
    scope: String,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    evidence: Option<String>,
}

impl NewText {
    /// Checks every word of it, and that the caller may say it.
    fn read(self, call: &Call, now: Timestamp) -> Result<NewSuppression, Problem> {
        let subject = subject(&self.address)?;
        let scope: Scope = named("scope", &self.scope)?;
        let cause: Cause = named("cause", self.cause.as_deref().unwrap_or("unsubscribe"))?;
        if !call.caller.reach().holds_entry(&scope, cause) {
            return Err(Problem::outside(&format!("an entry of scope `{scope}` and cause `{cause}`")));
        }
        let instant = |name: &str, text: Option<String>| text.map(|text| when(name, &text)).transpose();
        let since = instant("since", self.since)?.unwrap_or(now);
        if since > now {
            return Err(Problem::malformed("since: lies in the future"));
        }
        let expires = instant("expires", self.expires)?;
        if let Some(text) = self.evidence.as_ref().filter(|text| text.len() > crate::store::TEXT_MAX) {
            let max = crate::store::TEXT_MAX;
            return Err(Problem::malformed(format!("evidence: has {} octets; expected at most {max}", text.len())));
        }
        let evidence = Some(self.evidence.unwrap_or_else(|| format!("request {}", call.id)));
        let fact = Suppression { scope, cause, origin: Origin::Api, evidence, since, expires };
        Ok(NewSuppression::new(subject, fact, now)?)
    }
}

pub(super) fn subject(text: &str) -> Result<Subject, Problem> {
    Subject::parse(text).map_err(|error| Problem::malformed(format!("address: {error}")))
}

pub(super) fn named<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::malformed(format!("{name}: {error}")))
}

pub(super) fn when(name: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(text).map_err(|error| Problem::malformed(format!("{name}: {error}")))
}

async fn put(call: Call) -> Result<Reply, Problem> {
    let now = call.desk.control.clock.now();
    let new = call.json::<NewText>()?.read(&call, now)?;
    let added = match call.seen() {
        None => record(&call, vec![new]).await?.first().copied().unwrap_or(Added::Existing),
        Some(seen) => record_if(&call, new, seen).await?,
    };
    Ok(Reply::new(status(added), json!({ "outcome": word(added) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkText {
    items: Vec<Value>,
}

async fn bulk(call: Call) -> Result<Reply, Problem> {
    let items = call.json::<BulkText>()?.items;
    if items.len() > ITEMS_MAX {
        return Err(Problem::malformed(format!("items: expected at most {ITEMS_MAX}, found {}", items.len())));
    }
    let now = call.desk.control.clock.now();
    let read = |item: Value| {
        let text = serde_json::from_value::<NewText>(item).map_err(|error| Problem::malformed(error.to_string()))?;
        text.read(&call, now)
    };
    let read: Vec<_> = items.into_iter().map(read).collect();
    let fit: Vec<_> = read.iter().filter_map(|item| item.as_ref().ok().cloned()).collect();
    let mut added = record(&call, fit).await?.into_iter();
    Ok(Reply::ok(json!({ "items": read.iter().map(|item| of_item(item, &mut added)).collect::<Vec<_>>() })))
}

/// The answer for one of many.
pub(super) fn of_item<T>(item: &Result<T, Problem>, added: &mut impl Iterator<Item = Added>) -> Value {
    match item {
        Ok(_) => {
            let added = added.next().unwrap_or(Added::Existing);
            json!({ "status": status(added).as_u16(), "outcome": word(added) })
        }
        Err(problem) => json!({ "status": problem.status().as_u16(), "detail": problem.detail() }),
    }
}

pub(super) const fn status(added: Added) -> StatusCode {
    match added {
        Added::New => StatusCode::CREATED,
        Added::Renewed | Added::Existing => StatusCode::OK,
    }
}

pub(super) const fn word(added: Added) -> &'static str {
    match added {
        Added::New => "new",
        Added::Renewed => "renewed",
        Added::Existing => "existing",
    }
}

/// On disk, past the fence, in log and audit: in this order, so that what is answered holds (ADR 0009). One that was there already
/// waits for the fence too: its first answer may never have arrived.
pub(super) async fn record(call: &Call, new: Vec<NewSuppression>) -> Result<Vec<Added>, Problem> {
    let events: Vec<_> = new.iter().map(|new| added_event(call, new)).collect();
    let added = call.blocking(move |desk| Ok(desk.store.add_chunk(&new)?)).await?;
    answered(call, &events, &added).await;
    Ok(added)
}

/// As [`record`], while the entries of the same subject are those that were seen.
async fn record_if(call: &Call, new: NewSuppression, seen: Seen) -> Result<Added, Problem> {
    let event = added_event(call, &new);
    let added = call.blocking(move |desk| done(desk.store.add_if(&new, &seen)?)).await?;
    answered(call, &[event], &[added]).await;
    Ok(added)
}

async fn answered(call: &Call, events: &[Event], added: &[Added]) {
    call.desk.control.fence.passed().await;
    for (event, added) in events.iter().zip(added) {
        match added {
            Added::New | Added::Renewed => call.desk.record(event),
            Added::Existing => {}
        }
    }
}

fn added_event(call: &Call, new: &NewSuppression) -> Event {
    let fact = new.fact();
    let mut event = about(call, EventType::SuppressionAdded, new.subject(), &fact.scope, fact.cause);
    event.evidence.clone_from(&fact.evidence);
    event
}

fn about(call: &Call, kind: EventType, subject: &Subject, scope: &Scope, cause: Cause) -> Event {
    let mut event = call.event(kind);
    event.recipient = recipient(subject, &call.desk.privacy);
    event.reason = Some(cause.reason().as_str());
    event.queue = Some(scope.to_string());
    event.controller = of(scope);
    event
}

/// To whom a scope belongs.
fn of(scope: &Scope) -> Option<String> {
    match scope {
        Scope::Everything => None,
        Scope::Controller(controller) | Scope::List(controller, _) => Some(controller.to_string()),
    }
}

fn recipient(subject: &Subject, privacy: &Privacy) -> Option<crate::telemetry::AddressForm> {
    match subject {
        Subject::Address(mailbox) => Some(privacy.form(mailbox)),
        Subject::Domain(_) | Subject::Published(_) | Subject::Hashed { .. } => None,
    }
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let selection = Selection { scope: call.query.parsed("scope")?, cause: call.query.parsed("cause")? };
    let after = call.query.parsed::<Cursor>("after")?.unwrap_or_default();
    let limit = call.query.limit(PAGE_MAX)?;
    let reach = call.caller.reach().clone();
    let page = call.blocking(move |desk| page(desk, &selection, after, limit, &reach)).await?;
    Ok(Reply::ok(page))
}

/// Goes on over pages of the store until enough entries within `reach` were found, or enough were looked at.
fn page(
    desk: &super::Desk,
    selection: &Selection,
    mut after: Cursor,
    limit: usize,
    reach: &Reach,
) -> Result<Value, Problem> {
    let (key, mut shown, mut looked_at) = (desk.store.key_name(), Vec::new(), 0);
    loop {
        let page = desk.store.list(selection, after, limit - shown.len())?;
        looked_at += page.entries.len();
        shown.extend(within(page.entries, reach).map(|entry| entry_value(&entry, &key)));
        match page.next {
            Some(next) if shown.len() < limit && looked_at < LOOKED_AT_MAX => after = next,
            next => {
                return Ok(json!({ "entries": shown, "next": next.map(|next| next.to_string()) }));
            }
        }
    }
}

fn within(entries: Vec<Entry>, reach: &Reach) -> impl Iterator<Item = Entry> {
    entries.into_iter().filter(|entry| reach.holds_entry(&entry.fact.scope, entry.fact.cause))
}

fn entry_value(entry: &Entry, key: &str) -> Value {
    serde_json::to_value(Record::of(entry, key)).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchText {
    address: String,
}

async fn search(call: Call) -> Result<Reply, Problem> {
    let whom = subject(&call.json::<SearchText>()?.address)?;
    let reach = call.caller.reach().clone();
    let (found, revision) = call.blocking(move |desk| Ok(desk.store.matching_within(&whom, &reach)?)).await?;
    let key = call.desk.store.key_name();
    let shown: Vec<_> = found
        .iter()
        .map(|(how, entry)| {
            let mut value = entry_value(entry, &key);
            if let Value::Object(fields) = &mut value {
                fields.insert("match".to_owned(), how.as_str().into());
            }
            value
        })
        .collect();
    Ok(Reply::ok(json!({ "entries": shown })).tagged(revision))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovalText {
    address: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    because: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

async fn remove(call: Call) -> Result<Reply, Problem> {
    let said = call.json::<RemovalText>()?;
    let whom = subject(&said.address)?;
    let scope: Option<Scope> = said.scope.as_deref().map(|text| named("scope", text)).transpose()?;
    let cause: Option<Cause> = said.cause.as_deref().map(|text| named("cause", text)).transpose()?;
    if let Some(scope) = &scope
        && !call.caller.reach().holds_entry(scope, cause.unwrap_or(Cause::Manual))
    {
        return Err(Problem::outside(&format!("scope `{scope}`")));
    }
    let (reach, at) = (call.caller.reach().clone(), call.desk.control.clock.now());
    let (by, because, subject) = (call.by(said.by), said.because, whom.clone());
    let (removal, seen) = (Removal { subject, scope, cause, reach, by, because, at }, call.seen());
    let turn = call.desk.turn.lock().await;
    let gone = call.blocking(move |desk| match &seen {
        None => Ok(desk.store.blocking_remove(&removal)?),
        Some(seen) => done(desk.store.remove_if(&removal, seen)?),
    });
    let gone = gone.await?;
    gone_events(&call, &whom, &gone);
    drop(turn);
    let key = call.desk.store.key_name();
    Ok(Reply::ok(json!({ "removed": gone.iter().map(|entry| entry_value(entry, &key)).collect::<Vec<_>>() })))
}

/// Keeps in log and audit what of `whom` was removed.
pub(super) fn gone_events(call: &Call, whom: &Subject, gone: &[Entry]) {
    for entry in gone {
        let mut event = about(call, EventType::SuppressionRemoved, whom, &entry.fact.scope, entry.fact.cause);
        event.evidence = Some(format!("removed by {}", call.caller));
        call.desk.record(&event);
    }
}
