//! What would be decided, and why.

use serde::Deserialize;
use serde_json::{Value, json};

use super::body::ITEMS_MAX;
use super::call::{Call, Reply};
use super::explanation::{self, Shown};
use super::problem::Problem;
use super::reach::Right;
use super::suppressions::when;
use super::table::{Dialect, Needs, PROBLEM, Route, Verb};
use crate::mail::{AddressError, ListName, Mailbox, StreamName};
use crate::pipeline::{Inquiry, Settings};
use crate::policy::Decision;
use crate::time::Timestamp;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/check",
        needs: Needs::Right(Right::Decisions),
        about: "What would be decided for each of up to 1000 recipients, before any message.",
        query: &[],
        body: Some("Check"),
        answers: &[(200, "Checked"), (404, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(check(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/explain",
        needs: Needs::Right(Right::Decisions),
        about: "What would be decided for one recipient, with every rule and fact that was considered.",
        query: &[],
        body: Some("Explain"),
        answers: &[(200, "Explained"), (404, PROBLEM)],
        dialect: Dialect::Ours,
        handler: |call| Box::pin(explain(call)),
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckText {
    stream: String,
    #[serde(default)]
    list: Option<String>,
    #[serde(default)]
    at: Option<String>,
    recipients: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainText {
    stream: String,
    #[serde(default)]
    list: Option<String>,
    #[serde(default)]
    at: Option<String>,
    recipient: String,
}

/// On which list of which stream, when.
struct About {
    stream: StreamName,
    list: Option<ListName>,
    at: Timestamp,
}

impl About {
    fn read(stream: &str, list: Option<&str>, at: Option<&str>, call: &Call) -> Result<Self, Problem> {
        let stream = StreamName::new(stream).map_err(|error| Problem::malformed(format!("stream: {error}")))?;
        let list = list.map(ListName::new).transpose().map_err(|error| Problem::malformed(format!("list: {error}")))?;
        let at = at.map(|text| when("at", text)).transpose()?;
        Ok(Self { stream, list, at: at.unwrap_or_else(|| call.desk.control.clock.now()) })
    }

    /// A stream of somebody else is as if there were none.
    fn inquiry<'a>(&'a self, settings: &'a Settings, call: &'a Call) -> Result<Inquiry<'a>, Problem> {
        let known = settings.streams.get(&self.stream);
        let known = known.filter(|stream| call.caller.reach().holds(&stream.rules.controller));
        let stream = known.ok_or_else(|| Problem::absent(format!("no stream is named `{}`", self.stream)))?;
        let foreign =
            |list: &ListName| Problem::malformed(format!("`{list}` is not a list of stream `{}`", self.stream));
        let list = stream.choose_list(self.list.as_ref()).map_err(foreign)?;
        Ok(Inquiry { store: &call.desk.store, stream, list, rulebook: &settings.rulebook, now: self.at })
    }
}

async fn check(call: Call) -> Result<Reply, Problem> {
    let asked = call.json::<CheckText>()?;
    if asked.recipients.len() > ITEMS_MAX {
        let found = asked.recipients.len();
        return Err(Problem::malformed(format!("recipients: expected at most {ITEMS_MAX}, found {found}")));
    }
    let about = About::read(&asked.stream, asked.list.as_deref(), asked.at.as_deref(), &call)?;
    let settings = call.desk.settings.load_full();
    let inquiry = about.inquiry(&settings, &call)?;
    let read: Vec<_> = asked.recipients.iter().map(|text| Mailbox::parse(text)).collect();
    let fit: Vec<_> = read.iter().filter_map(|mailbox| mailbox.as_ref().ok()).collect();
    let mut decisions = inquiry.decide(&fit).await?.into_iter();
    let mut one = |text: &String, read: &Result<Mailbox, AddressError>| match read {
        // As many decisions as there are recipients that could be read, in their order.
        Ok(_) => decisions.next().map_or(Value::Null, |decision| decided(text, &decision)),
        Err(error) => json!({ "recipient": text, "detail": error.to_string() }),
    };
    let each: Vec<_> = asked.recipients.iter().zip(&read).map(|(text, read)| one(text, read)).collect();
    Ok(Reply::ok(json!({ "recipients": each })))
}

fn decided(recipient: &str, decision: &Decision) -> Value {
    json!({
        "recipient": recipient, "verdict": decision.verdict.as_str(), "reason": decision.reason.as_str(),
        "rule": format!("{}@{}", decision.rule, decision.rule_version), "source": decision.source,
    })
}

async fn explain(call: Call) -> Result<Reply, Problem> {
    let asked = call.json::<ExplainText>()?;
    let mailbox =
        Mailbox::parse(&asked.recipient).map_err(|error| Problem::malformed(format!("recipient: {error}")))?;
    let about = About::read(&asked.stream, asked.list.as_deref(), asked.at.as_deref(), &call)?;
    let settings = call.desk.settings.load_full();
    let inquiry = about.inquiry(&settings, &call)?;
    let mut answer = inquiry.explain(&mailbox).await?;
    // What others told or were told is no business of a controller's, beyond what it does to this decision.
    let reach = call.caller.reach();
    if reach.controller().is_some() {
        answer.known.suppressions.retain(|fact| match &fact.scope {
            crate::policy::Scope::Everything => true,
            crate::policy::Scope::Controller(of) | crate::policy::Scope::List(of, _) => reach.holds(of),
        });
    }
    Ok(Reply::ok(explanation::json(&Shown::of(&inquiry, &mailbox, &answer))))
}
