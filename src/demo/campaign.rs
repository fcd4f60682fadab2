//! A small campaign: facts first, then one message for each recipient over real SMTP, then what became of them.

use std::io::Write;
use std::time::Duration;

use lettre::message::Message;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::daemon::Gateway;
use crate::exit::{Exit, Failure};
use crate::mail::Mailbox;
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{NewSuppression, Subject};
use crate::time::{Clock, SystemClock};

use super::folder::Folder;
use super::show;

/// What is known of somebody: the address (or `@domain`) as it was entered, why, and how far it reaches.
type Fact = (&'static str, Cause, &'static str);

/// Recipients of the campaign, what is known of them in words, and the fact behind it.
const RECIPIENTS: &[(&str, &str, Option<Fact>)] = &[
    ("ann@customer.example", "nothing is known against it", None),
    (
        "Bob.Martin@customer.example",
        "left the list; spelled otherwise then",
        Some(("bob.martin+shop@customer.example", Cause::Unsubscribe, "list:demo/weekly")),
    ),
    (
        "carol@customer.example",
        "reported an earlier mailing as spam",
        Some(("carol@customer.example", Cause::Complaint, "controller:demo")),
    ),
    (
        "dave@customer.example",
        "the mailbox does not exist any more",
        Some(("dave@customer.example", Cause::HardBounce, "everything")),
    ),
    ("erin@customer.example", "asked for erasure", Some(("erin@customer.example", Cause::Erased, "everything"))),
    (
        "frank@never.example",
        "the whole company objected",
        Some(("@never.example", Cause::LegalObjection, "controller:demo")),
    ),
    (
        "grace@customer.example",
        "left another list, not this one",
        Some(("grace@customer.example", Cause::Unsubscribe, "list:demo/monthly")),
    ),
];

/// How long outcomes are waited for.
const OUTCOMES_WITHIN: Duration = Duration::from_secs(20);
/// How often the event log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

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

pub(super) async fn run(
    out: &mut impl Write,
    folder: &Folder,
    gateway: &Gateway,
    captured: bool,
) -> Result<Exit, Failure> {
    for (_, _, fact) in RECIPIENTS {
        if let Some(fact) = fact {
            gateway.store.add(suppression(*fact)?).await?;
        }
    }
    let before = std::fs::metadata(folder.events()).map_or(0, |file| file.len());
    submit(gateway).await?;
    let outcomes = outcomes(folder, before, captured).await?;
    show::outcomes(out, &outcomes)?;
    if captured {
        show::delivered(out, folder)?;
    }
    let as_promised = RECIPIENTS.iter().zip(&outcomes).all(|((_, _, fact), outcome)| {
        let sent = fact.is_none_or(|(_, _, scope)| scope == "list:demo/monthly");
        (outcome.verdict == "permit") == sent && (!captured || (outcome.ended == "delivered") == sent)
    });
    if as_promised {
        Ok(Exit::Done)
    } else {
        Err(Failure::new(Exit::Software, "the campaign did not end as it should have"))
    }
}

fn suppression((target, cause, scope): Fact) -> Result<NewSuppression, Failure> {
    let software = |error: String| Failure::new(Exit::Software, error);
    let now = SystemClock.now();
    let fact = Suppression {
        scope: scope.parse::<Scope>().map_err(software)?,
        cause,
        origin: Origin::Operator,
        evidence: Some("demo".to_owned()),
        since: now,
        expires: None,
    };
    Ok(NewSuppression::new(Subject::parse(target).map_err(software)?, fact, now)?)
}

async fn submit(gateway: &Gateway) -> Result<(), Failure> {
    let address = gateway.submission.first().ok_or_else(|| Failure::new(Exit::Software, "nobody listens"))?;
    let software = |error: &dyn std::fmt::Display| Failure::new(Exit::Software, error);
    for (recipient, _, _) in RECIPIENTS {
        // A recipient that is refused ends lettre's connection: one transport for each keeps them apart.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .build();
        let message = Message::builder()
            .from("News <news@shop.example>".parse().map_err(|error: lettre::address::AddressError| software(&error))?)
            .to(recipient.parse().map_err(|error: lettre::address::AddressError| software(&error))?)
            .subject("What is new this week")
            .header(ContentType::TEXT_PLAIN)
            .body("Hello,\r\n\r\nthree new things this week.\r\n".to_owned())
            .map_err(|error| software(&error))?;
        match transport.send(message).await {
            Ok(_) => {}
            // A refusal is an outcome, and the event log says which.
            Err(error) if error.is_permanent() => {}
            Err(error) => return Err(Failure::new(Exit::Temporary, format!("{recipient}: {error}"))),
        }
    }
    Ok(())
}

async fn outcomes(folder: &Folder, from: u64, delivered: bool) -> Result<Vec<Outcome>, Failure> {
    let wait = async {
        loop {
            let outcomes = read(folder, from)?;
            let ended = |outcome: &Outcome| {
                outcome.verdict == "refuse" || !outcome.ended.is_empty() || (!delivered && !outcome.verdict.is_empty())
            };
            if outcomes.iter().all(ended) {
                return Ok(outcomes);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(OUTCOMES_WITHIN, wait).await {
        Ok(outcomes) => outcomes,
        Err(_elapsed) => read(folder, from),
    }
}

fn read(folder: &Folder, from: u64) -> Result<Vec<Outcome>, Failure> {
    let text = std::fs::read_to_string(folder.events())?;
    let fresh = text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    let lines: Vec<serde_json::Value> = fresh.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let word = |line: &serde_json::Value, key: &str| {
        line.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let outcome = |(recipient, known, _): &(&'static str, &'static str, _)| {
        let mut outcome = Outcome { recipient, known, ..Outcome::default() };
        for line in lines.iter().filter(|line| word(line, "recipient") == *recipient) {
            match word(line, "type").as_str() {
                "Delivery" => "delivered".clone_into(&mut outcome.ended),
                "Bounce" => "bounced".clone_into(&mut outcome.ended),
                "TransientFailure" => {}
                _ => {
                    outcome.verdict = word(line, "verdict");
                    outcome.reason = word(line, "reason");
                    outcome.rule = word(line, "rule");
                }
            }
        }
        outcome
    };
    debug_assert!(RECIPIENTS.iter().all(|(recipient, _, _)| Mailbox::parse(recipient).is_ok()));
    Ok(RECIPIENTS.iter().map(outcome).collect())
}
