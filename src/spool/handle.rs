//! What the appender and everybody else share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::batch::{Batch, Body};
use super::body::Bodies;
use super::disk::Disk;
use super::error::SpoolError;
use super::inbox::Inbox;
use super::index::Index;
use super::job::Job;
use super::record::{FileRecord, SettleRecord};
use super::settings::{COMMIT_CHARGE_MIN, QUEUE_OCTETS_MAX, Settings};
use crate::time::{Clock, Timestamp};

/// State behind every [`super::Spool`], lease and the appender.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) disk: Disk,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) inbox: Inbox,
    pub(super) bodies: Bodies,
    /// Room for commits in the inbox, in octets.
    pub(super) room: Semaphore,
    /// Told when a copy may have become due, or when no copy ever will.
    pub(super) due: Notify,
    index: Mutex<Index>,
    failed: OnceLock<String>,
    full: AtomicBool,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: Settings, disk: Disk, clock: Arc<dyn Clock>, index: Index) -> Self {
        Self {
            settings,
            disk,
            clock,
            inbox: Inbox::default(),
            bodies: Bodies::default(),
            room: Semaphore::new(QUEUE_OCTETS_MAX),
            due: Notify::new(),
            index: Mutex::new(index),
            failed: OnceLock::new(),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a spool that takes nothing any more.
    pub(super) fn check(&self) -> Result<(), SpoolError> {
        if let Some(reason) = self.failed.get() {
            return Err(SpoolError::Failed(reason.clone()));
        }
        if self.closed.load(Ordering::Acquire) { Err(Self::shut_down()) } else { Ok(()) }
    }

    pub(super) fn shut_down() -> SpoolError {
        SpoolError::Failed("shut down".to_owned())
    }

    /// Why the spool failed, if it did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Latches the spool: what a failing disk says afterwards is not to be believed.
    pub(super) fn fail(&self, reason: &str) -> SpoolError {
        if self.failed.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the spool failed: nothing is accepted until a restart");
        }
        self.due.notify_one();
        SpoolError::Failed(self.failed.get().cloned().unwrap_or_default())
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Remembers whether there is space; says it once when it changes.
    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::warn!("no space for the spool: mail is refused for now");
            } else {
                tracing::info!("the spool has space again");
            }
        }
    }

    /// No job is taken any more, no copy leased.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.inbox.close();
        self.due.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn give_back(&self, id: u64, after: Duration) {
        self.give_back_at(id, self.clock.now().plus(after));
    }

    pub(super) fn give_back_at(&self, id: u64, due: Timestamp) {
        let now = self.clock.now();
        self.index().give_back(id, due, now);
        self.due.notify_one();
    }
}

/// The last one to go stops the appender.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("directory", &self.shared.disk.root()).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A job that the appender will answer.
pub(super) struct Waiting {
    answer: oneshot::Receiver<Result<(), SpoolError>>,
}

impl Waiting {
    pub(super) async fn wait(self) -> Result<(), SpoolError> {
        self.answer.await.unwrap_or_else(|_| Err(Shared::shut_down()))
    }
}

impl Handle {
    /// Waits for room, then queues the batch.
    pub(super) async fn push_commit(&self, batch: Batch) -> Result<Waiting, SpoolError> {
        self.shared.check()?;
        let mut job = self.job(None, Vec::new(), Some(batch))?;
        let octets = usize::try_from(job.frame_length()).unwrap_or(usize::MAX);
        let charge = octets.clamp(COMMIT_CHARGE_MIN, QUEUE_OCTETS_MAX);
        let permits = u32::try_from(charge).unwrap_or(u32::MAX);
        let permit = self.shared.room.acquire_many(permits).await.map_err(|_| Shared::shut_down())?;
        // The appender gives the permits of a whole group back in one go.
        permit.forget();
        job.charge = charge;
        self.push(job)
    }

    /// Queues a settlement at once: the number of leases bounds how many there can be.
    pub(super) fn push_settlement(
        &self,
        record: SettleRecord,
        notes: Vec<Bytes>,
        follow_up: Option<Batch>,
    ) -> Result<Waiting, SpoolError> {
        self.shared.check()?;
        self.push(self.job(Some(record), notes, follow_up)?)
    }

    /// Queues a frame without content that is fsynced like mail.
    pub(super) fn push_probe(&self) -> Result<Waiting, SpoolError> {
        self.shared.check()?;
        let mut job = self.job(None, Vec::new(), None)?;
        job.durable = true;
        self.push(job)
    }

    fn push(&self, mut job: Job) -> Result<Waiting, SpoolError> {
        let (reply, answer) = oneshot::channel();
        job.reply = Some(reply);
        self.shared.inbox.push(job).map_err(|job| {
            self.shared.room.add_permits(job.charge);
            self.shared.check().err().unwrap_or_else(Shared::shut_down)
        })?;
        Ok(Waiting { answer })
    }

    fn job(
        &self,
        settlement: Option<SettleRecord>,
        notes: Vec<Bytes>,
        batch: Option<Batch>,
    ) -> Result<Job, SpoolError> {
        let batch = match batch {
            None => None,
            Some(batch) => {
                let file = self.file_of(&batch)?;
                Some((batch, file))
            }
        };
        Job::new(settlement, notes, batch, self.shared.settings.sizes.frame_max)
    }

    fn file_of(&self, batch: &Batch) -> Result<Option<FileRecord>, SpoolError> {
        match &batch.body {
            Body::Memory(_) => Ok(None),
            Body::File(file) => {
                const FOREIGN: SpoolError = SpoolError::Unfit("its body file was not written through this spool");
                self.shared.bodies.record(file).map(Some).ok_or(FOREIGN)
            }
        }
    }
}
