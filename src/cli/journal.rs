//! What an import did, chunk by chunk, so that it can go on after a crash and be taken back as a whole.
//!
//! A file for each import: a head that names the form, then lines of JSON. Before a chunk goes into the store the journal has,
//! on disk, what its entries will look like; behind it which of them were new. So whatever a crash leaves, nothing that was
//! added is missing here. Prints name nobody: the journal holds no addresses.

mod folder;
mod left;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::folder::{Journals, Planned, Resume};
use self::left::Left;
use super::operation::OperationError;
use crate::hex;
use crate::store::{AddressKey, CHUNK_MAX, Print};
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

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Imported {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows that could be read.
    pub valid: u64,
    /// Rows that could not.
    pub invalid: u64,
    /// Rows of an export that say nothing of this kind.
    pub passed: u64,
    /// Facts that are not known.
    pub new: u64,
    /// Facts that are not known, about somebody of whom something weaker or narrower is known; of suppressions counted in a
    /// dry run only.
    pub upgraded: u64,
    /// Entries that are known, and last longer or are told by a better source now.
    pub renewed: u64,
    /// Facts that are known.
    pub existing: u64,
    /// Consents that give way to what is known.
    #[serde(default)]
    pub ignored: u64,
}

/// What an import brings in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Brings {
    /// Who must not be written to.
    #[default]
    Suppressions,
    /// Who agreed.
    Consents,
}

impl Brings {
    /// The command that undoes it.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Suppressions => "suppress",
            Self::Consents => "consent",
        }
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
    #[serde(default)]
    pub(super) brings: Brings,
    /// What its prints are hashed with; nothing was written down of it before keys could be rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Head {
    /// Prints are found in the store that they were made for, under the key that it had.
    ///
    /// # Errors
    /// A sentence, when the store has another key now.
    pub(super) fn expect_key(&self, key_name: &str) -> Result<(), OperationError> {
        if self.key.as_deref().is_none_or(|key| key == key_name) {
            return Ok(());
        }
        Err(OperationError::Usage(format!(
            "import {} was made before the key of the address hash was rotated: what it added cannot be told apart any more, so it \
             cannot be gone on with or taken back; importing the file again changes nothing for people who are in",
            self.id
        )))
    }

    pub(super) const fn started(&self) -> Timestamp {
        Timestamp::from_millis(self.started)
    }

    /// Who tells what the import brings: no other import and nobody else has this name.
    pub(super) fn teller(&self) -> String {
        format!("{}, import {}", self.by, self.id)
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
    /// The rows behind these go in next, in an order of their own: what is cut in the middle begins here again.
    Window(Imported),
    /// These entries go into the store now.
    Chunk(Vec<String>),
    /// Something is told about these people now, under their keys.
    People(Vec<String>),
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
    /// As of the last chunk.
    pub(super) counts: Imported,
    /// As of the rows behind which an import goes on.
    place: Imported,
    pub(super) state: State,
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
    /// As of the rows behind which it goes on.
    pub(super) place: Imported,
    /// What was done of the rows behind that place.
    pub(super) left: Left,
}

impl Journal {
    /// The rows behind those that were counted so far are about to be added. Until all have come by that a run before had done of its
    /// window, that window is under way: windows are not always cut alike.
    pub(super) fn window(&mut self, counts: Imported) -> Result<(), OperationError> {
        if self.left.is_awaited() {
            return Ok(());
        }
        self.line(&Line::Window(counts), Sync::WithTheNext)
    }

    /// These entries are about to be added.
    pub(super) fn intend(&mut self, prints: &[Print]) -> Result<(), OperationError> {
        self.line(&Line::Chunk(prints.iter().map(ToString::to_string).collect()), Sync::Now)
    }

    /// Something is about to be told about these people.
    pub(super) fn about(&mut self, people: &[AddressKey]) -> Result<(), OperationError> {
        self.line(&Line::People(people.iter().map(ToString::to_string).collect()), Sync::Now)
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

fn prints_of(path: &Path, texts: &[String]) -> Result<Vec<Print>, OperationError> {
    texts.iter().map(|text| Print::parse(text)).collect::<Option<_>>().ok_or_else(|| damaged(path))
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
    let (mut counts, mut window, mut state) = (Imported::default(), None, State::Unfinished);
    let read = each_line(path, &mut |line| {
        match line {
            Line::Window(begun) => window = Some(begun),
            Line::Chunk(_) | Line::People(_) => {}
            Line::Done { counts: so_far, .. } => counts = so_far,
            Line::Finished { counts: all, .. } => (counts, state) = (all, State::Finished),
            Line::Undoing { .. } => state = State::Undoing,
            Line::Undone { .. } => state = State::Undone,
        }
        Ok(())
    })?;
    // Without windows rows are done in their order.
    let place = window.unwrap_or(counts);
    Ok(read.map(|(head, whole)| Summary { head, counts, place, state, whole }))
}
