//! Carries events to hooks, each hook by a courier of its own, until told to stop.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::courier::{Courier, Shared};
use super::{Ledger, Settings, WebhookError};
use crate::events::Events;
use crate::telemetry::EventLog;
use crate::time::Clock;

/// Those who carry events.
pub struct Couriers {
    shared: Shared,
    settings: watch::Receiver<Arc<Settings>>,
}

impl fmt::Debug for Couriers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Couriers").finish_non_exhaustive()
    }
}

impl Couriers {
    /// Carries what stands in `events` to the hooks that `settings` names, now and after each change. A hook that is new begins
    /// behind what stands there now. Blocks on the disk.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub fn new(
        ledger: Ledger,
        events: Events,
        settings: watch::Receiver<Arc<Settings>>,
        log: EventLog,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WebhookError> {
        for hook in &settings.borrow().hooks {
            ledger.enter(&hook.name, || Ok(events.end()?))?;
        }
        Ok(Self { shared: Shared { ledger, events, log, clock }, settings })
    }

    /// Works until `stops` turns true; calls under way are finished.
    pub async fn run(mut self, mut stops: watch::Receiver<bool>) {
        loop {
            let settings = Arc::clone(&self.settings.borrow_and_update());
            let (halt, halts) = watch::channel(false);
            let mut couriers = JoinSet::new();
            for hook in settings.hooks.clone() {
                couriers.spawn(Courier::new(hook, self.shared.clone(), halts.clone()).run());
            }
            let goes_on = tokio::select! {
                _either_way = async { stops.wait_for(|stop| *stop).await.is_ok() } => false,
                changed = self.settings.changed() => changed.is_ok(),
            };
            halt.send_replace(true);
            while let Some(ended) = couriers.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a webhook's courier broke down");
                }
            }
            if !goes_on {
                return;
            }
        }
    }
}
