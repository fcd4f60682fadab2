//! `consentry explain`: what would be decided for this recipient now, and why?

use std::io::Write;
use std::sync::Arc;

use serde_json::json;

use crate::mail::{ListName, Mailbox, StreamName};
use crate::pipeline::{Explained, Inquiry};
use crate::policy::Verdict;
use crate::store::Opening;
use crate::time::{Clock, Timestamp};

use crate::exit::{Exit, Failure};

use super::Place;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The stream that the message would come in on.
    #[arg(long)]
    stream: StreamName,
    /// The recipient.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// The list, when it is not the stream's own.
    #[arg(long)]
    list: Option<ListName>,
    /// The instant to decide for (RFC 3339); now when left out.
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Ends with 0 when the answer is yes and with 1 when it is no.
pub(super) fn run(
    asked: &Arguments,
    place: &Place,
    clock: &Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let settings = place.load()?;
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let mailbox = Mailbox::parse(&asked.to).map_err(|error| usage(format!("--to `{}`: {error}", asked.to)))?;
    let now = asked.at.as_deref().map_or_else(|| Ok(clock.now()), |text| Timestamp::parse(text).map_err(usage))?;
    let known = || {
        let mut names: Vec<_> = settings.pipeline.streams.keys().map(StreamName::as_str).collect();
        names.sort_unstable();
        usage(format!("no stream is named `{}`; there are: {}", asked.stream, names.join(", ")))
    };
    let stream = settings.pipeline.streams.get(&asked.stream).ok_or_else(known)?;
    if let Err(list) = stream.choose_list(asked.list.as_ref()) {
        return Err(usage(format!("`{list}` is not a list of stream `{}`", asked.stream)));
    }
    let store = crate::daemon::open_store(&settings, Opening::Quick, &**clock)?;
    let list = asked.list.as_ref().or(stream.rules.list.as_ref());
    let inquiry = Inquiry { store: &store, stream, list, rulebook: &settings.pipeline.rulebook, now };
    let answer = super::small_runtime()?.block_on(inquiry.explain(&mailbox))?;
    if asked.json {
        print_json(&answer, &inquiry, &mailbox, out)?;
    } else {
        print_text(&answer, &inquiry, &mailbox, out)?;
    }
    Ok(match answer.decision.verdict {
        Verdict::Permit(_) => Exit::Done,
        Verdict::Refuse(_) => Exit::No,
    })
}

fn print_text(
    answer: &Explained,
    inquiry: &Inquiry<'_>,
    mailbox: &Mailbox,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Explained { decision, known, .. } = answer;
    let Inquiry { stream, list, now, .. } = *inquiry;
    let facts = &known.suppressions;
    writeln!(out, "{}  {}", decision.verdict.as_str().to_uppercase(), decision.reason)?;
    writeln!(out, "  recipient   {}", mailbox.as_str())?;
    let list = list.map_or_else(String::new, |list| format!(", list {list}"));
    writeln!(
        out,
        "  stream      {} ({} of {}{list})",
        stream.rules.name,
        stream.rules.class.as_str(),
        stream.rules.controller
    )?;
    writeln!(out, "  at          {now}")?;
    writeln!(
        out,
        "  rule        {}@{} (rulebook {})",
        decision.rule,
        decision.rule_version,
        inquiry.rulebook.version()
    )?;
    writeln!(out, "  source      {}", decision.source)?;
    if let Some(evidence) = &decision.evidence {
        writeln!(out, "  evidence    {evidence}")?;
    }
    if facts.is_empty() {
        writeln!(out, "  facts       none")?;
    }
    for fact in facts {
        let counts = if fact.counts_at(now) { "" } else { ", expired" };
        writeln!(
            out,
            "  fact        {} ({}), by {}, since {}{counts}",
            fact.cause, fact.scope, fact.origin, fact.since
        )?;
    }
    if matches!(decision.verdict, Verdict::Refuse(_)) {
        writeln!(
            out,
            "  to change   remove the deciding fact (`consentry suppress remove`), or use a stream that it does not stop"
        )?;
    }
    Ok(())
}

fn print_json(
    answer: &Explained,
    inquiry: &Inquiry<'_>,
    mailbox: &Mailbox,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let Explained { decision, known, .. } = answer;
    let Inquiry { stream, list, now, .. } = *inquiry;
    let facts = &known.suppressions;
    let facts: Vec<_> = facts
        .iter()
        .map(|fact| {
            json!({
                "cause": fact.cause.as_str(), "scope": fact.scope.to_string(), "origin": fact.origin.as_str(), "evidence": fact.evidence,
                "since": fact.since.to_string(), "expires": fact.expires.map(|at| at.to_string()), "counts": fact.counts_at(now),
            })
        })
        .collect();
    let object = json!({
        "recipient": mailbox.as_str(), "stream": stream.rules.name.as_str(), "class": stream.rules.class.as_str(),
        "controller": stream.rules.controller.as_str(), "list": list.map(ListName::as_str), "at": now.to_string(),
        "verdict": decision.verdict.as_str(), "reason": decision.reason.as_str(),
        "rule": format!("{}@{}", decision.rule, decision.rule_version), "rulebook": inquiry.rulebook.version(),
        "source": decision.source, "evidence": decision.evidence, "facts": facts,
    });
    writeln!(out, "{object}")?;
    Ok(())
}
