//! When messages to ourselves leave, and where they come back to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::feedback::CanarySink;
use crate::pipeline::Pipeline;

/// How often those that are missing are looked for, and whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Leads what comes back to the hall.
pub(super) fn sink(hall: &Arc<Pipeline>) -> CanarySink {
    let hall = Arc::clone(hall);
    Arc::new(move |header, body| hall.canary_returned(header, body))
}

/// Sends them until the stop; the first ones as soon as the gateway runs.
pub(super) async fn run(hall: Arc<Pipeline>, mut stops: watch::Receiver<bool>) {
    let mut last: Option<Instant> = None;
    loop {
        let due = hall.canary_every().is_some_and(|every| last.is_none_or(|last| last.elapsed() >= every));
        if due {
            last = Some(Instant::now());
            hall.send_canaries().await;
        }
        hall.miss_canaries();
        tokio::select! {
            _either_way = stops.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
