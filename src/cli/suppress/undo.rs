//! `consentry suppress undo` and `consentry suppress imports`: taking an import back, and what there is to take back.

use std::io::Write;
use std::path::Path;

use super::{OperationError, Outcome, line};
use crate::cli::course::{self, UndoArgs};
use crate::cli::journal::{Brings, Chunk, Journals, Summary};
use crate::store::{Print, Store, StoreError, Withdrawal};
use crate::time::{Clock, Timestamp};

/// How many entries that stay changed are shown.
const SHOWN_MAX: u64 = 20;

/// Takes back what an import added: entries that it found, and entries that somebody has confirmed since, stay.
pub(super) fn undo(
    args: &UndoArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    course::undo(args, Brings::Suppressions, folder, &store.key_name(), out, clock, &mut |undoing, out| {
        let withdrawal = undoing.because.map(|because| Withdrawal {
            prints: Vec::new(),
            by: args.by.clone(),
            because: format!("import {} undone: {because}", args.id),
            at: clock.now(),
        });
        let started = undoing.import.head.started();
        let mut undo = Undo { store, withdrawal, started, removed: 0, kept: 0, changed: 0 };
        undoing.journals.each_chunk(&args.id, &mut |chunk| undo.chunk(&chunk, out))?;
        let Undo { removed, kept, .. } = undo;
        match undoing.because {
            None => writeln!(out, "{removed} would go, {kept} stay"),
            Some(_) => writeln!(out, "{removed} removed, {kept} stay: confirmed by somebody since, or gone before"),
        }
        .map_err(OperationError::output)?;
        Ok((removed, kept))
    })
}

struct Undo<'a> {
    store: &'a Store,
    /// Nothing in a dry run.
    withdrawal: Option<Withdrawal>,
    started: Timestamp,
    removed: u64,
    kept: u64,
    changed: u64,
}

impl Undo<'_> {
    fn chunk(&mut self, chunk: &Chunk, out: &mut dyn Write) -> Result<(), OperationError> {
        let mut ours = chunk.new.clone();
        for print in &chunk.uncertain {
            // What was entered at this import's own instant is this import's.
            if self.store.standing(print)?.is_some_and(|entry| entry.created == self.started) {
                ours.push(*print);
            }
        }
        let all = u64::try_from(ours.len()).unwrap_or(u64::MAX);
        let gone = match &mut self.withdrawal {
            Some(withdrawal) => {
                withdrawal.prints = ours;
                self.store.withdraw(withdrawal)?
            }
            None => still_there(self.store, &ours)?,
        };
        self.removed += gone;
        self.kept += all.saturating_sub(gone);
        for print in &chunk.renewed {
            self.changed += 1;
            if self.changed <= SHOWN_MAX {
                self.show(print, out)?;
            }
        }
        Ok(())
    }

    /// An entry that the import changed rather than added stays as it is now.
    fn show(&self, print: &Print, out: &mut dyn Write) -> Result<(), OperationError> {
        for entry in self.store.family(print)? {
            writeln!(out, "stays as this import changed it: {}", line(&entry, self.started))
                .map_err(OperationError::output)?;
        }
        Ok(())
    }
}

fn still_there(store: &Store, prints: &[Print]) -> Result<u64, StoreError> {
    let mut count = 0;
    for print in prints {
        count += u64::from(store.standing(print)?.is_some());
    }
    Ok(count)
}

/// Lists the imports of one kind that are remembered.
pub(in crate::cli) fn imports(folder: &Path, brings: Brings, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    for known in Journals::open(folder)?.all()?.into_iter().filter(|known| known.head.brings == brings) {
        let Summary { head, counts, state, .. } = known;
        writeln!(
            out,
            "{}  {}  by {}  {}  {}: {} rows, {} new, {} already there",
            head.id,
            head.started(),
            head.by,
            head.file,
            state.as_str(),
            counts.rows,
            counts.new,
            counts.existing
        )
        .map_err(OperationError::output)?;
    }
    Ok(Outcome::Done)
}
