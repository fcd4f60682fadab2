//! `consentry consent undo`: taking an import of consents back.
//!
//! A consent is history and stays there. What is added is that everything which this import told about these people counts no
//! more. So what held before it holds again, and what was said since holds on.

use std::io::Write;
use std::path::Path;

use super::{OperationError, Outcome};
use crate::cli::course::{self, UndoArgs};
use crate::cli::journal::Brings;
use crate::store::Store;
use crate::time::Clock;

/// Takes back what an import told.
pub(super) fn undo(
    args: &UndoArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    course::undo(args, Brings::Consents, folder, &store.key_name(), out, clock, &mut |undoing, out| {
        let (teller, at) = (undoing.import.head.teller(), clock.now());
        let mut people = 0;
        undoing.journals.each_people(&args.id, &mut |keys| {
            people += match undoing.because {
                None => u64::try_from(store.told_by(&keys, &teller)?.len()).unwrap_or(u64::MAX),
                Some(because) => store.retract(&keys, &teller, &format!("{}: {because}", args.by), at)?,
            };
            Ok(())
        })?;
        match undoing.because {
            None => writeln!(out, "what this import told would be taken back of {people} people"),
            Some(_) => writeln!(
                out,
                "taken back of {people} people; what held before holds again, what was said since holds on"
            ),
        }
        .map_err(OperationError::output)?;
        Ok((people, 0))
    })
}
