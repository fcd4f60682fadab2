//! How the operations on the store end, whichever facts they work on.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::store::StoreError;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Nothing was there to show or to confirm.
    Nothing,
    /// An import was taken back: so many entries went, and so many of its entries stay.
    Undone {
        /// Entries that went, or people of whom something was taken back.
        removed: u64,
        /// Entries that somebody confirmed since, or that were gone before.
        kept: u64,
    },
    /// An import recorded what it could, and reported lines that it could not read.
    SomeInvalid,
}

impl Outcome {
    /// How the command ends.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Done | Self::Undone { .. } => Exit::Done,
            Self::Nothing => Exit::No,
            Self::SomeInvalid => Exit::Data,
        }
    }
}

/// Why an operation did not end.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The store refused or could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The arguments contradict themselves.
    #[error("{0}")]
    Usage(String),
    /// The file to import is not what it was said to be.
    #[error("{0}")]
    Format(String),
}

impl From<crate::imports::Failed> for OperationError {
    fn from(failed: crate::imports::Failed) -> Self {
        match failed {
            crate::imports::Failed::Format(why) => Self::Format(why),
            crate::imports::Failed::Io(source) => Self::File { path: PathBuf::from("import"), source },
        }
    }
}

impl OperationError {
    /// How the command ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::Store(
                StoreError::ReasonNeeded { .. }
                | StoreError::OptOutExpires { .. }
                | StoreError::TooLong { .. }
                | StoreError::Unfit { .. },
            ) => Exit::Usage,
            Self::Format(_) => Exit::Data,
            Self::File { .. } => Exit::Io,
            Self::Store(error) if error.is_transient() => Exit::Temporary,
            Self::Store(_) => Exit::Unavailable,
        }
    }

    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path: path.clone(), source }
    }

    /// The place that the answer is written to has gone.
    pub(super) fn output(source: io::Error) -> Self {
        Self::File { path: PathBuf::from("standard output"), source }
    }
}
