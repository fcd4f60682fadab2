//! The hall where the rooms meet: intake asks it, delivery asks it again before each attempt.
//!
//! **Promise:** a message is on disk before it is accepted, nobody is sent anything without a permit, and a permit is
//! asked for again directly before each attempt. When the facts cannot be had, nothing is decided: 451 at the door,
//! deferred in the queue.
//!
//! **Owns:** streams and credentials, the order of the steps, and every reply that a refusal or a fault becomes.
//!
//! **Never knows:** sockets, HTTP, TOML.
//!
//! **Standards:** RFC 6409 section 8 (what a submission server may change), RFC 5321 section 6.1 (what a 250 means).

mod accept;
mod again;
mod answer;
mod backoff;
mod canary;
mod compose;
mod confirmation;
mod credentials;
mod facts;
mod gate;
mod letter;
mod look;
mod note;
mod notice;
mod passwords;
mod rates;
mod receipt;
mod receive;
mod settings;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::mail::{IdSource, QueueId, Recipient, Reply, ReversePath};
use crate::seen::{Known, Seen};
use crate::smtp::{Content, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction, Verifier};
use crate::spool::{Committed, Spool};
use crate::store::{Fence, Store};
use crate::telemetry::{EventLog, Privacy};
use crate::tell::Tools;
use crate::time::Clock;
use crate::token::Keyring;

use backoff::Backoff;
use canary::Pending;
use confirmation::Guard;
use passwords::Passwords;
use rates::TooFast;

pub use canary::Canary;
pub use confirmation::{Asking, CannotAsk, Request};
pub use gate::{Explained, Inquiry};
pub use rates::{Rate, RateSettings, Rates};
pub use settings::{Confirming, Credential, OnRefusal, OneClickScope, Proof, Receipts, Settings, Sharing, Stream};

/// What the hall is built from.
#[derive(Debug)]
pub struct Parts {
    /// Facts.
    pub store: Store,
    /// Who acts on facts that were read.
    pub fence: Fence,
    /// The durable queue.
    pub spool: Spool,
    /// Keys of unsubscribe tokens.
    pub keyring: Arc<Keyring>,
    /// What campaign tools have to be told.
    pub tools: Tools,
    /// What was taken within the last hours.
    pub seen: Seen,
    /// Identifiers above every one used before.
    pub ids: IdSource,
    /// The event log.
    pub log: EventLog,
    /// How addresses are written down.
    pub privacy: Privacy,
}

/// The hall.
pub struct Pipeline {
    settings: Arc<ArcSwap<Settings>>,
    store: Store,
    fence: Fence,
    spool: Spool,
    keyring: Arc<Keyring>,
    tools: Tools,
    seen: Seen,
    ids: IdSource,
    log: EventLog,
    privacy: Privacy,
    clock: Arc<dyn Clock>,
    passwords: Passwords,
    backoff: Backoff,
    guard: Guard,
    pending: Pending,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Joins the rooms. `settings` may be replaced under a running hall; each message uses one version from start to end.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(
        parts: Parts,
        settings: Arc<ArcSwap<Settings>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let Parts { store, fence, spool, keyring, tools, seen, ids, log, privacy } = parts;
        let passwords = Passwords::new()?;
        let (backoff, guard, pending) = (Backoff::default(), Guard::default(), Pending::default());
        Ok(Self {
            settings,
            store,
            fence,
            spool,
            keyring,
            tools,
            seen,
            ids,
            log,
            privacy,
            clock,
            passwords,
            backoff,
            guard,
            pending,
        })
    }
}

/// What the client is told with the 250: proof that something is on disk.
#[derive(Debug)]
pub enum Receipt {
    /// At least one copy is queued; the first one's id.
    Queued(Committed, QueueId),
    /// Every recipient was refused and the stream says `on_refusal = "accept"`: the record of it is on disk.
    NothingSent(Committed),
    /// Everybody who may have it has it from an earlier time: the first copy's id, once more.
    Again(Known),
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued(_, id) => write!(f, "queued as {id}"),
            Self::Again(known) => write!(f, "queued as {}", known.first()),
            Self::NothingSent(_) => f.write_str("recorded, nothing will be sent"),
        }
    }
}

impl Intake for Pipeline {
    type Receipt = Receipt;

    fn by_address(&self, peer: IpAddr) -> Option<Identity> {
        credentials::by_address(&self.settings.load(), peer)
    }

    fn by_certificate(&self, certificate: &Fingerprint) -> Option<Identity> {
        credentials::by_certificate(&self.settings.load(), certificate)
    }

    fn mechanisms(&self) -> &'static [Mechanism] {
        credentials::mechanisms(&self.settings.load())
    }

    fn verifier(&self, name: &str) -> Verifier {
        credentials::verifier(&self.settings.load(), name)
    }

    async fn authenticate(&self, login: Login, peer: IpAddr) -> Result<Identity, Reply> {
        if let Some(wait) = self.backoff.wait(&login.name, peer, self.clock.now()) {
            return Err(answer::wait_for_login(wait));
        }
        let settings = self.settings.load_full();
        let outcome = credentials::authenticate(&settings, &self.passwords, &login).await;
        match &outcome {
            Ok(_) => self.backoff.succeeded(&login.name, peer),
            Err(reply) if reply.code().is_permanent() => self.backoff.failed(&login.name, peer, self.clock.now()),
            Err(_) => {}
        }
        outcome
    }

    async fn mail(&self, session: &SessionFacts, from: &ReversePath) -> Result<(), Reply> {
        let settings = self.settings.load();
        if !credentials::still_holds(&settings, &session.identity) {
            return Err(answer::no_credential());
        }
        let stream = settings.streams.get(&session.identity.stream).ok_or_else(answer::no_stream)?;
        match from {
            ReversePath::Mailbox(mailbox) if !stream.mail_from.allow(mailbox.domain()) => {
                return Err(answer::foreign_reverse_path());
            }
            ReversePath::Mailbox(_) | ReversePath::Null => {}
        }
        let counted = settings.rates.message(&session.identity.credential, session.peer.ip());
        counted.map_err(|TooFast(wait)| answer::too_fast("messages", wait))
    }

    async fn rcpt(&self, transaction: &Transaction, to: &Recipient) -> Result<(), Reply> {
        let session = &transaction.session;
        let counted = self.settings.load().rates.recipient(&session.identity.credential, session.peer.ip());
        counted.map_err(|TooFast(wait)| answer::too_fast("recipients", wait))?;
        self.precheck(transaction, to).await
    }

    async fn data<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<Receipt, Reply> {
        self.accept(transaction, content).await
    }
}
