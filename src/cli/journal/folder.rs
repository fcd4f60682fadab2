//! The folder of all journals: which imports there are, and who may begin, go on or be taken back.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::{
    Brings, Chunk, Content, ENDING, Head, ImportId, Imported, JOURNALS_MAX, Journal, Left, Line, OperationError, State,
    Summary, Sync, VERSION, damaged, each_line, prints_of, private, summary,
};
use crate::store::{AddressKey, CHUNK_MAX, Print};
use crate::time::Timestamp;

/// An import that is about to begin.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Planned {
    pub(in crate::cli) brings: Brings,
    pub(in crate::cli) file: String,
    pub(in crate::cli) content: Option<Content>,
    pub(in crate::cli) arguments: String,
    pub(in crate::cli) by: String,
    /// What the store labels its hashes with.
    pub(in crate::cli) key: String,
}

/// Whether an import goes on with one that ended in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Resume {
    Yes,
    No,
}

impl Resume {
    pub(in crate::cli) const fn asked(resume: bool) -> Self {
        if resume { Self::Yes } else { Self::No }
    }
}

/// The folder of all journals. While it is held, no other import or undo runs on this gateway.
#[derive(Debug)]
pub(in crate::cli) struct Journals {
    folder: PathBuf,
    _lock: File,
}

impl Journals {
    pub(in crate::cli) fn open(folder: &Path) -> Result<Self, OperationError> {
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
    pub(in crate::cli) fn all(&self) -> Result<Vec<Summary>, OperationError> {
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

    pub(in crate::cli) fn find(&self, id: &ImportId, brings: Brings) -> Result<Summary, OperationError> {
        let path = self.path(id);
        let missing = || OperationError::Usage(format!("there is no import {id}; see `{} imports`", brings.command()));
        let known = if path.exists() { summary(&path)?.ok_or_else(missing)? } else { return Err(missing()) };
        if known.head.brings == brings {
            return Ok(known);
        }
        let other = known.head.brings.command();
        Err(OperationError::Usage(format!("{id} is an import of `{other} import`; take it back with `{other} undo`")))
    }

    /// A journal of its own for the import of a file, or the one that it goes on with.
    pub(in crate::cli) fn take_up(
        &self,
        planned: Planned,
        resume: Resume,
        now: Timestamp,
    ) -> Result<Journal, OperationError> {
        let same = |known: &Summary| {
            let of_this_file = planned.content.is_some() && known.head.content == planned.content;
            of_this_file && known.head.brings == planned.brings && known.head.expect_key(&planned.key).is_ok()
        };
        let open = self.all()?.into_iter().rev().find(|known| known.state == State::Unfinished && same(known));
        match (open, resume) {
            (Some(known), Resume::Yes) if known.head.arguments == planned.arguments => {
                Ok(Journal { left: Left::of(&self.path(&known.head.id), &known)?, ..self.go_on(&known)? })
            }
            (Some(known), Resume::Yes) => Err(OperationError::Usage(format!(
                "import {} was begun otherwise ({}); go on with the same arguments",
                known.head.id, known.head.arguments
            ))),
            (Some(known), Resume::No) => Err(OperationError::Usage(format!(
                "import {} of this file ended in the middle, behind row {}: --resume goes on with it, `{} undo` takes it back",
                known.head.id,
                known.place.rows,
                planned.brings.command()
            ))),
            (None, Resume::Yes) => {
                Err(OperationError::Usage("there is no import of this file that ended in the middle".to_owned()))
            }
            (None, Resume::No) => self.begin(planned, now),
        }
    }

    /// A later list that named people whom this one had brought in added nothing for them. Undone in reverse order, nobody whom
    /// a list still names is lost.
    pub(in crate::cli) fn refuse_when_others_rely_on(&self, this: &Summary) -> Result<(), OperationError> {
        let relies = |other: &Summary| {
            let known_there = other.counts.existing > 0 || other.counts.renewed > 0 || other.counts.ignored > 0;
            let is_later = other.head.brings == this.head.brings && other.head.id > this.head.id;
            is_later && other.state != State::Undone && known_there
        };
        match self.all()?.into_iter().rev().find(relies) {
            None => Ok(()),
            Some(other) => Err(OperationError::Usage(format!(
                "import {} came later and found people already there, perhaps through this one; undo it first, and import \
                 its list again afterwards",
                other.head.id
            ))),
        }
    }

    fn path(&self, id: &ImportId) -> PathBuf {
        self.folder.join(format!("{id}.{ENDING}"))
    }

    /// Begins a journal. When there are too many the oldest is forgotten, of those that ended if there are any.
    pub(in crate::cli) fn begin(&self, planned: Planned, now: Timestamp) -> Result<Journal, OperationError> {
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
        let Planned { brings, file, content, arguments, by, key } = planned;
        let head =
            Head { consentry_import: VERSION, id, file, content, arguments, by, started, brings, key: Some(key) };
        let file = private().create_new(true).open(&path).map_err(OperationError::file(&path))?;
        let (counts, place, left) = (Imported::default(), Imported::default(), Left::default());
        let mut journal = Journal { path, file, head, counts, place, left };
        let head = serde_json::to_vec(&journal.head).map_err(|e| journal.failed(e.into()))?;
        journal.append(head, Sync::Now)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(OperationError::file(&self.folder))?;
        Ok(journal)
    }

    /// Goes on with a journal.
    pub(in crate::cli) fn go_on(&self, known: &Summary) -> Result<Journal, OperationError> {
        let path = self.path(&known.head.id);
        let open = || {
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(known.whole).map(|()| file)
        };
        let file = open().map_err(OperationError::file(&path))?;
        let (head, counts, place, left) = (known.head.clone(), known.counts, known.place, Left::default());
        Ok(Journal { path, file, head, counts, place, left })
    }

    /// The keys of everybody about whom an import of consents was about to tell something, by chunks.
    pub(in crate::cli) fn each_people(
        &self,
        id: &ImportId,
        visit: &mut dyn FnMut(Vec<AddressKey>) -> Result<(), OperationError>,
    ) -> Result<(), OperationError> {
        let path = self.path(id);
        each_line(&path, &mut |line| match line {
            Line::People(keys) => {
                let keys = keys.iter().map(|text| AddressKey::parse(text)).collect::<Option<_>>();
                visit(keys.ok_or_else(|| damaged(&path))?)
            }
            Line::Window(_)
            | Line::Chunk(_)
            | Line::Done { .. }
            | Line::Finished { .. }
            | Line::Undoing { .. }
            | Line::Undone { .. } => Ok(()),
        })?;
        Ok(())
    }

    /// Every chunk of a journal, in order.
    pub(in crate::cli) fn each_chunk(
        &self,
        id: &ImportId,
        visit: &mut dyn FnMut(Chunk) -> Result<(), OperationError>,
    ) -> Result<(), OperationError> {
        let path = self.path(id);
        let (mut waiting, mut uncertain) = (Vec::new(), Vec::new());
        each_line(&path, &mut |line| {
            match line {
                Line::Chunk(prints) => {
                    // A chunk that was not done comes again somewhere in its window.
                    uncertain.append(&mut waiting);
                    waiting = prints_of(&path, &prints)?;
                }
                Line::Done { new, renewed, .. } => {
                    let pick = |places: &[usize]| places.iter().filter_map(|at| waiting.get(*at).copied()).collect();
                    visit(Chunk { new: pick(&new), renewed: pick(&renewed), uncertain: Vec::new() })?;
                    if !uncertain.is_empty() {
                        let done: HashSet<Print> = waiting.iter().copied().collect();
                        uncertain.retain(|print| !done.contains(print));
                    }
                    waiting.clear();
                }
                Line::Window(_)
                | Line::People(_)
                | Line::Finished { .. }
                | Line::Undoing { .. }
                | Line::Undone { .. } => {}
            }
            Ok(())
        })?;
        uncertain.append(&mut waiting);
        uncertain.chunks(CHUNK_MAX).try_for_each(|some| visit(Chunk { uncertain: some.to_vec(), ..Chunk::default() }))
    }
}
