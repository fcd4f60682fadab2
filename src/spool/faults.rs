//! A plan that makes the n-th file operation fail, for tests.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::disk::Operation;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// ENOSPC where something grows, EIO elsewhere.
    Full = 1,
    /// EIO.
    Io = 2,
    /// Part of a write arrives, then ENOSPC; EIO elsewhere.
    Short = 3,
}

/// Counts operations and fails one, or all from one on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    count: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
    kind: AtomicU8,
    only_sync: AtomicU8,
}

impl Faults {
    /// Fails the operations `from..until`, counted from now, beginning with 1.
    pub(crate) fn arm(&self, kind: Fault, from: u64, until: u64) {
        self.count.store(0, Ordering::SeqCst);
        self.kind.store(kind as u8, Ordering::SeqCst);
        self.from.store(from, Ordering::SeqCst);
        self.until.store(until, Ordering::SeqCst);
    }

    /// Counts fsyncs only.
    pub(crate) fn only_syncs(&self) {
        self.only_sync.store(1, Ordering::SeqCst);
    }

    /// Fails nothing any more.
    pub(crate) fn disarm(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// Operations since the plan was armed.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether failing writes leave a part behind.
    pub(crate) fn is_short(&self) -> bool {
        self.kind.load(Ordering::SeqCst) == Fault::Short as u8
    }

    pub(super) fn step(&self, operation: Operation) -> io::Result<()> {
        if self.only_sync.load(Ordering::SeqCst) == 1 && operation != Operation::Sync {
            return Ok(());
        }
        let now = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if now < self.from.load(Ordering::SeqCst) || now >= self.until.load(Ordering::SeqCst) {
            return Ok(());
        }
        let grows = matches!(operation, Operation::Create | Operation::Write);
        let io_only = self.kind.load(Ordering::SeqCst) == Fault::Io as u8;
        Err(io::Error::from_raw_os_error(if grows && !io_only { 28 } else { 5 }))
    }
}
