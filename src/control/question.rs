//! What can be asked.

use serde::{Deserialize, Serialize};

use super::sign_up::SignUp;
use crate::delivery::Selector;

/// One question. Those about many copies look at one page of the queue each and answer where to go on, so that neither
/// side keeps more than a page in memory and nobody waits for the whole queue.
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
    /// Asks the mailbox that was entered somewhere whether its person signed up.
    SignUp(SignUp),
    /// How much is waiting, and what is suspended, slowed or broken.
    Stats,
    /// What is waiting, at most `limit` copies behind the one named `after`.
    List {
        /// Which.
        which: Selector,
        /// How many.
        limit: usize,
        /// Where to go on.
        after: Option<String>,
    },
    /// One copy with its header section.
    Show {
        /// Its queue id.
        id: String,
    },
    /// Changes copies.
    Change {
        /// To what.
        change: Change,
        /// Which.
        which: Selector,
        /// Where to go on.
        after: Option<String>,
        /// Who asks.
        by: String,
        /// Why; it is recorded.
        because: String,
    },
    /// No attempts any more for what is there and what comes.
    Suspend {
        /// Which.
        which: Selector,
        /// For how long; until resumed when there is nothing.
        seconds: Option<u64>,
        /// Who asks.
        by: String,
        /// Why; it is recorded.
        because: String,
    },
    /// Lifts every suspension within `which`.
    Resume {
        /// Which.
        which: Selector,
        /// Who asks.
        by: String,
        /// Why; it is recorded.
        because: String,
    },
}

/// What is to become of copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Due now.
    Retry,
    /// Put aside until released.
    Hold,
    /// Due now, when held.
    Release,
    /// Out of the queue, without telling the sender.
    Drop,
}

impl Change {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Drop => "drop",
        }
    }
}
