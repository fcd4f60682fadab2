//! The operator's desk: questions about the queue and what is done about it.
//!
//! **Promise:** a question gets one answer, and nothing is changed without a record of it.
//!
//! **Owns:** questions and answers, and how a long queue is gone through page by page.
//!
//! **Never knows:** by which door a question comes: the daemon answers them over the API, commands without one themselves.

mod answer;
mod change;
mod figures;
mod question;
mod sign_up;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use crate::delivery::Board;
use crate::spool::Spool;
use crate::store::Fence;
use crate::telemetry::EventLog;
use crate::time::Clock;

pub use answer::{Answer, Copy, Waiting, WhyNot};
pub use figures::{Circuit, Figures, Limited, Slowed, Suspended, Warmup};
pub use question::{Change, Question};
pub use sign_up::{SignUp, SignedUp};

/// Asks the person of a sign-up. The daemon leads it to the hall, which this room does not know.
pub type SignUpSink = Arc<dyn Fn(SignUp) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Where no daemon runs, nobody is asked: the letter would lie in the queue until one does.
pub fn nobody_asks() -> SignUpSink {
    Arc::new(|_| {
        Box::pin(async { Answer::Fault { message: "expected a running daemon".to_owned(), why: WhyNot::Failed } })
    })
}

/// What questions are about.
#[derive(Clone)]
pub struct Desk {
    /// Who asks people that signed up.
    pub sign_ups: SignUpSink,
    /// The queue.
    pub spool: Spool,
    /// What is suspended, slowed or broken.
    pub board: Arc<Board>,
    /// The event log.
    pub log: EventLog,
    /// Who acts on facts that were read.
    pub fence: Fence,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Answers a question.
pub async fn answer(question: Question, desk: &Desk) -> Answer {
    answer::answer(question, desk).await
}
