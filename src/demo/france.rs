//! The six French stories: who may be written to, on what basis, about what. Told over SMTP like the campaign.

use std::io::Write;

use lettre::message::Message;
use lettre::message::header::ContentType;

use crate::daemon::Gateway;
use crate::exit::{Exit, Failure};
use crate::mail::{ControllerId, Mailbox};
use crate::policy::{Basis, ConsentFact, Function, Purpose, RecipientClass, RefusalBox};
use crate::store::{Declaration, NewEvent};
use crate::time::{Clock, SystemClock, Timestamp};

use super::folder::Folder;
use super::outcome::{Outcome, wait_for};
use super::{show, submit};

/// One story.
struct Story {
    recipient: &'static str,
    stream: &'static str,
    told: &'static str,
    basis: Option<Basis>,
    class: Option<RecipientClass>,
    function: Option<&'static str>,
    sent: Sent,
}

/// How a story ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Yes,
    No,
}

const STORIES: &[Story] = &[
    Story {
        recipient: "marie.durand@gmail.com",
        stream: "security",
        told: "a private person who agreed",
        basis: Some(Basis::OptIn),
        class: None,
        function: None,
        sent: Sent::Yes,
    },
    Story {
        recipient: "luc.petit@orange.fr",
        stream: "security",
        told: "a private person under active opt-out",
        basis: Some(Basis::OptOutActive),
        class: None,
        function: None,
        sent: Sent::No,
    },
    Story {
        recipient: "paul.martin@usine.example",
        stream: "security",
        told: "an IT director under active opt-out, about security",
        basis: Some(Basis::OptOutActive),
        class: Some(RecipientClass::Professional),
        function: Some("it"),
        sent: Sent::Yes,
    },
    Story {
        recipient: "paul.martin@usine.example",
        stream: "cruises",
        told: "the same, about a cruise in the Caribbean",
        basis: None,
        class: None,
        function: None,
        sent: Sent::No,
    },
    Story {
        recipient: "contact@usine.example",
        stream: "security",
        told: "a service of a company under passive opt-out",
        basis: Some(Basis::OptOutPassive),
        class: None,
        function: None,
        sent: Sent::Yes,
    },
    Story {
        recipient: "anne.morel@usine.example",
        stream: "security",
        told: "a named person at work under passive opt-out",
        basis: Some(Basis::OptOutPassive),
        class: Some(RecipientClass::Professional),
        function: None,
        sent: Sent::No,
    },
];

/// Streams and credentials of the stories; the password is the stream's name.
pub(super) const STREAMS: &[(&str, &str)] = &[("security", "it-security"), ("cruises", "cruises")];

/// Records what is known of each recipient, writes to them, and shows what the law made of it.
pub(super) async fn run(
    out: &mut impl Write,
    folder: &Folder,
    gateway: &Gateway,
    captured: bool,
) -> Result<(), Failure> {
    let mut outcomes = Vec::with_capacity(STORIES.len());
    for story in STORIES {
        record(gateway, story).await?;
        let before = std::fs::metadata(folder.events()).map_or(0, |file| file.len());
        submit::send(gateway, Some(story.stream), message(story)?, story.recipient).await?;
        let one = [(story.recipient, story.told)];
        let found = wait_for(folder, before, captured, &one).await?;
        outcomes.extend(found);
    }
    show::stories(out, &outcomes)?;
    let as_the_law_says =
        |(story, outcome): (&Story, &Outcome)| (outcome.verdict == "permit") == (story.sent == Sent::Yes);
    if STORIES.iter().zip(&outcomes).all(as_the_law_says) {
        Ok(())
    } else {
        Err(Failure::new(Exit::Software, "a story did not end as it should have"))
    }
}

async fn record(gateway: &Gateway, story: &Story) -> Result<(), Failure> {
    let software = |error: String| Failure::new(Exit::Software, error);
    let mailbox = Mailbox::parse(story.recipient).map_err(|error| software(error.to_string()))?;
    let now = SystemClock.now();
    if let Some(basis) = story.basis {
        let controller = ControllerId::new("acier").map_err(|error| software(error.to_string()))?;
        let mut fact =
            ConsentFact::new(controller, Purpose::Marketing, basis, Timestamp::from_secs(now.as_secs() - 86_400));
        fact.notice = Some("2026-1".into());
        fact.refusal_box = RefusalBox::Offered;
        fact.evidence = Some("demo".into());
        gateway.store.record(NewEvent::consent(mailbox.clone(), fact, "demo".to_owned(), now)?).await?;
    }
    if story.class.is_some() || story.function.is_some() {
        let functions = story.function.map(|name| Function::new(name).map(|function| vec![function])).transpose();
        let declared =
            Declaration { class: story.class, functions: functions.map_err(software)?, ..Declaration::default() };
        gateway.store.record(NewEvent::contact(mailbox, declared, "demo".to_owned(), now)?).await?;
    }
    Ok(())
}

fn message(story: &Story) -> Result<Message, Failure> {
    let subject = if story.stream == "security" { "Your firewall in 2027" } else { "Two weeks in the Caribbean" };
    submit::message("Acier SA <news@acier.example>", story.recipient, subject)?
        .header(ContentType::TEXT_PLAIN)
        .body("Bonjour,\r\n\r\nAcier SA has news for you.\r\n\r\nUnsubscribe: mailto:stop@acier.example\r\n".to_owned())
        .map_err(|error| Failure::new(Exit::Software, error))
}
