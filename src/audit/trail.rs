//! The files of the trail.

use std::io::{self, IoSlice};
use std::path::Path;

use bytes::Bytes;

use super::line;
use crate::spool::{Disk, DiskFile, NoteSink};

/// Octets after which a file is closed and the next one begun: a size that editors and mail attachments still take.
pub const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Octets that may wait while the trail cannot be written. Beyond it the trail stops for this run, the spool keeps all its
/// segments, and the next start catches up from them.
pub const BACKLOG_MAX: usize = 16 * 1024 * 1024;
/// Octets read at a time when the newest file is checked.
const READ_STEP: u64 = 1024 * 1024;

/// Why the trail cannot be opened; the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("audit trail in {directory}: {cause}")]
pub struct TrailError {
    directory: String,
    cause: io::Error,
}

/// The trail, opened for appending.
#[derive(Debug)]
pub struct Trail {
    disk: Disk,
    file: Option<DiskFile>,
    /// Octets of whole lines in the file.
    length: u64,
    last: u64,
    /// The lowest number that the next line may have; 0 when that is not known.
    lowest: u64,
    /// Lines not written yet.
    waiting: Vec<u8>,
    /// The lowest number that `waiting` may have.
    first_waiting: u64,
    stopped: bool,
    file_max: u64,
    backlog_max: usize,
}

impl Trail {
    /// Opens the trail in `directory`, made (0700) if absent, and cuts what an interrupted write left at its end.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`TrailError`] when the directory cannot be used.
    pub fn open(directory: &Path) -> Result<Self, TrailError> {
        let failed = |cause| TrailError { directory: directory.display().to_string(), cause };
        let disk = Disk::open(directory).map_err(failed)?;
        Self::open_on(disk, FILE_MAX, BACKLOG_MAX).map_err(failed)
    }

    pub(super) fn open_on(disk: Disk, file_max: u64, backlog_max: usize) -> io::Result<Self> {
        let mut trail = Self {
            disk,
            file: None,
            length: 0,
            last: 0,
            lowest: 0,
            waiting: Vec::new(),
            first_waiting: 0,
            stopped: false,
            file_max,
            backlog_max,
        };
        let names = trail.disk.names()?;
        for name in names.iter().rev().filter(|name| file_number(name).is_some()) {
            let file = trail.disk.open_file(name)?;
            let (length, last) = whole_lines(&file)?;
            if file.length()? > length {
                tracing::warn!(file = name, "the end of the audit trail was torn and is written again");
                file.cut(length)?;
                file.sync()?;
            }
            if length > 0 {
                (trail.file, trail.length, trail.last, trail.lowest) = (Some(file), length, last, last + 1);
                break;
            }
            // A file without a line says nothing; the one before it says how far the trail has come.
            trail.disk.remove(name)?;
        }
        Ok(trail)
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        if self.stopped {
            return Err(io::Error::other("the audit trail has stopped until the next start"));
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.file.is_none() || self.length >= self.file_max {
            self.begin_file()?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = file.append(&mut [IoSlice::new(&self.waiting)]) {
            // Half a line in front of the next one would spoil both.
            if file.cut(self.length).is_err() {
                self.stopped = true;
            }
            return Err(error);
        }
        self.length += u64::try_from(self.waiting.len()).unwrap_or(0);
        self.waiting.clear();
        Ok(())
    }

    fn begin_file(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync().inspect_err(|_| self.stopped = true)?;
        }
        let name = file_name(self.first_waiting);
        // One that is there already was begun by a write that failed, and is empty.
        self.disk.remove(&name)?;
        let file = self.disk.create(&name)?;
        self.disk.sync()?;
        (self.file, self.length) = (Some(file), 0);
        Ok(())
    }
}

impl NoteSink for Trail {
    fn last(&self) -> u64 {
        self.last
    }

    /// Numbers without a note are no gap: a file is named for them too, so that no reader takes them for archived.
    fn begin(&mut self, lowest: u64) {
        if self.last == 0 {
            self.lowest = lowest;
        }
    }

    fn append(&mut self, seq: u64, note: &Bytes) {
        if self.stopped {
            return;
        }
        if self.waiting.is_empty() {
            self.first_waiting = if self.lowest > 0 { self.lowest } else { seq };
        }
        line::put(&mut self.waiting, seq, note);
        (self.last, self.lowest) = (seq, seq + 1);
        if self.waiting.len() > self.backlog_max && self.write_waiting().is_err() {
            tracing::error!("the audit trail stops; the spool keeps its records for the next start");
            self.stopped = true;
            self.waiting = Vec::new();
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.write_waiting()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        let Some(file) = &self.file else { return Ok(()) };
        // After a failed fsync the kernel may take lost pages for written ones: nothing more is believed of this file.
        file.sync().inspect_err(|_| self.stopped = true)
    }
}

fn file_name(seq: u64) -> String {
    format!("audit-{seq:020}.ndjson")
}

/// The lowest number that a file of the trail may hold, by its name; `None` for any other name.
pub fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?;
    if digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Octets of the whole and ordered lines at the beginning of `file`, and the number of the last of them.
fn whole_lines(file: &DiskFile) -> io::Result<(u64, u64)> {
    let length = file.length()?;
    let (mut at, mut good, mut last) = (0, 0, 0);
    let mut rest: Vec<u8> = Vec::new();
    while at < length {
        let step = READ_STEP.min(length - at);
        rest.extend(file.read(at, usize::try_from(step).map_err(io::Error::other)?)?);
        at += step;
        let mut start = 0;
        while let Some(end) = memchr::memchr(b'\n', rest.get(start..).unwrap_or_default()) {
            let text = rest.get(start..start + end).unwrap_or_default();
            match line::seq(text) {
                Some(seq) if seq > last => last = seq,
                _ => return Ok((good, last)),
            }
            start += end + 1;
            good += u64::try_from(end + 1).unwrap_or(0);
        }
        rest.drain(..start);
    }
    Ok((good, last))
}
