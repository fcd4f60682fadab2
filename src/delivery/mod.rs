//! Hands leased copies to the smarthost and classifies its answers.
//!
//! **Promise:** nobody is named to the upstream who was not decided on again directly before (P3); when the facts
//! cannot be had, nothing is sent (P4). Every attempt is recorded, and every (copy, recipient) ends with exactly one
//! final record. A fault of the route is never a recipient's. After a crash, at most [`Settings::max_unsettled`]
//! copies can be sent a second time: those whose final dot had left and whose settlement was not on disk yet.
//!
//! **Owns:** connections to the upstream and their number, the retry schedule, the rest of an unhealthy route, what
//! replies mean, the text of delivery reports.
//!
//! **Never knows:** policy, facts, how a message is rewritten, HTTP. The decision arrives through [`Recheck`].
//!
//! **Standards:** RFC 5321 sections 4.5.4.1 (retries) and 6.1 (responsibility), RFC 3464 and RFC 6522 (reports).

pub mod backoff;
pub mod breaker;
pub mod dsn;
pub mod outcome;
pub mod retry;

mod attempt;
mod board;
mod consequence;
mod group;
mod queue;
mod record;
mod route;
mod standing;
mod suspension;
mod worker;

#[cfg(test)]
mod consequence_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::mail::{Label, Mailbox, QueueId, Recipient, Reply};
use crate::replies::Book;
use crate::smtp::client::{self, Hold};
use crate::spool::{Batch, Entry, Lease, RecipientIndex, Settlements, Spool, SpoolError};
use crate::telemetry::{EventLog, Privacy};
use crate::time::{Clock, Timestamp};

pub use board::{Board, BoardError, Circuit, LOOK_AGAIN, REPUTATION_REST, Snapshot};
pub use group::{GROUPS_MAX, Group, Grouping};
pub use route::default_rest;
pub use suspension::{Hand, SUSPENSIONS_MAX, Selector, Suspension};

use attempt::Desk;
use queue::Queue;
use record::Recorder;
use route::Route;
use worker::Worker;

/// After a lease of nothing, which a source in good order does not give: it must not become a hot loop.
const EMPTY_LEASE_PAUSE: Duration = Duration::from_millis(50);

/// When another asked for the last free place just before: as short as a pause of a slowed upstream may be.
const PLACE_PAUSE: Duration = Duration::from_millis(10);

/// The facts for a decision cannot be had now; nothing is sent (promise P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts for the decision are not available")]
pub struct Unavailable;

/// The decision directly before an attempt, for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It may be sent.
    Send,
    /// It may not. The note is the record of it, already in the event log.
    Withdraw {
        /// One line of JSON for the audit trail.
        note: Bytes,
    },
}

/// What delivery needs to have decided and composed elsewhere.
pub trait Recheck: Send + Sync + 'static {
    /// Decides again for every recipient of `pending`, directly before the attempt (promise P3): one ruling each, in
    /// the same order. A recipient without a ruling is not sent to. It may be asked more than once for one attempt,
    /// when a connection turned out to be dead; never again for a recipient that it has withdrawn.
    ///
    /// # Errors
    /// [`Unavailable`]: everything is deferred.
    fn recheck(
        &self,
        entry: &Entry,
        pending: &[(RecipientIndex, Recipient)],
    ) -> impl Future<Output = Result<Vec<Ruling>, Unavailable>> + Send;

    /// Taken before each [`Recheck::recheck`], and given back as soon as the recipients have been named to the
    /// upstream or are out of the way: until then the facts that were decided on may not be outrun.
    fn hold(&self) -> Hold {
        Hold::default()
    }

    /// Composes and signs the delivery report for what finally failed or is delayed; `None` when nothing may be reported (null
    /// reverse path, RFC 5321 section 6.1). [`dsn::compose`] writes the text.
    fn report(&self, entry: &Entry, failures: &[Failure]) -> Option<Batch>;

    /// Records that nobody may write to a mailbox that does not exist. Asked again after a failure.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not recorded.
    fn suppress(&self, dead: &DeadMailbox) -> impl Future<Output = Result<(), Unavailable>> + Send;
}

/// A mailbox of which the upstream said for good that it does not exist, and whose group did not trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMailbox {
    /// The copy that found out.
    pub id: QueueId,
    /// Its stream, controller, list and campaign.
    pub label: Label,
    /// Which mailbox.
    pub mailbox: Mailbox,
    /// Codes of the reply, the entry that decided, the message.
    pub evidence: String,
    /// When it was said.
    pub at: Timestamp,
}

/// What a recipient's sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A permanent refusal.
    Bounced,
    /// Tried until its time was over; the reply is that of the last attempt.
    Expired,
    /// Not delivered for so long that its sender should know; it is tried on.
    Delayed,
}

/// One recipient that finally failed, or is delayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who.
    pub recipient: Recipient,
    /// Why.
    pub kind: FailureKind,
    /// What the upstream said last, or what we say in its place.
    pub reply: Reply,
    /// Whether the upstream said it.
    pub said_by_upstream: bool,
    /// When.
    pub at: Timestamp,
}

/// The upstream that everything is handed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smarthost {
    /// Name or address, resolved anew for each connection.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Settings of delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything goes.
    pub smarthost: Smarthost,
    /// EHLO name and deadlines.
    pub client: client::Settings,
    /// Connections at a time; at least one.
    pub max_connections: usize,
    /// Copies at a time whose final dot may have been sent and whose settlement is not on disk yet: as many can
    /// arrive twice after a crash. At least one; fewer than connections make connections wait for the disk.
    pub max_unsettled: usize,
    /// An unused connection is closed after this; less than the 5 minutes that RFC 5321 section 4.5.3.2.7 asks of
    /// the other side.
    pub idle_close: Duration,
    /// Transactions on one connection; upstreams limit them, and load balancers like to see new ones.
    pub max_messages_per_connection: u32,
    /// When a copy is tried again.
    pub retry: retry::Settings,
    /// After how long the sender is told that a copy is delayed; never when there is nothing.
    pub warn_after: Option<Duration>,
    /// How long an unhealthy route rests.
    pub rest: retry::Settings,
    /// What refusals mean.
    pub replies: Arc<Book>,
    /// Whose word a refusal for rate or reputation is.
    pub grouping: Grouping,
    /// When dead mailboxes are too many to be believed.
    pub breaker: breaker::Settings,
}

impl Settings {
    /// Defaults towards `smarthost`, greeting it as `hello`; its refusals mean what `replies` says.
    pub fn new(smarthost: Smarthost, hello: String, replies: Arc<Book>) -> Self {
        Self {
            smarthost,
            client: client::Settings { hello, timeouts: client::Timeouts::default() },
            max_connections: 16,
            max_unsettled: 64,
            idle_close: Duration::from_secs(30),
            max_messages_per_connection: 1000,
            retry: retry::Settings::default(),
            warn_after: None,
            rest: default_rest(),
            replies,
            grouping: Grouping::Upstream,
            breaker: breaker::Settings::default(),
        }
    }
}

/// Why delivery ended other than by request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Ours. Outcomes cannot be written down, so going on would send the same mail again and again. Only a restart
    /// helps.
    #[error("outcomes cannot be recorded: {0}")]
    Spool(SpoolError),
}

/// Everything that delivery works with.
pub struct Delivery<R> {
    /// Decides and reports.
    pub recheck: Arc<R>,
    /// Settings.
    pub settings: Settings,
    /// What is suspended, slowed or about to be suppressed.
    pub board: Arc<Board>,
    /// Where attempts are logged.
    pub events: EventLog,
    /// How addresses appear there.
    pub privacy: Privacy,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl<R: Recheck> Delivery<R> {
    /// Delivers from `spool` until `shutdown` turns true (or its sender is gone): then no new attempt is begun,
    /// those under way are finished and settled, and connections are closed. Dropping the future instead returns
    /// what is not settled to the queue.
    ///
    /// # Errors
    /// [`DeliveryError`] when it had to stop by itself.
    pub async fn run(self, spool: Spool, shutdown: watch::Receiver<bool>) -> Result<(), DeliveryError> {
        let notes = spool.clone();
        self.run_from(spool, move |line| notes.note(line), shutdown).await
    }

    async fn run_from<S: Source>(
        self,
        source: S,
        audit: impl Fn(Bytes) + Send + Sync,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), DeliveryError> {
        let connections = self.settings.max_connections.max(1);
        let unsettled = self.settings.max_unsettled.clamp(1, Semaphore::MAX_PERMITS);
        let queue = Arc::new(Queue::new(connections));
        let desk = Arc::new(Desk {
            recheck: self.recheck,
            route: Arc::new(Route::new(self.settings.rest)),
            board: self.board,
            recorder: Recorder::new(self.events, self.privacy, &self.settings.smarthost.host),
            clock: self.clock,
            unsettled: Arc::new(Semaphore::new(unsettled)),
            settings: self.settings,
            broken: watch::Sender::new(None),
        });
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            workers.spawn(Worker::new(Arc::clone(&desk), Arc::clone(&queue)).run());
        }
        let mut broken = desk.broken.subscribe();
        tokio::select! {
            () = dispatch(&source, &queue, &desk) => {}
            () = desk.keep_looking(audit) => {}
            // A sender that is gone will never ask for more either.
            _ = shutdown.wait_for(|asked| *asked) => {}
            _ = broken.wait_for(Option::is_some) => {}
        }
        queue.close();
        while workers.join_next().await.is_some() {}
        // Every settlement holds a permit until it is written.
        let all = u32::try_from(unsettled).unwrap_or(u32::MAX);
        let _settled = desk.unsettled.acquire_many(all).await;
        match desk.broken.borrow().clone() {
            Some(error) => Err(DeliveryError::Spool(error)),
            None => Ok(()),
        }
    }
}

/// Leases in batches for all workers, as many as they can use soon, and rests with the route.
async fn dispatch<S: Source, R: Recheck>(source: &S, queue: &Queue<S::Lease>, desk: &Desk<R>) {
    loop {
        let room = queue.room().await;
        let now = desk.clock.now();
        let rest = desk.route.rests_for(now).max(desk.board.pause(now));
        let room = if rest.is_zero() { desk.board.places(room, now) } else { 0 };
        if room > 0 {
            let leases = source.lease(room).await;
            if leases.is_empty() {
                tokio::time::sleep(EMPTY_LEASE_PAUSE).await;
            }
            queue.push(leases);
        } else {
            tokio::time::sleep(rest.max(PLACE_PAUSE)).await;
        }
    }
}

/// Where leases come from: the spool, or what a test puts in its place.
trait Source: Send + Sync {
    type Lease: Leased;
    /// Waits until something is due.
    fn lease(&self, max: usize) -> impl Future<Output = Vec<Self::Lease>> + Send;
}

/// What delivery does with a lease.
trait Leased: Send + Sync + 'static {
    fn entry(&self) -> &Entry;
    fn pending(&self) -> &[(RecipientIndex, Recipient)];
    fn settle(self, how: Settlements) -> impl Future<Output = Result<(), SpoolError>> + Send;
    /// Gives it back untouched, due at `until`.
    fn postpone(self, until: Timestamp);
}

impl Source for Spool {
    type Lease = Lease;
    fn lease(&self, max: usize) -> impl Future<Output = Vec<Lease>> + Send {
        Self::lease(self, max)
    }
}

impl Leased for Lease {
    fn entry(&self) -> &Entry {
        Self::entry(self)
    }
    fn pending(&self) -> &[(RecipientIndex, Recipient)] {
        Self::pending(self)
    }
    fn settle(self, how: Settlements) -> impl Future<Output = Result<(), SpoolError>> + Send {
        Self::settle(self, how)
    }
    fn postpone(self, until: Timestamp) {
        Self::postpone(self, until);
    }
}
