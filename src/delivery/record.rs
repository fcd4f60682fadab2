//! Writes attempts into the event log.

use std::net::SocketAddr;

use bytes::Bytes;

use super::backoff::Pace;
use super::board::Circuit;
use super::group::Group;
use super::outcome::{Told, Verdict};
use crate::mail::{Label, Recipient, Reply};
use crate::spool::{Body, Entry};
use crate::telemetry::{Event, EventLog, EventType, PeerAddress, Privacy};
use crate::time::Timestamp;

/// What stands in an upstream's text for an address that the privacy level hides.
const HIDDEN: &str = "<hidden>";

/// What is alarming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The smarthost does not take our mail.
    Circuit,
    /// Too many dead mailboxes at once.
    MassBounce,
    /// We are refused for our name.
    Reputation,
}

impl Alarm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Circuit => "CIRCUIT_OPEN",
            Self::MassBounce => "MASS_BOUNCE",
            Self::Reputation => "REPUTATION_REFUSED",
        }
    }
}

/// One record to be made.
pub(super) struct Attempt<'a> {
    pub(super) kind: EventType,
    pub(super) at: Timestamp,
    pub(super) entry: &'a Entry,
    pub(super) recipient: &'a Recipient,
    pub(super) reply: &'a Reply,
    /// What a refusal was taken for.
    pub(super) told: Option<Told>,
    /// The upstream's address, when a connection was made.
    pub(super) peer: Option<SocketAddr>,
    pub(super) next: Option<Timestamp>,
}

/// Knows what is the same in all records.
#[derive(Debug)]
pub(super) struct Recorder {
    events: EventLog,
    privacy: Privacy,
    host: String,
}

impl Recorder {
    pub(super) fn new(events: EventLog, privacy: Privacy, host: &str) -> Self {
        Self { events, privacy, host: host.to_owned() }
    }

    /// Logs the attempt and returns the line for the audit trail.
    pub(super) fn record(&self, attempt: &Attempt<'_>) -> Bytes {
        let Attempt { kind, at, entry, recipient, reply, told, peer, next } = *attempt;
        let manifest = &entry.manifest;
        let label = &manifest.label;
        let mut event = Event::new(kind, at);
        event.id = Some(entry.id.to_string());
        event.sender = Some(self.privacy.form_path(&manifest.reverse_path));
        event.recipient = Some(self.privacy.form(&recipient.mailbox));
        event.queue = Some(queue_name(label, recipient));
        event.size = Some(size(entry));
        event.stream = Some(label.stream.to_string());
        event.list = label.list.as_ref().map(ToString::to_string);
        event.campaign = label.campaign.as_ref().map(ToString::to_string);
        event.peer_address = peer.map(|addr| PeerAddress { name: self.host.clone(), addr: addr.to_string() });
        event.response = Some(self.shown(reply, recipient));
        event.num_attempts = Some(entry.attempts.saturating_add(1));
        event.created = Some(manifest.received);
        event.next_attempt = next;
        event.bounce_classification = told.map(|told| told.class.as_str());
        event.classified_by = told.map(|told| told.by);
        self.events.record(&event)
    }

    /// Something that somebody should look at now; returns the line for the audit trail.
    pub(super) fn alarm(&self, alarm: Alarm, text: &str, at: Timestamp) -> Bytes {
        tracing::error!(alarm = alarm.as_str(), "{text}");
        self.about(EventType::Alarm, alarm.as_str(), text, at)
    }

    /// The circuit is closed again.
    pub(super) fn closed(&self, circuit: &Circuit, at: Timestamp) -> Bytes {
        let text = format!("the circuit is closed; it was open since {} ({})", circuit.since, circuit.class);
        tracing::info!("{text}");
        self.about(EventType::Pace, "CIRCUIT_CLOSED", &text, at)
    }

    /// A group is slowed, or slowed further.
    pub(super) fn slowed(&self, group: &Group, pace: Pace, verdict: &Verdict, at: Timestamp) -> Bytes {
        let (level, gap, reply) = (pace.level, pace.gap.as_secs(), &verdict.reply);
        let text = format!("{group} is slowed to level {level}, one message in {gap} s: {reply}");
        tracing::warn!("{text}");
        self.about(EventType::Pace, "SLOWED", &text, at)
    }

    /// A group has its full pace again.
    pub(super) fn recovered(&self, group: &Group, at: Timestamp) -> Bytes {
        let text = format!("{group} has its full pace again");
        tracing::info!("{text}");
        self.about(EventType::Pace, "RECOVERED", &text, at)
    }

    fn about(&self, kind: EventType, reason: &'static str, text: &str, at: Timestamp) -> Bytes {
        let mut event = Event::new(kind, at);
        event.reason = Some(reason);
        event.evidence = Some(text.to_owned());
        self.events.record(&event)
    }

    /// Upstreams like to repeat the address in their text; there it is hidden as everywhere else.
    fn shown(&self, reply: &Reply, recipient: &Recipient) -> Reply {
        match &self.privacy {
            Privacy::Full => reply.clone(),
            Privacy::Hash(_) | Privacy::Domain => hide(reply, recipient.mailbox.as_str()),
        }
    }
}

/// Replaces `address` in the text, in whatever case it stands.
fn hide(reply: &Reply, address: &str) -> Reply {
    let text = reply.text();
    // Same length as the text, because only ASCII letters change.
    let (folded, wanted) = (text.to_ascii_lowercase(), address.to_ascii_lowercase());
    let mut shown = String::new();
    let mut done = 0;
    for (found, _) in folded.match_indices(&wanted) {
        shown.push_str(text.get(done..found).unwrap_or_default());
        shown.push_str(HIDDEN);
        done = found + wanted.len();
    }
    if done == 0 {
        return reply.clone();
    }
    shown.push_str(text.get(done..).unwrap_or_default());
    match reply.enhanced() {
        Some(status) => Reply::new(reply.code().as_u16(), status, shown),
        None => Reply::plain(reply.code().as_u16(), shown),
    }
}

/// `campaign:stream@domain`, as KumoMTA names its queues.
fn queue_name(label: &Label, recipient: &Recipient) -> String {
    let (stream, domain) = (&label.stream, recipient.mailbox.domain());
    match &label.campaign {
        Some(campaign) => format!("{campaign}:{stream}@{domain}"),
        None => format!("{stream}@{domain}"),
    }
}

fn size(entry: &Entry) -> u64 {
    let body = match &entry.body {
        Body::Memory(body) => u64::try_from(body.len()).unwrap_or(u64::MAX),
        Body::File(file) => file.len,
    };
    body.saturating_add(u64::try_from(entry.header.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReplyCode;

    #[test]
    fn the_address_in_an_upstreams_text_is_hidden() {
        let reply = Reply::received(ReplyCode::new(550).unwrap(), "5.1.1 <Ann@X.example>: no ann@x.example é here");
        let hidden = hide(&reply, "ann@x.EXAMPLE");
        assert_eq!(hidden.to_string(), "550 5.1.1 <<hidden>>: no <hidden> é here");
        let other = Reply::plain(250, "ok");
        assert_eq!(hide(&other, "ann@x.example"), other);
    }
}
