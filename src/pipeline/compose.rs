//! From permits to signed copies: one for each recipient where one-click is owed, one for all others.

use std::sync::Arc;

use crate::mail::{Label, QueueId, Recipient};
use crate::message::{BodyHash, HeaderSection, Links, ListIdHeader, FeedbackId, MessageId, Plan, ReceivedLine, RewriteError, SignError, Signed, rewrite};
use crate::policy::{OneClick, Permit};
use crate::smtp::Transaction;
use crate::time::Timestamp;
use crate::token::{self, Keyring, Subject};

use super::settings::{Settings, Stream};

/// What all copies of one message are composed from.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) section: HeaderSection,
    pub(super) hash: Option<BodyHash>,
    pub(super) transaction: Transaction,
    pub(super) label: Label,
    pub(super) stream: Arc<Stream>,
    pub(super) settings: Arc<Settings>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) now: Timestamp,
}

/// Why a copy could not be composed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    /// The message does not allow it: the client's fault.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// Our keys do not allow it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Material {
    /// Composes every copy. CPU work alone: RSA signatures make it worth running off the async threads.
    ///
    /// # Errors
    /// [`ComposeError`]; then nothing of the message is kept.
    pub(super) fn compose(&self, copies: Vec<(QueueId, Vec<Permit>)>) -> Result<Vec<(QueueId, Signed)>, ComposeError> {
        copies.into_iter().map(|(id, permits)| Ok((id, self.copy(id, permits)?))).collect()
    }

    fn copy(&self, id: QueueId, permits: Vec<Permit>) -> Result<Signed, ComposeError> {
        let only = match permits.as_slice() {
            [permit] => Some(permit.recipient().clone()),
            _ => None,
        };
        let owed = permits.iter().any(|permit| permit.obligations().one_click == OneClick::Owed);
        let plan = Plan {
            received: Some(self.received_line(id, only.as_ref())),
            now: self.now,
            message_id: MessageId::new(&format!("{id}@{}", self.settings.hostname))?,
            unsubscribe: only.as_ref().filter(|_| owed).map(|to| self.links(id, to)).transpose()?,
            existing: self.stream.existing_unsubscribe,
            list_id: self.list_id().filter(|_| owed).transpose()?,
            feedback_id: self.feedback_id().transpose()?,
        };
        let rewritten = rewrite(&self.section, permits, &plan)?;
        Ok(self.stream.signing.sign(rewritten, self.hash.as_ref(), self.now)?)
    }

    fn received_line(&self, id: QueueId, only: Option<&Recipient>) -> ReceivedLine {
        let session = &self.transaction.session;
        ReceivedLine::new(&session.helo, session.peer.ip(), &self.settings.hostname, session.protocol.as_str(), id, only)
    }

    fn links(&self, id: QueueId, to: &Recipient) -> Result<Links, RewriteError> {
        let subject = Subject {
            mailbox: to.mailbox.clone(),
            controller: self.label.controller.clone(),
            list: self.label.list.clone(),
            message: id,
        };
        let token = token::mint(&self.keyring, &subject);
        let mailbox = &self.settings.unsubscribe_mailbox;
        Links::new(&format!("{}/u/{token}", self.settings.public_url), &format!("{mailbox}?subject={token}"))
    }

    fn list_id(&self) -> Option<Result<ListIdHeader, RewriteError>> {
        let list = self.label.list.as_ref()?;
        Some(ListIdHeader::new(&format!("{list}.{}.{}", self.label.controller, self.stream.list_domain)))
    }

    fn feedback_id(&self) -> Option<Result<FeedbackId, RewriteError>> {
        let sender = self.stream.feedback_sender_id.as_ref()?;
        let campaign = self.label.campaign.as_ref().map_or("", |campaign| campaign.as_str());
        let list = self.label.list.as_ref().map_or("", |list| list.as_str());
        Some(FeedbackId::new(&format!("{campaign}:{list}:{}:{sender}", self.label.stream)))
    }
}
