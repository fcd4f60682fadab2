//! Reads the trail's files. A line that has no end yet is not there yet.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::filter::Looked;
use super::position::{Hint, Position};
use super::{Event, EventsError, Filter, Page};

/// Octets read at a time.
const STEP: usize = 256 * 1024;
/// Longest line. A record of a decision has some hundred octets; what is longer than this is no line of the trail.
const LINE_MAX: usize = 8 * 1024 * 1024;

/// One page; `looked_at_max` octets are looked at for it, and at least one line.
pub(super) fn page(
    directory: &Path,
    after: Position,
    limit: usize,
    looked_at_max: u64,
    filter: &Filter,
) -> Result<Page, EventsError> {
    let files = files(directory)?;
    let oldest = files.first().map_or(0, |(number, _)| *number);
    if after != Position::START && after.seq.saturating_add(1) < oldest {
        return Err(EventsError::Gone { after: after.seq, oldest });
    }
    let first = files.iter().rposition(|(number, _)| *number <= after.seq.saturating_add(1)).unwrap_or(0);
    // A trail without files has yet to begin with its first.
    let next = if after == Position::START { Position::before(oldest.max(1)) } else { after };
    let mut page = Page { events: Vec::new(), next, more: false };
    let mut looked_at = 0;
    for (number, path) in files.iter().skip(first) {
        let mut lines = match File::open(path) {
            Ok(file) => Lines::new(file, start(after, *number, path)?),
            // Archived since it was listed. What was in it is missed, unless the reader had it already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(EventsError::Gone { after: after.seq, oldest: number.saturating_add(1) });
            }
            Err(error) => return Err(error.into()),
        };
        while let Some(line) = lines.next()? {
            let Some(seq) = seq(&line) else { continue };
            looked_at += line.len() as u64 + 1;
            if seq <= after.seq {
                continue;
            }
            if page.events.len() >= limit || looked_at > looked_at_max && page.next.seq > after.seq {
                page.more = true;
                return Ok(page);
            }
            page.next = Position { seq, hint: Some(Hint { file: *number, at: lines.at }) };
            let looked = Looked::at(&line);
            if filter.fits(&looked) {
                page.events.push(Event { seq, subject: looked.subject(), line, next: page.next });
            }
        }
    }
    Ok(page)
}

/// Behind the last whole line of the newest file.
pub(super) fn end(directory: &Path) -> io::Result<Position> {
    let Some((number, path)) = files(directory)?.pop() else { return Ok(Position::before(1)) };
    let mut end = Position::before(number);
    let mut lines = Lines::new(File::open(path)?, 0);
    while let Some(line) = lines.next()? {
        if let Some(seq) = seq(&line) {
            end = Position { seq, hint: Some(Hint { file: number, at: lines.at }) };
        }
    }
    Ok(end)
}

/// Where to begin in a file: where the hint says, when a line begins there.
fn start(after: Position, number: u64, path: &Path) -> io::Result<u64> {
    let Some(hint) = after.hint.filter(|hint| hint.file == number && hint.at > 0) else { return Ok(0) };
    let file = File::open(path)?;
    let mut before = [0];
    let fits = file.read_at(&mut before, hint.at - 1)? == 1 && before == *b"\n";
    Ok(if fits { hint.at } else { 0 })
}

/// The trail's files by their numbers, lowest first.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(crate::audit::file_number);
        files.extend(number.map(|number| (number, entry.path())));
    }
    files.sort_unstable();
    Ok(files)
}

/// The number that each line of the trail begins with.
fn seq(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"seq\":")?;
    let end = digits.iter().position(|octet| !octet.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// Whole lines of a file from one place on.
struct Lines {
    file: File,
    /// Octets in front of the next line.
    at: u64,
    /// Read and not handed out.
    ahead: Vec<u8>,
    /// How much of it was searched.
    searched: usize,
}

impl Lines {
    const fn new(file: File, at: u64) -> Self {
        Self { file, at, ahead: Vec::new(), searched: 0 }
    }

    /// The next line without its end; `None` when there is none yet.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let rest = self.ahead.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let length = self.searched + end;
                let mut line: Vec<u8> = self.ahead.drain(..=length).collect();
                line.pop();
                (self.searched, self.at) = (0, self.at + length as u64 + 1);
                return Ok(Some(Bytes::from(line)));
            }
            self.searched = self.ahead.len();
            if self.searched > LINE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the audit trail has no end"));
            }
            let mut step = vec![0; STEP];
            let read = self.file.read_at(&mut step, self.at + self.searched as u64)?;
            if read == 0 {
                return Ok(None);
            }
            self.ahead.extend_from_slice(step.get(..read).unwrap_or_default());
        }
    }
}
