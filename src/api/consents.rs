//! Who agreed to be written to.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::ITEMS_MAX;
use super::call::{Call, Reply};
use super::form::Form;
use super::problem::{Problem, done};
use super::reach::{Reach, Right, must_hold};
use super::shape::{consent_value, contact_value, event_value};
use super::suppressions::{of_item, status, word};
use super::table::{Dialect, Needs, PROBLEM, Route, Verb};
use crate::control::{Answer, Question, SignUp, SignedUp, WhyNot};
use crate::mail::{ControllerId, Mailbox};
use crate::store::{Added, NewEvent, Revision, Told};
use crate::telemetry::EventType;
use crate::time::Timestamp;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Put,
        path: "/v1/consents",
        needs: Needs::Right(Right::ConsentsWrite),
        about: "Records a consent, or with the basis `none` that one ended. It counts from the next message on; saying it again \
                changes nothing, also after an opt-out that came later than `collected_at`. With If-Match nothing is recorded when \
                the person's records are no longer those that were found, or (503) when that cannot be compared now.",
        query: &[],
        body: Some("NewConsent"),
        answers: &[(200, "Recorded"), (201, "Recorded"), (412, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(put(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/consents",
        needs: Needs::Right(Right::ConsentsWrite),
        about: "Asks the mailbox that was entered somewhere whether its person signed up: Consentry sends the letter and records \
                what is confirmed on its own page. Answered the same whether the address is known or not.",
        query: &[],
        body: Some("SignUp"),
        answers: &[(202, "Accepted"), (409, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(ask(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/consents/bulk",
        needs: Needs::Right(Right::ConsentsWrite),
        about: "Records up to 1000 consents and answers for each.",
        query: &[],
        body: Some("NewConsents"),
        answers: &[(200, "BulkAnswer")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(bulk(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/consents/search",
        needs: Needs::Right(Right::ConsentsRead),
        about: "What holds of one address now, and every record that led to it.",
        query: &[],
        body: Some("Search"),
        answers: &[(200, "Consents")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(search(call)),
    },
];

/// What one request says about one person.
struct Said {
    controller: ControllerId,
    events: Vec<NewEvent>,
}

/// Reads an object whose names are those of the command line and of files.
fn read(fields: Map<String, Value>, call: &Call, now: Timestamp) -> Result<Said, Problem> {
    let (mut form, mut mailbox) = (Form::default(), None);
    for (name, value) in fields {
        if name == "address" {
            let text = value.as_str().ok_or_else(|| Problem::malformed("address: expected a string"))?;
            mailbox = Some(address(text)?);
            continue;
        }
        for cell in cells(&name, value)? {
            if !form.take(&name, &cell).map_err(Problem::malformed)? {
                return Err(Problem::malformed(format!("`{name}` is not known; see the OpenAPI description")));
            }
        }
    }
    let mailbox = mailbox.ok_or_else(|| Problem::malformed("address: missing"))?;
    // A request that is sent again must not be a newer yes than a no that came in between (promise P10).
    if form.collected_at.is_none() {
        return Err(Problem::malformed("collected_at: missing; expected when the person agreed"));
    }
    let said = form.read(now).map_err(Problem::malformed)?;
    let reach = call.caller.reach();
    must_hold(reach, &said.fact.controller)?;
    let (controller, by) = (said.fact.controller.clone(), call.caller.to_string());
    let mut events = vec![NewEvent::consent(mailbox.clone(), said.fact, by.clone(), now)?];
    if !said.contact.is_empty() {
        // Class and country count for every controller.
        if *reach != Reach::Gateway {
            return Err(Problem::outside("what a person is (class, country, function, contract)"));
        }
        events.push(NewEvent::contact(mailbox, said.contact, by, now)?);
    }
    Ok(Said { controller, events })
}

fn cells(name: &str, value: Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::malformed(format!("{name}: expected a string"));
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Bool(flag) if name == "pending" => Ok(vec![flag.to_string()]),
        Value::Array(all) if name == "functions" => {
            all.into_iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

fn address(text: &str) -> Result<Mailbox, Problem> {
    Mailbox::parse(text).map_err(|error| Problem::malformed(format!("address: {error}")))
}

async fn put(call: Call) -> Result<Reply, Problem> {
    let now = call.desk.control.clock.now();
    let said = read(call.json()?, &call, now)?;
    let turn = call.desk.turn.lock().await;
    let events = said.events.clone();
    let added = match call.seen() {
        None => call.blocking(move |desk| Ok(desk.store.record_chunk(&events)?)).await?,
        Some(seen) => call.blocking(move |desk| done(desk.store.record_if(&events, &seen)?)).await?,
    };
    let added = answered(&call, std::slice::from_ref(&said), added).await;
    drop(turn);
    let added = added.first().copied().unwrap_or(Added::Existing);
    Ok(Reply::new(status(added), json!({ "outcome": word(added) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkText {
    items: Vec<Map<String, Value>>,
}

async fn bulk(call: Call) -> Result<Reply, Problem> {
    let items = call.json::<BulkText>()?.items;
    if items.len() > ITEMS_MAX {
        return Err(Problem::malformed(format!("items: expected at most {ITEMS_MAX}, found {}", items.len())));
    }
    let now = call.desk.control.clock.now();
    let (mut fit, mut read_items) = (Vec::new(), Vec::new());
    for item in items {
        read_items.push(read(item, &call, now).map(|said| fit.push(said)));
    }
    let mut added = record(&call, &fit).await?.into_iter();
    Ok(Reply::ok(json!({ "items": read_items.iter().map(|item| of_item(item, &mut added)).collect::<Vec<_>>() })))
}

/// Records what was said and answers for each whether anything of it was new.
async fn record(call: &Call, said: &[Said]) -> Result<Vec<Added>, Problem> {
    let all: Vec<NewEvent> = said.iter().flat_map(|said| said.events.iter().cloned()).collect();
    let added = call
        .blocking(move |desk| {
            let mut added = Vec::new();
            for chunk in all.chunks(crate::store::CHUNK_MAX) {
                added.extend(desk.store.record_chunk(chunk)?);
            }
            Ok(added)
        })
        .await?;
    Ok(answered(call, said, added).await)
}

/// What is on disk goes past the fence, since a consent that ended counts as soon as an opt-out does, and into log and audit. Answers
/// for each whether anything of it was new; `added` says it of each event.
async fn answered(call: &Call, said: &[Said], added: Vec<Added>) -> Vec<Added> {
    call.desk.control.fence.passed().await;
    let mut rest = added.into_iter();
    let one = |said: &Said| {
        let each: Vec<_> = rest.by_ref().take(said.events.len()).collect();
        for (event, added) in said.events.iter().zip(&each) {
            if *added != Added::Existing {
                note(call, event, &said.controller);
            }
        }
        each.into_iter().find(|added| *added != Added::Existing).unwrap_or(Added::Existing)
    };
    said.iter().map(one).collect()
}

fn note(call: &Call, new: &NewEvent, controller: &ControllerId) {
    let mut event = call.event(EventType::ConsentAdded);
    event.recipient = Some(call.desk.privacy.form(new.mailbox()));
    event.controller = Some(controller.to_string());
    event.evidence = Some(match new.told() {
        Told::Consent(fact) => format!("{} for {}", fact.basis, fact.purpose),
        Told::Contact(_) => "what the person is".to_owned(),
        Told::Retraction(_) => "taken back".to_owned(),
    });
    call.desk.record(&event);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignUpText {
    address: String,
    controller: String,
    confirm: bool,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    notice: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    ip: Option<std::net::IpAddr>,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

async fn ask(call: Call) -> Result<Reply, Problem> {
    let said = call.json::<SignUpText>()?;
    if !said.confirm {
        return Err(Problem::malformed("confirm: expected `true`; what is confirmed already is recorded with PUT"));
    }
    address(&said.address)?;
    let controller = ControllerId::new(&said.controller).map_err(|e| Problem::malformed(format!("controller: {e}")))?;
    must_hold(call.caller.reach(), &controller)?;
    let sign_up = SignUp {
        address: said.address,
        controller: said.controller,
        purpose: said.purpose.unwrap_or_else(|| "marketing".to_owned()),
        notice: said.notice,
        source: said.source,
        ip: said.ip,
        language: said.language,
        by: call.by(said.by),
    };
    match crate::control::answer(Question::SignUp(sign_up), &call.desk.control).await {
        Answer::SignedUp(outcome) => Ok(Reply::new(StatusCode::ACCEPTED, seen_by(&call, &outcome))),
        Answer::Fault { message, why: WhyNot::Malformed } => Err(Problem::malformed(message)),
        Answer::Fault { message, why: WhyNot::Absent | WhyNot::Failed } => Err(Problem::refused(message)),
        Answer::Stats(_) | Answer::List { .. } | Answer::Copy(_) | Answer::Done { .. } => {
            Err(Problem::unavailable("another question was answered".to_owned()))
        }
    }
}

/// Whether an address is on a list, blocked or confirmed is told to operators alone: a form that hands our answer on would tell
/// everybody.
fn seen_by(call: &Call, outcome: &SignedUp) -> Value {
    match call.caller {
        super::call::Caller::Operator { .. } => serde_json::to_value(outcome).unwrap_or_default(),
        super::call::Caller::Token { .. } | super::call::Caller::Anybody => json!({ "outcome": "accepted" }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchText {
    address: String,
}

async fn search(call: Call) -> Result<Reply, Problem> {
    let mailbox = address(&call.json::<SearchText>()?.address)?;
    let (value, revision) = known(&call, mailbox).await?;
    Ok(Reply::ok(value).tagged(revision))
}

/// What the caller may know of a person, and its revision.
async fn known(call: &Call, mailbox: Mailbox) -> Result<(Value, Revision), Problem> {
    let (reach, now) = (call.caller.reach().clone(), call.desk.control.clock.now());
    let whole = reach == Reach::Gateway;
    call.blocking(move |desk| {
        // First, so that the tag is never of something newer than what is shown with it.
        let (history, revision) = desk.store.history_within(&mailbox, &reach)?;
        let known = desk.store.blocking_dossier(&[&mailbox])?.pop().unwrap_or_default();
        let history: Vec<_> = history.iter().map(event_value).collect();
        let consents = known.consents.iter().filter(|fact| reach.holds(&fact.controller)).map(|fact| {
            let mut fields = consent_value(fact);
            fields.insert("counts".to_owned(), fact.counts_at(now).into());
            Value::Object(fields)
        });
        let consents: Vec<_> = consents.collect();
        let contact = known.contact.as_ref().filter(|_| whole).map(contact_value);
        Ok((json!({ "consents": consents, "contact": contact, "history": history }), revision))
    })
    .await
}
