//! Joins the trail with those who carry its events out.

use std::path::Path;
use std::sync::Arc;

use crate::events::Events;
use crate::telemetry::EventLog;
use crate::time::Clock;
use crate::webhook::{Couriers, FILE, Ledger};

use super::{Live, StartError};

/// Opens the list of webhooks. Couriers hear of a reload through `live`.
pub(super) fn couriers(
    data_dir: &Path,
    live: &Live,
    log: &EventLog,
    clock: &Arc<dyn Clock>,
) -> Result<Couriers, StartError> {
    let (ledger, trail) = (Ledger::open(&data_dir.join(FILE))?, Events::of(&data_dir.join("audit")));
    Ok(Couriers::new(ledger, trail, live.webhooks.subscribe(), log.clone(), Arc::clone(clock))?)
}
