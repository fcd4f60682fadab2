//! A small campaign: facts first, then one message for each recipient over real SMTP, then what became of them.

use std::io::Write;

use lettre::message::header::ContentType;

use crate::daemon::Gateway;
use crate::exit::{Exit, Failure};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{NewSuppression, Subject};
use crate::time::{Clock, SystemClock};

use super::folder::Folder;
use super::outcome::wait_for;
use super::{show, submit};

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

pub(super) async fn run(
    out: &mut impl Write,
    folder: &Folder,
    gateway: &Gateway,
    captured: bool,
) -> Result<(), Failure> {
    for (_, _, fact) in RECIPIENTS {
        if let Some(fact) = fact {
            gateway.store.add(suppression(*fact)?).await?;
        }
    }
    let before = std::fs::metadata(folder.events()).map_or(0, |file| file.len());
    send_all(gateway).await?;
    let known: Vec<_> = RECIPIENTS.iter().map(|(recipient, known, _)| (*recipient, *known)).collect();
    let outcomes = wait_for(folder, before, captured, &known).await?;
    show::outcomes(out, &outcomes)?;
    let as_promised = RECIPIENTS.iter().zip(&outcomes).all(|((_, _, fact), outcome)| {
        let sent = fact.is_none_or(|(_, _, scope)| scope == "list:demo/monthly");
        (outcome.verdict == "permit") == sent && (!captured || (outcome.ended == "delivered") == sent)
    });
    if as_promised { Ok(()) } else { Err(Failure::new(Exit::Software, "the campaign did not end as it should have")) }
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

async fn send_all(gateway: &Gateway) -> Result<(), Failure> {
    for (recipient, _, _) in RECIPIENTS {
        let message = submit::message("News <news@shop.example>", recipient, "What is new this week")?
            .header(ContentType::TEXT_PLAIN)
            .body("Hello,\r\n\r\nthree new things this week.\r\n".to_owned())
            .map_err(|error| Failure::new(Exit::Software, error))?;
        submit::send(gateway, None, message, recipient).await?;
    }
    Ok(())
}
