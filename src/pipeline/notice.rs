//! Our own mail: delivery reports to the sender, which pass by the recipients' rules but not by the spool.

use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::{Failure, FailureKind, dsn};
use crate::mail::{BodyType, ControllerId, Label, QueueId, Recipient, ReversePath, StreamName};
use crate::message::HeaderSection;
use crate::spool::{Batch, Body, Entry, Manifest};
use crate::time::Timestamp;

use super::accept::Declined;
use super::{Pipeline, answer};

/// The stream of our own notices. An operator cannot configure a stream whose name begins with an underscore.
const NOTICE_STREAM: &str = "_notice";
/// Who is responsible for them.
const NOTICE_CONTROLLER: &str = "_gateway";

/// Whether a queued copy is a notice of our own.
pub(super) fn is_own(label: &Label) -> bool {
    label.stream.as_str() == NOTICE_STREAM
}

impl Pipeline {
    /// The report on recipients of a queued copy that finally failed; `None` when nobody may be told (RFC 5321
    /// section 4.5.5).
    pub(super) fn failure_report(&self, entry: &Entry, failures: &[Failure]) -> Option<Batch> {
        let settings = self.settings.load();
        let now = self.clock.now();
        let id = self.ids.queue_id(now);
        let about = dsn::About { entry, failures, hostname: &settings.hostname, id };
        let report = dsn::compose(&about)?;
        let manifest = Manifest {
            reverse_path: ReversePath::Null,
            label: Label {
                stream: StreamName::new(NOTICE_STREAM).ok()?,
                controller: ControllerId::new(NOTICE_CONTROLLER).ok()?,
                list: None,
                campaign: None,
            },
            body_type: BodyType::SevenBit,
            smtputf8: report.recipient.needs_smtputf8(),
            received: now,
            expires: now.plus(settings.give_up),
        };
        let to = Recipient { mailbox: report.recipient };
        Some(Batch::notice(id, to, report.header, manifest, Body::Memory(report.body)))
    }

    /// The report on recipients that policy refused after DATA, when others of the same message were accepted.
    pub(super) fn refusal_report(
        &self,
        id: QueueId,
        manifest: &Manifest,
        section: &HeaderSection,
        declined: &[Declined],
        at: Timestamp,
    ) -> Option<Batch> {
        let failure = |declined: &Declined| Failure {
            recipient: declined.recipient.clone(),
            kind: FailureKind::Bounced,
            reply: answer::refused(&declined.decision, declined.reference),
            said_by_upstream: false,
            upstream: None,
            at,
        };
        let failures: Vec<Failure> = declined.iter().map(failure).collect();
        let entry = Entry {
            id,
            manifest: Arc::new(manifest.clone()),
            header: section.raw().clone(),
            body: Body::Memory(Bytes::new()),
            attempts: 0,
        };
        self.failure_report(&entry, &failures)
    }
}
