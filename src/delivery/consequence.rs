//! What one verdict does beside ending one attempt: groups that are slowed or stopped, mailboxes that are dead. Each is
//! recorded in log and audit. What it does to the way itself is the circuit's.

use std::time::Duration;

use bytes::Bytes;

use super::attempt::Desk;
use super::board::{Burial, REPUTATION_REST};
use super::outcome::{self, Fate, Verdict};
use super::record::Alarm;
use super::suspension::Hand;
use super::{DeadMailbox, Recheck};
use crate::mail::Recipient;
use crate::replies::Follows;
use crate::spool::Entry;
use crate::time::Timestamp;

/// How often dead mailboxes are looked at that may be confirmed, and groups that may have recovered.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl<R: Recheck> Desk<R> {
    /// Draws the consequences, and returns the verdict that counts: another one when nobody believes it. Records for
    /// the audit trail go to `notes`.
    pub(super) fn follow(
        &self,
        entry: &Entry,
        recipient: &Recipient,
        verdict: &Verdict,
        notes: &mut Vec<Bytes>,
        now: Timestamp,
    ) -> Verdict {
        let (label, domain) = (&entry.manifest.label, recipient.mailbox.domain());
        let follows = verdict.told.map(|told| told.follows);
        match (verdict.fate, follows) {
            (Fate::Delivered | Fate::Relayed, _) => self.board.answered(label, domain, now),
            (Fate::Deferred, Some(Follows::Slow)) => {
                if let Some((group, pace)) = self.board.slow(label, domain, now) {
                    let reply = self.recorder.shown(&verdict.reply, recipient);
                    notes.push(self.recorder.slowed(&group, pace, &reply, now));
                }
            }
            (Fate::Deferred, Some(Follows::Suspend)) => {
                let (group, until) = (self.board.group(label, domain), now.plus(REPUTATION_REST));
                let reply = self.recorder.shown(&verdict.reply, recipient).to_string();
                if self.board.stop(&group, Hand::Reputation, Some(until), reply.clone(), now) {
                    let text = format!("{group} gets nothing until {until}: {reply}");
                    notes.push(self.recorder.alarm(Alarm::Reputation, &text, now));
                }
            }
            (Fate::Bounced, Some(Follows::Suppress)) => return self.bury(entry, recipient, verdict, notes, now),
            (Fate::Bounced, _) if verdict.said_by_upstream => self.board.answered(label, domain, now),
            (Fate::Deferred | Fate::Bounced, _) => {}
        }
        verdict.clone()
    }

    fn bury(
        &self,
        entry: &Entry,
        recipient: &Recipient,
        verdict: &Verdict,
        notes: &mut Vec<Bytes>,
        now: Timestamp,
    ) -> Verdict {
        let codes = verdict.reply.enhanced().map_or_else(String::new, |status| format!(" {status}"));
        let by = verdict.told.map_or("", |told| told.by);
        let dead = DeadMailbox {
            id: entry.id,
            label: entry.manifest.label.clone(),
            mailbox: recipient.mailbox.clone(),
            evidence: format!("{}{codes} by {by}, message {}", verdict.reply.code().as_u16(), entry.id),
            at: now,
        };
        match self.board.dead(dead, now) {
            Burial::Waits => verdict.clone(),
            Burial::Doubted => outcome::of_doubt(verdict),
            Burial::Trips { group, because, forgotten } => {
                let lift = match &group.domain {
                    None => format!("--route {}", group.route),
                    Some(domain) => format!("--route {} --domain {domain}", group.route),
                };
                let text = format!(
                    "{group} is held: {because}; {forgotten} were about to be suppressed and are not. \
                     `consentry queue resume {lift}` goes on"
                );
                notes.push(self.recorder.alarm(Alarm::MassBounce, &text, now));
                outcome::of_doubt(verdict)
            }
        }
    }

    /// Confirms dead mailboxes and notices recovered groups, until it is dropped.
    pub(super) async fn keep_looking(&self, audit: impl Fn(Bytes)) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.clock.now();
            for group in self.board.recovered(now) {
                audit(self.recorder.recovered(&group, now));
            }
            for (group, dead) in self.board.confirmed(now) {
                if self.recheck.suppress(&dead).await.is_err() {
                    // The store is away. Nobody is written to meanwhile, and this is tried again at the next look.
                    self.board.put_back(group, dead);
                }
            }
        }
    }
}
