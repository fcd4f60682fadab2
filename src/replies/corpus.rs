//! Real delivery reports with labels: how often "no such mailbox" is right, and how often it is found.
//!
//! The reports are not part of this project. `CONSENTRY_FEEDBACK_CORPUS` names a folder of them with a `labels.tsv`
//! (columns file, kind, index, status, replycode, reason, hard_bounce); without it the test has nothing to do.

use std::path::Path;

use super::*;
use crate::mail::{Reply, ReplyCode};

/// What is promised of every suppression, in hundredths.
const PRECISION_MIN: f64 = 97.0;
/// Share of the dead mailboxes that are found, in hundredths: most reports do not show at which stage the reply came, and
/// then words alone are not enough.
const RECALL_MIN: f64 = 50.0;

#[derive(Default)]
struct Score {
    seen: usize,
    right: usize,
    wrong: Vec<String>,
    missed: Vec<String>,
}

impl Score {
    fn of(part: usize, whole: usize) -> f64 {
        100.0 * f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole.max(1)).unwrap())
    }
    fn precision(&self) -> f64 {
        Self::of(self.right, self.right + self.wrong.len())
    }
    fn recall(&self) -> f64 {
        Self::of(self.right, self.right + self.missed.len())
    }
}

/// Fields of the `index`-th recipient of a report's machine-readable part.
fn recipient_block(report: &str, index: usize) -> Option<String> {
    let start = report.to_ascii_lowercase().find("message/delivery-status")?;
    let body = report.get(start..)?.split_once("\n\n")?.1;
    let is_recipient = |block: &&str| block.to_ascii_lowercase().contains("final-recipient:");
    let block = body.split("\n\n").filter(is_recipient).nth(index)?;
    Some(block.replace("\n ", " ").replace("\n\t", " "))
}

fn field(block: &str, name: &str) -> Option<String> {
    let is_it = |line: &&str| line.to_ascii_lowercase().starts_with(name);
    block.lines().find(is_it).map(|line| line[name.len()..].trim().to_owned())
}

/// The reply that a report quotes, and the stage that its words speak of.
fn of_report(report: &str, index: usize) -> Option<(Stage, Reply)> {
    let block = recipient_block(report, index)?;
    let diagnostic = field(&block, "diagnostic-code:")?;
    let text = diagnostic.split_once(';').map_or(diagnostic.as_str(), |(_, text)| text).trim();
    let reply = if let Some(reply) = super::quoted(text) {
        reply
    } else {
        let status = field(&block, "status:")?;
        Reply::received(ReplyCode::new(if status.starts_with('5') { 550 } else { 450 })?, text)
    };
    Some((stage_of(&report.to_ascii_lowercase()), reply))
}

/// What the transcript in the human part shows. Where commands were sent together the answers stand below DATA too, and
/// then a 503 or 554 that misses a recipient follows. Nothing shown is read as the dot, where words alone prove nothing.
fn stage_of(report: &str) -> Stage {
    let transcript = report.split_once(">>> data\n").map(|(_, after)| after.split("\n--").next().unwrap_or_default());
    let answers = transcript.map(|after| after.lines().filter(|line| line.starts_with("<<<")).count());
    match answers {
        Some(1) => Stage::Data,
        Some(_) => Stage::Rcpt,
        None if report.contains(">>> rcpt to:") || report.contains("in reply to rcpt to command") => Stage::Rcpt,
        None if report.contains("in reply to data command") => Stage::Data,
        None => Stage::Dot,
    }
}

/// Written by the recipient's own filter (RFC 5429), whose label tells the filter's words and not the reply's.
fn is_user_rule(report: &str) -> bool {
    report.contains("was automatically rejected:")
}

#[test]
fn a_suppression_is_right_and_dead_mailboxes_are_found() {
    let Some(folder) = std::env::var_os("CONSENTRY_FEEDBACK_CORPUS") else { return };
    let folder = Path::new(&folder);
    let book = embedded().unwrap();
    let mut halves = [Score::default(), Score::default()];
    let labels = std::fs::read_to_string(folder.join("labels.tsv")).unwrap();
    for (row, line) in labels.lines().skip(1).enumerate() {
        let [file, kind, index, _, _, reason, hard] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        if kind != "dsn" || hard.is_empty() {
            continue;
        }
        let report = String::from_utf8_lossy(&std::fs::read(folder.join(file)).unwrap()).replace("\r\n", "\n");
        let Some((stage, reply)) = of_report(&report, index.parse::<usize>().unwrap_or(1) - 1) else { continue };
        let meaning = book.classify(stage, Whom::One, &reply);
        let found = meaning.follows == Follows::Suppress;
        // A dead domain that was called a dead mailbox is no mistake, and not to find it is none either.
        let is_dead = hard == "true" && matches!(reason, "userunknown" | "hasmoved");
        if is_user_rule(&report) || (hard == "true" && !is_dead) {
            continue;
        }
        let score = &mut halves[row % 2];
        let shown = format!("{file} {reason}: {stage} {reply} -> {} by {}", meaning.class, meaning.by.id());
        score.seen += 1;
        match (found, is_dead) {
            (true, true) => score.right += 1,
            (true, false) => score.wrong.push(shown),
            (false, true) => score.missed.push(shown),
            (false, false) => {}
        }
    }
    for (name, score) in ["even rows", "odd rows (held out)"].iter().zip(&halves) {
        println!("{name}: {} replies, precision {:.1}, recall {:.1}", score.seen, score.precision(), score.recall());
        let show = std::env::var_os("CONSENTRY_FEEDBACK_SHOW").is_some() && name.starts_with("even");
        score.wrong.iter().chain(&score.missed).filter(|_| show).for_each(|line| println!("  {line}"));
    }
    for score in &halves {
        assert!(score.seen > 0 && score.precision() >= PRECISION_MIN && score.recall() >= RECALL_MIN);
    }
}
