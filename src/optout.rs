//! How an opt-out is taken, through whichever door it comes.
//!
//! **Promise:** when [`OptOuts::record`] returns, the opt-out is on disk and nobody acts on older facts any more: it may be
//! acknowledged (promise P3). Taking it again changes nothing, and the first time is kept.
//!
//! **Owns:** the order of the steps: durable, past the fence, in log and audit.
//!
//! **Never knows:** HTTP, mail, pages, how decisions are made.
//!
//! **Standards:** RFC 8058 section 3.2; GDPR article 21(3) (an objection to direct marketing ends it).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{Added, Fence, NewSuppression, Store, StoreError, Subject};
use crate::telemetry::{Event, EventLog, EventType, Privacy};
use crate::time::Clock;
use crate::token;

/// Takes an audit record; the daemon hands it to the spool, which the doors do not know.
pub type AuditSink = Arc<dyn Fn(Bytes) + Send + Sync>;

/// One person's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptOut {
    /// Whose, and in which message the link was.
    pub subject: token::Subject,
    /// What ends.
    pub scope: Scope,
    /// What kind of wish it is.
    pub cause: Cause,
    /// By which door it came.
    pub origin: Origin,
}

/// Takes opt-outs. Cheap to clone.
#[derive(Clone)]
pub struct OptOuts {
    /// Where they are recorded.
    pub store: Store,
    /// Who acts on facts that were read.
    pub fence: Fence,
    /// The event log.
    pub log: EventLog,
    /// How addresses are written down.
    pub privacy: Privacy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where audit records go.
    pub audit: AuditSink,
}

impl fmt::Debug for OptOuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptOuts").finish_non_exhaustive()
    }
}

impl OptOuts {
    /// Takes one opt-out. Only a first one is an event; a repeated one waits for the fence all the same, since its sender
    /// may never have seen the first answer.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing may be acknowledged, and trying again is safe.
    pub async fn record(&self, wish: &OptOut) -> Result<Added, StoreError> {
        let now = self.clock.now();
        let evidence = format!("message {}", wish.subject.message);
        let fact = Suppression {
            scope: wish.scope.clone(),
            cause: wish.cause,
            origin: wish.origin,
            evidence: Some(evidence.clone()),
            since: now,
            expires: None,
        };
        let whom = Subject::Address(wish.subject.mailbox.clone());
        let added = self.store.add(NewSuppression::new(whom, fact, now)?).await?;
        self.fence.passed().await;
        if added == Added::New {
            let mut event = Event::new(EventType::SuppressionAdded, now);
            event.recipient = Some(self.privacy.form(&wish.subject.mailbox));
            event.reason = Some(wish.cause.reason().as_str());
            event.evidence = Some(evidence);
            event.id = Some(wish.subject.message.to_string());
            event.queue = Some(wish.scope.to_string());
            (self.audit)(self.log.record(&event));
        }
        Ok(added)
    }
}
