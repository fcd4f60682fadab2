//! `/v3/{domain}/bounces|unsubscribes|complaints`.

use axum::http::StatusCode;
use serde_json::json;

use super::super::call::{Call, Reply};
use super::super::fields::fields;
use super::super::problem::Problem;
use super::super::reach::Right;
use super::super::table::{Dialect, Needs, Parameter, Route, Verb};
use super::{Extent, Found, Wish, add, address, controller, json_of, of, part, remove, shown};
use crate::compat::mailgun::{self, Kind, Listing, PAGE, PAGE_MAX, Paging, Written};
use crate::mail::{ControllerId, Domain};
use crate::store::Cursor;

const READ: Needs = Needs::Right(Right::SuppressionsRead);
const WRITE: Needs = Needs::Right(Right::SuppressionsWrite);
const PROBLEM: &str = Dialect::Mailgun.problem();

const LIST: &[Parameter] = &[
    Parameter::of("limit", "Entries on the page.", r#"{"type":"integer","minimum":1,"maximum":1000}"#),
    Parameter::text("page", "As the address of the page says."),
    Parameter::text("address", "As the address of the page says."),
];

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v3/{domain}/{kind}",
        needs: READ,
        about: "As Mailgun lists suppressions.",
        query: LIST,
        body: None,
        answers: &[(200, "MailgunPage"), (404, PROBLEM)],
        dialect: Dialect::Mailgun,
        handler: |call| Box::pin(list(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v3/{domain}/{kind}",
        needs: WRITE,
        about: "As Mailgun adds suppressions: a form, an object, or an array of up to 1000.",
        query: &[],
        body: Some("MailgunEntries"),
        answers: &[(200, "MailgunAdded"), (404, PROBLEM)],
        dialect: Dialect::Mailgun,
        handler: |call| Box::pin(post(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v3/{domain}/{kind}/{address}",
        needs: READ,
        about: "As Mailgun shows one suppression.",
        query: &[],
        body: None,
        answers: &[(200, "MailgunItem"), (404, PROBLEM)],
        dialect: Dialect::Mailgun,
        handler: |call| Box::pin(show(call)),
    },
    Route {
        verb: Verb::Delete,
        path: "/v3/{domain}/{kind}/{address}",
        needs: WRITE,
        about: "As Mailgun removes one suppression.",
        query: &[],
        body: None,
        answers: &[(200, "MailgunAdded"), (404, PROBLEM), (409, PROBLEM)],
        dialect: Dialect::Mailgun,
        handler: |call| Box::pin(delete(call)),
    },
];

/// Which list of whom a path names.
fn place(call: &Call) -> Result<(ControllerId, Kind), Problem> {
    let kind = Kind::parse(part(call, "kind"))
        .ok_or_else(|| Problem::absent("expected /v3/{domain}/bounces, unsubscribes or complaints"))?;
    let domain = Domain::parse(part(call, "domain")).map_err(|error| Problem::absent(format!("domain: {error}")))?;
    let settings = call.desk.settings.load();
    let streams = settings.streams.values().map(|stream| &**stream);
    let whose = controller(call, streams.filter(|stream| stream.rules.from_domains.allow(&domain)))?;
    Ok((whose, kind))
}

fn wish(call: &Call) -> Result<(Wish, Kind), Problem> {
    let (whose, kind) = place(call)?;
    Ok((Wish::new(call, whose, kind.causes(), Extent::Any), kind))
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let (wish, kind) = wish(&call)?;
    let limit = if call.query.get("limit").is_some() { call.query.limit(PAGE_MAX)? } else { PAGE };
    let after = match call.query.get("page") {
        Some("next") => call.query.parsed::<Cursor>("address")?.unwrap_or_default(),
        Some(_) | None => Cursor::default(),
    };
    let Found { entries, next } = super::page(&call, wish, after, limit).await?;
    let base = format!("/v3/{}/{}?limit={limit}", part(&call, "domain"), kind.as_str());
    // Behind the last one the next page is where this one ended, and empty.
    let next = next.or_else(|| entries.last().map(|entry| entry.cursor)).unwrap_or(after);
    let next = format!("{}{base}&page=next&address={next}", call.origin());
    let first = format!("{}{base}&page=first", call.origin());
    let paging = Paging { first: first.clone(), previous: first, last: next.clone(), next };
    let items = entries.iter().filter_map(shown).map(|shown| mailgun::item(kind, &shown)).collect();
    Ok(Reply::ok(json_of(&Listing { items, paging })))
}

async fn post(call: Call) -> Result<Reply, Problem> {
    let (whose, kind) = place(&call)?;
    let written = match fields(&call).await? {
        Some(form) => vec![Written::from_form(form)],
        None => mailgun::read_json(&call.body).map_err(Problem::malformed)?,
    };
    let mut wanted = Vec::new();
    for one in &written {
        wanted.extend(one.read(kind).map_err(Problem::malformed)?);
    }
    add(&call, &whose, wanted).await?;
    let message = match written.as_slice() {
        [one] => {
            return Ok(Reply::ok(json!({ "address": one.address, "message": "Address has been added to the table" })));
        }
        all => format!("{} addresses have been added to the table", all.len()),
    };
    Ok(Reply::new(StatusCode::OK, json!({ "message": message })))
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let (wish, kind) = wish(&call)?;
    let found = of(&call, wish, address(part(&call, "address"))?).await?;
    let all: Vec<_> = found.iter().filter_map(shown).collect();
    mailgun::merged(kind, &all).map(|item| Reply::ok(json_of(&item))).ok_or_else(not_there)
}

async fn delete(call: Call) -> Result<Reply, Problem> {
    let (wish, _) = wish(&call)?;
    let text = part(&call, "address").to_owned();
    match remove(&call, wish, address(&text)?).await? {
        0 => Err(not_there()),
        _ => Ok(Reply::ok(json!({ "address": text, "message": "The address has been removed" }))),
    }
}

fn not_there() -> Problem {
    Problem::absent("Address not found in this table")
}
