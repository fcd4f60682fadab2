//! What comes back by mail: the unsubscribe mailbox that List-Unsubscribe names beside the link.
//!
//! **Promise:** a message changes something by a token of ours alone (promise P8), never by whom it says it is from, and
//! never when a machine wrote it. 250 means that the opt-out is on disk and nobody acts on older facts. Nobody is answered
//! by mail, whatever arrives: a forged sender gets nothing from us.
//!
//! **Owns:** which recipients are ours, what an automatic message looks like, where a token may stand.
//!
//! **Never knows:** the spool, delivery, the decision, how a token is made.
//!
//! **Standards:** RFC 2369 section 3.2 (unsubscribing by mail), RFC 3834 sections 2 and 5 (automatic answers), RFC 5321
//! sections 3.6.2 (no relaying) and 6.1 (what a 250 means).

mod letter;
mod postbox;
mod read;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::mail::{
    ControllerId, CredentialName, EnhancedStatus, Mailbox, NameError, Recipient, Reply, ReversePath, StreamName,
};
use crate::message::{BodyHash, BodyHasher};
use crate::optout::{OptOut, OptOuts};
use crate::policy::{Cause, Origin, Scope};
use crate::smtp::{Content, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction, Verifier};
use crate::telemetry::{Event, EventType, PeerAddress};
use crate::token::{self, Keyring, Subject};

use letter::Letter;

pub use postbox::is_ours;

/// Whom a client of this listener is taken for. No stream of an operator begins with an underscore.
const ANYBODY: &str = "_inbound";

/// What the mailbox needs to know; replaced as a whole at a reload.
#[derive(Debug)]
pub struct Settings {
    /// The mailbox of the mailto: alternative, and those that it had in older mail.
    pub mailboxes: Vec<Mailbox>,
    /// Where messages to ourselves come back to.
    pub canaries: Option<Mailbox>,
    /// Controllers whose link ends all their marketing instead of one list.
    pub whole_controller: HashSet<ControllerId>,
}

/// Takes a message that came to the canaries' mailbox: its header section, and the digest of its body. The daemon leads it to
/// the hall, which this room does not know.
pub type CanarySink = Arc<dyn Fn(&[u8], BodyHash) + Send + Sync>;

/// Takes mail from anybody, for our own mailboxes only.
pub struct Inbound {
    canaries: CanarySink,
    opt_outs: OptOuts,
    keyring: Arc<Keyring>,
    settings: Arc<ArcSwap<Settings>>,
    anybody: Identity,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").finish_non_exhaustive()
    }
}

/// What the client is told with the 250. It is the same whether something was changed or not: whoever guesses at tokens
/// learns nothing.
#[derive(Clone, Copy, Debug)]
pub struct Taken;

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("taken")
    }
}

impl Inbound {
    /// Joins the mailbox to whoever takes opt-outs.
    ///
    /// # Errors
    /// Never in practice: the name of our own identity is fixed and well formed.
    pub fn new(
        opt_outs: OptOuts,
        keyring: Arc<Keyring>,
        settings: Arc<ArcSwap<Settings>>,
        canaries: CanarySink,
    ) -> Result<Self, NameError> {
        let anybody = Identity { credential: CredentialName::new(ANYBODY)?, stream: StreamName::new(ANYBODY)? };
        Ok(Self { canaries, opt_outs, keyring, settings, anybody })
    }

    /// The wishes that a message proves: one for each different token of ours, wherever it stands.
    fn wishes(&self, settings: &Settings, recipients: &[Recipient], letter: &Letter) -> Vec<OptOut> {
        let tags = recipients.iter().filter_map(|to| postbox::tag(&settings.mailboxes, &to.mailbox));
        let mut subjects: Vec<Subject> = Vec::new();
        for text in tags.chain(letter.candidates()) {
            if let Ok(subject) = token::redeem(&self.keyring, &text)
                && !subjects.contains(&subject)
            {
                subjects.push(subject);
            }
        }
        subjects.into_iter().map(|subject| wish(settings, subject)).collect()
    }

    /// Nothing was changed. The log says why; there is nothing to prove later, so the audit trail does not. The recipient is
    /// left out: it is one of ours, and what is added to it may be a token.
    fn ignored(&self, transaction: &Transaction, why: &'static str) {
        let (session, envelope) = (&transaction.session, &transaction.envelope);
        let mut event = Event::new(EventType::FeedbackIgnored, self.opt_outs.clock.now());
        event.sender = Some(self.opt_outs.privacy.form_path(&envelope.reverse_path));
        event.session_id = Some(session.id.clone());
        event.peer_address = Some(PeerAddress { name: session.helo.clone(), addr: session.peer.to_string() });
        event.evidence = Some(why.to_owned());
        self.opt_outs.log.record(&event);
    }
}

fn wish(settings: &Settings, subject: Subject) -> OptOut {
    let controller = subject.controller.clone();
    let whole = settings.whole_controller.contains(&controller);
    let scope = match subject.list.clone().filter(|_| !whole) {
        Some(list) => Scope::List(controller, list),
        None => Scope::Controller(controller),
    };
    OptOut { subject, scope, cause: Cause::Unsubscribe, origin: Origin::Mailto }
}

impl Intake for Inbound {
    type Receipt = Taken;

    /// AUTH is not offered here.
    fn mechanisms(&self) -> &'static [Mechanism] {
        &[]
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::decoy(name, b"", NonZeroU32::MIN)
    }

    fn by_certificate(&self, _certificate: &Fingerprint) -> Option<Identity> {
        None
    }

    fn by_address(&self, _peer: IpAddr) -> Option<Identity> {
        Some(self.anybody.clone())
    }

    async fn authenticate(&self, _login: Login, _peer: IpAddr) -> Result<Identity, Reply> {
        Err(Reply::new(535, EnhancedStatus::new(5, 7, 8), "nobody authenticates here"))
    }

    async fn mail(&self, _session: &SessionFacts, _from: &ReversePath) -> Result<(), Reply> {
        Ok(())
    }

    async fn rcpt(&self, _transaction: &Transaction, to: &Recipient) -> Result<(), Reply> {
        let settings = self.settings.load();
        if postbox::is_ours(&settings.mailboxes, &to.mailbox) || settings.canaries.as_ref() == Some(&to.mailbox) {
            Ok(())
        } else {
            // RFC 5321 section 3.6.2: refused here, so that no bounce of ours ever goes to a forged sender.
            Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "relaying denied"))
        }
    }

    async fn data<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<Taken, Reply> {
        let canaries = self.settings.load().canaries.clone();
        // Whatever is for the unsubscribe mailbox, too, is somebody's wish first.
        if transaction.envelope.recipients.iter().all(|to| Some(&to.mailbox) == canaries.as_ref()) {
            let mut body = BodyHasher::new();
            let header = read::header(content, Some(&mut body)).await?;
            (self.canaries)(&header, body.finish());
            return Ok(Taken);
        }
        let header = read::header(content, None).await?;
        let letter = Letter::read(&header);
        let envelope = &transaction.envelope;
        if let Some(sign) = letter.automatic(&envelope.reverse_path) {
            self.ignored(&transaction, sign.as_str());
            return Ok(Taken);
        }
        let wishes = self.wishes(&self.settings.load(), &envelope.recipients, &letter);
        if wishes.is_empty() {
            self.ignored(&transaction, "no token of ours");
        }
        for wish in &wishes {
            self.opt_outs.record(wish).await.map_err(|error| {
                tracing::error!(%error, "an opt-out by mail could not be recorded");
                Reply::new(451, EnhancedStatus::new(4, 3, 0), "the opt-out could not be recorded; try again later")
            })?;
        }
        Ok(Taken)
    }
}

#[cfg(test)]
mod tests;
