//! How an opt-out is taken, through whichever door it comes.
//!
//! **Promise:** when [`OptOuts::record`] returns, the opt-out is on disk and nobody acts on older facts any more: it may be
//! acknowledged (promise P3). Taking it again changes nothing, and the first time is kept.
//!
//! **Owns:** the order of the steps: the campaign tool's notice and the opt-out durable, past the fence, in log and audit,
//! the person's receipt.
//!
//! **Never knows:** HTTP, mail, pages, how decisions are made.
//!
//! **Standards:** RFC 8058 section 3.2; GDPR article 21(3) (an objection to direct marketing ends it).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::{Added, Fence, NewSuppression, Store, StoreError, Subject};
use crate::telemetry::{AuditSink, Event, EventLog, EventType, Privacy};
use crate::tell::Tools;
use crate::time::{Clock, Timestamp};
use crate::token;

/// Writes to a person that their opt-out was taken, where a law or the operator asks for it. The daemon leads it to the
/// hall, which the doors do not know.
pub type ReceiptSink = Arc<dyn Fn(token::Subject) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

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

impl OptOut {
    /// Whether the person left what the message was for. Somebody who leaves another list of the same sender has not left
    /// the one whose tool put its URL into the message.
    fn ends_its_message(&self) -> bool {
        let (controller, list) = (&self.subject.controller, self.subject.list.as_ref());
        self.cause.is_opt_out() && self.scope.covers(controller, list)
    }

    /// Whether the person asked to leave and may be told that it was done. Who complained of our mail is not sent more.
    const fn may_be_acknowledged(&self) -> bool {
        match self.cause {
            Cause::Unsubscribe | Cause::LegalObjection => true,
            Cause::Complaint | Cause::Manual | Cause::Erased | Cause::Invalid | Cause::HardBounce => false,
        }
    }
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
    /// Campaign tools that have to be told.
    pub tools: Tools,
    /// Who is written to about it.
    pub receipts: ReceiptSink,
}

impl fmt::Debug for OptOuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptOuts").finish_non_exhaustive()
    }
}

impl OptOuts {
    /// Takes one opt-out. Only a first one is an event, also when a list had said the same before: it is the person's own
    /// word now. A repeated one waits for the fence all the same, since its sender may never have seen the first answer.
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
        self.have_tool_told(wish, now).await;
        let added = self.store.add(NewSuppression::new(whom, fact, now)?).await?;
        self.fence.passed().await;
        if matches!(added, Added::New | Added::Renewed) {
            let mut event = Event::new(EventType::SuppressionAdded, now);
            event.recipient = Some(self.privacy.form(&wish.subject.mailbox));
            event.reason = Some(wish.cause.reason().as_str());
            event.evidence = Some(evidence);
            event.id = Some(wish.subject.message.to_string());
            event.controller = Some(wish.subject.controller.to_string());
            event.queue = Some(wish.scope.to_string());
            (self.audit)(self.log.record(&event));
            if wish.may_be_acknowledged() {
                (self.receipts)(wish.subject.clone()).await;
            }
        }
        Ok(added)
    }

    /// Writes down that the campaign tool has to be told. It comes first: a crash behind it leaves a tool that is told of a
    /// wish which was expressed, and which the person's mail program will send again; the other way round a tool would
    /// never learn of an acknowledged one (ADR 0012). That it cannot be written down keeps nobody from leaving.
    async fn have_tool_told(&self, wish: &OptOut, now: Timestamp) {
        if !wish.ends_its_message() {
            return;
        }
        if let Err(error) = self.tools.opted_out(wish.subject.message, now).await {
            let message = wish.subject.message;
            tracing::error!(%error, %message, "a campaign tool will not be told of an opt-out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::mail::{ControllerId, ListName, Mailbox, QueueId, StreamName};
    use crate::policy::Cause::{Complaint, HardBounce, LegalObjection, Unsubscribe};
    use crate::policy::Origin;
    use crate::tell::{AllowedHost, Settings};
    use crate::time::SystemClock;

    struct House {
        _folder: tempfile::TempDir,
        opt_outs: OptOuts,
        receipts: Arc<AtomicUsize>,
    }

    fn house() -> House {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.hosts.insert(StreamName::new("news").unwrap(), vec![AllowedHost::parse("tool.example").unwrap()]);
        let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
        let receipts = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&receipts);
        let opt_outs = OptOuts {
            store: Store::memory(),
            fence: Fence::default(),
            log: EventLog::start(std::io::sink()).unwrap().0,
            privacy: Privacy::Full,
            clock: Arc::new(SystemClock),
            audit: Arc::new(|_| {}),
            tools: Tools::open(&folder.path().join("tools.db"), settings).unwrap(),
            receipts: Arc::new(move |_| {
                let written = Arc::clone(&written);
                Box::pin(async move {
                    written.fetch_add(1, Ordering::SeqCst);
                })
            }),
        };
        House { _folder: folder, opt_outs, receipts }
    }

    fn wish(message: u64, scope: &str, cause: Cause) -> OptOut {
        let subject = token::Subject {
            mailbox: Mailbox::parse("ann@b.example").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            list: Some(ListName::new("weekly").unwrap()),
            message: QueueId::from_u64(message),
        };
        OptOut { subject, scope: scope.parse().unwrap(), cause, origin: Origin::Page }
    }

    /// Whether the tool of a message has to be told after this.
    async fn tells(house: &House, message: u64, scope: &str, cause: Cause) -> bool {
        let now = house.opt_outs.clock.now();
        let (stream, id) = (StreamName::new("news").unwrap(), QueueId::from_u64(message));
        house.opt_outs.tools.keep(&stream, id, "https://tool.example/x", now).await.unwrap();
        house.opt_outs.record(&wish(message, scope, cause)).await.unwrap();
        house.opt_outs.tools.waiting().await.contains(&id)
    }

    #[tokio::test]
    async fn the_tool_is_told_of_what_ends_its_own_list_and_of_nothing_else() {
        let house = house();
        for (message, (scope, cause, expected)) in (1..).zip([
            ("list:acme/weekly", Unsubscribe, true),
            ("controller:acme", LegalObjection, true),
            ("everything", Complaint, true),
            ("list:acme/monthly", Unsubscribe, false),
            ("list:other/weekly", Unsubscribe, false),
            ("everything", HardBounce, false),
        ]) {
            assert_eq!(tells(&house, message, scope, cause).await, expected, "{scope} {cause}");
        }
    }

    #[tokio::test]
    async fn whom_a_list_had_suppressed_is_heard_when_they_leave_themselves() {
        let house = house();
        let wish = wish(1, "list:acme/weekly", Unsubscribe);
        let listed = Suppression {
            scope: wish.scope.clone(),
            cause: wish.cause,
            origin: Origin::Import,
            evidence: None,
            since: Timestamp::from_secs(1),
            expires: None,
        };
        let whom = Subject::Address(wish.subject.mailbox.clone());
        house
            .opt_outs
            .store
            .blocking_add(&NewSuppression::new(whom, listed, Timestamp::from_secs(1)).unwrap())
            .unwrap();
        for (expected, written) in [(Added::Renewed, 1), (Added::Existing, 1)] {
            assert_eq!(house.opt_outs.record(&wish).await.unwrap(), expected);
            assert_eq!(house.receipts.load(Ordering::SeqCst), written);
        }
    }

    #[tokio::test]
    async fn a_receipt_is_asked_for_once_and_not_for_a_complaint() {
        let house = house();
        for (scope, cause, written) in [
            ("list:acme/weekly", Unsubscribe, 1),
            ("list:acme/weekly", Unsubscribe, 1),
            ("list:acme/weekly", Complaint, 1),
            ("controller:acme", LegalObjection, 2),
        ] {
            house.opt_outs.record(&wish(1, scope, cause)).await.unwrap();
            assert_eq!(house.receipts.load(Ordering::SeqCst), written, "{scope} {cause}");
        }
    }
}
