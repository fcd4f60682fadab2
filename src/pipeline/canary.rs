//! A message to ourselves through each route, to see what becomes on the way of what people need in order to leave.
//!
//! It is decided on, rewritten and signed like any other, on a stream that no operator can have. What it must look like when
//! it comes back follows from its token alone, so nothing has to be remembered for the comparison (ADR 0023).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::delivery::CANARY_STREAM;
use crate::mail::{ControllerId, Label, Mailbox, QueueId, Recipient, RouteName, StreamName};
use crate::message::{
    BodyFate, BodyHash, CopyBody, ExistingUnsubscribe, HeaderSection, HttpsUri, Links, MailtoUri, MessageId, Plan,
    Signed, rewrite, sign,
};
use crate::policy::{Case, FromDomains, Law, MessageClass, StreamRules, Verdict, decide};
use crate::spool::{Batch, Body, Manifest};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;
use crate::token::canary::{self, Run};
use crate::token::{self, Subject};

use super::settings::{Settings, Stream};
use super::{Pipeline, notice};

/// Runs that are waited for: one an hour through each of forty routes for a day.
const PENDING_MAX: usize = 1000;
/// Words of a subject that are looked at as tokens.
const WORDS_MAX: usize = 8;

/// What a canary looks like and when it is missed.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Whom it is sent to: a mailbox of ours, or one elsewhere that sends everything on to [`Canary::returns_to`].
    pub address: Mailbox,
    /// Where it comes back to, at the inbound listener.
    pub returns_to: Mailbox,
    /// Its author.
    pub from: Mailbox,
    /// The stream whose keys sign it.
    pub stream: Arc<Stream>,
    /// The ways out.
    pub routes: Vec<RouteName>,
    /// How often one leaves by each.
    pub every: Duration,
    /// After how long it is missed.
    pub lost_after: Duration,
}

/// Canaries of the last while, until they would be missed.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<BTreeMap<QueueId, (Run, Stage)>>);

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has left.
    Left,
    /// It has come back: there is one verdict on each, however often somebody sends it again.
    Told,
}

impl Pending {
    fn add(&self, run: Run, stage: Stage) -> Option<Stage> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pending.insert(run.message, (run, stage)).map(|(_, stage)| stage);
        while pending.len() > PENDING_MAX {
            pending.pop_first();
        }
        before
    }

    /// Forgets what left before then, and gives those of them that have not come back.
    fn overdue(&self, before: Timestamp) -> Vec<Run> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (late, recent) = std::mem::take(&mut *pending).into_iter().partition(|(_, (run, _))| run.at < before);
        *pending = recent;
        let late: BTreeMap<_, _> = late;
        late.into_values().filter(|(_, stage)| *stage == Stage::Left).map(|(run, _)| run).collect()
    }
}

impl Pipeline {
    /// How often they are to leave; never, when there are none.
    pub fn canary_every(&self) -> Option<Duration> {
        self.settings.load().canary.as_ref().map(|canary| canary.every)
    }

    /// Sends one through each route.
    pub async fn send_canaries(&self) {
        let settings = self.settings.load_full();
        let Some(canary) = &settings.canary else { return };
        for route in &canary.routes {
            let now = self.clock.now();
            let run = Run { message: self.ids.queue_id(now), at: now, route: route.clone() };
            let batch =
                self.canary(&settings, canary, &run).and_then(|(signed, body)| batch(&settings, &run, signed, body));
            let committed = match batch {
                Ok(batch) => self.spool.commit(batch).await.map(drop).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            match committed {
                Ok(()) => drop(self.pending.add(run, Stage::Left)),
                Err(error) => tracing::error!(%error, %route, "a canary could not be sent"),
            }
        }
    }

    /// Says of those that have not come back in time.
    pub fn miss_canaries(&self) {
        let Some(canary) = self.settings.load().canary.clone() else { return };
        let now = self.clock.now();
        let before = Timestamp::from_millis(
            now.as_millis().saturating_sub(i64::try_from(canary.lost_after.as_millis()).unwrap_or(i64::MAX)),
        );
        for run in self.pending.overdue(before) {
            let minutes = canary.lost_after.as_secs().div_ceil(60);
            self.tell(&run, "LOST", &format!("it has not come back within {minutes} minutes"), now);
        }
    }

    /// A message came to the canaries' mailbox: its header section, and the digest of its body. What has no token of ours is
    /// nobody's canary, and changes nothing.
    pub fn canary_returned(&self, header: &[u8], body: BodyHash) {
        let settings = self.settings.load_full();
        let Some(canary) = &settings.canary else { return };
        let Ok(returned) = HeaderSection::parse(Bytes::copy_from_slice(header)) else { return };
        let Some(run) = self.run_of(&returned) else {
            tracing::debug!("a message to the canaries' mailbox has no token of ours");
            return;
        };
        let now = self.clock.now();
        if now.since(run.at) > canary.lost_after {
            // Missed already, or somebody sends an old one again: it says nothing of today.
            tracing::debug!(route = %run.route, "a canary came back too late to count");
            return;
        }
        let differences = match self.canary(&settings, canary, &run) {
            Ok((signed, sent)) => differences(signed.head(), BodyHash::of(&sent), &returned, body),
            Err(error) => return tracing::error!(%error, "a canary cannot be compared"),
        };
        // Unknown is one that left before a restart.
        if self.pending.add(run.clone(), Stage::Told) == Some(Stage::Told) {
            tracing::debug!(route = %run.route, "a canary came back once more");
            return;
        }
        let took = now.since(run.at).as_millis();
        match differences.as_slice() {
            [] => self.tell(&run, "OK", &format!("came back after {took} ms as it was sent"), now),
            _ => self.tell(&run, "BROKEN", &differences.join("; "), now),
        }
    }

    fn run_of(&self, returned: &HeaderSection) -> Option<Run> {
        let subject = returned.fields("Subject").next()?.unfolded();
        let subject = String::from_utf8_lossy(&subject).into_owned();
        let words = subject.split_ascii_whitespace().rev().take(WORDS_MAX);
        words.into_iter().find_map(|word| canary::redeem(&self.keyring, word).ok())
    }

    fn tell(&self, run: &Run, reason: &'static str, text: &str, now: Timestamp) {
        if reason == "OK" {
            tracing::info!(route = %run.route, "a canary {text}");
        } else {
            tracing::error!(route = %run.route, reason, "a canary: {text}");
        }
        let mut event = Event::new(EventType::Canary, now);
        event.id = Some(run.message.to_string());
        event.route = Some(run.route.to_string());
        event.reason = Some(reason);
        event.evidence = Some(text.to_owned());
        event.created = Some(run.at);
        self.spool.note(self.log.record(&event));
    }

    /// The message of a run, always the same for the same run and settings.
    fn canary(&self, settings: &Settings, canary: &Canary, run: &Run) -> Result<(Signed, Bytes), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let token = canary::mint(&self.keyring, run).map_err(|error| text(&error))?;
        let body = Bytes::from_static(
            b"This message was sent by Consentry to itself, to see whether its header fields\r\narrive as they left. Nobody needs to read it.\r\n",
        );
        let section = format!(
            "From: <{}>\r\nTo: <{}>\r\nSubject: Consentry canary {token}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\nAuto-Submitted: auto-generated\r\n\r\n",
            canary.from.as_str(),
            canary.address.as_str()
        );
        let section = HeaderSection::parse(Bytes::from(section)).map_err(|error| text(&error))?;
        let rules = rules().ok_or("its stream")?;
        let to = Recipient::new(canary.address.clone());
        // Nothing is known of a mailbox of ours, and nothing is asked: it is not advertising.
        let decision = decide(&Case::new(&to, &rules, run.at), &settings.rulebook);
        let Verdict::Permit(permit) = decision.verdict else { return Err("it is not permitted".to_owned()) };
        let links = self.canary_links(settings, canary, run)?;
        let message_id = MessageId::new(run.message, &settings.hostname);
        let plan = Plan {
            received: None,
            now: run.at,
            message_id: &message_id,
            unsubscribe: Some(&links),
            existing: ExistingUnsubscribe::default(),
            list_id: None,
            feedback_id: None,
            body: BodyFate::Kept,
        };
        let rewritten = rewrite(&section, vec![permit], &plan).map_err(|error| text(&error))?;
        let shared = CopyBody::Shared(Some(BodyHash::of(&body)));
        let signed = sign(rewritten, &shared, &canary.stream.signing, run.at).map_err(|error| text(&error))?;
        Ok((signed, body))
    }

    /// Links of nobody's stream: pressing them suppresses our own mailbox for a controller that no mail has.
    fn canary_links(&self, settings: &Settings, canary: &Canary, run: &Run) -> Result<Links, String> {
        let subject = Subject {
            mailbox: canary.address.clone(),
            controller: ControllerId::new(notice::NOTICE_CONTROLLER).map_err(|error| error.to_string())?,
            list: None,
            message: run.message,
        };
        let token = token::mint(&self.keyring, &subject).map_err(|error| error.to_string())?;
        let https = HttpsUri::parse(format!("{}/u/{token}", settings.public_url)).map_err(|error| error.to_string())?;
        let mailto = format!("mailto:{}?subject={token}", settings.unsubscribe_mailbox);
        let mailto = MailtoUri::parse(mailto).map_err(|error| error.to_string())?;
        Ok(Links { https, mailto: Some(mailto) })
    }
}

fn rules() -> Option<StreamRules> {
    Some(StreamRules {
        name: StreamName::new("_canary").ok()?,
        controller: ControllerId::new(notice::NOTICE_CONTROLLER).ok()?,
        class: MessageClass::Transactional,
        list: None,
        from_domains: FromDomains::Any,
        law: Law::NotApplied,
    })
}

fn batch(settings: &Settings, run: &Run, signed: Signed, body: Bytes) -> Result<Batch, String> {
    let label = Label {
        stream: StreamName::new(&format!("{CANARY_STREAM}{}", run.route)).map_err(|error| error.to_string())?,
        controller: ControllerId::new(notice::NOTICE_CONTROLLER).map_err(|error| error.to_string())?,
        list: None,
        campaign: None,
    };
    let manifest = notice::manifest(run.at, settings.give_up).ok_or("its manifest")?;
    let manifest = Manifest { label, ..manifest };
    let mut batch = Batch::new(manifest, Body::Memory(body));
    batch.send(run.message, signed);
    Ok(batch)
}

/// What of `returned` is not as it was sent, one sentence for each field.
fn differences(sent: &Bytes, sent_body: BodyHash, returned: &HeaderSection, body: BodyHash) -> Vec<String> {
    let Ok(sent) = HeaderSection::parse(sent.clone()) else { return vec!["what was sent cannot be read".to_owned()] };
    let mut differences = Vec::new();
    for name in ["List-Unsubscribe", "List-Unsubscribe-Post", "DKIM-Signature"] {
        let values =
            |section: &HeaderSection| section.fields(name).map(|field| bare(&field.unfolded())).collect::<Vec<_>>();
        let (left, arrived) = (values(&sent), values(returned));
        // A relay may sign as well; a second way to unsubscribe is a way that leads elsewhere.
        let missing = left.iter().any(|value| !arrived.contains(value));
        let added = name != "DKIM-Signature" && arrived.len() > left.len();
        match (missing, added, arrived.is_empty()) {
            (true, _, true) => differences.push(format!("{name} was removed")),
            (true, _, false) => differences.push(format!("{name} was replaced")),
            (false, true, _) => differences.push(format!("{name} was added once more")),
            (false, false, _) => {}
        }
    }
    // What our signature covers, but for what was looked at above.
    for name in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"] {
        let values =
            |section: &HeaderSection| section.fields(name).map(|field| bare(&field.unfolded())).collect::<Vec<_>>();
        if values(&sent) != values(returned) {
            differences.push(format!("{name} was changed, which breaks the signature"));
        }
    }
    if sent_body != body {
        differences.push("the body was changed, which breaks the signature".to_owned());
    }
    differences
}

/// A value without the white space that folding may have moved.
fn bare(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect()
}
