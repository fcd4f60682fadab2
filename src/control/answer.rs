//! What is answered.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::mail::QueueId;
use crate::spool::{Dropped, PendingCopy, Spool};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;

use super::Desk;
use super::question::Question;

/// Copies that one answer lists at most; the next question goes on behind the last.
const LIST_MAX: usize = 1000;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// How much is waiting.
    Stats {
        /// Copies.
        copies: u64,
        /// Recipients not settled.
        recipients: u64,
        /// Copies that have been tried and wait for their next attempt.
        deferred: u64,
        /// Copies that a worker has now.
        leased: u64,
        /// Copies that cannot be read back.
        damaged: u64,
        /// Octets of waiting mail.
        octets: u64,
        /// Octets of the spool's files.
        disk_octets: u64,
        /// When the oldest was accepted.
        oldest: Option<String>,
        /// Audit records lost in a flood.
        notes_lost: u64,
    },
    /// What is waiting.
    List {
        /// In the order of acceptance.
        copies: Vec<Waiting>,
    },
    /// Done.
    Done {
        /// How many copies.
        copies: u64,
        /// How many could not be touched, because a worker had them.
        busy: u64,
    },
    /// Not done.
    Fault {
        /// Why.
        message: String,
    },
}

/// One waiting copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Queue id.
    pub id: String,
    /// When it was accepted.
    pub received: String,
    /// When it is tried next.
    pub due: String,
    /// When it is given up.
    pub expires: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Recipients not settled.
    pub recipients: u64,
    /// Stream, when the copy could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Domains of the recipients.
    pub domains: Vec<String>,
    /// `waiting`, `leased` or `damaged`.
    pub state: String,
}

/// Answers one question.
pub(super) async fn answer(question: Question, desk: &Desk) -> Answer {
    let (spool, now) = (&desk.spool, desk.clock.now());
    match question {
        Question::Fence => {
            desk.fence.passed().await;
            Answer::Done { copies: 0, busy: 0 }
        }
        Question::Record { line } => record(desk, &line),
        Question::Stats => stats(spool),
        Question::List { limit, after } => list(spool, limit, after).await,
        Question::Retry { which } => match which.id() {
            Some(id) => Answer::Done { copies: u64::try_from(spool.retry_now(id)).unwrap_or(u64::MAX), busy: 0 },
            None => unknown(),
        },
        Question::Drop { which, because } => match which.id() {
            Some(Some(id)) => drop_all(spool, &[id], &because, now).await,
            Some(None) => {
                let ids: Vec<_> = spool.pending(usize::MAX, None).into_iter().map(|copy| copy.id).collect();
                drop_all(spool, &ids, &because, now).await
            }
            None => unknown(),
        },
    }
}

fn record(desk: &Desk, line: &str) -> Answer {
    // It was one line of JSON when it came in, so it holds no line end; an object it has to be.
    if !serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()) {
        return Answer::Fault { message: "not a record; expected a JSON object".to_owned() };
    }
    let line = Bytes::from(line.replace(['\r', '\n'], " "));
    desk.log.write(line.clone());
    desk.spool.note(line);
    Answer::Done { copies: 0, busy: 0 }
}

fn unknown() -> Answer {
    Answer::Fault { message: "not a queue id; expected the 13 characters that a listing shows".to_owned() }
}

fn stats(spool: &Spool) -> Answer {
    let stats = spool.stats();
    Answer::Stats {
        copies: stats.copies,
        recipients: stats.recipients,
        deferred: stats.deferred,
        leased: stats.leased,
        damaged: stats.damaged,
        octets: stats.live_octets,
        disk_octets: stats.segment_octets,
        oldest: stats.oldest.map(|at| at.to_string()),
        notes_lost: stats.notes_lost,
    }
}

async fn list(spool: &Spool, limit: usize, after: Option<String>) -> Answer {
    let after = match after.as_deref().map(QueueId::parse) {
        Some(None) => return unknown(),
        Some(Some(id)) => Some(id),
        None => None,
    };
    let mut copies = Vec::new();
    for copy in spool.pending(limit.min(LIST_MAX), after) {
        copies.push(waiting(spool, copy).await);
    }
    Answer::List { copies }
}

async fn waiting(spool: &Spool, copy: PendingCopy) -> Waiting {
    let state = match (copy.damaged, copy.leased) {
        (true, _) => "damaged",
        (false, true) => "leased",
        (false, false) => "waiting",
    };
    // A copy that cannot be read any more is listed with what the index knows of it.
    let shown = spool.show(copy.id).await.ok().flatten();
    let label = shown.as_ref().map(|shown| &shown.manifest.label);
    let mut domains: Vec<_> =
        shown.iter().flat_map(|shown| &shown.recipients).map(|to| to.mailbox.domain().to_string()).collect();
    domains.sort_unstable();
    domains.dedup();
    Waiting {
        id: copy.id.to_string(),
        received: copy.received.to_string(),
        due: copy.due.to_string(),
        expires: copy.expires.to_string(),
        attempts: copy.attempts,
        recipients: copy.recipients,
        stream: label.map(|label| label.stream.to_string()),
        campaign: label.and_then(|label| label.campaign.as_ref()).map(ToString::to_string),
        domains,
        state: state.to_owned(),
    }
}

async fn drop_all(spool: &Spool, ids: &[QueueId], because: &str, now: Timestamp) -> Answer {
    let (mut copies, mut busy) = (0, 0);
    for id in ids {
        match spool.drop(*id, note(*id, because, now)).await {
            Ok(Dropped::Done) => copies += 1,
            Ok(Dropped::Leased) => busy += 1,
            Ok(Dropped::Unknown) => {}
            Err(error) => return Answer::Fault { message: error.to_string() },
        }
    }
    Answer::Done { copies, busy }
}

fn note(id: QueueId, because: &str, now: Timestamp) -> Bytes {
    let mut event = Event::new(EventType::AdminBounce, now);
    event.id = Some(id.to_string());
    event.evidence = Some(because.to_owned());
    event.to_json()
}
