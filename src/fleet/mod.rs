//! Gateways that keep limits together: asks for what will be needed next, ahead, and hands it to those who send.
//!
//! **Promise:** all gateways together send no faster than the rate, and no more on a day of a plan than it may have, whichever
//! of them sees the others; whoever is cut off goes by its share of the rate, and only when nobody else can be using it.
//!
//! **Owns:** when the fleet is asked, what is promised to the others, when this gateway is alone.
//!
//! **Never knows:** who a message is for, SMTP, how the fleet's server is reached.

mod presence;
#[cfg(test)]
mod tests;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::presence::{Presence, Question};
use crate::delivery::{Board, Portion, Thirst};
use crate::shaping::Gateways;
use crate::store::{Claims, Counts, DayClaim, Grants, PACES_MAX, PaceClaim, ServerTime, StoreError};
use crate::telemetry::{Event, EventLog, EventType};
use crate::time::{Clock, Timestamp};

/// How often it is asked for more where there is a use for it: under half of the quarter of a second that a burst covers.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often it is asked at least, so that the others can use what is not used here: a quarter of what a promise covers.
const STAY_EVERY: Duration = Duration::from_millis(500);

/// One gateway of a fleet.
pub struct Member {
    counts: Counts,
    board: Arc<Board>,
    gateways: Gateways,
    events: EventLog,
    clock: Arc<dyn Clock>,
    begun: Instant,
    presence: Presence,
    /// When it was last asked.
    asked: Option<Duration>,
    /// Whether it was told that the fleet cannot be asked.
    is_away: bool,
    /// Whether it was told that there are more gateways than there should be.
    crowded: bool,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("presence", &self.presence).finish_non_exhaustive()
    }
}

impl Member {
    /// Nothing is asked before it runs.
    pub fn new(counts: Counts, board: Arc<Board>, gateways: Gateways, events: EventLog, clock: Arc<dyn Clock>) -> Self {
        let presence = Presence::default();
        Self {
            counts,
            board,
            gateways,
            events,
            clock,
            begun: Instant::now(),
            presence,
            asked: None,
            is_away: false,
            crowded: false,
        }
    }

    /// Asks until `stops` turns true.
    pub async fn run(mut self, mut stops: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _either_way = stops.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let now = self.begun.elapsed();
        self.tell_company(now);
        let is_due = self.asked.is_none_or(|asked| now.saturating_sub(asked) >= STAY_EVERY);
        if !is_due && !self.board.is_thirsty() {
            return;
        }
        self.asked = Some(now);
        let question = self.presence.question(now);
        // A promise begins before its call is on the way.
        self.tell_company(now);
        let outcome = match question {
            Question::Time => self.ask(ServerTime(0), &[], &[]).await.map(|_| ()),
            Question::Claims(until) => self.fetch(until).await,
        };
        self.tell_outcome(outcome);
        self.tell_company(self.begun.elapsed());
    }

    async fn fetch(&mut self, until: ServerTime) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (thirsts, portions) = (self.board.thirsts(), self.board.portions(now));
        let mut portions = portions.as_slice();
        let (mut all, mut is_first) = (thirsts.as_slice(), true);
        while is_first || !all.is_empty() {
            let (some, rest) = all.split_at(all.len().min(PACES_MAX));
            let grants = self.ask(until, some, portions).await?;
            self.hand_out(some, portions, &grants, self.clock.now());
            (all, portions, is_first) = (rest, &[], false);
        }
        Ok(())
    }

    async fn ask(&mut self, until: ServerTime, thirsts: &[Thirst], portions: &[Portion]) -> Result<Grants, StoreError> {
        let pace = |thirst: &Thirst| PaceClaim {
            name: thirst.name.clone(),
            interval: thirst.asked.interval,
            burst: thirst.asked.burst,
            wanted: thirst.asked.wanted.get(),
        };
        let day = |portion: &Portion| DayClaim {
            name: portion.name.clone(),
            limit: portion.limit,
            mine: portion.mine,
            target: portion.target,
            seen: portion.total,
        };
        let claims = Claims {
            until,
            gateways: NonZeroU16::new(self.gateways.get()).unwrap_or(NonZeroU16::MIN),
            paces: thirsts.iter().map(pace).collect(),
            days: portions.iter().map(day).collect(),
        };
        let grants = self.counts.claim(&claims).await?;
        self.presence.heard(grants.at, self.begun.elapsed());
        let crowded = grants.here > u64::from(self.gateways.get());
        if crowded && !self.crowded {
            let (here, expected) = (grants.here, self.gateways.get());
            tracing::warn!(here, expected, "more gateways keep limits together than [fleet] gateways says");
        }
        self.crowded = crowded;
        Ok(grants)
    }

    fn hand_out(&self, thirsts: &[Thirst], portions: &[Portion], grants: &Grants, now: Timestamp) {
        for (thirst, grant) in thirsts.iter().zip(&grants.paces) {
            thirst.give(grant.count, grant.next, now);
        }
        for (portion, grant) in portions.iter().zip(&grants.days) {
            self.board.portion_given(portion, grant.mine, grant.total, now);
        }
    }

    fn tell_outcome(&mut self, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) if std::mem::take(&mut self.is_away) => {
                tracing::info!("the fleet keeps its limits together again");
                self.record("FLEET_BACK", "this gateway keeps its limits together with the others again".to_owned());
            }
            Ok(()) => {}
            Err(error) => {
                self.presence.missed();
                if !std::mem::replace(&mut self.is_away, true) {
                    let gateways = self.gateways.get();
                    let text = format!(
                        "the fleet cannot be asked for its limits, so this gateway goes by its share, one part in {gateways} of \
                         each rate, and warm-ups by what they were given: {error}"
                    );
                    tracing::warn!("{text}");
                    self.record("FLEET_AWAY", text);
                }
            }
        }
    }

    fn record(&self, reason: &'static str, text: String) {
        let mut event = Event::new(EventType::Pace, self.clock.now());
        event.reason = Some(reason);
        event.evidence = Some(text);
        // In the log alone: nothing that happened to a message has to be proven by it.
        let _line = self.events.record(&event);
    }

    fn tell_company(&self, now: Duration) {
        self.board.company(self.presence.company(now), self.clock.now());
    }
}
