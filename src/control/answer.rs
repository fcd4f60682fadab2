//! What is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::delivery::{Board, Hand, Selector, Suspension};
use crate::mail::QueueId;
use crate::spool::{Labels, PendingCopy};
use crate::telemetry::{Event, EventType};

use super::Desk;
use super::change::change;
use super::figures::{Figures, stats};
use super::question::Question;
use super::sign_up::SignedUp;

/// Copies that one answer looks at: the next question goes on behind the last. Bounds memory and the time of one answer.
pub(super) const PAGE_MAX: usize = 1000;
/// What is answered to what is no queue id.
const NOT_AN_ID: &str = "not a queue id; expected the 13 characters that a listing shows";
/// Octets of a header section that are shown.
const HEADER_MAX: usize = 64 * 1024;
/// Longest name and longest reason that an operator gives, in octets.
pub(super) const TEXT_MAX: usize = 1024;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// How much is waiting.
    Stats(Box<Figures>),
    /// What is waiting.
    List {
        /// In the order of acceptance.
        copies: Vec<Waiting>,
        /// Where to go on, when there may be more.
        next: Option<String>,
    },
    /// One copy.
    Copy(Box<Copy>),
    /// Done.
    Done {
        /// How many copies, or suspensions.
        copies: u64,
        /// How many could not be touched, because a worker had them.
        busy: u64,
        /// Where to go on, when there may be more.
        next: Option<String>,
    },
    /// What became of a sign-up.
    SignedUp(SignedUp),
    /// Not done.
    Fault {
        /// In words.
        message: String,
        /// Whose fault it is.
        why: WhyNot,
    },
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// The question is not as expected.
    Malformed,
    /// What it is about is not there.
    Absent,
    /// It could not be done here.
    Failed,
}

/// One copy with its mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// What a listing shows.
    pub facts: Waiting,
    /// Reverse path; empty for `<>`.
    pub sender: String,
    /// Recipients not settled.
    pub recipients: Vec<String>,
    /// The header section as it is sent; what is no UTF-8 is replaced, and a long one is cut.
    pub header: String,
    /// Octets of the body.
    pub body_octets: u64,
}

/// One waiting copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Queue id.
    pub id: String,
    /// When it was accepted.
    pub received: String,
    /// When it is tried next; nothing while it is held.
    pub due: Option<String>,
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
    /// `waiting`, `leased`, `held`, `suspended` or `damaged`.
    pub state: String,
}

/// Answers one question.
pub(super) async fn answer(question: Question, desk: &Desk) -> Answer {
    match question {
        Question::Fence => {
            desk.fence.passed().await;
            done(0)
        }
        Question::Record { line } => record(desk, &line),
        Question::SignUp(sign_up) => (desk.sign_ups)(sign_up).await,
        Question::Stats => Answer::Stats(Box::new(stats(desk))),
        Question::List { which, limit, after } => match cursor(after.as_deref()) {
            Ok(after) => list(desk, &which, limit, after).await,
            Err(fault) => fault,
        },
        Question::Show { id } => match QueueId::parse(&id) {
            Some(id) => show(desk, id).await,
            None => Answer::Fault { message: NOT_AN_ID.to_owned(), why: WhyNot::Malformed },
        },
        Question::Change { change: to, which, after, by, because } => match cursor(after.as_deref()) {
            _ if too_long(&by, &because) => long(),
            Ok(after) => change(desk, to, &which, after, &by, &because).await,
            Err(fault) => fault,
        },
        Question::Suspend { by, because, .. } | Question::Resume { by, because, .. } if too_long(&by, &because) => {
            long()
        }
        Question::Suspend { which, seconds, by, because } => suspend(desk, which, seconds, by, because),
        Question::Resume { which, by, because } => resume(desk, &which, &by, &because),
    }
}

fn too_long(by: &str, because: &str) -> bool {
    by.len() > TEXT_MAX || because.len() > TEXT_MAX
}

fn long() -> Answer {
    Answer::Fault { message: format!("a name or reason is longer than {TEXT_MAX} octets"), why: WhyNot::Malformed }
}

pub(super) const fn done(copies: u64) -> Answer {
    Answer::Done { copies, busy: 0, next: None }
}

fn record(desk: &Desk, line: &str) -> Answer {
    // It was one line of JSON when it came in, so it holds no line end; an object it has to be.
    if !serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()) {
        return Answer::Fault { message: "not a record; expected a JSON object".to_owned(), why: WhyNot::Malformed };
    }
    let line = Bytes::from(line.replace(['\r', '\n'], " "));
    desk.log.write(line.clone());
    desk.spool.note(line);
    done(0)
}

fn cursor(after: Option<&str>) -> Result<Option<QueueId>, Answer> {
    let parse = |text| {
        QueueId::parse(text).ok_or_else(|| Answer::Fault { message: NOT_AN_ID.to_owned(), why: WhyNot::Malformed })
    };
    after.map(parse).transpose()
}

/// Whether a copy is one of those that were asked for. Of one that cannot be read only the id is known.
pub(super) fn is_chosen(board: &Board, which: &Selector, copy: &PendingCopy, labels: Option<&Labels>) -> bool {
    match labels {
        Some(labels) => {
            let label = &labels.manifest.label;
            let route = board.route_of(label);
            let mut domains = labels.recipients.iter().map(|recipient| recipient.mailbox.domain());
            match &which.domain {
                None => which.covers_copy(copy.id, label, route),
                Some(_) => domains.any(|domain| which.covers(copy.id, label, route, domain)),
            }
        }
        None => which.is_all() || *which == Selector { id: Some(copy.id), ..Selector::default() },
    }
}

/// One page of the queue behind `after`, or the one copy that `which` names.
pub(super) async fn page(
    desk: &Desk,
    which: &Selector,
    after: Option<QueueId>,
) -> (Vec<(PendingCopy, Option<Labels>)>, Option<String>) {
    if let Some(id) = which.id {
        // The cursor is the number before it: ids are numbers, and a listing goes on behind its cursor.
        let before = id.as_u64().checked_sub(1).map(QueueId::from_u64);
        let found = desk.spool.labelled(1, before).await;
        return (found.into_iter().filter(|(copy, _)| copy.id == id).collect(), None);
    }
    let found = desk.spool.labelled(PAGE_MAX, after).await;
    let next = found.last().filter(|_| found.len() == PAGE_MAX).map(|(copy, _)| copy.id.to_string());
    (found, next)
}

async fn list(desk: &Desk, which: &Selector, limit: usize, after: Option<QueueId>) -> Answer {
    let (found, mut next) = page(desk, which, after).await;
    let stopped = Stopped::now(desk);
    let mut copies = Vec::new();
    for (copy, labels) in &found {
        if copies.len() == limit {
            next = copies.last().map(|last: &Waiting| last.id.clone());
            break;
        }
        if is_chosen(&desk.board, which, copy, labels.as_ref()) {
            copies.push(waiting(&stopped, copy, labels.as_ref()));
        }
    }
    Answer::List { copies, next }
}

async fn show(desk: &Desk, id: QueueId) -> Answer {
    let shown = match desk.spool.show(id).await {
        Ok(Some(shown)) => shown,
        Ok(None) => {
            return Answer::Fault { message: format!("there is no copy {id} in the queue"), why: WhyNot::Absent };
        }
        Err(error) => return Answer::Fault { message: error.to_string(), why: WhyNot::Failed },
    };
    let labels = Labels { manifest: Arc::clone(&shown.manifest), recipients: shown.recipients };
    let stopped = Stopped::now(desk);
    let header = shown.header.get(..HEADER_MAX).unwrap_or(&shown.header);
    Answer::Copy(Box::new(Copy {
        facts: waiting(&stopped, &shown.facts, Some(&labels)),
        sender: shown.manifest.reverse_path.as_str().to_owned(),
        recipients: labels.recipients.iter().map(|to| to.mailbox.as_str().to_owned()).collect(),
        header: String::from_utf8_lossy(header).into_owned(),
        body_octets: shown.body.len(),
    }))
}

/// What gets no attempts, at one moment.
struct Stopped<'a> {
    board: &'a Board,
    suspensions: Vec<Suspension>,
}

impl<'a> Stopped<'a> {
    fn now(desk: &'a Desk) -> Self {
        Self { board: &desk.board, suspensions: desk.board.snapshot(desk.clock.now()).suspensions }
    }
}

fn waiting(stopped: &Stopped<'_>, copy: &PendingCopy, labels: Option<&Labels>) -> Waiting {
    let label = labels.map(|labels| &labels.manifest.label);
    let mut domains: Vec<_> =
        labels.iter().flat_map(|labels| &labels.recipients).map(|to| to.mailbox.domain().to_string()).collect();
    domains.sort_unstable();
    domains.dedup();
    Waiting {
        id: copy.id.to_string(),
        received: copy.received.to_string(),
        due: (!copy.held).then(|| copy.due.to_string()),
        expires: copy.expires.to_string(),
        attempts: copy.attempts,
        recipients: copy.recipients,
        stream: label.map(|label| label.stream.to_string()),
        campaign: label.and_then(|label| label.campaign.as_ref()).map(ToString::to_string),
        domains,
        state: state(stopped, copy, labels).to_owned(),
    }
}

fn state(stopped: &Stopped<'_>, copy: &PendingCopy, labels: Option<&Labels>) -> &'static str {
    let covers = |known: &Suspension| is_chosen(stopped.board, &known.selector, copy, labels);
    let suspended = || stopped.suspensions.iter().any(covers);
    match (copy.damaged, copy.leased, copy.held) {
        (true, _, _) => "damaged",
        (false, true, _) => "leased",
        (false, false, true) => "held",
        (false, false, false) if suspended() => "suspended",
        (false, false, false) => "waiting",
    }
}

fn suspend(desk: &Desk, which: Selector, seconds: Option<u64>, by: String, because: String) -> Answer {
    let now = desk.clock.now();
    let until = seconds.map(|seconds| now.plus(Duration::from_secs(seconds)));
    let event = control_event(desk, "suspend", &which, &by, &because);
    let suspension = Suspension { selector: which, since: now, until, hand: Hand::Operator, by, because };
    match desk.board.suspend(suspension, now) {
        Ok(()) => {
            desk.spool.note(desk.log.record(&event));
            done(1)
        }
        Err(error) => Answer::Fault { message: error.to_string(), why: WhyNot::Failed },
    }
}

fn resume(desk: &Desk, which: &Selector, by: &str, because: &str) -> Answer {
    match desk.board.resume(which, desk.clock.now()) {
        Ok(lifted) => {
            for known in &lifted {
                let because = format!("{because} (suspended since {} by {}: {})", known.since, known.by, known.because);
                let event = control_event(desk, "resume", &known.selector, by, &because);
                desk.spool.note(desk.log.record(&event));
            }
            done(u64::try_from(lifted.len()).unwrap_or(u64::MAX))
        }
        Err(error) => Answer::Fault { message: error.to_string(), why: WhyNot::Failed },
    }
}

/// What an operator did, to what, and why.
pub(super) fn control_event(desk: &Desk, what: &'static str, which: &Selector, by: &str, because: &str) -> Event {
    let mut event = Event::new(EventType::QueueControl, desk.clock.now());
    event.reason = Some(what);
    event.queue = Some(which.to_string());
    event.id = which.id.map(|id| id.to_string());
    event.evidence = Some(format!("{what} by {by}: {because}"));
    event
}
