//! The deadline watch: how long an opt-out took from its POST until it may be acknowledged, and who is told when it is late.

use std::time::Duration;

use tokio::time::Instant;

use crate::optout::{OptOut, OptOuts};
use crate::store::{Added, StoreError};
use crate::telemetry::{Effects, Histogram};

/// How often the counts are written to the log when there is something new in them.
const REPORT_EVERY: Duration = Duration::from_hours(1);
/// How long an opt-out may take before its sender is asked to come back. It may be recorded all the same.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an opt-out was not acknowledged. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotYet {
    /// The store could not record it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It took longer than anybody waits.
    #[error("not in effect after {} seconds", ANSWER_TIMEOUT.as_secs())]
    TooLong,
}

/// Records one opt-out in a task of its own, so that a client who leaves early leaves no half of it; counts the time
/// since `since`, and says so in the log as soon as `bound` has passed without effect.
pub(super) async fn record(
    opt_outs: &OptOuts,
    effects: &Effects,
    wish: OptOut,
    since: Instant,
    bound: Duration,
) -> Result<Added, NotYet> {
    let opt_outs = opt_outs.clone();
    let mut work = tokio::spawn(async move { opt_outs.record(&wish).await });
    let give_up = tokio::time::sleep(ANSWER_TIMEOUT);
    let late = tokio::time::sleep_until(since + bound);
    tokio::pin!(give_up, late);
    let mut told = false;
    let outcome = loop {
        tokio::select! {
            biased;
            done = &mut work => break done.map_err(|_| StoreError::Stopping).flatten().map_err(NotYet::Store),
            () = &mut late, if !told => {
                told = true;
                is_late(effects, bound);
            }
            () = &mut give_up => break Err(NotYet::TooLong),
        }
    };
    match &outcome {
        Ok(_) => effects.done(since.elapsed()),
        Err(error) => {
            effects.failed();
            tracing::error!(%error, "an opt-out could not be recorded; its sender was asked to come back");
        }
    }
    outcome
}

fn is_late(effects: &Effects, bound: Duration) {
    effects.late();
    let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    tracing::error!(bound_ms, "an opt-out is not in effect within its bound");
}

/// Writes the counts to the log from time to time.
#[derive(Debug, Default)]
pub(super) struct Reports {
    last: Option<(Instant, Histogram)>,
}

impl Reports {
    /// Looks whether a report is due.
    pub(super) fn tick(&mut self, effects: &Effects) {
        let now = Instant::now();
        let seen = effects.histogram();
        match &self.last {
            Some((at, _)) if now.duration_since(*at) < REPORT_EVERY => {}
            Some((_, known)) => {
                if *known != seen {
                    report(&seen);
                }
                self.last = Some((now, seen));
            }
            None => self.last = Some((now, seen)),
        }
    }
}

/// What was counted, in one line of the log.
pub(super) fn report(seen: &Histogram) {
    let Histogram { buckets: _, late, failed } = seen;
    tracing::info!(histogram = %seen, opt_outs = seen.total(), late, failed, "opt-outs since the start, from POST to effect");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::path::Path;

    use super::*;
    use crate::mail::{ControllerId, Mailbox, QueueId};
    use crate::policy::{Cause, Origin, Scope};
    use crate::store::{Fence, Store};
    use crate::telemetry::{EventLog, Privacy};
    use crate::tell::Tools;
    use crate::time::{ManualClock, Timestamp};
    use crate::token::Subject;

    fn wish() -> OptOut {
        let controller = ControllerId::new("acme").unwrap();
        let subject = Subject {
            mailbox: Mailbox::parse("a@b.example").unwrap(),
            controller: controller.clone(),
            list: None,
            message: QueueId::from_u64(1),
        };
        OptOut { subject, scope: Scope::Controller(controller), cause: Cause::Unsubscribe, origin: Origin::OneClick }
    }

    fn opt_outs(folder: &Path, store: Store, fence: Fence) -> OptOuts {
        let (log, _writer) = EventLog::start(std::io::sink()).unwrap();
        OptOuts {
            store,
            fence,
            log,
            privacy: Privacy::Domain,
            clock: Arc::new(ManualClock::new(Timestamp::from_secs(1))),
            audit: Arc::new(drop),
            tools: Tools::open(&folder.join("tools.db"), Arc::default()).unwrap(),
            receipts: Arc::new(|_| Box::pin(async {})),
        }
    }

    #[tokio::test]
    async fn what_is_in_time_is_counted_and_what_cannot_be_recorded_too() {
        let (effects, bound) = (Effects::default(), Duration::from_mins(1));
        let store = Store::memory();
        let folder = tempfile::tempdir().unwrap();
        let opt_outs = opt_outs(folder.path(), store.clone(), Fence::default());
        let added = record(&opt_outs, &effects, wish(), Instant::now(), bound).await.unwrap();
        assert_eq!((added, effects.histogram().total(), effects.histogram().late), (Added::New, 1, 0));
        let Store::Memory(memory) = &store else { panic!() };
        memory.fail(true);
        let failed = record(&opt_outs, &effects, wish(), Instant::now(), bound).await;
        assert!(matches!(failed, Err(NotYet::Store(_))));
        assert_eq!((effects.histogram().total(), effects.histogram().failed), (1, 1));
    }

    /// Somebody acts on old facts for ever: the bound passes and is told once, then the sender is asked to come back.
    #[tokio::test]
    async fn what_is_late_is_told_once_and_not_acknowledged_for_ever() {
        let fence = Fence::default();
        let _ticket = fence.enter();
        let effects = Effects::default();
        let folder = tempfile::tempdir().unwrap();
        let opt_outs = opt_outs(folder.path(), Store::memory(), fence.clone());
        let since = Instant::now().checked_sub(ANSWER_TIMEOUT).unwrap();
        let wait = record(&opt_outs, &effects, wish(), since, Duration::from_millis(1));
        let ended = tokio::time::timeout(Duration::from_millis(200), wait).await;
        assert!(ended.is_err(), "it waits for the fence");
        assert_eq!((effects.histogram().late, effects.histogram().total()), (1, 0));
    }
}
