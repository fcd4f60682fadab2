//! What can go wrong in the store, whose fault it is, and what to do about it.

use std::path::{Path, PathBuf};

use crate::policy::Cause;

/// Why the store did not answer or did not change. Nothing of this ever means "nobody objected" (promise P4).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The mark says that a store was here, and it is gone.
    #[error(
        "{path}: the store is missing although it was here before; restore it from a backup, or, to begin with an \
         empty store and forget every opt-out knowingly, remove {mark}"
    )]
    Missing {
        /// Where the database was.
        path: PathBuf,
        /// The file that remembers it.
        mark: PathBuf,
    },
    /// A backup or a copy that lacks changes which were acknowledged.
    #[error(
        "{path}: the store stands at change {found}, but change {acknowledged} was acknowledged; restore a newer copy \
         (with its -wal file), or, to lose the difference knowingly, remove {mark}"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// The file that remembers the last acknowledged change.
        mark: PathBuf,
        /// The last change in the database.
        found: i64,
        /// The last change that was acknowledged.
        acknowledged: i64,
    },
    /// Another store lies where ours was.
    #[error("{path}: this is another store than the one that {mark} remembers; put the right one back")]
    Foreign {
        /// The database.
        path: PathBuf,
        /// The file that remembers which store belongs here.
        mark: PathBuf,
    },
    /// Not a store, or a broken one.
    #[error("{path}: damaged or not a store ({what}); restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a later release; it is left untouched.
    #[error("{path}: written by a newer release (schema {found}, this release knows {known}); use that release")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this release knows.
        known: i64,
    },
    /// The key of the keyed hashes is gone. Without it no entry would ever match again.
    #[error("{path}: the store's key is missing; restore it: without it no entry of the store can be found")]
    KeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// Another key than the one the entries were made with.
    #[error(
        "{path}: this is not the key that the store was made with; restore the right one, or copy that of the gateway that \
         rotated it"
    )]
    KeyWrong {
        /// The key file.
        path: PathBuf,
    },
    /// The key file does not hold a key, or everybody can read it.
    #[error("{path}: {what}")]
    KeyUnfit {
        /// The key file.
        path: PathBuf,
        /// What was found, and what was expected.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Another process held the store longer than the bound.
    #[error("the store is busy: another process holds it; try again")]
    Busy,
    /// SQLite refused.
    #[error("the store cannot {action}: {source}")]
    Sql {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// An earlier failure that only reopening can heal.
    #[error("the store has failed and must be reopened: {because}")]
    Latched {
        /// The first failure.
        because: String,
    },
    /// The fleet's store does not answer, or not as a primary that may be believed.
    #[error("the fleet store does not answer: {because}")]
    Away {
        /// What was seen.
        because: String,
    },
    /// The fleet's store is being brought up to date; until then it answers nobody.
    #[error("the fleet store is not up to date yet: {because}")]
    Settling {
        /// What is waited for.
        because: String,
    },
    /// What lies in Redis, or how Redis is set up, cannot be the fleet's store; an operator has to look.
    #[error("fleet store: {because}")]
    Refused {
        /// What was found, and what to do.
        because: String,
    },
    /// The background task was cancelled because the process is ending.
    #[error("the process is stopping; the change may or may not have been made")]
    Stopping,
    /// Somebody tried to lift a person's own complaint or objection without saying why.
    #[error("an entry of cause `{cause}` is only removed with a reason; say why the person may be written to again")]
    ReasonNeeded {
        /// The entry's cause.
        cause: Cause,
    },
    /// Somebody tried to let an opt-out expire (promise P10).
    #[error("an entry of cause `{cause}` is the person's own word and never expires; leave the expiry out")]
    OptOutExpires {
        /// The entry's cause.
        cause: Cause,
    },
    /// A text that does not fit its bound.
    #[error("{what} is longer than {max} octets")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A record that cannot be kept as it is.
    #[error("{what}")]
    Unfit {
        /// What was expected.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing it. Mail waits (451) whatever this says:
    /// no error of the store is an answer about a person.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::Busy
            | Self::Sql { .. }
            | Self::Latched { .. }
            | Self::Away { .. }
            | Self::Settling { .. }
            | Self::Stopping => true,
            Self::Missing { .. }
            | Self::Older { .. }
            | Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::KeyMissing { .. }
            | Self::KeyWrong { .. }
            | Self::KeyUnfit { .. }
            | Self::Refused { .. }
            | Self::ReasonNeeded { .. }
            | Self::OptOutExpires { .. }
            | Self::TooLong { .. }
            | Self::Unfit { .. } => false,
        }
    }

    /// Whether this is about the fleet's servers rather than about this gateway.
    pub const fn is_of_fleet(&self) -> bool {
        matches!(
            self,
            Self::Away { .. }
                | Self::Settling { .. }
                | Self::Refused { .. }
                | Self::Latched { .. }
                | Self::KeyWrong { .. }
        )
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn sql(action: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sql { action, source },
        }
    }
}
