//! What an import did, chunk by chunk, so that it can go on after a crash and be taken back as a whole.
//!
//! A file for each import: a head that names the form, then lines of JSON. Before a chunk goes into the store the journal has,
//! on disk, what its entries will look like; behind it which of them were new. So whatever a crash leaves, nothing that was
//! added is missing here. Prints name nobody: the journal holds no addresses.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::OperationError;
use super::import::Imported;
use crate::hex;
use crate::store::{CHUNK_MAX, Print};
use crate::time::Timestamp;

/// The form of these files.
const VERSION: u32 = 1;
/// Imports that are remembered: two years of one a week. Older ones that ended can no longer be taken back.
const JOURNALS_MAX: usize = 100;
/// Longest line: a chunk's prints take some fifty octets each.
const LINE_MAX: u64 = 64 * CHUNK_MAX as u64;
/// Octets of chance in an id, so that two imports of one millisecond differ.
const CHANCE: usize = 3;
/// How the name of a journal ends.
const ENDING: &str = "ndjson";

/// The name of one import; later ones sort behind earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImportId(String);

impl ImportId {
    fn new(now: Timestamp) -> Result<Self, OperationError> {
        let mut chance = [0; CHANCE];
        aws_lc_rs::rand::fill(&mut chance)
            .map_err(|_| OperationError::Usage("the system has no randomness for the import's id".to_owned()))?;
        let digits: String = now.rfc3339().chars().filter(char::is_ascii_digit).collect();
        Ok(Self(format!("{digits}-{}", hex::encode(&chance))))
    }

    /// Reads an id as it was printed.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let of = |part: &str, test: fn(&u8) -> bool| !part.is_empty() && part.as_bytes().iter().all(test);
        let fits = text.len() <= 40
            && text
                .split_once('-')
                .is_some_and(|(time, chance)| of(time, u8::is_ascii_digit) && of(chance, u8::is_ascii_alphanumeric));
        if fits { Ok(Self(text.to_owned())) } else { Err("expected the id that an import printed".to_owned()) }
    }
}

impl TryFrom<String> for ImportId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ImportId> for String {
    fn from(id: ImportId) -> Self {
        id.0
    }
}

impl std::fmt::Display for ImportId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// First line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    consentry_import: u32,
    pub(super) id: ImportId,
    pub(super) file: String,
    /// The content's size and digest; nothing for the standard input, which cannot be read twice.
    pub(super) content: Option<Content>,
    /// What rows become depends on these.
    pub(super) arguments: String,
    pub(super) by: String,
    started: i64,
}

impl Head {
    pub(super) const fn started(&self) -> Timestamp {
        Timestamp::from_millis(self.started)
    }
}

/// What makes a file the same file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// These entries go into the store now.
    Chunk(Vec<String>),
    /// They are there. The numbers are places in the chunk.
    Done { new: Vec<usize>, renewed: Vec<usize>, counts: Imported },
    /// The file was read to its end.
    Finished { at: String, counts: Imported },
    /// It is being taken back.
    Undoing { at: String, by: String, because: String },
    /// It was taken back.
    Undone { at: String, removed: u64, kept: u64 },
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unfinished,
    Finished,
    Undoing,
    Undone,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Finished => "finished",
            Self::Undoing => "being undone",
            Self::Undone => "undone",
        }
    }
}

/// A journal, read.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) head: Head,
    pub(super) counts: Imported,
    pub(super) state: State,
    /// A chunk may be in the store of which the journal does not say so.
    interrupted: bool,
    /// Octets up to the end of the last whole line; a crash may have cut the one behind it.
    whole: u64,
}

/// What one chunk left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Entries that it added.
    pub(super) new: Vec<Print>,
    /// How entries that it would have added look where it only changed what was there.
    pub(super) renewed: Vec<Print>,
    /// Entries that were about to be added when everything ended.
    pub(super) uncertain: Vec<Print>,
}

/// The folder of all journals. While it is held, no other import or undo runs on this gateway.
#[derive(Debug)]
pub(super) struct Journals {
    folder: PathBuf,
    _lock: File,
}

impl Journals {
    pub(super) fn open(folder: &Path) -> Result<Self, OperationError> {
        let failed = OperationError::file(folder);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(&failed)?;
        let lock = private().open(folder.join("lock")).map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(OperationError::Usage("another import or undo is running; wait for its end".to_owned()))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Every journal, oldest first.
    pub(super) fn all(&self) -> Result<Vec<Summary>, OperationError> {
        let failed = OperationError::file(&self.folder);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                paths.push(path);
            }
        }
        paths.sort();
        // One without a whole head was cut short before anything was added.
        paths.iter().filter_map(|path| summary(path).transpose()).collect()
    }

    pub(super) fn find(&self, id: &ImportId) -> Result<Summary, OperationError> {
        let path = self.path(id);
        let missing = || OperationError::Usage(format!("there is no import {id}; see `suppress imports`"));
        if path.exists() { summary(&path)?.ok_or_else(missing) } else { Err(missing()) }
    }

    fn path(&self, id: &ImportId) -> PathBuf {
        self.folder.join(format!("{id}.{ENDING}"))
    }

    /// Begins a journal. When there are too many the oldest is forgotten, of those that ended if there are any.
    pub(super) fn begin(
        &self,
        file: String,
        content: Option<Content>,
        arguments: String,
        by: String,
        now: Timestamp,
    ) -> Result<Journal, OperationError> {
        let all = self.all()?;
        let (ended, open): (Vec<_>, Vec<_>) =
            all.iter().partition(|known| matches!(known.state, State::Finished | State::Undone));
        for old in ended.into_iter().chain(open).take((all.len() + 1).saturating_sub(JOURNALS_MAX)) {
            let path = self.path(&old.head.id);
            std::fs::remove_file(&path).map_err(OperationError::file(&path))?;
        }
        let id = ImportId::new(now)?;
        let path = self.path(&id);
        let started = now.as_millis();
        let head = Head { consentry_import: VERSION, id, file, content, arguments, by, started };
        let file = private().create_new(true).open(&path).map_err(OperationError::file(&path))?;
        let mut journal = Journal { path, file, head, counts: Imported::default(), interrupted: false };
        let head = serde_json::to_vec(&journal.head).map_err(|e| journal.failed(e.into()))?;
        journal.append(head, Sync::Now)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(OperationError::file(&self.folder))?;
        Ok(journal)
    }

    /// Goes on with a journal.
    pub(super) fn go_on(&self, known: &Summary) -> Result<Journal, OperationError> {
        let path = self.path(&known.head.id);
        let open = || {
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(known.whole).map(|()| file)
        };
        let file = open().map_err(OperationError::file(&path))?;
        let (counts, interrupted) = (known.counts, known.interrupted);
        Ok(Journal { file, head: known.head.clone(), counts, interrupted, path })
    }

    /// Every chunk of a journal, in order.
    pub(super) fn each_chunk(
        &self,
        id: &ImportId,
        visit: &mut dyn FnMut(Chunk) -> Result<(), OperationError>,
    ) -> Result<(), OperationError> {
        let path = self.path(id);
        let mut waiting = Vec::new();
        let mut uncertain = Vec::new();
        each_line(&path, &mut |line| {
            match line {
                // A chunk that follows one that is not done is the same rows again.
                Line::Chunk(prints) => {
                    waiting = prints
                        .iter()
                        .map(|text| Print::parse(text))
                        .collect::<Option<_>>()
                        .ok_or_else(|| damaged(&path))?;
                    uncertain.clone_from(&waiting);
                }
                Line::Done { new, renewed, .. } => {
                    let pick = |places: &[usize]| places.iter().filter_map(|at| waiting.get(*at).copied()).collect();
                    visit(Chunk { new: pick(&new), renewed: pick(&renewed), uncertain: Vec::new() })?;
                    uncertain.clear();
                }
                Line::Finished { .. } | Line::Undoing { .. } | Line::Undone { .. } => {}
            }
            Ok(())
        })?;
        if uncertain.is_empty() { Ok(()) } else { visit(Chunk { uncertain, ..Chunk::default() }) }
    }
}

/// Whether a line has to be on disk before anything else happens.
#[derive(Clone, Copy)]
enum Sync {
    Now,
    WithTheNext,
}

/// A journal that is written.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    pub(super) head: Head,
    /// As of the last chunk.
    pub(super) counts: Imported,
    /// The next chunk may be in the store already.
    pub(super) interrupted: bool,
}

impl Journal {
    /// These entries are about to be added.
    pub(super) fn intend(&mut self, prints: &[Print]) -> Result<(), OperationError> {
        self.line(&Line::Chunk(prints.iter().map(ToString::to_string).collect()), Sync::Now)
    }

    /// They are there. When this line is lost they are taken for uncertain ones.
    pub(super) fn done(
        &mut self,
        new: Vec<usize>,
        renewed: Vec<usize>,
        counts: Imported,
    ) -> Result<(), OperationError> {
        self.line(&Line::Done { new, renewed, counts }, Sync::WithTheNext)?;
        self.counts = counts;
        self.interrupted = false;
        Ok(())
    }

    pub(super) fn finish(&mut self, counts: Imported, now: Timestamp) -> Result<(), OperationError> {
        self.line(&Line::Finished { at: now.rfc3339(), counts }, Sync::Now)
    }

    pub(super) fn undoing(&mut self, by: &str, because: &str, now: Timestamp) -> Result<(), OperationError> {
        let line = Line::Undoing { at: now.rfc3339(), by: by.to_owned(), because: because.to_owned() };
        self.line(&line, Sync::Now)
    }

    pub(super) fn undone(&mut self, removed: u64, kept: u64, now: Timestamp) -> Result<(), OperationError> {
        self.line(&Line::Undone { at: now.rfc3339(), removed, kept }, Sync::Now)
    }

    fn line(&mut self, line: &Line, sync: Sync) -> Result<(), OperationError> {
        let text = serde_json::to_vec(line).map_err(|e| self.failed(e.into()))?;
        self.append(text, sync)
    }

    fn append(&mut self, mut line: Vec<u8>, sync: Sync) -> Result<(), OperationError> {
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| match sync {
            Sync::Now => self.file.sync_data(),
            Sync::WithTheNext => Ok(()),
        });
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, source: io::Error) -> OperationError {
        OperationError::File { path: self.path.clone(), source }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options
}

fn damaged(path: &Path) -> OperationError {
    OperationError::Format(format!("{}: not the journal of an import, or damaged", path.display()))
}

/// Reads head and lines; answers the head and where the last whole line ends, and nothing when there is no head.
fn each_line(
    path: &Path,
    visit: &mut dyn FnMut(Line) -> Result<(), OperationError>,
) -> Result<Option<(Head, u64)>, OperationError> {
    let failed = OperationError::file(path);
    let mut input = BufReader::new(File::open(path).map_err(&failed)?);
    let (mut head, mut whole) = (None, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut input).take(LINE_MAX).read_until(b'\n', &mut line).map_err(&failed)?;
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if !line.ends_with(b"\n") {
            return if length < LINE_MAX { Ok(head.map(|head| (head, whole))) } else { Err(damaged(path)) };
        }
        if head.is_none() {
            let read: Head = serde_json::from_slice(&line).map_err(|_| damaged(path))?;
            if read.consentry_import != VERSION {
                return Err(damaged(path));
            }
            head = Some(read);
        } else {
            visit(serde_json::from_slice(&line).map_err(|_| damaged(path))?)?;
        }
        whole += length;
    }
}

fn summary(path: &Path) -> Result<Option<Summary>, OperationError> {
    let (mut counts, mut state, mut interrupted) = (Imported::default(), State::Unfinished, false);
    let read = each_line(path, &mut |line| {
        match line {
            Line::Chunk(_) => interrupted = true,
            Line::Done { counts: so_far, .. } => (counts, interrupted) = (so_far, false),
            Line::Finished { counts: all, .. } => (counts, state) = (all, State::Finished),
            Line::Undoing { .. } => state = State::Undoing,
            Line::Undone { .. } => state = State::Undone,
        }
        Ok(())
    })?;
    Ok(read.map(|(head, whole)| Summary { head, counts, state, interrupted, whole }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Cause, Origin, Scope};
    use crate::store::{NewSuppression, Store};

    const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);

    fn begin(journals: &Journals, at: i64) -> Journal {
        let text = String::new;
        journals.begin(text(), None, text(), text(), Timestamp::from_secs(at)).unwrap()
    }

    fn prints(count: usize) -> Vec<Print> {
        let new = |at: usize| {
            let mailbox = crate::mail::Mailbox::parse(&format!("v{at}@x.example")).unwrap();
            NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::Import, None, NOW)
        };
        Store::memory().prints(&(0..count).map(new).collect::<Vec<_>>())
    }

    fn chunks(journals: &Journals, id: &ImportId) -> Vec<Chunk> {
        let mut found = Vec::new();
        journals
            .each_chunk(id, &mut |chunk| {
                found.push(chunk);
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn a_journal_cut_anywhere_loses_nothing_that_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let prints = prints(3);
        let mut journal = begin(&journals, 1);
        let head = std::fs::metadata(&journal.path).unwrap().len();
        journal.intend(&prints).unwrap();
        let intended = std::fs::metadata(&journal.path).unwrap().len();
        journal.done(vec![0, 2], vec![1], Imported { rows: 3, ..Imported::default() }).unwrap();
        let whole = std::fs::read(&journal.path).unwrap();
        for length in usize::try_from(head).unwrap()..=whole.len() {
            std::fs::write(&journal.path, &whole[..length]).unwrap();
            let known = journals.find(&journal.head.id).unwrap();
            let found = chunks(&journals, &journal.head.id);
            if length == whole.len() {
                let done = Chunk { new: vec![prints[0], prints[2]], renewed: vec![prints[1]], uncertain: Vec::new() };
                assert_eq!((known.interrupted, known.counts.rows, found), (false, 3, vec![done]));
            } else if u64::try_from(length).unwrap() >= intended {
                let uncertain = Chunk { uncertain: prints.clone(), ..Chunk::default() };
                assert_eq!((known.interrupted, known.counts.rows, found), (true, 0, vec![uncertain]));
            } else {
                assert_eq!((known.interrupted, known.whole, found), (false, head, Vec::new()), "{length}");
            }
        }
    }

    #[test]
    fn the_largest_chunk_can_be_read_and_the_oldest_journals_go() {
        let folder = tempfile::tempdir().unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let mut first = begin(&journals, 1);
        first.intend(&prints(CHUNK_MAX)).unwrap();
        first.done((0..CHUNK_MAX).collect(), Vec::new(), Imported::default()).unwrap();
        assert_eq!(chunks(&journals, &first.head.id)[0].new.len(), CHUNK_MAX);
        for at in 2..=i64::try_from(JOURNALS_MAX).unwrap() {
            begin(&journals, at).finish(Imported::default(), NOW).unwrap();
        }
        assert_eq!(journals.all().unwrap().len(), JOURNALS_MAX);
        begin(&journals, 1000);
        let left = journals.all().unwrap();
        assert_eq!((left.len(), &left[0].head.id), (JOURNALS_MAX, &first.head.id), "one that ended went first");
        assert_eq!(left[1].head.started(), Timestamp::from_secs(3));
    }

    #[test]
    fn one_at_a_time_and_no_path_for_an_id() {
        let folder = tempfile::tempdir().unwrap();
        let held = Journals::open(folder.path()).unwrap();
        assert!(Journals::open(folder.path()).is_err());
        drop(held);
        assert!(Journals::open(folder.path()).is_ok());
        for bad in ["", "-", "1", "1-", "../1-a", "1-a/b", "1-a.ndjson"] {
            assert!(ImportId::parse(bad).is_err(), "{bad}");
        }
    }
}
