//! Hands leased copies to the next mail server and classifies its answers.
//!
//! **Promise:** nobody is named to the upstream who was not decided on again directly before (P3); when the facts
//! cannot be had, nothing is sent (P4). Every attempt is recorded, and every (copy, recipient) ends with exactly one
//! final record. A fault of the route is never a recipient's. After a crash, at most [`Settings::max_unsettled`]
//! copies can be sent a second time: those whose final dot had left and whose settlement was not on disk yet.
//!
//! **Owns:** which way mail goes (smarthosts, or the mail servers of a domain), connections and their number, the retry
//! schedule, the rest of an unhealthy way, whose turn it is, what waits for a pace or for the next day, what follows from
//! refusals, what is suspended or slowed, the text of delivery reports, what is demanded of the mail servers of a domain.
//!
//! **Never knows:** policy, facts, how a message is rewritten, HTTP. The decision arrives through [`Recheck`].
//!
//! **Standards:** RFC 5321 sections 4.5.4.1 (retries), 5.1 (where mail goes) and 6.1 (responsibility), RFC 3461, RFC 3464
//! and RFC 6522 (reports), RFC 8461 section 5 (policies applied), RFC 7672 (DANE).

pub mod backoff;
pub mod breaker;
pub mod dsn;
pub mod outcome;
pub mod retry;

mod allotment;
mod assurance;
mod attempt;
mod board;
mod circuit;
mod consequence;
mod dispatch;
mod fair;
mod gate;
mod group;
mod lane;
mod mx;
mod opening;
mod order;
mod queue;
mod record;
mod routes;
mod share;
mod standing;
mod suspension;
mod together;
mod warming;
mod worker;

#[cfg(test)]
mod consequence_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod warming_tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::mail::{Label, Mailbox, Notify, QueueId, Recipient, Reply};
use crate::replies::Book;
use crate::shaping;
use crate::smtp::client::Hold;
use crate::spool::{Batch, Entry, Lease, RecipientIndex, Settlements, Spool, SpoolError, Turns};
use crate::telemetry::{EventLog, Privacy};
use crate::time::{Clock, Timestamp};
use crate::{dns, sts};

pub use allotment::Portion;
pub use board::{Board, BoardError, LOOK_AGAIN, REPUTATION_REST, Snapshot};
pub use circuit::{Trouble, default_domain_rest, default_rest};
pub use dispatch::{CONNECTIONS_PER_DOMAIN, DOMAINS_MAX, READY_MAX};
pub use fair::{Priority, Share, Streams};
pub use gate::{Limited, Thirst};
pub use group::{GROUPS_MAX, Group, Grouping};
pub use mx::{HOSTS_MAX, Loopback};
pub use opening::ATTEMPTS_MAX;
pub use routes::{Assurance, CANARY_STREAM, Route, Routes, Smarthost, Way, WithoutTlsa};
pub use suspension::{Hand, SUSPENSIONS_MAX, Selector, Suspension};
pub use warming::{AHEAD, Warmth};

use attempt::Desk;
use dispatch::Dispatcher;
use record::Recorder;

/// After a lease of nothing, which a source in good order does not give: it must not become a hot loop.
const EMPTY_LEASE_PAUSE: Duration = Duration::from_millis(50);

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

    /// Composes and signs the delivery report about `findings`; `None` when nothing may be reported (null reverse path,
    /// RFC 5321 section 6.1). [`dsn::compose`] writes the text.
    fn report(&self, entry: &Entry, findings: &[Finding]) -> Option<Batch>;

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

/// What became of a recipient that is worth a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A permanent refusal.
    Bounced,
    /// Tried until its time was over; the reply is that of the last attempt.
    Expired,
    /// Not delivered for so long that its sender should know; it is tried on.
    Delayed,
    /// Handed to an upstream that will not report on it (RFC 3461 section 5.2.2).
    Relayed,
}

impl FindingKind {
    /// Whether a sender who said `notify` wants to hear of it.
    pub const fn is_wanted(self, notify: Notify) -> bool {
        match self {
            Self::Bounced | Self::Expired => notify.wants_failure(),
            Self::Delayed => notify.wants_delay(),
            Self::Relayed => notify.wants_success(),
        }
    }
}

/// What there is to tell the sender about one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who.
    pub recipient: Recipient,
    /// What became of them.
    pub kind: FindingKind,
    /// What the upstream said last, or what we say in its place.
    pub reply: Reply,
    /// Whether the upstream said it.
    pub said_by_upstream: bool,
    /// The upstream, when there was a session with one.
    pub upstream: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// Settings of delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where mail goes.
    pub routes: Routes,
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
    /// How long an unhealthy smarthost rests.
    pub rest: retry::Settings,
    /// How long the unhealthy mail servers of a domain rest.
    pub domain_rest: retry::Settings,
    /// What refusals mean.
    pub replies: Arc<Book>,
    /// Whose word a smarthost's refusal for rate or reputation is.
    pub grouping: Grouping,
    /// When dead mailboxes are too many to be believed.
    pub breaker: breaker::Settings,
    /// What each stream gets beside the others.
    pub streams: Arc<Streams>,
    /// What destinations like.
    pub shaping: Arc<shaping::Book>,
    /// What is being warmed up.
    pub warmup: Arc<[shaping::Plan]>,
    /// Who keeps paces and plans together; nothing when this gateway does by itself.
    pub gateways: Option<shaping::Gateways>,
}

impl Settings {
    /// Defaults on `routes`; refusals mean what `replies` says.
    pub fn new(routes: Routes, replies: Arc<Book>) -> Self {
        Self {
            routes,
            max_unsettled: 64,
            idle_close: Duration::from_secs(30),
            max_messages_per_connection: 1000,
            retry: retry::Settings::default(),
            warn_after: None,
            rest: default_rest(),
            domain_rest: default_domain_rest(),
            replies,
            grouping: Grouping::Upstream,
            breaker: breaker::Settings::default(),
            streams: Arc::default(),
            shaping: Arc::default(),
            warmup: Arc::from([]),
            gateways: None,
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
    /// Finds the mail servers of domains.
    pub resolver: dns::Resolver,
    /// What domains ask of those who send to them.
    pub policies: sts::Policies,
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
        let unsettled = self.settings.max_unsettled.clamp(1, Semaphore::MAX_PERMITS);
        let desk = Arc::new(Desk {
            recheck: self.recheck,
            board: self.board,
            resolver: self.resolver,
            policies: self.policies,
            recorder: Recorder::new(self.events, self.privacy),
            clock: self.clock,
            unsettled: Arc::new(Semaphore::new(unsettled)),
            settings: self.settings,
            broken: watch::Sender::new(None),
        });
        let mut dispatcher = Dispatcher::new(Arc::clone(&desk));
        let mut broken = desk.broken.subscribe();
        tokio::select! {
            () = dispatcher.dispatch(&source) => {}
            () = desk.keep_looking(audit) => {}
            () = desk.keep_policies() => {}
            // A sender that is gone will never ask for more either.
            _ = shutdown.wait_for(|asked| *asked) => {}
            _ = broken.wait_for(Option::is_some) => {}
        }
        dispatcher.close().await;
        desk.policies.save(desk.clock.now()).await;
        // Every settlement holds a permit until it is written.
        let all = u32::try_from(unsettled).unwrap_or(u32::MAX);
        let _settled = desk.unsettled.acquire_many(all).await;
        desk.board.warming().close();
        match desk.broken.borrow().clone() {
            Some(error) => Err(DeliveryError::Spool(error)),
            None => Ok(()),
        }
    }
}

/// Where leases come from: the spool, or what a test puts in its place.
trait Source: Send + Sync {
    type Lease: Leased;
    /// Waits until something is due that may go, as `turns` says.
    fn lease(&self, max: usize, turns: &mut impl Turns) -> impl Future<Output = Vec<Self::Lease>> + Send;
}

/// What delivery does with a lease.
trait Leased: Send + Sync + 'static {
    fn entry(&self) -> &Entry;
    fn pending(&self) -> &[(RecipientIndex, Recipient)];
    fn settle(self, how: Settlements) -> impl Future<Output = Result<(), SpoolError>> + Send;
    /// Back untried, due again at `until`.
    fn put_back(self, until: Timestamp);
}

impl Source for Spool {
    type Lease = Lease;
    fn lease(&self, max: usize, turns: &mut impl Turns) -> impl Future<Output = Vec<Lease>> + Send {
        self.lease_in_turns(max, turns)
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
    fn put_back(self, until: Timestamp) {
        Self::put_back(self, until);
    }
}
