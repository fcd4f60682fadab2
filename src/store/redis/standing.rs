//! Whether the fleet's store answers, and what is said while it does not.

use std::sync::Arc;

use super::look::Ground;
use crate::store::StoreError;

/// Whether the store answers.
#[derive(Debug)]
pub(super) enum Standing {
    /// It was found whole.
    Ready(Arc<Ground>),
    /// No answer, or none that may be believed; the keeper tries again.
    Closed(Closed),
}

/// Why the store is closed: as much of a [`StoreError`] as can be said again.
#[derive(Clone, Debug)]
pub(super) enum Closed {
    Away(String),
    Settling(String),
    Refused(String),
    Latched(String),
}

impl Closed {
    pub(super) fn error(&self) -> StoreError {
        match self.clone() {
            Self::Away(because) => StoreError::Away { because },
            Self::Settling(because) => StoreError::Settling { because },
            Self::Refused(because) => StoreError::Refused { because },
            Self::Latched(because) => StoreError::Latched { because },
        }
    }

    pub(super) fn over(error: &StoreError) -> Self {
        if let StoreError::Away { because } = error {
            Self::Away(because.clone())
        } else if let StoreError::Settling { because } = error {
            Self::Settling(because.clone())
        } else if let StoreError::Latched { because } = error {
            Self::Latched(because.clone())
        } else {
            Self::Refused(error.to_string())
        }
    }
}
