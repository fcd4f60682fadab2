//! The way of one message through the house: read, examine, decide, compose, commit.

use std::sync::Arc;

use bytes::Bytes;

use crate::mail::{BodyType, DecisionRef, Domain, Label, QueueId, Recipient, Reply};
use crate::message::{BodyHash, BodyLink, BodyPlan, HeaderSection, author_domain, controls, read_duties};
use crate::policy::{Case, Decision, Law, MessageFacts, OneClick, Permit, Verdict, decide};
use crate::smtp::{Content, Transaction};
use crate::spool::{Batch, Body, Manifest};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;

use super::compose::{ComposeError, Composed, Material};
use super::facts::{self, gather};
use super::look;
use super::note::{self, About};
use super::receive::{self, Hashing};
use super::settings::{OnRefusal, Settings, Sharing, Stream};
use super::{Pipeline, Receipt, answer};

/// One message on its way, with what holds for all its recipients.
pub(super) struct Passage<'a> {
    pub(super) hall: &'a Pipeline,
    pub(super) transaction: Transaction,
    settings: Arc<Settings>,
    pub(super) stream: Arc<Stream>,
}

/// A message whose header section has been understood.
pub(super) struct Examined {
    pub(super) section: HeaderSection,
    author: Domain,
    pub(super) label: Label,
    /// What the message shows, when a law asks.
    duties: Option<MessageFacts>,
    /// Where links of each recipient's own go, when there are any.
    links: Option<BodyPlan>,
}

impl Examined {
    /// What the copies share of the received body: all of it, or what stands behind the last link.
    fn shared(&self, received: Body, copies: usize) -> Result<Body, Reply> {
        match &self.links {
            None => Ok(received),
            Some(plan) if plan.own_len().saturating_mul(copies) > look::OWN_MAX => {
                Err(answer::too_many_for_links(look::OWN_MAX))
            }
            Some(plan) => Ok(Body::Memory(plan.shared())),
        }
    }
}

/// A recipient who may be written to, with the event that will say so.
pub(super) struct Accepted {
    pub(super) permit: Permit,
    pub(super) event: Event,
}

/// A recipient who may not, with the event that says why.
pub(super) struct Declined {
    pub(super) recipient: Recipient,
    pub(super) decision: Decision,
    pub(super) reference: DecisionRef,
    event: Event,
}

impl Pipeline {
    /// Accepts one message or says why not. `Ok` means that every permitted copy is on disk.
    pub(super) async fn accept<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<Receipt, Reply> {
        let settings = self.settings.load_full();
        let stream =
            settings.streams.get(&transaction.session.identity.stream).cloned().ok_or_else(answer::no_stream)?;
        let passage = Passage { hall: self, transaction, settings, stream };
        let hashing = passage.hashing();
        let received = receive::read(content, &self.spool, hashing).await?;
        let examined = passage.examine(received.header.clone(), &received.body).await?;
        let now = self.clock.now();
        let (accepted, declined) = passage.decide(&examined, now).await?;
        let manifest = passage.manifest(&examined.label, received.eight_bit, now);
        if accepted.is_empty() {
            return passage.decline_all(manifest, &examined.label, declined).await;
        }
        let fresh = passage.without_those_who_have_it(&examined, received.hash, accepted, now).await?;
        match fresh.known {
            Some(known) if fresh.accepted.is_empty() => return Ok(Receipt::Again(known)),
            // The first time somebody was told of those who may not be written to.
            Some(_) => {}
            None => passage.report(&manifest, &examined.section, &received.body, &declined).await?,
        }
        let (accepted, claimed) = fresh.part();
        let mut batch = Batch::new(manifest, examined.shared(received.body, accepted.len())?);
        let (first, mut lines) =
            passage.compose(&mut batch, examined, received.hash, received.octets, accepted, now).await?;
        lines.extend(declined.into_iter().map(|declined| declined.event.to_json()));
        for line in &lines {
            batch.note(line.clone());
        }
        let committed = self.spool.commit(batch).await.map_err(|error| answer::not_kept(&error))?;
        passage.remember(claimed, first, now).await;
        for line in lines {
            self.log.write(line);
        }
        Ok(Receipt::Queued(committed, first))
    }
}

impl Passage<'_> {
    /// The body's digest is needed for signatures, and to tell a repeated message from another with its id.
    fn hashing(&self) -> Hashing {
        let needed = self.stream.signing.needs_body_hash() || self.stream.remembered_for.is_some();
        if needed { Hashing::Wanted } else { Hashing::NotWanted }
    }

    async fn examine(&self, header: Bytes, body: &Body) -> Result<Examined, Reply> {
        let section = HeaderSection::parse(header).map_err(|error| answer::malformed(&error))?;
        if section.is_looping() {
            return Err(answer::loops());
        }
        let author = author_domain(&section).map_err(|error| answer::author(&error))?;
        let controls = controls(&section).map_err(|error| answer::control(&error))?;
        let list = self.stream.choose_list(controls.list.as_ref()).map_err(answer::foreign_list)?.cloned();
        let rules = &self.stream.rules;
        let label = Label {
            stream: rules.name.clone(),
            controller: rules.controller.clone(),
            list,
            campaign: controls.campaign,
        };
        let (duties, links) = self.look(&section, body).await?;
        Ok(Examined { section, author, label, duties, links })
    }

    /// What the body shows, when a law asks, and where its links go, when the stream does.
    async fn look(
        &self,
        section: &HeaderSection,
        body: &Body,
    ) -> Result<(Option<MessageFacts>, Option<BodyPlan>), Reply> {
        let stream = &self.stream;
        if (&stream.rules.law, stream.body_link) == (&Law::NotApplied, BodyLink::Off) {
            return Ok((None, None));
        }
        let start = look::beginning(body).await?;
        let duties = match stream.rules.law {
            Law::Applied(_) => Some(read_duties(section, &start, &stream.expected)),
            Law::NotApplied => None,
        };
        Ok((duties, look::links(section, &start, body, stream)?))
    }

    async fn decide(&self, message: &Examined, now: Timestamp) -> Result<(Vec<Accepted>, Vec<Declined>), Reply> {
        let recipients = &self.transaction.envelope.recipients;
        let mailboxes: Vec<_> = recipients.iter().map(|recipient| &recipient.mailbox).collect();
        let known =
            gather(&self.hall.store, &self.stream, &mailboxes).await.map_err(|error| answer::store_down(&error))?;
        let (mut accepted, mut declined) = (Vec::with_capacity(recipients.len()), Vec::new());
        for (recipient, dossier) in recipients.iter().zip(&known) {
            let (suppressions, facts) = facts::of(dossier, message.duties.as_ref());
            let case = Case {
                list: message.label.list.as_ref(),
                author: Some(&message.author),
                suppressions,
                facts,
                ..Case::new(recipient, &self.stream.rules, now)
            };
            let decision = decide(&case, &self.settings.rulebook);
            let reference = self.hall.ids.decision_ref(now);
            match decision.verdict {
                Verdict::Permit(_) => {
                    let event = self.event(EventType::Reception, recipient, &decision, reference, now);
                    if let Verdict::Permit(permit) = decision.verdict {
                        accepted.push(Accepted { permit, event });
                    }
                }
                Verdict::Refuse(_) => {
                    let event = self.event(EventType::Suppressed, recipient, &decision, reference, now);
                    let event = note::labelled(event, &message.label);
                    declined.push(Declined { recipient: recipient.clone(), decision, reference, event });
                }
            }
        }
        Ok((accepted, declined))
    }

    fn event(
        &self,
        kind: EventType,
        to: &Recipient,
        decision: &Decision,
        reference: DecisionRef,
        now: Timestamp,
    ) -> Event {
        let about = About {
            rules: &self.stream.rules,
            transaction: &self.transaction,
            rulebook: &self.settings.rulebook,
            privacy: &self.hall.privacy,
            now,
        };
        about.decision(kind, to, decision, reference)
    }

    fn manifest(&self, label: &Label, eight_bit: bool, now: Timestamp) -> Manifest {
        let envelope = &self.transaction.envelope;
        Manifest {
            reverse_path: envelope.reverse_path.clone(),
            label: label.clone(),
            // What the message is counts, not what the client declared: undeclared 8-bit octets must not reach a 7-bit hop raw,
            // and 7-bit ones may go where they were declared as more.
            body_type: if eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
            smtputf8: envelope.smtputf8,
            reporting: envelope.reporting.clone(),
            received: now,
            expires: now.plus(self.settings.give_up),
        }
    }

    /// Nobody may be sent this message: a record is kept, and the tool is told as its stream wishes.
    async fn decline_all(&self, manifest: Manifest, label: &Label, declined: Vec<Declined>) -> Result<Receipt, Reply> {
        let reply = match declined.first() {
            Some(first) => answer::all_refused(&first.decision, first.reference),
            None => answer::ours(),
        };
        let refused = self.stream.on_refusal == OnRefusal::Reject;
        let mut batch = Batch::new(manifest, Body::Memory(Bytes::new()));
        let mut lines = Vec::with_capacity(declined.len());
        for Declined { mut event, .. } in declined {
            if refused {
                event.kind = EventType::Rejection;
                event = note::answered(event, &reply);
            }
            lines.push(note::labelled(event, label).to_json());
        }
        for line in &lines {
            batch.note(line.clone());
        }
        let committed = self.hall.spool.commit(batch).await.map_err(|error| answer::not_kept(&error))?;
        for line in lines {
            self.hall.log.write(line);
        }
        if refused { Err(reply) } else { Ok(Receipt::NothingSent(committed)) }
    }

    /// Some may, some may not, and SMTP has one reply for all: the sender is told of the others by a delivery report.
    /// It is queued first, so that a fault between the two leaves a message that the tool sends again.
    async fn report(
        &self,
        manifest: &Manifest,
        section: &HeaderSection,
        body: &Body,
        declined: &[Declined],
    ) -> Result<(), Reply> {
        if declined.is_empty() || self.stream.on_refusal == OnRefusal::Accept {
            return Ok(());
        }
        let id = self.hall.ids.queue_id(manifest.received);
        match self.hall.refusal_report(id, manifest, section, body, declined) {
            Some(batch) => self.hall.spool.commit(batch).await.map(drop).map_err(|error| answer::not_kept(&error)),
            None => Ok(()),
        }
    }

    async fn compose(
        &self,
        batch: &mut Batch,
        message: Examined,
        hash: Option<BodyHash>,
        octets: u64,
        accepted: Vec<Accepted>,
        now: Timestamp,
    ) -> Result<(QueueId, Vec<Bytes>), Reply> {
        let mut lines = Vec::with_capacity(accepted.len());
        let mut copies: Vec<(QueueId, Vec<Permit>)> = Vec::with_capacity(accepted.len());
        for Accepted { permit, event } in accepted {
            let shared = match permit.obligations().one_click {
                // RFC 8058 asks for a URI of each recipient's own, so that nobody can unsubscribe another.
                OneClick::Owed => None,
                OneClick::NotOwed => copies.iter_mut().find(|(_, permits)| self.share(permits, &permit)),
            };
            let id = shared.as_ref().map_or_else(|| self.hall.ids.queue_id(now), |(id, _)| *id);
            lines.push(note::queued(event, id, &message.label, permit.recipient(), octets).to_json());
            match shared {
                Some((_, permits)) => permits.push(permit),
                None => copies.push((id, vec![permit])),
            }
        }
        let material = Material {
            section: message.section,
            hash,
            body: message.links,
            transaction: self.transaction.clone(),
            label: message.label,
            stream: Arc::clone(&self.stream),
            settings: Arc::clone(&self.settings),
            keyring: Arc::clone(&self.hall.keyring),
            now,
        };
        let first = copies.first().map_or_else(|| self.hall.ids.queue_id(now), |(id, _)| *id);
        let composed = composed(material, copies).await?;
        self.keep_link(&composed, now).await?;
        for Composed { id, signed, .. } in composed {
            batch.send(id, signed);
        }
        Ok((first, lines))
    }

    /// Keeps the one-click URL of the tool itself, so that the tool can be told when the person leaves by ours. On disk
    /// before the message is. A URL in a message to several people is one person's, and nobody can say whose.
    async fn keep_link(&self, composed: &[Composed], now: Timestamp) -> Result<(), Reply> {
        let ([only], [_]) = (composed, self.transaction.envelope.recipients.as_slice()) else { return Ok(()) };
        let Some(url) = &only.displaced else { return Ok(()) };
        let kept = self.hall.tools.keep(&self.stream.rules.name, only.id, url, now);
        kept.await.map_err(|error| answer::tool_not_kept(&error))
    }

    /// Whether `permit`, which needs no copy of its own, belongs to the copy that is for `permits`.
    fn share(&self, permits: &[Permit], permit: &Permit) -> bool {
        let Some(first) = permits.first() else { return false };
        let fits = match self.stream.sharing {
            Sharing::Together => true,
            Sharing::ByDomain => first.recipient().mailbox.domain() == permit.recipient().mailbox.domain(),
        };
        first.obligations().one_click == OneClick::NotOwed && fits
    }
}

/// RSA signatures cost a millisecond each, and bodies of their own are written and hashed one by one: both is done off
/// the async threads. Everything else is cheaper than the hand-over.
async fn composed(material: Material, copies: Vec<(QueueId, Vec<Permit>)>) -> Result<Vec<Composed>, Reply> {
    let composed = if material.stream.signing.is_costly() || material.body.is_some() {
        tokio::task::spawn_blocking(move || material.compose(copies)).await.map_err(|_| answer::ours())?
    } else {
        material.compose(copies)
    };
    composed.map_err(|error| match error {
        ComposeError::Rewrite(error) if error.is_permanent() => answer::not_rewritten(&error),
        ComposeError::BodyLink(error) if error.is_permanent() => answer::no_links(error),
        error @ (ComposeError::Rewrite(_)
        | ComposeError::Value(_)
        | ComposeError::Token(_)
        | ComposeError::BodyLink(_)
        | ComposeError::Sign(_)) => {
            tracing::error!(%error, "a message could not be prepared");
            answer::ours()
        }
    })
}
