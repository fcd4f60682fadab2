//! `consentry serve`: run until told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::daemon::{self, Gateway, Sockets};
use crate::telemetry::{EventLog, diagnostics};
use crate::time::Clock;

use crate::exit::{Exit, Failure};

use super::Place;

/// How often the probe runs: three times within the unit's WatchdogSec.
const PROBE_EVERY: Duration = Duration::from_secs(10);

pub(super) fn run(place: &Place, clock: Arc<dyn Clock>) -> Result<Exit, Failure> {
    let sockets = Sockets::handed_over()?;
    let settings = place.load()?;
    diagnostics("info");
    let file = place.file();
    let (log, writer) = EventLog::start(std::io::stdout())?;
    let runtime = daemon::runtime()?;
    let outcome = runtime.block_on(async {
        // Before anybody can see that we run: a signal without a handler would end us.
        let signals = Signals::new()?;
        let gateway = daemon::start(settings, sockets, log, clock).await?;
        let (submission, submission_tls, inbound) = (&gateway.submission, &gateway.submission_tls, &gateway.inbound);
        tracing::info!(?submission, ?submission_tls, ?inbound, http = ?gateway.http, api = ?gateway.api, "ready");
        notify(&[sd_notify::NotifyState::Ready]);
        let outcome = until_told(&gateway, &file, signals).await;
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
        gateway.stop().await;
        outcome
    });
    drop(runtime);
    daemon::finish_log(writer);
    outcome
}

/// What we are told by.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn until_told(gateway: &Gateway, file: &Path, mut signals: Signals) -> Result<Exit, Failure> {
    let mut probe = tokio::time::interval(PROBE_EVERY);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(Exit::Done),
            _ = signals.interrupt.recv() => return Ok(Exit::Done),
            _ = signals.hangup.recv() => reload(gateway, file),
            _ = probe.tick() => feed_watchdog(gateway).await,
        }
    }
}

/// The watchdog is fed by a write, a sync and a read that really happened, not by a timer.
async fn feed_watchdog(gateway: &Gateway) {
    match gateway.probe().await {
        Ok(()) => notify(&[sd_notify::NotifyState::Watchdog]),
        Err(error) => tracing::error!(%error, "the probe of spool and store failed"),
    }
}

fn reload(gateway: &Gateway, file: &Path) {
    notify(&[sd_notify::NotifyState::Reloading]);
    match gateway.live().reload(file) {
        Ok(()) => tracing::info!(file = %file.display(), "configuration reloaded"),
        Err(error) => tracing::error!(%error, "configuration not reloaded, the old one stays in force"),
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
