//! Which messages of a run came out at the far end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::letter::Number;

/// What the sink has seen. Shared between the sink's thread and the one that measures.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    page: Mutex<Page>,
}

/// One run.
#[derive(Debug, Default)]
struct Page {
    run: u32,
    /// How often each message arrived, up to 255.
    arrivals: Vec<u8>,
    distinct: u32,
    /// When the last message that had not been seen before arrived.
    latest: Option<Instant>,
}

/// What became of a run's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages that arrived at least once.
    pub(crate) distinct: u32,
    /// Arrivals after the first one of the same message.
    pub(crate) duplicates: u32,
    /// Accepted, and never arrived.
    pub(crate) lost: u32,
    /// Refused, and arrived all the same.
    pub(crate) leaked: u32,
}

impl Tally {
    /// Each accepted message arrived exactly once and no refused one did.
    pub(crate) fn is_clean(self) -> bool {
        self.duplicates == 0 && self.lost == 0 && self.leaked == 0
    }
}

impl Ledger {
    /// Turns to a new page, for a run of `messages`. Arrivals of other runs are not counted.
    pub(crate) fn begin(&self, run: u32, messages: usize) {
        *self.page() = Page { run, arrivals: vec![0; messages], distinct: 0, latest: None };
    }

    /// Notes an arrival.
    pub(crate) fn arrived(&self, number: Number) {
        let mut page = self.page();
        if number.run != page.run {
            return;
        }
        let Some(count) = usize::try_from(number.at).ok().and_then(|at| page.arrivals.get_mut(at)) else { return };
        let first = *count == 0;
        *count = count.saturating_add(1);
        if first {
            page.distinct += 1;
            page.latest = Some(Instant::now());
        }
    }

    /// How many different messages have arrived, and when the latest of them did.
    pub(crate) fn progress(&self) -> (u32, Option<Instant>) {
        let page = self.page();
        (page.distinct, page.latest)
    }

    /// Compares what arrived with what was accepted, message by message.
    pub(crate) fn tally(&self, accepted: &[bool]) -> Tally {
        let page = self.page();
        let mut tally = Tally { distinct: page.distinct, ..Tally::default() };
        for (&arrivals, &accepted) in page.arrivals.iter().zip(accepted) {
            tally.duplicates += u32::from(arrivals.saturating_sub(1));
            tally.lost += u32::from(accepted && arrivals == 0);
            tally.leaked += u32::from(!accepted && arrivals > 0);
        }
        tally
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
