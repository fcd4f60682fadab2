//! A message that is handed in again, because its client missed the 250: whoever has it already is left out.

use crate::mail::{QueueId, Reply};
use crate::message::BodyHash;
use crate::seen::{Claim, Known, Print, Ticket};
use crate::telemetry::EventType;
use crate::time::Timestamp;

use super::accept::{Accepted, Examined, Passage};
use super::{answer, note};

/// Who is left of a message.
pub(super) struct Fresh {
    /// Those who do not have it.
    pub(super) accepted: Vec<Accepted>,
    /// Of somebody who has it.
    pub(super) known: Option<Known>,
    /// Those who do not have it, as the list knows them; nobody else takes them while this is held.
    claimed: Option<(Vec<Print>, Ticket)>,
}

impl Passage<'_> {
    /// Leaves out whoever was taken within the stream's window, when it has one. A message without a Message-ID cannot be
    /// told from another, and is new.
    pub(super) async fn without_those_who_have_it(
        &self,
        message: &Examined,
        body: Option<BodyHash>,
        accepted: Vec<Accepted>,
        now: Timestamp,
    ) -> Result<Fresh, Reply> {
        let id = message.section.fields("Message-ID").next().map(|field| field.unfolded().into_owned());
        let (Some(_), Some(id), Some(body)) = (self.stream.remembered_for, id, body) else {
            return Ok(Fresh { accepted, known: None, claimed: None });
        };
        let (seen, credential) = (&self.hall.seen, &self.transaction.session.identity.credential);
        let body = body.to_base64();
        let print = |one: &Accepted| seen.print(credential, &id, &body, &one.permit.recipient().mailbox);
        let prints: Vec<_> = accepted.iter().map(print).collect();
        let (found, ticket) = match seen.claim(prints.clone(), now).await {
            Ok(Claim::Taken(found, ticket)) => (found, ticket),
            Ok(Claim::Busy) => return Err(answer::being_taken()),
            Err(_told_already) => return Err(answer::ours()),
        };
        let mut fresh = Fresh { accepted: Vec::with_capacity(accepted.len()), known: None, claimed: None };
        let mut wanted = Vec::with_capacity(prints.len());
        for ((one, print), known) in accepted.into_iter().zip(prints).zip(found) {
            match known {
                None => {
                    fresh.accepted.push(one);
                    wanted.push(print);
                }
                Some(known) => {
                    self.tell_of_repetition(one, known, message);
                    fresh.known.get_or_insert(known);
                }
            }
        }
        fresh.claimed = Some((wanted, ticket));
        Ok(fresh)
    }

    fn tell_of_repetition(&self, one: Accepted, known: Known, message: &Examined) {
        let mut event = note::labelled(one.event, &message.label);
        event.kind = EventType::Repeated;
        event.id = Some(known.first().to_string());
        self.hall.spool.note(self.hall.log.record(&event));
    }

    /// The copies of `fresh` are on disk, the first of them as `first`: from now on they are known. When that cannot be
    /// written down, the same message is taken again next time; this one is taken all the same.
    pub(super) async fn remember(&self, claimed: Claimed, first: QueueId, now: Timestamp) {
        let (Some((prints, _ticket)), Some(window)) = (claimed.0, self.stream.remembered_for) else { return };
        let taken = prints.into_iter().map(|print| (print, first)).collect();
        if let Err(error) = self.hall.seen.keep(taken, now, window).await {
            tracing::error!(%error, id = %first, "a message was taken, and would be again");
        }
    }
}

/// What [`Fresh`] holds while its copies are composed and committed.
pub(super) struct Claimed(Option<(Vec<Print>, Ticket)>);

impl Fresh {
    /// Recipients to go on with, and what to remember of them.
    pub(super) fn part(self) -> (Vec<Accepted>, Claimed) {
        (self.accepted, Claimed(self.claimed))
    }
}
