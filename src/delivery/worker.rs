//! One connection at a time, one message after another on it.

use std::sync::Arc;

use tokio::time::timeout;

use super::attempt::{Desk, Draft, Job};
use super::outcome::{self, Verdict};
use super::queue::Queue;
use super::{Leased, Recheck};
use crate::smtp::client::{ClientError, Session, Stage};

/// Takes leases, keeps a connection for them.
pub(super) struct Worker<L, R> {
    desk: Arc<Desk<R>>,
    queue: Arc<Queue<L>>,
    session: Option<Session>,
    /// The copy whose envelope has been written behind the last message, on `session` if that still stands.
    ahead: Option<Job<L>>,
    /// A copy that was taken to look ahead and could not be announced.
    held: Option<Draft<L>>,
}

impl<L: Leased, R: Recheck> Worker<L, R> {
    pub(super) const fn new(desk: Arc<Desk<R>>, queue: Arc<Queue<L>>) -> Self {
        Self { desk, queue, session: None, ahead: None, held: None }
    }

    /// Until the queue is closed.
    pub(super) async fn run(mut self) {
        loop {
            let draft = match (self.ahead.take(), self.held.take()) {
                (Some(job), held) => {
                    self.held = held;
                    // Comes back when the session is gone: then its recipients are decided on again, because they
                    // have to be named again.
                    self.transact(job).await
                }
                (None, Some(draft)) => Some(draft),
                (None, None) => match self.wait().await {
                    Some(lease) => Some(Draft::new(lease)),
                    None => break,
                },
            };
            if let Some(draft) = draft {
                self.serve(draft).await;
            }
        }
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }

    /// The next lease, unless the route rests: then leases go back where they wait. Closes an idle connection.
    async fn wait(&mut self) -> Option<L> {
        loop {
            let lease = match (self.queue.try_pop(), &self.session) {
                (Some(lease), _) => lease,
                (None, None) => self.queue.pop().await?,
                (None, Some(_)) => {
                    if let Ok(lease) = timeout(self.desk.settings.idle_close, self.queue.pop()).await {
                        lease?
                    } else {
                        if let Some(session) = self.session.take() {
                            session.quit().await;
                        }
                        continue;
                    }
                }
            };
            if self.desk.route.rests_for(self.desk.clock.now()).is_zero() {
                return Some(lease);
            }
        }
    }

    /// Connects, decides, sends: in this order, because connecting may take long and the decision must be fresh.
    async fn serve(&mut self, draft: Draft<L>) {
        let mut draft = draft;
        // Twice at most: only a session that has served before can turn out to be stale, and the next one is new.
        loop {
            if self.session.is_none() {
                let settings = &self.desk.settings;
                match Session::open(&settings.smarthost.host, settings.smarthost.port, &settings.client).await {
                    Ok(session) => self.session = Some(session),
                    Err(error) => {
                        tracing::warn!(%error, "no session with the upstream");
                        let verdict = outcome::of_error(&self.desk.settings.replies, &error, false);
                        return self.desk.conclude_all(draft, &verdict, None).await;
                    }
                }
            }
            let Some(job) = self.desk.decide(draft).await else { return };
            match self.transact(job).await {
                Some(stale) => draft = stale,
                None => return,
            }
        }
    }

    /// One transaction on the open session. Gives the copy back when the session had died since its last message:
    /// nothing of the copy was sent, and another connection may take it.
    async fn transact(&mut self, job: Job<L>) -> Option<Draft<L>> {
        let Some(mut session) = self.session.take() else { return Some(job.draft) };
        let peer = session.peer();
        if let Err(misfit) = session.fits(&job.outgoing) {
            self.session = Some(session);
            self.desk.conclude_all(job.draft, &outcome::of_misfit(misfit), Some(peer)).await;
            return None;
        }
        let replies = match session.envelope(&job.outgoing).await {
            Ok(replies) => replies,
            Err(error) if session.transactions() > 1 && has_gone(&error) => return Some(job.draft),
            Err(error) => {
                let verdict = outcome::of_error(&self.desk.settings.replies, &error, false);
                self.desk.conclude_all(job.draft, &verdict, Some(peer)).await;
                return None;
            }
        };
        let verdicts = outcome::of_envelope(&self.desk.settings.replies, &replies, job.outgoing.recipients().len());
        if replies.goes_ahead() {
            self.hand_over(session, job, verdicts).await;
            return None;
        }
        let verdicts: Vec<Verdict> = verdicts.into_iter().flatten().collect();
        let faulty = verdicts.iter().any(|verdict| verdict.route_fault);
        if !faulty {
            self.desk.route.success();
        }
        if session.abandon(&replies).await.is_ok() {
            self.keep(session, faulty);
        }
        self.desk.conclude(job.draft, &verdicts, Some(peer), None).await;
        None
    }

    /// Content and final dot, with the next envelope behind it when there is one.
    async fn hand_over(&mut self, mut session: Session, job: Job<L>, verdicts: Vec<Option<Verdict>>) {
        let peer = session.peer();
        let mut next = self.look_ahead(&session, &job).await;
        let permit = if let Ok(permit) = Arc::clone(&self.desk.unsettled).try_acquire_owned() {
            Some(permit)
        } else {
            // The disk is behind. By the time it has caught up the decision on the next copy may be stale.
            self.held = next.take().map(|job| job.draft);
            Arc::clone(&self.desk.unsettled).acquire_owned().await.ok()
        };
        let last = match session.content(&job.outgoing, next.as_ref().map(|next| &next.outgoing)).await {
            Ok(reply) => {
                let whom = outcome::whom(&verdicts);
                let verdict = outcome::of_reply(&self.desk.settings.replies, Stage::Content, whom, reply);
                self.keep(session, verdict.route_fault);
                verdict
            }
            Err(interrupted) => {
                tracing::warn!(error = %interrupted.error, sent = interrupted.sent, "a session broke off at the content");
                outcome::of_error(&self.desk.settings.replies, &interrupted.error, interrupted.sent)
            }
        };
        self.ahead = next;
        if !last.route_fault {
            self.desk.route.success();
        }
        let verdicts: Vec<Verdict> =
            verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| last.clone())).collect();
        self.desk.conclude(job.draft, &verdicts, Some(peer), permit).await;
    }

    /// The copy to announce behind `job`: one that is ready now and decided on now.
    async fn look_ahead(&mut self, session: &Session, job: &Job<L>) -> Option<Job<L>> {
        let possible = session.offers().pipelining
            && job.outgoing.is_short()
            && session.transactions() < self.desk.settings.max_messages_per_connection
            && self.held.is_none();
        if !possible {
            return None;
        }
        // Whoever is withdrawn here is out of the way already; the queue is short, and so is this.
        loop {
            let lease = self.queue.try_pop()?;
            let Some(next) = self.desk.decide(Draft::new(lease)).await else { continue };
            match session.fits(&next.outgoing) {
                Ok(()) => return Some(next),
                Err(misfit) => {
                    self.desk.conclude_all(next.draft, &outcome::of_misfit(misfit), Some(session.peer())).await;
                }
            }
        }
    }

    /// Keeps the session for the next message, unless it is worn out or `faulty`.
    fn keep(&mut self, session: Session, faulty: bool) {
        if faulty {
            return;
        }
        if session.transactions() < self.desk.settings.max_messages_per_connection {
            self.session = Some(session);
        } else {
            tokio::spawn(session.quit());
        }
    }
}

/// The other side has closed, or says that it is about to.
const fn has_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Closed(_) | ClientError::Io { .. } | ClientError::Closing { .. })
}
