//! Our own mail: delivery reports to the sender, which pass by the recipients' rules but not by the spool.

use std::sync::Arc;

use crate::delivery::{Failure, Report, compose_report};
use crate::mail::{BodyType, ControllerId, EnhancedStatus, Label, Recipient, ReplyCode, Reply, ReversePath, StreamName};
use crate::message::{HeaderSection, Signed};
use crate::spool::{Batch, Body, Entry, Manifest};

use super::Pipeline;
use super::accept::Declined;

/// The stream of our own notices. An operator cannot configure a stream whose name begins with an underscore.
const NOTICE_STREAM: &str = "_notice";

/// Whether a queued copy is a notice of our own.
pub(super) fn is_own(label: &Label) -> bool {
    label.stream.as_str() == NOTICE_STREAM
}

fn own_label() -> Option<Label> {
    let stream = StreamName::new(NOTICE_STREAM).ok()?;
    let controller = ControllerId::new("_gateway").ok()?;
    Some(Label { stream, controller, list: None, campaign: None })
}

impl Pipeline {
    /// The report on recipients of a queued copy that finally failed; `None` when nobody may be told (RFC 5321 section 4.5.5).
    pub(super) fn failure_report(&self, entry: &Entry, failures: &[Failure]) -> Option<Batch> {
        self.report_on(&entry.manifest, &entry.header, failures)
    }

    /// The report on recipients that policy refused after DATA, when others of the same message were accepted.
    pub(super) fn refusal_report(&self, manifest: &Manifest, section: &HeaderSection, declined: &[Declined]) -> Option<Batch> {
        let failures: Vec<Failure> = declined
            .iter()
            .map(|declined| Failure {
                recipient: declined.recipient.clone(),
                reply: super::answer::refused(&declined.decision, declined.reference),
                remote: None,
            })
            .collect();
        self.report_on(manifest, section.raw(), &failures)
    }

    fn report_on(&self, about: &Manifest, header: &bytes::Bytes, failures: &[Failure]) -> Option<Batch> {
        let ReversePath::Mailbox(sender) = &about.reverse_path else { return None };
        let settings = self.settings.load();
        let now = self.clock.now();
        let id = self.ids.queue_id(now);
        let report = Report { hostname: &settings.hostname, id, arrived: about.received, now, to: sender, header, failures };
        let composed = match compose_report(&report) {
            Ok(composed) => composed,
            Err(error) => {
                tracing::error!(%error, "a delivery report could not be composed");
                return None;
            }
        };
        let manifest = Manifest {
            reverse_path: ReversePath::Null,
            label: own_label()?,
            body_type: BodyType::SevenBit,
            smtputf8: sender.needs_smtputf8(),
            received: now,
            expires: now.plus(settings.give_up),
        };
        let mut batch = Batch::new(manifest, Body::Memory(composed.body));
        batch.send(id, Signed::notice(vec![Recipient { mailbox: sender.clone() }], composed.header));
        Some(batch)
    }
}
