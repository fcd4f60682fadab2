//! `consentry classify`: what a refusal means, which entry says so, and what follows.

use std::io::Write;

use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::replies::{Book, DecidedBy, Meaning, Stage, Whom, quoted};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The reply, as a log or a report quotes it: `550 5.1.1 no such user`.
    #[arg(value_name = "REPLY")]
    reply: String,
    /// When it came: connect, ehlo, mail, rcpt, data or dot.
    #[arg(long, default_value = "rcpt")]
    stage: Stage,
    /// The message had several recipients; it matters at the final dot, which speaks of all of them.
    #[arg(long)]
    several: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, book: &Book, out: &mut dyn Write) -> Result<Exit, Failure> {
    let expected = "expected a reply such as `550 5.1.1 no such user`";
    let reply = quoted(&arguments.reply)
        .ok_or_else(|| Failure::new(Exit::Data, format!("`{}` is no reply; {expected}", arguments.reply)))?;
    if !reply.code().is_transient() && !reply.code().is_permanent() {
        return Err(Failure::new(Exit::Data, format!("`{}` is no refusal; {expected}", arguments.reply)));
    }
    let whom = if arguments.several { Whom::Several } else { Whom::One };
    let meaning = book.classify(arguments.stage, whom, &reply);
    if arguments.json {
        writeln!(out, "{}", as_json(&meaning, arguments.stage, book))?;
        return Ok(Exit::Done);
    }
    let title = book.rule(meaning.class).map_or("", |rule| rule.title);
    writeln!(out, "class     {} ({title})", meaning.class)?;
    writeln!(out, "follows   {}", follows(&meaning))?;
    if let Some(schedule) = meaning.schedule {
        let (first, longest) = (schedule.first.as_secs(), schedule.longest.as_secs());
        writeln!(out, "schedule  again after {first} s, then doubling to {longest} s")?;
    }
    writeln!(out, "decided   {}", why(&meaning))?;
    Ok(Exit::Done)
}

/// What follows, and why it is not what the class says where it is not.
fn follows(meaning: &Meaning<'_>) -> String {
    if meaning.follows == meaning.class_follows {
        return meaning.follows.to_string();
    }
    format!("{} (the class says {}; code, status or stage do not allow it)", meaning.follows, meaning.class_follows)
}

fn why(meaning: &Meaning<'_>) -> String {
    match meaning.by {
        DecidedBy::Code(why) => format!("built-in: {why}"),
        DecidedBy::CodeAlone => {
            "reply-code: no entry fits, so the first digit decides (RFC 5321 section 4.2.1)".to_owned()
        }
        DecidedBy::Entry(entry) => {
            let whose = entry.provider.map_or_else(String::new, |provider| format!("{provider}: "));
            let changed = entry.overridden.map_or_else(String::new, |why| format!("; overridden: {why}"));
            format!("{}: {whose}{}{changed}", entry.id, entry.source)
        }
    }
}

fn as_json(meaning: &Meaning<'_>, stage: Stage, book: &Book) -> serde_json::Value {
    json!({
        "class": meaning.class.as_str(),
        "stage": stage.as_str(),
        "follows": meaning.follows.as_str(),
        "class_follows": meaning.class_follows.as_str(),
        "classified_by": meaning.by.id(),
        "why": why(meaning),
        "retry_first_s": meaning.schedule.map(|schedule| schedule.first.as_secs()),
        "retry_longest_s": meaning.schedule.map(|schedule| schedule.longest.as_secs()),
        "edition": book.version(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::embedded;

    fn said(reply: &str, stage: Stage, json: bool) -> String {
        let arguments = Arguments { reply: reply.to_owned(), stage, several: false, json };
        let mut out = Vec::new();
        run(&arguments, &embedded().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn class_entry_reason_and_consequence_are_told() {
        let text = said("550 5.1.1 no such user", Stage::Rcpt, false);
        for wanted in ["mailbox_dead", "follows   suppress", "DEAD-STATUS: RFC 3463"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        let held_back = said("550 5.1.1 no such user", Stage::Data, false);
        assert!(held_back.contains("fail (the class says suppress;"), "{held_back}");
        let json: serde_json::Value = serde_json::from_str(&said("535 5.7.8 no", Stage::Hello, true)).unwrap();
        assert_eq!(
            (&json["class"], &json["follows"], &json["classified_by"]),
            (&"auth".into(), &"circuit".into(), &"built-in".into())
        );
    }

    #[test]
    fn what_is_no_refusal_is_refused() {
        for text in ["", "hello", "250 ok", "55"] {
            let arguments = Arguments { reply: text.to_owned(), stage: Stage::Rcpt, several: false, json: false };
            assert_eq!(
                run(&arguments, &embedded().unwrap(), &mut Vec::new()).unwrap_err().exit(),
                Exit::Data,
                "{text}"
            );
        }
    }
}
