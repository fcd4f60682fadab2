//! Our own mail: delivery reports to the sender and receipts of opt-outs (`receipt.rs`), which pass by the recipients' rules
//! but not by the spool.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{CANARY_STREAM, Finding, FindingKind, dsn};
use crate::mail::{BodyType, ControllerId, Label, Notify, QueueId, Recipient, Reporting, ReversePath, StreamName};
use crate::message::HeaderSection;
use crate::spool::{Batch, Body, Entry, Manifest};
use crate::time::Timestamp;

use super::accept::Declined;
use super::{Pipeline, answer};

/// The stream of our own notices. An operator cannot configure a stream whose name begins with an underscore.
const NOTICE_STREAM: &str = "_notice";
/// The stream of letters that ask somebody to confirm.
pub(super) const LETTER_STREAM: &str = "_confirm";
/// Who is responsible for them.
pub(super) const NOTICE_CONTROLLER: &str = "_gateway";

/// Mail that nobody handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    /// A report to a sender, or a receipt of an opt-out.
    Notice,
    /// A letter that asks somebody to confirm.
    Letter,
    /// A message to ourselves.
    Canary,
}

/// What of ours a queued copy is, by a stream that no operator can have; `None` when somebody handed it in.
pub(super) fn ours(label: &Label) -> Option<Ours> {
    match label.stream.as_str() {
        NOTICE_STREAM => Some(Ours::Notice),
        LETTER_STREAM => Some(Ours::Letter),
        name if name.starts_with(CANARY_STREAM) => Some(Ours::Canary),
        _ => None,
    }
}

/// What every notice has in common.
pub(super) fn manifest(now: Timestamp, give_up: Duration) -> Option<Manifest> {
    Some(Manifest {
        reverse_path: ReversePath::Null,
        label: Label {
            stream: StreamName::new(NOTICE_STREAM).ok()?,
            controller: ControllerId::new(NOTICE_CONTROLLER).ok()?,
            list: None,
            campaign: None,
        },
        body_type: BodyType::SevenBit,
        smtputf8: false,
        reporting: Reporting::default(),
        received: now,
        expires: now.plus(give_up),
    })
}

impl Pipeline {
    /// The report on recipients of a queued copy; `None` when nobody may be told (RFC 5321 section 4.5.5).
    pub(super) fn delivery_report(&self, entry: &Entry, findings: &[Finding]) -> Option<Batch> {
        let settings = self.settings.load();
        let now = self.clock.now();
        let id = self.ids.queue_id(now);
        let about = dsn::About { entry, findings, hostname: &settings.hostname, id };
        let report = dsn::compose(&about)?;
        let smtputf8 = report.recipient.needs_smtputf8();
        let manifest = Manifest { smtputf8, ..manifest(now, settings.give_up)? };
        // RFC 3461 section 6: a report is never reported on.
        let to = Recipient { notify: Notify::Never, ..Recipient::new(report.recipient) };
        Some(Batch::notice(id, to, report.header, manifest, Body::Memory(report.body)))
    }

    /// The report on recipients that policy refused after DATA, when others of the same message were accepted.
    pub(super) fn refusal_report(
        &self,
        id: QueueId,
        manifest: &Manifest,
        section: &HeaderSection,
        body: &Body,
        declined: &[Declined],
    ) -> Option<Batch> {
        let finding = |declined: &Declined| Finding {
            recipient: declined.recipient.clone(),
            kind: FindingKind::Bounced,
            reply: answer::refused(&declined.decision, declined.reference),
            said_by_upstream: false,
            upstream: None,
            at: manifest.received,
        };
        let is_wanted = |declined: &&Declined| FindingKind::Bounced.is_wanted(declined.recipient.notify);
        let findings: Vec<Finding> = declined.iter().filter(is_wanted).map(finding).collect();
        let entry = Entry {
            id,
            manifest: Arc::new(manifest.clone()),
            header: section.raw().clone(),
            body: body.clone(),
            attempts: 0,
        };
        self.delivery_report(&entry, &findings)
    }
}
