//! Who is telling facts right now, across the processes that share a journal: the daemon, and commands beside it.
//!
//! Whoever tells a fact wants to know whether it was new, and would find it in the store if the daemon's keeper sent it first. So
//! tellers share a lock, and the keeper sends what was left behind only while nobody tells. The system lets go of the
//! lock of a process that ends, whatever way it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::files::hand_over;

/// The lock of one journal.
#[derive(Debug)]
pub(super) struct Tellers {
    path: PathBuf,
}

/// Held while facts are told, or while nobody else may; let go when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _file: File,
}

impl Tellers {
    /// Of the journal at `journal`.
    pub(super) fn of(journal: &Path) -> Self {
        Self { path: journal.with_extension("telling") }
    }

    /// Taken before facts are written down, and held until they are told. Many may; waits while the keeper sends.
    pub(super) fn join(&self) -> Result<Held, StoreError> {
        let file = self.open()?;
        file.lock_shared().map_err(StoreError::io("lock", &self.path))?;
        Ok(Held { _file: file })
    }

    /// Keeps tellers off; nothing while there is one.
    pub(super) fn keep_off(&self) -> Result<Option<Held>, StoreError> {
        let file = self.open()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(StoreError::Io { action: "lock", path: self.path.clone(), source }),
        }
    }

    /// A lock belongs to the file that was opened for it, so each holder opens its own.
    fn open(&self) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let file = options.open(&self.path).map_err(StoreError::io("open the lock file", &self.path))?;
        hand_over(&self.path);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tellers_share_and_the_keeper_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let (command, daemon) = (Tellers::of(&journal), Tellers::of(&journal));
        let (first, second) = (command.join().unwrap(), daemon.join().unwrap());
        assert!(daemon.keep_off().unwrap().is_none());
        drop(first);
        assert!(daemon.keep_off().unwrap().is_none(), "one is left");
        drop(second);
        let alone = daemon.keep_off().unwrap();
        assert!(alone.is_some() && command.keep_off().unwrap().is_none(), "one sends at a time");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| command.join().unwrap());
            assert!(!waiting.is_finished());
            drop(alone);
            waiting.join().unwrap();
        });
    }
}
