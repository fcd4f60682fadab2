//! Joins the rooms that an opt-out passes through.

use std::sync::Arc;

use crate::optout::OptOuts;
use crate::pipeline::Pipeline;
use crate::spool::Spool;
use crate::store::{Fence, Store};
use crate::telemetry::{EventLog, Privacy};
use crate::tell::Tools;
use crate::time::Clock;

/// What is there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) store: &'a Store,
    pub(super) fence: &'a Fence,
    pub(super) spool: &'a Spool,
    pub(super) log: &'a EventLog,
    pub(super) privacy: &'a Privacy,
}

impl Parts<'_> {
    /// Records go to the spool, receipts are written by the hall.
    pub(super) fn join(self, hall: &Arc<Pipeline>, tools: &Tools, clock: &Arc<dyn Clock>) -> OptOuts {
        let (audit, hall) = (self.spool.clone(), Arc::clone(hall));
        OptOuts {
            store: self.store.clone(),
            fence: self.fence.clone(),
            log: self.log.clone(),
            privacy: self.privacy.clone(),
            clock: Arc::clone(clock),
            audit: Arc::new(move |line| audit.note(line)),
            tools: tools.clone(),
            receipts: Arc::new(move |subject| {
                let hall = Arc::clone(&hall);
                Box::pin(async move { hall.acknowledge(&subject).await })
            }),
        }
    }
}
