//! Large bodies in files of their own.

use std::collections::HashMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use super::batch::{Body, BodyFile};
use super::disk::{Disk, DiskFile};
use super::error::{SpoolError, is_full};
use super::handle::Handle;
use super::record::FileRecord;
use super::segment::{hex_number, random};

/// Octets read at a time when a body file is checked.
const CHECK_STEP: u64 = 256 * 1024;

/// The file name of body `name`.
pub(super) fn body_name(name: u64) -> String {
    format!("body-{name:016x}.msg")
}

/// The number in the file name of a body.
pub(super) fn body_number(name: &str) -> Option<u64> {
    hex_number(name.strip_prefix("body-")?.strip_suffix(".msg")?)
}

#[derive(Debug)]
struct Known {
    record: FileRecord,
    file: Weak<BodyFile>,
    /// A batch on disk names the file; the index says when it may go.
    committed: bool,
}

/// Body files that this process has written or checked.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    known: Mutex<HashMap<PathBuf, Known>>,
}

impl Bodies {
    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a batch is to say about `file`; `None` when it is not one that [`BodyWriter`] finished here.
    pub(super) fn record(&self, file: &BodyFile) -> Option<FileRecord> {
        self.known().get(&file.path).map(|known| known.record)
    }

    /// From now on the index says when the file may go.
    pub(super) fn commit(&self, disk: &Disk, name: u64) {
        if let Some(known) = self.known().get_mut(&disk.path(&body_name(name))) {
            known.committed = true;
        }
    }

    /// The file is needed no more.
    pub(super) fn forget(&self, disk: &Disk, name: u64) {
        self.known().remove(&disk.path(&body_name(name)));
    }

    /// Files that were finished, never committed, and that nobody can commit any more.
    pub(super) fn abandoned(&self) -> Vec<u64> {
        let known = self.known();
        let lost = known.values().filter(|known| !known.committed && known.file.strong_count() == 0);
        lost.map(|known| known.record.name).collect()
    }

    /// Whether [`Bodies::abandoned`] may have something to say later.
    pub(super) fn any_uncommitted(&self) -> bool {
        self.known().values().any(|known| !known.committed)
    }

    /// The file that a frame names, checked against the frame when this process has not done so before.
    pub(super) fn stored(&self, disk: &Disk, record: &FileRecord) -> Result<Arc<BodyFile>, String> {
        let name = body_name(record.name);
        let path = disk.path(&name);
        let body = Arc::new(BodyFile { path: path.clone(), len: record.length });
        if self.known().get(&path).is_some_and(|known| known.record == *record) {
            return Ok(body);
        }
        check(disk, &name, record)?;
        self.known().insert(path, Known { record: *record, file: Weak::new(), committed: true });
        Ok(body)
    }
}

fn check(disk: &Disk, name: &str, record: &FileRecord) -> Result<(), String> {
    let file = disk.open_file(name).map_err(|error| format!("body file: {error}"))?;
    if file.length().map_err(|error| error.to_string())? != record.length {
        return Err("body file: wrong length".to_owned());
    }
    let (mut crc, mut at) = (crc32fast::Hasher::new(), 0);
    while at < record.length {
        let step = CHECK_STEP.min(record.length - at);
        let octets = usize::try_from(step).map_err(|error| error.to_string())?;
        crc.update(&file.read(at, octets).map_err(|error| error.to_string())?);
        at += step;
    }
    if crc.finalize() == record.crc { Ok(()) } else { Err("body file: wrong checksum".to_owned()) }
}

/// Writes one large body. Dropped unfinished, the file is removed; finished but never committed, it is removed soon
/// after the last [`Body`] that names it is dropped.
#[derive(Debug)]
pub struct BodyWriter {
    handle: Arc<Handle>,
    file: Option<DiskFile>,
    name: u64,
    length: u64,
    crc: crc32fast::Hasher,
}

impl BodyWriter {
    pub(super) fn new(handle: &Arc<Handle>) -> Result<Self, SpoolError> {
        let name = random().map_err(|error| SpoolError::Failed(error.to_string()))?;
        let file = handle.shared.disk.create(&body_name(name)).map_err(|error| handle.shared.write_error(&error))?;
        let handle = Arc::clone(handle);
        Ok(Self { handle, file: Some(file), name, length: 0, crc: crc32fast::Hasher::new() })
    }

    /// Adds octets; they go to the page cache, so this does not wait for a disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when there is no space, [`SpoolError::Failed`] when writing fails otherwise.
    pub fn write(&mut self, octets: &Bytes) -> Result<(), SpoolError> {
        let shared = &self.handle.shared;
        shared.check()?;
        let Some(file) = &self.file else { return Err(SpoolError::Unfit("the body is finished")) };
        if shared.is_full() {
            return Err(SpoolError::Full);
        }
        file.append(&mut [IoSlice::new(octets)]).map_err(|error| shared.write_error(&error))?;
        self.crc.update(octets);
        self.length += u64::try_from(octets.len()).unwrap_or(0);
        Ok(())
    }

    /// The body, fsynced; the name of its file is fsynced with the commit that uses it.
    ///
    /// # Errors
    /// As [`BodyWriter::write`].
    pub async fn finish(mut self) -> Result<Body, SpoolError> {
        let Some(file) = self.file.take() else { return Err(SpoolError::Unfit("the body is finished")) };
        let synced = tokio::task::spawn_blocking(move || file.sync()).await;
        let shared = &self.handle.shared;
        let outcome = match synced {
            Ok(Ok(())) => Ok(()),
            // An fsync that failed is never believed again, whatever the reason it gives.
            Ok(Err(error)) => Err(shared.fail(&format!("fsync of a body: {error}"))),
            Err(error) => Err(shared.fail(&format!("fsync of a body: {error}"))),
        };
        if outcome.is_err() {
            self.remove();
        }
        outcome?;
        let record = FileRecord { name: self.name, length: self.length, crc: self.crc.clone().finalize() };
        let path = shared.disk.path(&body_name(self.name));
        let file = Arc::new(BodyFile { path: path.clone(), len: self.length });
        let known = Known { record, file: Arc::downgrade(&file), committed: false };
        shared.bodies.known().insert(path, known);
        // The appender looks after files that nobody commits.
        shared.inbox.note_duty();
        Ok(Body::File(file))
    }

    fn remove(&self) {
        if let Err(error) = self.handle.shared.disk.remove(&body_name(self.name)) {
            tracing::warn!(%error, "an unfinished body file stays until the next start");
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.remove();
        }
    }
}

impl super::handle::Shared {
    /// The error for a write that failed; anything but want of space latches the spool.
    pub(super) fn write_error(&self, error: &std::io::Error) -> SpoolError {
        if is_full(error) { SpoolError::Full } else { self.fail(&format!("write: {error}")) }
    }
}
