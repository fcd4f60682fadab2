//! `consentry consent undo`: taking an import of consents back.
//!
//! A consent is history and stays there. What is added is that everything which this import told about these people counts no
//! more. So what held before it holds again, and what was said since holds on.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::{OperationError, Outcome};
use crate::cli::journal::{Brings, ImportId, Journals, State};
use crate::store::Store;
use crate::time::Clock;

/// Longest reason, in octets: it stands beside a name in every retraction.
const BECAUSE_MAX: usize = 256;

/// Arguments of `consent undo`.
#[derive(Clone, Debug, Args)]
pub struct UndoArgs {
    /// The id that the import printed.
    #[arg(value_name = "ID", value_parser = ImportId::parse)]
    pub id: ImportId,
    /// Counts of whom something would be taken back; records nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Why the list does not hold; kept in the history of everybody on it.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub because: Option<String>,
    /// Who takes it back.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Takes back what an import told.
pub(super) fn undo(
    args: &UndoArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    let because = args.because.as_deref().map_or("", str::trim);
    if (because.is_empty() && !args.dry_run) || because.len() > BECAUSE_MAX {
        let message = format!("--because: say in at most {BECAUSE_MAX} octets why the list does not hold");
        return Err(OperationError::Usage(message));
    }
    let journals = Journals::open(folder)?;
    let known = journals.find(&args.id, Brings::Consents)?;
    known.head.expect_key(&store.key_name())?;
    if known.state == State::Undone {
        writeln!(out, "{} was undone before", args.id).map_err(OperationError::output)?;
        return Ok(Outcome::Nothing);
    }
    journals.refuse_when_others_rely_on(&known)?;
    let teller = known.head.teller();
    let mut people = 0;
    if args.dry_run {
        journals.each_people(&args.id, &mut |keys| {
            let told = store.told_by(&keys, &teller)?;
            people += u64::try_from(told.len()).unwrap_or(u64::MAX);
            Ok(())
        })?;
        writeln!(out, "what this import told would be taken back of {people} people")
            .map_err(OperationError::output)?;
        return Ok(Outcome::Nothing);
    }
    let mut journal = journals.go_on(&known)?;
    journal.undoing(&args.by, because, clock.now())?;
    let (by, at) = (format!("{}: {because}", args.by), clock.now());
    journals.each_people(&args.id, &mut |keys| {
        people += store.retract(&keys, &teller, &by, at)?;
        Ok(())
    })?;
    journal.undone(people, 0, clock.now())?;
    writeln!(out, "taken back of {people} people; what held before holds again, what was said since holds on")
        .map_err(OperationError::output)?;
    Ok(Outcome::Done)
}
