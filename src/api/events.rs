//! What happened, in order.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::reach::Right;
use super::table::{Dialect, Needs, PROBLEM, Parameter, Route, Verb};
use crate::events::{EventsError, Filter, PAGE_MAX, Position, WAIT_MAX};

const PAGE: &[Parameter] = &[
    Parameter::text("after", "The `next` of an earlier answer; from the oldest that is kept when not given."),
    Parameter::of("limit", "Events on the page.", r#"{"type":"integer","minimum":1,"maximum":1000}"#),
    Parameter::of(
        "wait",
        "Seconds to wait for an event when there is none.",
        r#"{"type":"integer","minimum":0,"maximum":50}"#,
    ),
    Parameter::text("type", "Only events of these types, with commas between them."),
    Parameter::text("stream", "Only events of this stream."),
    Parameter::text("list", "Only events of this list."),
];

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/v1/events",
    needs: Needs::Right(Right::Events),
    about: "Everything that was decided or changed at this gateway, behind a position, as the audit trail keeps it.",
    query: PAGE,
    body: None,
    answers: &[(200, "EventPage"), (410, PROBLEM)],
    dialect: Dialect::Ours,
    handler: |call| Box::pin(page(call)),
}];

async fn page(call: Call) -> Result<Reply, Problem> {
    let query = &call.query;
    let after = query.parsed::<Position>("after")?.unwrap_or(Position::START);
    let limit = query.limit(PAGE_MAX)?;
    let patience = query.seconds("wait", WAIT_MAX)?;
    let types = query.get("type").unwrap_or_default();
    let filter = Filter {
        types: types.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        stream: query.parsed("stream")?,
        list: query.parsed("list")?,
        controller: call.caller.reach().controller().cloned(),
    };
    let mut stops = call.desk.stops.clone();
    let waited = tokio::select! {
        page = call.desk.events.wait(after, limit, &filter, patience) => page,
        _stopped = stops.wait_for(|stop| *stop) => {
            return Err(Problem::unavailable("the gateway is stopping".to_owned()));
        }
    };
    let page = waited.map_err(|error| match error {
        EventsError::Gone { .. } => Problem::gone(format!("{error}; go on without `after`")),
        EventsError::Io(error) => {
            tracing::error!(%error, "the audit trail cannot be read");
            Problem::unavailable("the audit trail cannot be read now".to_owned())
        }
    })?;
    let events: Vec<Value> = page.events.iter().filter_map(|event| serde_json::from_slice(&event.line).ok()).collect();
    Ok(Reply::ok(json!({ "events": events, "next": page.next.to_string(), "more": page.more })))
}
