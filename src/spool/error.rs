//! What can go wrong in the spool, and whose fault it is.

/// Why the spool refused. [`SpoolError::is_transient`] says whether the same request may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// No space, or more waiting mail than the settings allow: 452; recovers by itself. The machine's fault.
    #[error("no space left for the spool")]
    Full,
    /// A write or fsync failed, or the spool was shut down: nothing is accepted until restart. The machine's fault.
    #[error("spool failed: {0}")]
    Failed(String),
    /// This batch can never be stored; the sentence says why. The caller's fault, and no use to try again.
    #[error("batch cannot be spooled: {0}")]
    Unfit(&'static str),
    /// The directory cannot be opened as a spool; the sentence says what to do. The operator's fault.
    #[error("spool directory cannot be used: {0}")]
    Unusable(String),
}

impl SpoolError {
    /// Whether the same request may succeed later without anybody changing anything but free space or a restart.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Full | Self::Failed(_) => true,
            Self::Unfit(_) | Self::Unusable(_) => false,
        }
    }

    /// For an input or output error met while opening.
    pub(super) fn unusable(doing: &str, error: &std::io::Error) -> Self {
        Self::Unusable(format!("{doing}: {error}"))
    }
}

/// Whether the file system refused for want of space: it may have some later, so this does not latch the spool.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    error.kind() == StorageFull || error.kind() == QuotaExceeded
}
