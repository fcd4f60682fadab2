//! Writes attempts into the event log.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::assurance::{Asked, TlsReport};
use super::backoff::Pace;
use super::circuit::Trouble;
use super::group::Group;
use super::lane::Line;
use super::outcome::Told;
use super::warming::Full;
use crate::mail::{Label, Recipient, Reply};
use crate::smtp::client::{Blame, Protected, Session};
use crate::spool::{Body, Entry};
use crate::telemetry::{Event, EventLog, EventType, PeerAddress, Privacy, TlsFailure, TlsPolicy};
use crate::time::Timestamp;

/// What stands in an upstream's text for an address that the privacy level hides.
const HIDDEN: &str = "<hidden>";

/// What is alarming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Too many dead mailboxes at once.
    MassBounce,
    /// We are refused for our name.
    Reputation,
}

impl Alarm {
    const fn as_str(self) -> &'static str {
        match self {
            Self::MassBounce => "MASS_BOUNCE",
            Self::Reputation => "REPUTATION_REFUSED",
        }
    }
}

/// The other end of a session.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) host: Arc<str>,
    address: SocketAddr,
    protected: Option<Protected>,
}

impl Peer {
    pub(super) fn of(session: &Session) -> Self {
        Self { host: Arc::clone(session.host()), address: session.peer(), protected: session.protected() }
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
    pub(super) line: &'a Line,
    /// When a connection was made.
    pub(super) peer: Option<&'a Peer>,
    pub(super) next: Option<Timestamp>,
}

/// Knows what is the same in all records.
#[derive(Debug)]
pub(super) struct Recorder {
    events: EventLog,
    privacy: Privacy,
}

impl Recorder {
    pub(super) const fn new(events: EventLog, privacy: Privacy) -> Self {
        Self { events, privacy }
    }

    /// Logs the attempt and returns the line for the audit trail.
    pub(super) fn record(&self, attempt: &Attempt<'_>) -> Bytes {
        let Attempt { kind, at, entry, recipient, reply, told, line, peer, next } = *attempt;
        let manifest = &entry.manifest;
        let label = &manifest.label;
        let mut event = Event::new(kind, at);
        event.id = Some(entry.id.to_string());
        event.sender = Some(self.privacy.form_path(&manifest.reverse_path));
        event.recipient = Some(self.privacy.form(&recipient.mailbox));
        event.queue = Some(queue_name(label, recipient));
        event.size = Some(size(entry));
        event.controller = Some(label.controller.to_string());
        event.stream = Some(label.stream.to_string());
        event.list = label.list.as_ref().map(ToString::to_string);
        event.campaign = label.campaign.as_ref().map(ToString::to_string);
        event.route = Some(line.route.name.to_string());
        event.peer_address =
            peer.map(|peer| PeerAddress { name: peer.host.to_string(), addr: peer.address.to_string() });
        let protected = peer.and_then(|peer| peer.protected);
        event.tls_protocol_version = protected.map(|protected| protected.version);
        event.tls_cipher = protected.map(|protected| protected.cipher);
        event.response = Some(self.shown(reply, recipient));
        event.num_attempts = Some(entry.attempts.saturating_add(1));
        event.created = Some(manifest.received);
        event.next_attempt = next;
        event.bounce_classification = told.map(|told| told.class.as_str());
        event.classified_by = told.map(|told| told.by);
        self.events.record(&event)
    }

    /// A way is in order no more: whose fault it is, and what was said. One that nobody but us can mend is an alarm.
    pub(super) fn circuit_opened(&self, line: &Line, at: Timestamp, reply: &Reply, trouble: &Trouble) {
        let Trouble { route, site, blame, class, .. } = trouble;
        match blame {
            Blame::Local | Blame::Policy => {
                tracing::error!(%route, %site, fault = blame.as_str(), %class, %reply, "a way out does not take our mail");
            }
            // It passes by itself; each session that fails says so already.
            Blame::Peer => {}
        }
        let mut event = of_line(EventType::CircuitOpened, line, at);
        event.response = Some(reply.clone());
        event.fault = Some(blame.as_str());
        event.bounce_classification = Some(class.as_str());
        self.events.record(&event);
    }

    /// A way is in order again.
    pub(super) fn circuit_closed(&self, line: &Line, at: Timestamp) {
        self.events.record(&of_line(EventType::CircuitClosed, line, at));
    }

    /// A session that could not be protected, or a policy that could not be had, the latter also when nobody was being
    /// sent to: what a report of RFC 8460 is made from.
    pub(super) fn tls_fault(&self, line: Option<&Line>, at: Timestamp, report: &TlsReport) {
        let mut event = match line {
            Some(line) => of_line(EventType::TlsFailure, line, at),
            None => Event::new(EventType::TlsFailure, at),
        };
        event.fault = Some(report.blame.as_str());
        let (policy, detail) = (tls_policy(&report.asked), report.detail.clone());
        event.tls_failure = Some(TlsFailure { policy, result_type: report.result_type, detail });
        self.events.record(&event);
    }

    /// A session that is protected as a policy asks for: what such a report counts beside the failures.
    pub(super) fn tls_session(&self, line: &Line, at: Timestamp, asked: &Asked) {
        let mut event = of_line(EventType::TlsSession, line, at);
        event.tls_policy = Some(tls_policy(asked));
        self.events.record(&event);
    }

    /// Something that somebody should look at now; returns the line for the audit trail.
    pub(super) fn alarm(&self, alarm: Alarm, text: &str, at: Timestamp) -> Bytes {
        tracing::error!(alarm = alarm.as_str(), "{text}");
        self.about(EventType::Alarm, alarm.as_str(), text, at)
    }

    /// A group is slowed, or slowed further.
    pub(super) fn slowed(&self, group: &Group, pace: Pace, reply: &Reply, at: Timestamp) -> Bytes {
        let (level, gap) = (pace.level, pace.gap.as_secs());
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

    /// What is warmed up has had its day.
    pub(super) fn day_full(&self, full: &Full, at: Timestamp) -> Bytes {
        let Full { name, messages, number, instead, until } = full;
        let then = instead.as_ref().map_or_else(|| format!("waits until {until}"), |route| format!("takes {route}"));
        let text = format!("warm-up {name} has sent the {messages} messages of its day {number}; what is over {then}");
        tracing::info!("{text}");
        self.about(EventType::Pace, "DAY_FULL", &text, at)
    }

    fn about(&self, kind: EventType, reason: &'static str, text: &str, at: Timestamp) -> Bytes {
        let mut event = Event::new(kind, at);
        event.reason = Some(reason);
        event.evidence = Some(text.to_owned());
        self.events.record(&event)
    }

    /// Upstreams like to repeat the address in their text; there it is hidden as everywhere else.
    pub(super) fn shown(&self, reply: &Reply, recipient: &Recipient) -> Reply {
        match &self.privacy {
            Privacy::Full => reply.clone(),
            Privacy::Hash(_) | Privacy::Domain => hide(reply, recipient.mailbox.as_str()),
        }
    }
}

fn tls_policy(asked: &Asked) -> TlsPolicy {
    TlsPolicy {
        policy_type: asked.policy_type.as_str(),
        policy_domain: asked.domain.as_ref().map(ToString::to_string),
        host: asked.host.as_ref().map(ToString::to_string),
    }
}

fn of_line(kind: EventType, line: &Line, at: Timestamp) -> Event {
    let mut event = Event::new(kind, at);
    event.route = Some(line.route.name.to_string());
    event.site = Some(line.place.to_string());
    event
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
