//! One connection at a time, one message after another on it.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::attempt::{Desk, Draft, Job};
use super::lane::{Place, Post};
use super::opening::{self, Course, Unopened};
use super::outcome::{self, Fate, Verdict};
use super::record::Peer;
use super::{Leased, Recheck};
use crate::smtp::client::{ClientError, Session, Source, Stage};

/// An unused connection to a domain's server is closed after this: strangers are not kept waiting, and another domain
/// may be waiting for the route's connections.
const DOMAIN_IDLE_CLOSE: Duration = Duration::from_secs(2);

/// How long a worker waits for one of a group's connections: others have them, and it is nobody's fault.
const CONNECTION_WAIT: Duration = Duration::from_secs(10);

/// How soon a copy is chosen for anew that met a full day.
const DAY_FULL_LOOK: Duration = Duration::from_secs(1);

/// Takes leases, keeps a connection for them.
pub(super) struct Worker<L, R> {
    desk: Arc<Desk<R>>,
    post: Post<L>,
    session: Option<Session>,
    /// Held with the session where the route's connections are counted together.
    counted: Option<OwnedSemaphorePermit>,
    /// Held with it where those to a group of destinations are.
    admitted: Option<OwnedSemaphorePermit>,
    /// What the session may come from, at most one of each family.
    sources: Vec<Source>,
    /// The copy whose envelope has been written behind the last message, on `session` if that still stands.
    ahead: Option<Job<L>>,
    /// A copy that was taken to look ahead and could not be announced.
    held: Option<Draft<L>>,
}

impl<L: Leased, R: Recheck> Worker<L, R> {
    pub(super) const fn new(desk: Arc<Desk<R>>, post: Post<L>) -> Self {
        Self { desk, post, session: None, counted: None, admitted: None, sources: Vec::new(), ahead: None, held: None }
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
                    Some(lease) => Some(self.desk.draft(lease, self.post.line())),
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

    /// The next lease. While the way rests, leases go to another lane or back where they wait. Closes an idle connection.
    async fn wait(&mut self) -> Option<L> {
        let queue = &self.post.lane.queue;
        loop {
            let lease = match (queue.try_pop(), &self.session) {
                (Some(lease), _) => lease,
                (None, None) => {
                    (self.counted, self.admitted) = (None, None);
                    match &self.post.line().place {
                        Place::Host(_) => queue.pop().await?,
                        Place::Domain(_) => match timeout(DOMAIN_IDLE_CLOSE, queue.pop()).await {
                            Ok(lease) => lease?,
                            Err(_) => self.post.lane.leave()?,
                        },
                    }
                }
                (None, Some(_)) => {
                    if let Ok(lease) = timeout(self.idle_close(), queue.pop()).await {
                        lease?
                    } else {
                        if let Some(session) = self.session.take() {
                            session.quit().await;
                        }
                        continue;
                    }
                }
            };
            let now = self.desk.clock.now();
            if self.post.line().circuit.rests_for(now).is_zero() {
                return Some(lease);
            }
            match self.post.pool.instead_of(&self.post.lane, now) {
                Some(other) => other.queue.push(self.desk.flow(&lease), vec![lease]),
                None => lease.put_back(self.post.pool.usable_at(now)),
            }
        }
    }

    fn idle_close(&self) -> Duration {
        match &self.post.line().place {
            Place::Host(_) => self.desk.settings.idle_close,
            Place::Domain(_) => self.desk.settings.idle_close.min(DOMAIN_IDLE_CLOSE),
        }
    }

    /// Connects, decides, sends: in this order, because connecting may take long and the decision must be fresh.
    async fn serve(&mut self, draft: Draft<L>) {
        let mut draft = draft;
        // Twice at most: only a session that has served before can turn out to be stale, and the next one is new.
        loop {
            if self.session.is_none() {
                match self.call(draft).await {
                    Some(called) => draft = called,
                    None => return,
                }
            }
            let Some(mut job) = self.desk.decide(&self.post, draft).await else { return };
            if let Some(peer) = self.session.as_ref().map(Session::peer) {
                let Some(counted) = self.count(job, peer).await else {
                    // The next one may leave from another address.
                    if let Some(session) = self.session.take() {
                        session.quit().await;
                    }
                    return;
                };
                job = counted;
            }
            match self.transact(job).await {
                Some(stale) => draft = stale,
                None => return,
            }
        }
    }

    /// Opens a session for the copy. `None` when it has to wait, or there is none to be had: then it is concluded.
    async fn call(&mut self, draft: Draft<L>) -> Option<Draft<L>> {
        // Nobody is called for a copy that may not go now.
        let draft = self.desk.let_pass(&self.post, draft).await?;
        let (desk, lane) = (Arc::clone(&self.desk), Arc::clone(&self.post.lane));
        let now = desk.clock.now();
        let course = match opening::course(&lane.line, &desk.resolver, &desk.policies, now).await {
            Ok(course) => course,
            Err(error) => {
                if let Some(fault) = opening::of_no_course(&lane.line, &error) {
                    desk.recorder.tls_fault(Some(&lane.line), now, &fault);
                }
                self.without_session(draft, &error).await;
                return None;
            }
        };
        let draft = self.knock(draft, course.names()).await?;
        match self.open(course).await {
            Ok(session) => self.session = Some(session),
            Err(error) => {
                self.without_session(draft, &error).await;
                return None;
            }
        }
        Some(draft)
    }

    /// Of the route's addresses those whose day is not full: one of each family, so that it is known from which a session
    /// comes.
    fn sources(&self) -> Vec<Source> {
        let line = self.post.line();
        let open = self.desk.board.warming().open_sources(&line.route.client.sources, self.desk.clock.now());
        let turn = line.next_turn();
        let (mut four, mut six): (Vec<_>, Vec<_>) = open.into_iter().partition(|source| source.address.is_ipv4());
        let of = |family: &mut Vec<Source>| turn.checked_rem(family.len()).map(|place| family.swap_remove(place));
        of(&mut four).into_iter().chain(of(&mut six)).collect()
    }

    /// Counts a copy that is about to leave by a session with `peer`. When the day is full of what it would leave from, or
    /// by, it goes back and is chosen for anew: another address or another route may have room.
    async fn count(&self, mut job: Job<L>, peer: SocketAddr) -> Option<Job<L>> {
        let source = self.sources.iter().find(|source| source.address.is_ipv4() == peer.is_ipv4());
        match self.desk.count(&mut job.draft, source.map(|source| source.address)) {
            Ok(()) => Some(job),
            Err(until) => {
                let soon = self.desk.clock.now().plus(DAY_FULL_LOOK);
                self.desk.later(&self.post, job.draft, until.min(soon)).await;
                None
            }
        }
    }

    /// Before a domain's servers are connected to: now it is known whose they are. `None` when the copy has to wait for
    /// their pace, or for a connection of theirs to become free.
    async fn knock(&mut self, draft: Draft<L>, names: impl Iterator<Item = &str>) -> Option<Draft<L>> {
        let line = self.post.line();
        let Place::Domain(domain) = &line.place else { return Some(draft) };
        let (now, gates) = (self.desk.clock.now(), self.desk.board.gates());
        let who = gates.who_by_mx(domain, names);
        let gate = gates.gate(&line.route.name, who, now);
        if line.belongs_behind(&gate) {
            // Those that came with this copy were let through where another pace counts.
            self.post.lane.queue.drain().into_iter().for_each(|lease| lease.put_back(now));
            if let Err(until) = gate.pass(now) {
                self.desk.later(&self.post, draft, until).await;
                return None;
            }
        }
        if let Some(connections) = gate.connections.as_ref().filter(|_| self.admitted.is_none()) {
            // First come, first served, so that no domain of the group keeps the others out.
            match timeout(CONNECTION_WAIT, Arc::clone(connections).acquire_owned()).await {
                Ok(admitted) => self.admitted = admitted.ok(),
                Err(_elapsed) => {
                    self.desk.later(&self.post, draft, self.desk.clock.now()).await;
                    return None;
                }
            }
        }
        Some(draft)
    }

    async fn open(&mut self, course: Course<'_>) -> Result<Session, Unopened> {
        let line = self.post.line();
        if let Some(connections) = line.connections.as_ref().filter(|_| self.counted.is_none()) {
            // Never closed; a session too many would be the worst of it.
            self.counted = Arc::clone(connections).acquire_owned().await.ok();
        }
        let mut client = Cow::Borrowed(&line.route.client);
        if !self.desk.board.warming().is_idle() && !client.sources.is_empty() {
            client.to_mut().sources = self.sources();
        }
        self.sources.clone_from(&client.sources);
        let opening = opening::open(line, &client, course).await;
        let now = self.desk.clock.now();
        for fault in &opening.faults {
            self.desk.recorder.tls_fault(Some(line), now, fault);
        }
        if let Some(asked) = &opening.fulfilled {
            self.desk.recorder.tls_session(line, now, asked);
        }
        opening.session
    }

    /// The copy goes to another lane when there is one in order: nothing of it was sent. Else it waits with the others.
    async fn without_session(&self, draft: Draft<L>, error: &Unopened) {
        let line = self.post.line();
        let verdict = error.verdict(self.desk.reading(line));
        if verdict.route_fault {
            tracing::warn!(%error, route = %line.route.name, place = %line.place, "no session with the upstream");
            self.desk.fault(line, &verdict, &verdict.reply, error.blame(&verdict));
        }
        if verdict.route_fault
            && draft.is_untouched()
            && let Some(other) = self.post.pool.instead_of(&self.post.lane, self.desk.clock.now())
        {
            let lease = draft.into_lease();
            return other.queue.push(self.desk.flow(&lease), vec![lease]);
        }
        self.desk.conclude_all(&self.post, draft, &verdict, None).await;
    }

    /// One transaction on the open session. Gives the copy back when the session had died since its last message:
    /// nothing of the copy was sent, and another connection may take it.
    async fn transact(&mut self, job: Job<L>) -> Option<Draft<L>> {
        let Some(mut session) = self.session.take() else { return Some(job.draft) };
        let peer = Peer::of(&session);
        if let Err(misfit) = session.fits(&job.outgoing) {
            self.session = Some(session);
            self.desk.conclude_all(&self.post, job.draft, &outcome::of_misfit(misfit), Some(&peer)).await;
            return None;
        }
        let replies = match session.envelope(&job.outgoing).await {
            Ok(replies) => replies,
            Err(error) if session.transactions() > 1 && has_gone(&error) => return Some(job.draft),
            Err(error) => {
                self.desk
                    .conclude_all(
                        &self.post,
                        job.draft,
                        &outcome::of_error(self.desk.reading(self.post.line()), &error, false),
                        Some(&peer),
                    )
                    .await;
                return None;
            }
        };
        let reading = self.desk.reading(self.post.line());
        let verdicts = outcome::of_envelope(reading, &replies, job.outgoing.recipients().len());
        if replies.goes_ahead() {
            self.hand_over(session, job, verdicts).await;
            return None;
        }
        let verdicts: Vec<Verdict> = verdicts.into_iter().flatten().collect();
        let faulty = verdicts.iter().any(|verdict| verdict.route_fault);
        if !faulty {
            self.desk.success(self.post.line());
        }
        if session.abandon(&replies).await.is_ok() {
            self.keep(session, faulty);
        }
        self.desk.conclude(&self.post, job.draft, &verdicts, Some(&peer), None).await;
        None
    }

    /// Content and final dot, with the next envelope behind it when there is one.
    async fn hand_over(&mut self, mut session: Session, job: Job<L>, verdicts: Vec<Option<Verdict>>) {
        let peer = Peer::of(&session);
        let mut next = self.look_ahead(&session, &job).await;
        let permit = if let Ok(permit) = Arc::clone(&self.desk.unsettled).try_acquire_owned() {
            Some(permit)
        } else {
            // The disk is behind. By the time it has caught up the decision on the next copy may be stale.
            self.held = next.take().map(|job| job.draft);
            Arc::clone(&self.desk.unsettled).acquire_owned().await.ok()
        };
        let reports_go_on = session.offers().dsn;
        let mut last = match session.content(&job.outgoing, next.as_ref().map(|next| &next.outgoing)).await {
            Ok(reply) => {
                let whom = outcome::whom(&verdicts);
                let verdict = outcome::of_reply(self.desk.reading(self.post.line()), Stage::Content, whom, reply);
                self.keep(session, verdict.route_fault);
                verdict
            }
            Err(interrupted) => {
                tracing::warn!(error = %interrupted.error, sent = interrupted.sent, "a session broke off at the content");
                outcome::of_error(self.desk.reading(self.post.line()), &interrupted.error, interrupted.sent)
            }
        };
        if last.fate == Fate::Delivered && !reports_go_on {
            last.fate = Fate::Relayed;
        }
        self.ahead = next;
        if !last.route_fault {
            self.desk.success(self.post.line());
        }
        let verdicts: Vec<Verdict> =
            verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| last.clone())).collect();
        self.desk.conclude(&self.post, job.draft, &verdicts, Some(&peer), permit).await;
    }

    /// The copy to announce behind `job`: one that is ready now and decided on now.
    async fn look_ahead(&mut self, session: &Session, job: &Job<L>) -> Option<Job<L>> {
        let possible = session.offers().pipelining
            && job.outgoing.is_short()
            && session.transactions() < self.transactions_max()
            && self.held.is_none();
        if !possible {
            return None;
        }
        // Whoever is withdrawn here is out of the way already; the queue is short, and so is this.
        loop {
            let lease = self.post.lane.queue.try_pop()?;
            let draft = self.desk.draft(lease, self.post.line());
            let Some(next) = self.desk.decide(&self.post, draft).await else { continue };
            match session.fits(&next.outgoing) {
                Ok(()) => return self.count(next, session.peer()).await,
                Err(misfit) => {
                    let (peer, verdict) = (Peer::of(session), outcome::of_misfit(misfit));
                    self.desk.conclude_all(&self.post, next.draft, &verdict, Some(&peer)).await;
                }
            }
        }
    }

    /// Keeps the session for the next message, unless it is worn out or `faulty`.
    fn keep(&mut self, session: Session, faulty: bool) {
        if faulty {
            return;
        }
        if session.transactions() < self.transactions_max() {
            self.session = Some(session);
        } else {
            // Once it is closed, whoever waits for a connection to this group is next.
            let admitted = self.admitted.take();
            tokio::spawn(async move {
                session.quit().await;
                drop(admitted);
            });
        }
    }

    fn transactions_max(&self) -> u32 {
        let ours = self.desk.settings.max_messages_per_connection;
        let theirs = self.post.line().gate().limits.messages_per_connection;
        theirs.map_or(ours, |theirs| ours.min(theirs.get()))
    }
}

/// The other side has closed, or says that it is about to.
const fn has_gone(error: &ClientError) -> bool {
    matches!(error, ClientError::Closed(_) | ClientError::Io { .. } | ClientError::Closing { .. })
}
