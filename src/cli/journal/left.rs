//! What a run that ended in the middle had done of its window.
//!
//! The rows of a window go in by an order of their own, so that no row number says how far it was. The prints of its chunks do.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::{Line, OperationError, Summary, each_line, prints_of};
use crate::store::Print;

/// Prints of one window at most, and those of one chunk for each time that the import was cut.
#[derive(Debug, Default)]
pub(in crate::cli) struct Left {
    /// What was done, and by how many rows.
    done: HashMap<Print, u32>,
    /// What may be in the store without the journal saying so.
    uncertain: HashSet<Print>,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    /// Everything ended before the journal said so.
    InDoubt,
}

impl Left {
    /// Reads what the window under way left; nothing of an import without windows but its last chunk.
    pub(super) fn of(path: &Path, known: &Summary) -> Result<Self, OperationError> {
        let mut left = Self::default();
        each_chunk(path, &mut |window, prints, fate| match fate {
            Fate::InDoubt => left.uncertain.extend(prints),
            Fate::Done if window == Some(known.place.rows) => {
                for print in prints {
                    *left.done.entry(*print).or_default() += 1;
                }
            }
            Fate::Done => {}
        })?;
        if !left.uncertain.is_empty() {
            // A row that certainly was done, in whichever window, is the one that added the entry: others found it there.
            each_chunk(path, &mut |_, prints, fate| {
                for print in prints.iter().filter(|_| fate == Fate::Done) {
                    left.uncertain.remove(print);
                }
            })?;
        }
        Ok(left)
    }

    /// Whether rows that were done are still to come by.
    pub(super) fn is_awaited(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether a row that looks so was done: once for each of those that were.
    pub(in crate::cli) fn was_done(&mut self, print: &Print) -> bool {
        match self.done.get_mut(print) {
            None => false,
            Some(rows) if *rows > 1 => {
                *rows -= 1;
                true
            }
            Some(_) => self.done.remove(print).is_some(),
        }
    }

    /// Whether the entry that looks so may be this import's though it is found in the store: once, for its first row.
    pub(in crate::cli) fn may_be_in(&mut self, print: &Print) -> bool {
        self.uncertain.remove(print)
    }
}

/// Every chunk, with the row that its window begins behind where there are windows.
fn each_chunk(path: &Path, visit: &mut impl FnMut(Option<u64>, &[Print], Fate)) -> Result<(), OperationError> {
    let (mut window, mut waiting) = (None, Vec::new());
    each_line(path, &mut |line| {
        match line {
            // A run that goes on with a window names it again.
            Line::Window(begun) => window = Some(begun.rows),
            Line::Chunk(prints) => {
                visit(window, &waiting, Fate::InDoubt);
                waiting = prints_of(path, &prints)?;
            }
            Line::Done { .. } => {
                visit(window, &waiting, Fate::Done);
                waiting.clear();
            }
            Line::People(_) | Line::Finished { .. } | Line::Undoing { .. } | Line::Undone { .. } => {}
        }
        Ok(())
    })?;
    visit(window, &waiting, Fate::InDoubt);
    Ok(())
}
