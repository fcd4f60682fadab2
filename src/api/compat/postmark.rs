//! `/message-streams/{stream}/suppressions`.

use std::time::Duration;

use super::super::call::{Call, Reply};
use super::super::problem::Problem;
use super::super::reach::Right;
use super::super::table::{Dialect, Needs, Parameter, Route, Verb};
use super::{ALWAYS, Extent, Wish, add, all, controller, json_of, remove, shown};
use crate::compat::postmark::{self, Listing, Outcome, Request, Status};
use crate::compat::{Reach, Wanted};
use crate::mail::{ControllerId, ListName};
use crate::policy::Cause;

const PROBLEM: &str = Dialect::Postmark.problem();
/// Entries of a dump.
const DUMP_MAX: usize = 100_000;
/// What it shows.
const CAUSES: &[Cause] =
    &[Cause::HardBounce, Cause::Invalid, Cause::Complaint, Cause::Unsubscribe, Cause::LegalObjection, Cause::Manual];

const DUMP: &[Parameter] = &[
    Parameter::text("SuppressionReason", "HardBounce, SpamComplaint or ManualSuppression."),
    Parameter::text("Origin", "Recipient or Customer."),
    Parameter::text("fromdate", "From this day on."),
    Parameter::text("todate", "Until this day."),
    Parameter::text("EmailAddress", "Only this one."),
];

pub(in super::super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/message-streams/{stream}/suppressions",
        needs: Needs::Right(Right::SuppressionsWrite),
        about: "As Postmark adds up to 50 addresses.",
        query: &[],
        body: Some("PostmarkAddresses"),
        answers: &[(200, "PostmarkOutcomes"), (404, PROBLEM)],
        dialect: Dialect::Postmark,
        handler: |call| Box::pin(create(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/message-streams/{stream}/suppressions/delete",
        needs: Needs::Right(Right::SuppressionsWrite),
        about: "As Postmark removes up to 50 addresses.",
        query: &[],
        body: Some("PostmarkAddresses"),
        answers: &[(200, "PostmarkOutcomes"), (404, PROBLEM)],
        dialect: Dialect::Postmark,
        handler: |call| Box::pin(delete(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/message-streams/{stream}/suppressions/dump",
        needs: Needs::Right(Right::SuppressionsRead),
        about: "As Postmark lists suppressions.",
        query: DUMP,
        body: None,
        answers: &[(200, "PostmarkDump"), (404, PROBLEM)],
        dialect: Dialect::Postmark,
        handler: |call| Box::pin(dump(call)),
    },
];

/// Whose stream a path names, and its list.
fn place(call: &Call) -> Result<(ControllerId, Option<ListName>), Problem> {
    let settings = call.desk.settings.load();
    let wanted = super::part(call, "stream");
    let mut named = settings.streams.values().filter(|stream| stream.rules.name.as_str() == wanted);
    let found = named.next();
    let whose = controller(call, found.iter().map(|stream| &***stream))?;
    Ok((whose, found.and_then(|stream| stream.rules.list.clone())))
}

fn extent(list: Option<&ListName>) -> Extent {
    list.map_or(Extent::Whole, |list| Extent::List(list.clone()))
}

async fn create(call: Call) -> Result<Reply, Problem> {
    let (whose, list_name) = place(&call)?;
    let asked = Request::read(&call.body).map_err(Problem::malformed)?;
    let reach = list_name.map_or(Reach::Controller, Reach::List);
    let fit = asked.iter().filter_map(|(_, read)| read.as_ref().ok());
    let wanted = fit.map(|mailbox| Wanted {
        mailbox: mailbox.clone(),
        cause: Cause::Unsubscribe,
        reach: reach.clone(),
        evidence: None,
        since: None,
    });
    add(&call, &whose, wanted.collect()).await?;
    let suppressions = asked.into_iter().map(|(text, read)| outcome(text, read.map(|_| Status::Suppressed)));
    Ok(Reply::ok(json_of(&Listing { suppressions: suppressions.collect() })))
}

fn outcome(email_address: String, done: Result<Status, String>) -> Outcome {
    match done {
        Ok(status) => Outcome { email_address, status, message: None },
        Err(message) => Outcome { email_address, status: Status::Failed, message: Some(message) },
    }
}

async fn delete(call: Call) -> Result<Reply, Problem> {
    let (whose, list_name) = place(&call)?;
    let wish = Wish::new(&call, whose, CAUSES, extent(list_name.as_ref()));
    let mut suppressions = Vec::new();
    for (text, read) in Request::read(&call.body).map_err(Problem::malformed)? {
        let done = match read {
            Ok(mailbox) => match remove(&call, wish.clone(), mailbox).await {
                Ok(_) => Ok(Status::Deleted),
                // One that needs a reason holds up none of the others.
                Err(problem) if problem.status().is_client_error() => Err(problem.detail().to_owned()),
                Err(problem) => return Err(problem),
            },
            Err(why) => Err(why),
        };
        suppressions.push(outcome(text, done));
    }
    Ok(Reply::ok(json_of(&Listing { suppressions })))
}

async fn dump(call: Call) -> Result<Reply, Problem> {
    let (whose, list_name) = place(&call)?;
    let day = |name: &str| call.query.get(name).map(|text| super::super::suppressions::when(name, text)).transpose();
    let from = day("fromdate")?.unwrap_or(ALWAYS.start);
    let to = day("todate")?.map_or(ALWAYS.end, |to| to.plus(Duration::from_hours(24)));
    let wish = Wish::new(&call, whose, CAUSES, Extent::Any).within(from..to);
    let entries = all(&call, wish, DUMP_MAX).await?;
    let is = |name: &str, word: &str| call.query.get(name).is_none_or(|wanted| wanted.eq_ignore_ascii_case(word));
    let chosen = entries.iter().filter_map(shown).filter(|shown| {
        // What ended the whole of the controller ended this stream too.
        shown.list.is_none_or(|left| Some(left) == list_name.as_ref())
            && is("SuppressionReason", postmark::reason(shown.cause))
            && is("Origin", postmark::origin(shown.said_by))
            && is("EmailAddress", shown.address)
    });
    Ok(Reply::ok(json_of(&Listing { suppressions: chosen.map(|shown| postmark::item(&shown)).collect() })))
}
