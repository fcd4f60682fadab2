//! `/v3/suppression/*` and `/v3/asm/*`.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::call::{Call, Reply};
use super::super::problem::Problem;
use super::super::reach::Right;
use super::super::table::{Dialect, Needs, Parameter, Route, Verb};
use super::{ALWAYS, Extent, Wish, add, address, all, controller, first, json_of, of, part, remove, shown};
use crate::compat::Reach;
use crate::compat::sendgrid::{self, Deletion, Group, Kind, Membership, OFFSET_MAX, PAGE_MAX, Recipients, group_id};
use crate::mail::{ControllerId, ListName};
use crate::policy::Cause;
use crate::store::Entry;
use crate::time::Timestamp;

const READ: Needs = Needs::Right(Right::SuppressionsRead);
const WRITE: Needs = Needs::Right(Right::SuppressionsWrite);
const PROBLEM: &str = Dialect::SendGrid.problem();
/// What leaves a list.
const OPT_OUTS: &[Cause] = &[Cause::Unsubscribe, Cause::LegalObjection];

const LIST: &[Parameter] = &[
    Parameter::of("start_time", "Seconds since 1970.", r#"{"type":"integer","minimum":0}"#),
    Parameter::of("end_time", "Seconds since 1970.", r#"{"type":"integer","minimum":0}"#),
    Parameter::of("limit", "Entries of the answer.", r#"{"type":"integer","minimum":1,"maximum":500}"#),
    Parameter::of("offset", "Entries before them.", r#"{"type":"integer","minimum":0,"maximum":100000}"#),
];

/// A route without a query.
const fn plain(
    verb: Verb,
    path: &'static str,
    about: &'static str,
    body: Option<&'static str>,
    answers: &'static [(u16, &'static str)],
    handler: super::super::table::Handler,
) -> Route {
    let needs = match verb {
        Verb::Get => READ,
        Verb::Put | Verb::Post | Verb::Delete => WRITE,
    };
    Route { verb, path, needs, about, query: &[], body, answers, dialect: Dialect::SendGrid, handler }
}

const FOUND: &[(u16, &str)] = &[(200, "Any"), (404, PROBLEM)];
const ENTRIES: &[(u16, &str)] = &[(200, "SendGridEntries"), (404, PROBLEM)];
/// What is added, and the answer to it.
const ADDRESSES: &str = "SendGridRecipients";
const GONE: &[(u16, &str)] = &[(204, ""), (404, PROBLEM), (409, PROBLEM)];
const ADDED: &[(u16, &str)] = &[(201, ADDRESSES), (404, PROBLEM)];

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v3/suppression/{kind}",
        needs: READ,
        about: "As SendGrid lists suppressions of one kind.",
        query: LIST,
        body: None,
        answers: ENTRIES,
        dialect: Dialect::SendGrid,
        handler: |call| Box::pin(page(call)),
    },
    plain(
        Verb::Delete,
        "/v3/suppression/{kind}",
        "As SendGrid removes several.",
        Some("SendGridDeletion"),
        GONE,
        |call| Box::pin(delete_many(call)),
    ),
    plain(Verb::Get, "/v3/suppression/{kind}/{email}", "As SendGrid shows one.", None, ENTRIES, |call| {
        Box::pin(show(call))
    }),
    plain(Verb::Delete, "/v3/suppression/{kind}/{email}", "As SendGrid removes one.", None, GONE, |call| {
        Box::pin(delete(call))
    }),
    plain(
        Verb::Post,
        "/v3/asm/suppressions/global",
        "As SendGrid adds to all groups.",
        Some(ADDRESSES),
        ADDED,
        |call| Box::pin(add_global(call)),
    ),
    plain(Verb::Get, "/v3/asm/suppressions/global/{email}", "As SendGrid looks one up.", None, FOUND, |call| {
        Box::pin(show_global(call))
    }),
    plain(Verb::Delete, "/v3/asm/suppressions/global/{email}", "As SendGrid takes one back.", None, GONE, |call| {
        Box::pin(delete_global(call))
    }),
    plain(Verb::Get, "/v3/asm/groups", "The lists, as SendGrid's groups.", None, FOUND, |call| {
        Box::pin(async move { Ok(Reply::ok(json_of(&groups(&call)?.1))) })
    }),
    plain(Verb::Get, "/v3/asm/groups/{group}/suppressions", "Who left one list.", None, FOUND, |call| {
        Box::pin(of_group(call))
    }),
    plain(Verb::Post, "/v3/asm/groups/{group}/suppressions", "Adds to one list.", Some(ADDRESSES), ADDED, |call| {
        Box::pin(add_to_group(call))
    }),
    plain(Verb::Delete, "/v3/asm/groups/{group}/suppressions/{email}", "Takes one back.", None, GONE, |call| {
        Box::pin(delete_of_group(call))
    }),
    plain(Verb::Get, "/v3/asm/suppressions", "Who left which list.", None, FOUND, |call| Box::pin(memberships(call))),
    plain(Verb::Get, "/v3/asm/suppressions/{email}", "Which lists one person left.", None, FOUND, |call| {
        Box::pin(of_person(call))
    }),
];

fn whose(call: &Call) -> Result<ControllerId, Problem> {
    controller(call, call.desk.settings.load().streams.values().map(|stream| &**stream))
}

fn kind(call: &Call) -> Result<Kind, Problem> {
    Kind::parse(part(call, "kind")).ok_or_else(|| Problem::absent("no such kind of suppression"))
}

/// Those of a kind: opt-outs from one list stand with its group.
fn of_kind(call: &Call) -> Result<(Wish, Kind), Problem> {
    let kind = kind(call)?;
    let extent = match kind {
        Kind::Unsubscribes => Extent::Whole,
        Kind::Bounces | Kind::Blocks | Kind::InvalidEmails | Kind::SpamReports => Extent::Any,
    };
    Ok((Wish::new(call, whose(call)?, kind.causes(), extent), kind))
}

fn global(call: &Call) -> Result<Wish, Problem> {
    Ok(Wish::new(call, whose(call)?, OPT_OUTS, Extent::Whole))
}

async fn page(call: Call) -> Result<Reply, Problem> {
    let (wish, kind) = of_kind(&call)?;
    let limit = call.query.limit(PAGE_MAX)?;
    let second = |name| Ok::<_, Problem>(call.query.parsed::<i64>(name)?.map(Timestamp::from_secs));
    let from = second("start_time")?.unwrap_or(ALWAYS.start);
    // The second that ends it is part of it.
    let to = second("end_time")?.map_or(ALWAYS.end, |end| end.plus(Duration::from_secs(1)));
    let offset = call.query.parsed::<usize>("offset")?.unwrap_or(0);
    if offset > OFFSET_MAX {
        return Err(Problem::malformed(format!("offset: expected at most {OFFSET_MAX}")));
    }
    let entries = first(&call, wish.within(from..to), offset + limit).await?;
    let items = entries.iter().skip(offset).filter_map(shown).map(|shown| sendgrid::item(kind, &shown));
    Ok(Reply::ok(json_of(&items.collect::<Vec<_>>())))
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let (wish, kind) = of_kind(&call)?;
    let found = of(&call, wish, address(part(&call, "email"))?).await?;
    let items = found.iter().filter_map(shown).map(|shown| sendgrid::item(kind, &shown));
    Ok(Reply::ok(json_of(&items.collect::<Vec<_>>())))
}

async fn delete(call: Call) -> Result<Reply, Problem> {
    let (wish, _) = of_kind(&call)?;
    gone(remove(&call, wish, address(part(&call, "email"))?).await?)
}

fn gone(count: usize) -> Result<Reply, Problem> {
    if count == 0 { Err(Problem::absent("not found")) } else { Ok(Reply::empty(StatusCode::NO_CONTENT)) }
}

async fn delete_many(call: Call) -> Result<Reply, Problem> {
    let deletion: Deletion = call.json()?;
    if deletion.delete_all || deletion.emails.len() > crate::compat::BATCH_MAX {
        return Err(Problem::malformed("emails: expected some addresses, at most 1000; a whole list is not emptied"));
    }
    let (wish, _) = of_kind(&call)?;
    let mailboxes = deletion.emails.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    for mailbox in mailboxes {
        remove(&call, wish.clone(), mailbox).await?;
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn add_all(call: &Call, reach: &Reach) -> Result<Reply, Problem> {
    let wanted = sendgrid::read(&call.body, reach).map_err(Problem::malformed)?;
    let recipient_emails = wanted.iter().map(|wanted| wanted.mailbox.as_str().to_owned()).collect();
    add(call, &whose(call)?, wanted).await?;
    Ok(Reply::new(StatusCode::CREATED, json_of(&Recipients { recipient_emails })))
}

async fn add_global(call: Call) -> Result<Reply, Problem> {
    add_all(&call, &Reach::Controller).await
}

async fn show_global(call: Call) -> Result<Reply, Problem> {
    let text = part(&call, "email").to_owned();
    let found = of(&call, global(&call)?, address(&text)?).await?;
    Ok(Reply::ok(if found.is_empty() { json!({}) } else { json!({ "recipient_email": text }) }))
}

async fn delete_global(call: Call) -> Result<Reply, Problem> {
    gone(remove(&call, global(&call)?, address(part(&call, "email"))?).await?)
}

/// The lists of the controller.
fn groups(call: &Call) -> Result<(ControllerId, Vec<Group>), Problem> {
    let whose = whose(call)?;
    let groups = lists(call, &whose).into_iter().map(|list| Group {
        id: group_id(&list),
        name: list.to_string(),
        description: format!("The list {list} of {whose}"),
        is_default: false,
    });
    let groups = groups.collect();
    Ok((whose, groups))
}

fn lists(call: &Call, whose: &ControllerId) -> Vec<ListName> {
    let settings = call.desk.settings.load();
    let own = settings.streams.values().filter(|stream| stream.rules.controller == *whose);
    let mut lists: Vec<_> =
        own.flat_map(|stream| stream.rules.list.iter().chain(&stream.also_lists)).cloned().collect();
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// The list that a path names by its number or its name.
fn group(call: &Call) -> Result<(ControllerId, ListName), Problem> {
    let (whose, wanted) = (whose(call)?, part(call, "group"));
    let found =
        lists(call, &whose).into_iter().find(|list| list.as_str() == wanted || group_id(list).to_string() == wanted);
    found.map(|list| (whose, list)).ok_or_else(|| Problem::absent(format!("no list is `{wanted}`")))
}

async fn of_group(call: Call) -> Result<Reply, Problem> {
    let (whose, list_name) = group(&call)?;
    let wish = Wish::new(&call, whose, OPT_OUTS, Extent::List(list_name));
    let entries = all(&call, wish, OFFSET_MAX).await?;
    Ok(Reply::ok(json!(entries.iter().filter_map(|entry| entry.address.as_deref()).collect::<Vec<_>>())))
}

async fn add_to_group(call: Call) -> Result<Reply, Problem> {
    let (_, list_name) = group(&call)?;
    add_all(&call, &Reach::List(list_name)).await
}

async fn delete_of_group(call: Call) -> Result<Reply, Problem> {
    let (whose, list_name) = group(&call)?;
    let wish = Wish::new(&call, whose, OPT_OUTS, Extent::List(list_name));
    gone(remove(&call, wish, address(part(&call, "email"))?).await?)
}

async fn memberships(call: Call) -> Result<Reply, Problem> {
    let wish = Wish::new(&call, whose(&call)?, OPT_OUTS, Extent::Lists);
    let entries = all(&call, wish, OFFSET_MAX).await?;
    Ok(Reply::ok(json_of(&entries.iter().filter_map(membership).collect::<Vec<_>>())))
}

fn membership(entry: &Entry) -> Option<Membership> {
    let shown = shown(entry)?;
    let list = shown.list?;
    Some(Membership {
        email: shown.address.to_lowercase(),
        group_id: group_id(list),
        group_name: list.to_string(),
        created_at: shown.since.as_secs(),
    })
}

async fn of_person(call: Call) -> Result<Reply, Problem> {
    let (whose, groups) = groups(&call)?;
    let wish = Wish::new(&call, whose, OPT_OUTS, Extent::Any);
    let found = of(&call, wish, address(part(&call, "email"))?).await?;
    let left: Vec<_> = found.iter().filter_map(shown).collect();
    let suppressions = groups.iter().map(|group| {
        let is_left = left.iter().any(|shown| shown.list.is_none_or(|list| group_id(list) == group.id));
        let mut value = json_of(group);
        if let Value::Object(fields) = &mut value {
            fields.insert("suppressed".to_owned(), is_left.into());
        }
        value
    });
    Ok(Reply::ok(json!({ "suppressions": suppressions.collect::<Vec<_>>() })))
}
