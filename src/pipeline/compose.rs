//! From permits to signed copies: one for each recipient where one-click is owed, one for all others.

use std::sync::Arc;

use crate::mail::{Label, Mailbox, QueueId};
use crate::message::{
    BodyFate, BodyHash, BodyLinkError, BodyPlan, CopyBody, FeedbackId, HeaderSection, HttpsUri, LinkText, Links,
    ListId, MailtoUri, MessageId, Plan, ReceivedLine, RewriteError, SignError, Signed, Transport, ValueError, rewrite,
    sign,
};
use crate::policy::{OneClick, Permit};
use crate::smtp::{Protocol, Transaction};
use crate::time::Timestamp;
use crate::token::{self, Keyring, Subject, TokenError};

use super::settings::{Settings, Stream};

/// What all copies of one message are composed from.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) section: HeaderSection,
    pub(super) hash: Option<BodyHash>,
    /// Where the links go, when each copy has a body of its own.
    pub(super) body: Option<BodyPlan>,
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
    /// A value of the configuration does not fit into a header field.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// No token could be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The message or the configured URL does not allow links in the body.
    #[error(transparent)]
    BodyLink(#[from] BodyLinkError),
    /// Our keys do not allow it.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// One copy, ready for the spool.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) id: QueueId,
    pub(super) signed: Signed,
    /// The one-click URL of the tool itself, which ours has replaced.
    pub(super) displaced: Option<String>,
}

impl Material {
    /// Composes every copy. CPU work alone: RSA signatures make it worth running off the async threads.
    ///
    /// # Errors
    /// [`ComposeError`]; then nothing of the message is kept.
    pub(super) fn compose(&self, copies: Vec<(QueueId, Vec<Permit>)>) -> Result<Vec<Composed>, ComposeError> {
        copies.into_iter().map(|(id, permits)| self.copy(id, permits)).collect()
    }

    fn copy(&self, id: QueueId, permits: Vec<Permit>) -> Result<Composed, ComposeError> {
        let received = self.received_line(id);
        let message_id = MessageId::new(id, &self.settings.hostname);
        let owed = permits.iter().find(|permit| permit.obligations().one_click == OneClick::Owed);
        let links = owed.map(|permit| self.links(id, &permit.recipient().mailbox)).transpose()?;
        let list_id = owed.and_then(|_| self.list_id()).transpose()?;
        let feedback_id = self.feedback_id().transpose()?;
        let body = self.body(links.as_ref())?;
        let fate = match &body {
            CopyBody::Shared(_) => BodyFate::Kept,
            CopyBody::Own(_) => BodyFate::Changed,
        };
        let plan = Plan {
            received: Some(&received),
            now: self.now,
            message_id: &message_id,
            unsubscribe: links.as_ref(),
            existing: self.stream.existing_unsubscribe,
            list_id: list_id.as_ref(),
            feedback_id: feedback_id.as_ref(),
            body: fate,
        };
        let rewritten = rewrite(&self.section, permits, &plan)?;
        let displaced = rewritten.displaced_one_click().map(str::to_owned);
        let signed = sign(rewritten, &body, &self.stream.signing, self.now)?;
        Ok(Composed { id, signed, displaced })
    }

    /// The body of the copy with these links. A plan is made for streams whose every permit has links.
    fn body(&self, links: Option<&Links>) -> Result<CopyBody, ComposeError> {
        match (&self.body, links) {
            (None, _) => Ok(CopyBody::Shared(self.hash)),
            (Some(_), None) => Err(RewriteError::MissingLinks.into()),
            (Some(plan), Some(links)) => Ok(CopyBody::Own(plan.own(LinkText::new(&links.https)?)?)),
        }
    }

    fn received_line(&self, id: QueueId) -> ReceivedLine {
        let session = &self.transaction.session;
        let with = transport(session.protocol, self.transaction.envelope.smtputf8);
        ReceivedLine::new(&session.helo, session.peer.ip(), self.settings.hostname.clone(), with, id, self.now)
    }

    fn links(&self, id: QueueId, mailbox: &Mailbox) -> Result<Links, ComposeError> {
        let subject = Subject {
            mailbox: mailbox.clone(),
            controller: self.label.controller.clone(),
            list: self.label.list.clone(),
            message: id,
        };
        let token = token::mint(&self.keyring, &subject)?;
        let https = HttpsUri::parse(format!("{}/u/{}", self.settings.public_url, token.as_str()))?;
        let mailto =
            MailtoUri::parse(format!("mailto:{}?subject={}", self.settings.unsubscribe_mailbox, token.as_str()))?;
        Ok(Links { https, mailto: Some(mailto) })
    }

    fn list_id(&self) -> Option<Result<ListId, ValueError>> {
        let list = self.label.list.as_ref()?;
        Some(ListId::new(None, list, &self.stream.list_domain))
    }

    fn feedback_id(&self) -> Option<Result<FeedbackId, ValueError>> {
        let sender = self.stream.feedback_sender_id.as_ref()?;
        let campaign = self.label.campaign.as_ref().map_or("", |campaign| campaign.as_str());
        let list = self.label.list.as_ref().map_or("", |list| list.as_str());
        Some(FeedbackId::parse(&format!("{campaign}:{list}:{}:{sender}", self.label.stream)))
    }
}

const fn transport(protocol: Protocol, utf8: bool) -> Transport {
    let (extended, tls, authenticated) = match protocol {
        Protocol::Smtp => (false, false, false),
        Protocol::Esmtp | Protocol::Utf8Smtp => (true, false, false),
        Protocol::Esmtpa | Protocol::Utf8Smtpa => (true, false, true),
        Protocol::Esmtps | Protocol::Utf8Smtps => (true, true, false),
        Protocol::Esmtpsa | Protocol::Utf8Smtpsa => (true, true, true),
    };
    Transport { extended, tls, authenticated, utf8 }
}
