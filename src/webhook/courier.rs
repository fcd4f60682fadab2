//! Carries events to one hook: what is new in the trail first, then what was refused before.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::answer::Answer;
use super::batch::{BATCH_MAX, Batch, body};
use super::circuit::Circuit;
use super::ledger::{Advance, Burial, Parked, Parking};
use super::{Hook, Ledger, WebhookError};
use crate::events::{Event, Events, EventsError, Position};
use crate::https::{Caller, Post};
use crate::mail::HookName;
use crate::telemetry::{Event as Record, EventLog, EventType};
use crate::time::{Clock, Timestamp};

/// How often a courier looks whether somebody resumed its hook or had dead letters replayed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Events that were refused before and are tried again between two looks at the trail: others are waiting.
const RETRIES_PER_TURN: usize = 10;

/// What all couriers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) ledger: Ledger,
    pub(super) events: Events,
    pub(super) log: EventLog,
    pub(super) clock: Arc<dyn Clock>,
}

/// How far a courier came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// There was nothing to do, and there will be something to try again then.
    Idle(Option<Timestamp>),
    /// There may be more.
    Moved,
    /// There is more, and no room for what would have to wait.
    Full,
    /// The hook rests, is paused, or we stop.
    Ended,
}

/// What a courier does next.
#[derive(Debug)]
enum Next {
    /// There is more.
    Now,
    /// Nothing, until something happens behind the position or this time is over.
    Wait(Position, Duration),
    /// Nothing for so long.
    Rest(Duration),
}

pub(super) struct Courier {
    hook: Hook,
    shared: Shared,
    halts: watch::Receiver<bool>,
    caller: Caller,
    circuit: Circuit,
    is_full: bool,
}

impl Courier {
    pub(super) fn new(hook: Hook, shared: Shared, halts: watch::Receiver<bool>) -> Self {
        let caller = Caller::new(hook.trust.clone());
        Self { hook, shared, halts, caller, circuit: Circuit::default(), is_full: false }
    }

    /// Works until told to halt; a call under way is finished.
    pub(super) async fn run(mut self) {
        let mut halts = self.halts.clone();
        let mut next = Next::Now;
        loop {
            let pause = async {
                match next {
                    Next::Now => {}
                    Next::Wait(behind, most) => {
                        // What it finds, or why it cannot, is found again by the turn.
                        let _page = self.shared.events.wait(behind, 1, &self.hook.filter, most).await;
                    }
                    Next::Rest(time) => tokio::time::sleep(time).await,
                }
            };
            tokio::select! {
                // The end of the sender is a stop as well.
                biased;
                _either_way = halts.wait_for(|halt| *halt) => return,
                () = pause => {}
            }
            next = self.turn().await.unwrap_or_else(|error| {
                tracing::error!(%error, webhook = %self.hook.name, "no event is sent for now");
                Next::Rest(LOOK_EVERY)
            });
        }
    }

    async fn turn(&mut self) -> Result<Next, WebhookError> {
        let events = self.shared.events.clone();
        let state = self.ask(move |ledger, hook| ledger.enter(hook, || Ok(events.end()?))).await?;
        if state.is_paused {
            return Ok(Next::Rest(LOOK_EVERY));
        }
        match self.circuit.rest(self.now()) {
            Some(rest) if state.has_trouble => return Ok(Next::Rest(rest.min(LOOK_EVERY))),
            // Somebody resumed it.
            Some(_) => self.circuit = Circuit::default(),
            None => {}
        }
        let fresh = self.carry_fresh(state.position).await?;
        self.note_full(fresh == Progress::Full);
        if fresh == Progress::Ended {
            return Ok(Next::Now);
        }
        let Progress::Idle(due) = self.carry_again().await? else { return Ok(Next::Now) };
        let most = due.map_or(LOOK_EVERY, |due| due.since(self.now()).min(LOOK_EVERY));
        Ok(match fresh {
            Progress::Idle(_) => Next::Wait(state.position, most),
            Progress::Full => Next::Rest(most),
            Progress::Moved | Progress::Ended => Next::Now,
        })
    }

    /// It stays where it is: what cannot be put aside is not stepped over.
    fn note_full(&mut self, is_full: bool) {
        if is_full && !self.is_full {
            let what =
                "more events than there is room for wait because it refused one in front of them; it stays where it is";
            self.alarm("WEBHOOK_FULL", what);
        }
        self.is_full = is_full;
    }

    /// What is next in the trail: all of it in one call, and when that is refused, event by event.
    async fn carry_fresh(&mut self, from: Position) -> Result<Progress, WebhookError> {
        let (events, filter) = (self.shared.events.clone(), self.hook.filter.clone());
        let page = match self.ask(move |_, _| Ok(events.page(from, BATCH_MAX, &filter))).await? {
            Err(gone @ EventsError::Gone { oldest, .. }) => return self.missed(&gone, oldest).await,
            page => page?,
        };
        let has_more = page.more;
        let batch = Batch::of(page);
        if batch.events.is_empty() {
            if batch.next != from {
                self.step(batch.next).await?;
            }
            return Ok(if has_more { Progress::Moved } else { Progress::Idle(None) });
        }
        let subjects: Vec<String> = batch.events.iter().map(|event| event.subject.clone()).collect();
        let waiting = self.ask(move |ledger, hook| ledger.waiting(hook, &subjects)).await?;
        let Some(batch) = batch.with_room(&waiting.blocked, waiting.room) else { return Ok(Progress::Full) };
        let free = batch.free(&waiting.blocked);
        if free.len() == 1 {
            return self.one_by_one(&batch, waiting.blocked).await;
        }
        if !free.is_empty() {
            let answer = self.send(free.iter().map(|event| (event.seq, &event.line))).await;
            match answer {
                Answer::Taken => self.took().await?,
                Answer::Refused(_) => return self.one_by_one(&batch, waiting.blocked).await,
                Answer::Down(why) => return self.down(&why).await,
                Answer::Gone => return self.gone().await,
            }
        }
        let behind = batch.behind(&waiting.blocked).into_iter().map(|event| behind(event, self.now())).collect();
        match self.advance(batch.next, behind).await? {
            Advance::Done => Ok(Progress::Moved),
            // Only a replay that came in between can have taken the room.
            Advance::NoRoom => Ok(Progress::Full),
        }
    }

    /// One call for each event; what is refused waits, and what is of the same subject behind it.
    async fn one_by_one(&mut self, batch: &Batch, mut blocked: HashSet<String>) -> Result<Progress, WebhookError> {
        for event in &batch.events {
            if *self.halts.borrow() {
                return Ok(Progress::Ended);
            }
            if blocked.contains(&event.subject) {
                match self.advance(event.next, vec![behind(event, self.now())]).await? {
                    Advance::Done => continue,
                    Advance::NoRoom => return Ok(Progress::Full),
                }
            }
            match self.send(std::iter::once((event.seq, &event.line))).await {
                Answer::Taken => {
                    self.took().await?;
                    self.step(event.next).await?;
                }
                Answer::Refused(why) => {
                    let now = self.now();
                    let next = now.plus(self.hook.pauses.after(1, chance()));
                    let parking = Parking { event: event.clone(), attempts: 1, since: now, next };
                    if self.advance(event.next, vec![parking]).await? == Advance::NoRoom {
                        return Ok(Progress::Full);
                    }
                    blocked.insert(event.subject.clone());
                    if self.circuit.refused() {
                        return self.down(&why).await;
                    }
                }
                Answer::Down(why) => return self.down(&why).await,
                Answer::Gone => return self.gone().await,
            }
        }
        self.step(batch.next).await?;
        Ok(Progress::Moved)
    }

    /// What was refused before, the first event of each subject.
    async fn carry_again(&mut self) -> Result<Progress, WebhookError> {
        let now = self.now();
        let due = self.ask(move |ledger, hook| ledger.due(hook, now, RETRIES_PER_TURN)).await?;
        if due.heads.is_empty() {
            return Ok(Progress::Idle(due.next));
        }
        for parked in due.heads {
            if *self.halts.borrow() {
                return Ok(Progress::Ended);
            }
            match self.send(std::iter::once((parked.seq, &parked.line))).await {
                Answer::Taken => {
                    self.took().await?;
                    self.ask(move |ledger, hook| ledger.delivered(hook, parked.seq)).await?;
                }
                // One failure a turn: a receiver that takes its time over each must not hold up what is new.
                Answer::Refused(why) => return self.refused_again(parked, why).await,
                Answer::Down(why) => return self.down(&why).await,
                Answer::Gone => return self.gone().await,
            }
        }
        Ok(Progress::Moved)
    }

    /// It is given up once it is old enough, if the hook takes others: as long as it takes nothing, it is no event's fault.
    async fn refused_again(&mut self, parked: Parked, why: String) -> Result<Progress, WebhookError> {
        let now = self.now();
        let (seq, attempts) = (parked.seq, parked.attempts.saturating_add(1));
        if !self.circuit.is_open() && now.since(parked.since) >= self.hook.give_up {
            let last = why.clone();
            if self.ask(move |ledger, hook| ledger.bury(hook, seq, &last, now)).await? == Burial::Done {
                let mut record = self.record(EventType::WebhookGivenUp, &format!("event {seq}: {why}"));
                (record.created, record.num_attempts) = (Some(parked.since), Some(attempts));
                self.shared.log.record(&record);
                return Ok(Progress::Moved);
            }
            tracing::error!(webhook = %self.hook.name, "there is no room for more dead letters");
        }
        let next = now.plus(self.hook.pauses.after(attempts, chance()));
        self.ask(move |ledger, hook| ledger.put_off(hook, seq, attempts, next)).await?;
        if self.circuit.is_open() { self.down(&why).await } else { Ok(Progress::Moved) }
    }

    async fn took(&mut self) -> Result<(), WebhookError> {
        if self.circuit.took() {
            self.ask(|ledger, hook| ledger.trouble(hook, None)).await?;
            self.shared.log.record(&self.record(EventType::WebhookUp, "takes events again"));
        }
        Ok(())
    }

    async fn down(&mut self, why: &str) -> Result<Progress, WebhookError> {
        let is_news = !self.circuit.is_open();
        let until = self.circuit.open(self.now(), self.hook.pauses, chance());
        let trouble = why.to_owned();
        self.ask(move |ledger, hook| ledger.trouble(hook, Some(&trouble))).await?;
        if is_news {
            let mut record = self.record(EventType::WebhookDown, why);
            record.next_attempt = Some(until);
            self.shared.log.record(&record);
        }
        Ok(Progress::Ended)
    }

    async fn gone(&mut self) -> Result<Progress, WebhookError> {
        self.ask(|ledger, hook| ledger.pause(hook, "HTTP 410")).await?;
        let what = "HTTP 410, it wants no more; nothing is sent until `consentry webhook resume`";
        self.alarm("WEBHOOK_GONE", what);
        Ok(Progress::Ended)
    }

    /// Said before the step: a crash in between says it twice, and never not at all.
    async fn missed(&self, gone: &EventsError, oldest: u64) -> Result<Progress, WebhookError> {
        self.alarm("EVENTS_MISSED", &format!("{gone}; it goes on with that one"));
        self.step(Position::before(oldest)).await?;
        Ok(Progress::Moved)
    }

    async fn send<'a>(&self, events: impl Iterator<Item = (u64, &'a Bytes)>) -> Answer {
        let (numbers, lines): (Vec<String>, Vec<&Bytes>) = events.map(|(seq, line)| (seq.to_string(), line)).unzip();
        let body = body(lines.into_iter());
        let fields = vec![
            ("consentry-signature", self.hook.secrets.sign(self.now(), &body)),
            ("consentry-webhook", self.hook.name.to_string()),
            ("consentry-events", numbers.join(",")),
        ];
        let post = Post { content_type: "application/json", fields, body };
        let (target, networks) = (&self.hook.target, &self.hook.networks);
        Answer::of(self.caller.post(target, networks, post, self.hook.timeout).await)
    }

    async fn step(&self, to: Position) -> Result<(), WebhookError> {
        self.advance(to, Vec::new()).await.map(drop)
    }

    async fn advance(&self, to: Position, parking: Vec<Parking>) -> Result<Advance, WebhookError> {
        self.ask(move |ledger, hook| ledger.advance(hook, to, &parking)).await
    }

    /// Has the disk do something elsewhere.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger, &HookName) -> Result<T, WebhookError> + Send + 'static,
    ) -> Result<T, WebhookError> {
        let (ledger, hook) = (self.shared.ledger.clone(), self.hook.name.clone());
        let worked = tokio::task::spawn_blocking(move || work(&ledger, &hook)).await;
        worked.map_err(|_| WebhookError::Stopping)?
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn alarm(&self, reason: &'static str, what: &str) {
        let mut record = self.record(EventType::Alarm, what);
        record.reason = Some(reason);
        self.shared.log.record(&record);
    }

    /// For the log alone: what stood in the trail would be sent to hooks again.
    fn record(&self, kind: EventType, what: &str) -> Record {
        let mut record = Record::new(kind, self.now());
        record.site = Some(self.hook.target.authority());
        record.evidence = Some(format!("{}: {what}", self.hook.name));
        record
    }
}

/// An event behind another one of its subject: it is tried once it is the first.
fn behind(event: &Event, now: Timestamp) -> Parking {
    Parking { event: event.clone(), attempts: 0, since: now, next: Timestamp::from_millis(0) }
}

/// From 0 to 1. Without randomness the pauses are the longest, and nothing else is lost.
fn chance() -> f64 {
    let mut octets = [0; 4];
    match aws_lc_rs::rand::fill(&mut octets) {
        Ok(()) => f64::from(u32::from_ne_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}
