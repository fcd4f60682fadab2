//! What became of each recipient, read from the event log like anybody else would.

use std::time::Duration;

use serde_json::Value;

use crate::exit::Failure;

use super::folder::Folder;

/// How long outcomes are waited for.
const WITHIN: Duration = Duration::from_secs(20);
/// How often the event log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is known of one recipient at the end.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) recipient: &'static str,
    pub(super) known: &'static str,
    pub(super) verdict: String,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) ended: String,
}

/// Waits until each of `recipients` (with what was known of them) has an outcome behind offset `from` of the log: a
/// verdict and, where messages are captured, a delivery.
pub(super) async fn wait_for(
    folder: &Folder,
    from: u64,
    captured: bool,
    recipients: &[(&'static str, &'static str)],
) -> Result<Vec<Outcome>, Failure> {
    let wait = async {
        loop {
            let outcomes = read(folder, from, recipients)?;
            if outcomes.iter().all(|outcome| outcome.has_ended(captured)) {
                return Ok(outcomes);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(WITHIN, wait).await {
        Ok(outcomes) => outcomes,
        Err(_elapsed) => read(folder, from, recipients),
    }
}

impl Outcome {
    fn has_ended(&self, captured: bool) -> bool {
        self.verdict == "refuse" || !self.ended.is_empty() || (!captured && !self.verdict.is_empty())
    }

    fn take_in(&mut self, line: &Value) {
        match word(line, "type").as_str() {
            "Delivery" => "delivered".clone_into(&mut self.ended),
            "Bounce" => "bounced".clone_into(&mut self.ended),
            "TransientFailure" => {}
            _ => {
                self.verdict = word(line, "verdict");
                self.reason = word(line, "reason");
                self.rule = word(line, "rule");
            }
        }
    }
}

fn read(folder: &Folder, from: u64, recipients: &[(&'static str, &'static str)]) -> Result<Vec<Outcome>, Failure> {
    let text = std::fs::read_to_string(folder.events())?;
    let fresh = text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let lines: Vec<Value> = fresh.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let outcome = |(recipient, known): &(&'static str, &'static str)| {
        let mut outcome = Outcome { recipient, known, ..Outcome::default() };
        for line in lines.iter().filter(|line| word(line, "recipient") == *recipient) {
            outcome.take_in(line);
        }
        outcome
    };
    Ok(recipients.iter().map(outcome).collect())
}

fn word(line: &Value, key: &str) -> String {
    line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
