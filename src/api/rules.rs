//! What the gateway goes by: rules, streams and their lists; and how it is.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::reach::Right;
use super::table::{Dialect, Needs, Route, Verb};
use crate::mail::ListName;
use crate::pipeline::Stream;
use crate::policy::{Law, Rule};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/v1/rules",
        needs: Needs::Right(Right::Decisions),
        about: "The rules in force, with their versions and sources.",
        query: &[],
        body: None,
        answers: &[(200, "Rules")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(async move { Ok(rules(&call)) }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/lists",
        needs: Needs::Right(Right::Decisions),
        about: "The streams of the caller, with the lists and topics that they can be for.",
        query: &[],
        body: None,
        answers: &[(200, "Lists")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(async move { Ok(lists(&call)) }),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/status",
        needs: Needs::Right(Right::QueueRead),
        about: "Whether the facts can be had, and how much mail is waiting.",
        query: &[],
        body: None,
        answers: &[(200, "Status")],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(status(call)),
    },
];

fn rules(call: &Call) -> Reply {
    let settings = call.desk.settings.load();
    let book = &settings.rulebook;
    let packs: Vec<_> = book
        .packs()
        .iter()
        .map(|pack| {
            json!({
                "name": pack.name, "title": pack.title, "version": pack.version,
                "reviewed_by": pack.review.map(|review| review.by), "reviewed_on": pack.review.map(|review| review.on),
                "rules": pack.rules.iter().map(|law| rule(&law.rule)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let own: Vec<_> = book.rules().iter().map(rule).collect();
    Reply::ok(json!({ "version": book.version(), "rules": own, "packs": packs }))
}

fn rule(rule: &Rule) -> Value {
    json!({
        "rule": format!("{}@{}", rule.id, rule.version), "title": rule.title, "source": rule.source,
        "reason": rule.reason.as_str(),
    })
}

fn lists(call: &Call) -> Reply {
    let settings = call.desk.settings.load();
    let own = |stream: &&Stream| call.caller.reach().holds(&stream.rules.controller);
    let mut streams: Vec<_> = settings.streams.values().map(|stream| &**stream).filter(own).collect();
    streams.sort_by(|a, b| a.rules.name.cmp(&b.rules.name));
    let shown: Vec<_> = streams.into_iter().map(stream).collect();
    Reply::ok(json!({ "streams": shown }))
}

fn stream(stream: &Stream) -> Value {
    let topics = match &stream.rules.law {
        Law::Applied(law) => law.topics.as_slice(),
        Law::NotApplied => &[],
    };
    let lists = stream.rules.list.iter().chain(&stream.also_lists).map(ListName::as_str);
    json!({
        "stream": stream.rules.name.as_str(), "controller": stream.rules.controller.as_str(), "brand": stream.brand,
        "class": stream.rules.class.as_str(), "lists": lists.collect::<Vec<_>>(),
        "topics": topics.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

async fn status(call: Call) -> Result<Reply, Problem> {
    let store = call.desk.store.probe().await;
    let queue = call.desk.control.spool.stats();
    Ok(Reply::ok(json!({
        "version": env!("CARGO_PKG_VERSION"), "now": call.desk.control.clock.now().rfc3339(),
        "store": { "answers": store.is_ok(), "why_not": store.err().map(|error| error.to_string()) },
        "queue": {
            "copies": queue.copies, "recipients": queue.recipients, "deferred": queue.deferred, "held": queue.held,
            "leased": queue.leased, "damaged": queue.damaged, "oldest": queue.oldest.map(|at| at.to_string()),
        },
        "audit_records_lost": queue.notes_lost,
    })))
}
