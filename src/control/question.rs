//! What can be asked.

use serde::{Deserialize, Serialize};

use crate::mail::QueueId;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Waits until nobody acts on facts older than this question: whoever changed a fact may then acknowledge it.
    Fence,
    /// Keeps one record in log and audit: what an operator's command changed. The store keeps its own history of it.
    Record {
        /// A JSON object on one line.
        line: String,
    },
    /// How much is waiting.
    Stats,
    /// What is waiting, at most `limit` copies behind the one named `after`.
    List {
        /// How many.
        limit: usize,
        /// Where to go on.
        after: Option<String>,
    },
    /// Try now.
    Retry {
        /// Which.
        which: Selection,
    },
    /// Give up without telling the sender.
    Drop {
        /// Which.
        which: Selection,
        /// Why; it is recorded.
        because: String,
    },
}

/// Which copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every one.
    All,
    /// One, by its queue id.
    One(String),
}

impl Selection {
    /// `Some(None)` for all, `Some(Some(id))` for one, `None` when the text is no queue id.
    pub fn id(&self) -> Option<Option<QueueId>> {
        match self {
            Self::All => Some(None),
            Self::One(text) => QueueId::parse(text).map(Some),
        }
    }
}
