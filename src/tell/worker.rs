//! Tells tools, one notice after the other, until told to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::call::{Hindrance, Outcome, call};
use super::ledger::Notice;
use super::{Settings, TellError, Tools};
use crate::https::{Caller, Target};
use crate::telemetry::{AuditSink, Event, EventLog, EventType};
use crate::time::{Clock, Timestamp};
use crate::tls::Trust;

/// Calls at a time: tools are few, and a slow one holds up the others for half a minute at most.
const CALLS_MAX: usize = 8;
/// How often the list is looked at when nothing is due: also the pause after it could not be read.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How long a notice is left alone while it is called: longer than a call takes, so that no tool is called twice at a time.
const LEASE: Duration = Duration::from_mins(2);
/// How often URLs that were kept long enough are removed.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// Whoever tells.
pub struct Teller {
    tools: Tools,
    caller: Arc<Caller>,
    log: EventLog,
    audit: AuditSink,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// Tells what `tools` has, and believes tools by `trust`.
    pub fn new(tools: Tools, trust: Trust, log: EventLog, audit: AuditSink, clock: Arc<dyn Clock>) -> Self {
        Self { tools, caller: Arc::new(Caller::new(trust)), log, audit, clock }
    }

    /// Works until `stops` turns true; calls under way are finished.
    pub async fn run(self, mut stops: watch::Receiver<bool>) {
        let mut calls: JoinSet<(Notice, Outcome)> = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut settings = self.tools.settings.load_full();
        loop {
            // While a call is under way its notice must stay leased.
            if calls.is_empty() {
                settings = self.hurry_if_changed(settings).await;
            }
            let pause = self.start_due(&mut calls).await;
            tokio::select! {
                _either_way = async { stops.wait_for(|stop| *stop).await.is_ok() } => break,
                Some(ended) = calls.join_next(), if !calls.is_empty() => self.ended(ended).await,
                () = self.tools.wake.notified() => {}
                _ = sweep.tick() => self.sweep().await,
                () = tokio::time::sleep(pause) => {}
            }
        }
        while let Some(ended) = calls.join_next().await {
            self.ended(ended).await;
        }
    }

    /// A host or a network may have been added: nobody waits six hours to see it work.
    async fn hurry_if_changed(&self, before: Arc<Settings>) -> Arc<Settings> {
        let settings = self.tools.settings.load_full();
        if !Arc::ptr_eq(&before, &settings)
            && let Err(error) = self.tools.ledger.hurry().await
        {
            tracing::error!(%error, "what waits stays where it is");
        }
        settings
    }

    /// Starts as many calls as there is room for, and says how long there will be nothing to do.
    async fn start_due(&self, calls: &mut JoinSet<(Notice, Outcome)>) -> Duration {
        let room = CALLS_MAX.saturating_sub(calls.len());
        if room == 0 {
            return LOOK_EVERY;
        }
        let now = self.clock.now();
        let due = match self.tools.ledger.lease(now, now.plus(LEASE), room).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "no tool is told");
                return LOOK_EVERY;
            }
        };
        for notice in due.notices {
            let (caller, settings) = (Arc::clone(&self.caller), self.tools.settings.load_full());
            calls.spawn(async move {
                let outcome = attempt(&caller, &settings, &notice).await;
                (notice, outcome)
            });
        }
        due.next.map_or(LOOK_EVERY, |next| next.since(now).min(LOOK_EVERY))
    }

    async fn ended(&self, ended: Result<(Notice, Outcome), tokio::task::JoinError>) {
        match ended {
            Ok((notice, outcome)) => {
                if let Err(error) = self.settle(&notice, outcome).await {
                    // Its lease ends, and the tool will be told once more.
                    tracing::error!(%error, message = %notice.message, "how a tool was told could not be written down");
                }
            }
            Err(error) => tracing::error!(%error, "a call to a tool broke down"),
        }
    }

    async fn settle(&self, notice: &Notice, outcome: Outcome) -> Result<(), TellError> {
        let now = self.clock.now();
        let settings = self.tools.settings.load();
        let attempts = notice.attempts.saturating_add(1);
        let (kind, said) = match outcome {
            Outcome::Told(status) => (EventType::ToolTold, format!("HTTP {}", status.as_u16())),
            Outcome::Refused(status) => (EventType::ToolNotTold, format!("HTTP {}", status.as_u16())),
            Outcome::Later(why) if now.since(notice.created) >= settings.give_up => {
                (EventType::ToolNotTold, format!("given up; {why}"))
            }
            Outcome::Later(why) => {
                let until = now.plus(delay(attempts, &settings));
                self.tools.ledger.put_off(notice.message, attempts, until).await?;
                let mut event = about(EventType::ToolUnreachable, notice, attempts, &why.to_string(), now);
                event.next_attempt = Some(until);
                self.log.record(&event);
                return Ok(());
            }
        };
        let event = about(kind, notice, attempts, &said, now);
        self.tools.ledger.settle(notice.message).await?;
        (self.audit)(self.log.record(&event));
        Ok(())
    }

    async fn sweep(&self) {
        match self.tools.ledger.sweep(self.clock.now()).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "URLs of tools were kept long enough"),
            Err(error) => tracing::error!(%error, "URLs of tools could not be removed"),
        }
    }
}

/// Calls the tool, if its host is still allowed: the operator may have changed their mind since the message.
async fn attempt(caller: &Caller, settings: &Settings, notice: &Notice) -> Outcome {
    match settings.target(&notice.stream, &notice.url) {
        Some(target) => call(caller, &target, &settings.networks).await,
        None => Outcome::Later(Hindrance::NotAllowed),
    }
}

/// Each pause doubles the one before.
fn delay(attempts: u32, settings: &Settings) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    settings.first.saturating_mul(1 << doublings).min(settings.longest)
}

/// The event of one call. The host is named, the rest of the URL stands for a person and is not.
fn about(kind: EventType, notice: &Notice, attempts: u32, said: &str, now: Timestamp) -> Event {
    let host = Target::parse(&notice.url).map_or_else(String::new, |target| target.authority());
    let mut event = Event::new(kind, now);
    event.id = Some(notice.message.to_string());
    event.stream = Some(notice.stream.to_string());
    event.evidence = Some(format!("{host}: {said}"));
    event.created = Some(notice.created);
    event.num_attempts = Some(attempts);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings =
            Settings { first: Duration::from_mins(1), longest: Duration::from_mins(5), ..Settings::default() };
        let minutes: Vec<_> = [1, 2, 3, 4, 5, 40].iter().map(|n| delay(*n, &settings).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 5, 5, 5]);
    }
}
