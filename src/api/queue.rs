//! What is waiting to be delivered, and what operators do about it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::reach::Right;
use super::table::{Dialect, Needs, PROBLEM, Parameter, Route, Verb};
use crate::control::{Answer, Change, Question, WhyNot, answer};
use crate::delivery::Selector;

/// Most copies on one page.
const PAGE_MAX: usize = 1000;

const LIST: &[Parameter] = &[
    Parameter::text("route", "Only copies of streams that take this route."),
    Parameter::text("stream", "Only copies of this stream."),
    Parameter::text("campaign", "Only copies of this campaign."),
    Parameter::text("domain", "Only copies with a recipient at this domain."),
    Parameter::text("after", "The `next` of an earlier page."),
    Parameter::of("limit", "Copies on the page.", r#"{"type":"integer","minimum":1,"maximum":1000}"#),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/queue",
        needs: Needs::Right(Right::QueueRead),
        about: "How much is waiting, and what is suspended, slowed or broken.",
        query: &[],
        body: None,
        answers: &[(200, "Any")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(stats(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/queue/copies",
        needs: Needs::Right(Right::QueueRead),
        about: "What is waiting, oldest first.",
        query: LIST,
        body: None,
        answers: &[(200, "CopyPage")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(list(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/queue/copies/{id}",
        needs: Needs::Right(Right::QueueRead),
        about: "One copy with its header section.",
        query: &[],
        body: None,
        answers: &[(200, "Any"), (404, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(show(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/queue/changes",
        needs: Needs::Right(Right::QueueWrite),
        about: "Retries, holds, releases or drops the copies of one page; goes on behind `next`.",
        query: &[],
        body: Some("Change"),
        answers: &[(200, "Changed"), (404, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(change(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/queue/suspensions",
        needs: Needs::Right(Right::QueueWrite),
        about: "No attempts any more for what is there and what comes.",
        query: &[],
        body: Some("Suspension"),
        answers: &[(200, "Changed")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(suspend(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/queue/resumptions",
        needs: Needs::Right(Right::QueueWrite),
        about: "Lifts every suspension within what is named.",
        query: &[],
        body: Some("Resumption"),
        answers: &[(200, "Changed")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(resume(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/fence",
        needs: Needs::Operator,
        about: "Waits until nobody acts on facts older than this request: whoever changed one may then acknowledge it.",
        query: &[],
        body: Some("Nothing"),
        answers: &[(200, "Changed")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(fence(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/records",
        needs: Needs::Operator,
        about: "Keeps a record of what an operator's command changed, in log and audit trail.",
        query: &[],
        body: Some("Any"),
        answers: &[(200, "Changed")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(record(call)),
    },
];

/// The answer of the operators' room, in words of HTTP.
async fn asked(call: &Call, question: Question) -> Result<Reply, Problem> {
    let value = match answer(question, &call.desk.control).await {
        Answer::Fault { message, why } => {
            return Err(match why {
                WhyNot::Malformed => Problem::malformed(message),
                WhyNot::Absent => Problem::absent(message),
                WhyNot::Failed => Problem::unavailable(message),
            });
        }
        Answer::Stats(figures) => serde_json::to_value(figures),
        Answer::Copy(copy) => serde_json::to_value(copy),
        Answer::List { copies, next } => Ok(json!({ "copies": copies, "next": next })),
        Answer::Done { copies, busy, next } => Ok(json!({ "copies": copies, "busy": busy, "next": next })),
        Answer::SignedUp(outcome) => serde_json::to_value(outcome),
    };
    value.map(Reply::ok).map_err(|error| Problem::unavailable(error.to_string()))
}

async fn stats(call: Call) -> Result<Reply, Problem> {
    asked(&call, Question::Stats).await
}

async fn list(call: Call) -> Result<Reply, Problem> {
    let query = &call.query;
    let domain = query.get("domain").map(crate::mail::Domain::parse).transpose();
    let which = Selector {
        route: query.parsed("route")?,
        stream: query.parsed("stream")?,
        campaign: query.parsed("campaign")?,
        domain: domain.map_err(|error| Problem::malformed(format!("domain: {error}")))?,
        id: None,
    };
    let (limit, after) = (query.limit(PAGE_MAX)?, query.get("after").map(str::to_owned));
    asked(&call, Question::List { which, limit, after }).await
}

async fn show(call: Call) -> Result<Reply, Problem> {
    let id = call.path.get("id").cloned().unwrap_or_default();
    asked(&call, Question::Show { id }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeText {
    change: Change,
    which: Selector,
    #[serde(default)]
    after: Option<String>,
    because: String,
    #[serde(default)]
    by: Option<String>,
}

async fn change(call: Call) -> Result<Reply, Problem> {
    let ChangeText { change, which, after, because, by } = call.json()?;
    let by = call.by(by);
    asked(&call, Question::Change { change, which, after, by, because }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuspensionText {
    which: Selector,
    #[serde(default)]
    seconds: Option<u32>,
    because: String,
    #[serde(default)]
    by: Option<String>,
}

async fn suspend(call: Call) -> Result<Reply, Problem> {
    let SuspensionText { which, seconds, because, by } = call.json()?;
    let by = call.by(by);
    asked(&call, Question::Suspend { which, seconds: seconds.map(u64::from), by, because }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumptionText {
    which: Selector,
    because: String,
    #[serde(default)]
    by: Option<String>,
}

async fn resume(call: Call) -> Result<Reply, Problem> {
    let ResumptionText { which, because, by } = call.json()?;
    let by = call.by(by);
    asked(&call, Question::Resume { which, by, because }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingText {}

async fn fence(call: Call) -> Result<Reply, Problem> {
    let NothingText {} = call.json()?;
    asked(&call, Question::Fence).await
}

/// One line of JSON in the log.
async fn record(call: Call) -> Result<Reply, Problem> {
    let line: Value = call.json()?;
    asked(&call, Question::Record { line: line.to_string() }).await
}
