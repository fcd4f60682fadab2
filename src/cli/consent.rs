//! `consentry consent`: who agreed to what, how that is proven, and how it came about.

mod import;
mod show;
#[cfg(test)]
mod tests;
mod undo;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::course::UndoArgs;
use super::journal::Brings;
use super::operation::{OperationError, Outcome};
use super::suppress::{ExportArgs, imports};
use crate::api::form;
use crate::imports::Shape;
use crate::mail::{ControllerId, Mailbox};
use crate::policy::{Basis, Confirmation, ConsentFact, Purpose};
use crate::store::{Added, NewEvent, Store, Subject};
use crate::telemetry::{Event as LogEvent, EventType};
use crate::time::{Clock, Timestamp};
pub use form::Form;

/// Looks at and adds to what people agreed to; nothing that was recorded is ever changed.
#[derive(Clone, Debug, Args)]
pub struct ConsentArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConsentCommand,
}

/// What can be done with consents.
#[derive(Clone, Debug, Subcommand)]
pub enum ConsentCommand {
    /// Records on what basis an address may be written to, and who is behind it; it holds from the next decision on.
    Set(Box<SetArgs>),
    /// Turns a pending double opt-in into a confirmed one, on the operator's word that the person confirmed.
    Confirm(ConfirmArgs),
    /// Has the running gateway ask the mailbox, by a letter with a link, whether its person signed up (double opt-in). The exit
    /// status is 1 when nobody was asked.
    Ask(AskArgs),
    /// Shows what holds now for exactly this address; the exit status is 1 when nothing is on record.
    Show(ShowArgs),
    /// Shows everything that was ever recorded about exactly this address, in order.
    History(ShowArgs),
    /// Prints, as one JSON object, what shows that this person agreed: the records, their history, and a hash.
    Proof(ProofArgs),
    /// Records every line of a file on the operator's word; lines that cannot be read are reported, all others count.
    Import(ImportArgs),
    /// Takes an import back: what it told counts no more.
    Undo(UndoArgs),
    /// Lists the imports that can be gone on with or taken back.
    Imports,
    /// Writes everything that was ever recorded to a file; importing that gives the same history.
    Export(ExportArgs),
}

impl ConsentCommand {
    /// Whether it may change what holds, and so what is decided.
    pub const fn changes(&self) -> bool {
        match self {
            Self::Set(_) | Self::Confirm(_) | Self::Import(_) | Self::Undo(_) => true,
            Self::Ask(_) | Self::Show(_) | Self::History(_) | Self::Proof(_) | Self::Imports | Self::Export(_) => false,
        }
    }

    /// What taking back an import is recorded as in log and audit; what one person agreed to is in the history alone.
    pub fn event(&self, ended: Outcome, now: Timestamp) -> Option<LogEvent> {
        let (Self::Undo(args), Outcome::Undone { removed, .. }) = (self, ended) else { return None };
        let because = args.because.as_deref().unwrap_or_default();
        let mut event = LogEvent::new(EventType::ConsentRemoved, now);
        event.queue = Some(format!("import:{}", args.id));
        event.evidence = Some(format!("taken back of {removed} people by {}: {because}", args.by));
        Some(event)
    }
}

/// Arguments of `consent set`.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// Exactly this spelling; a consent of `a+x@` is none of `a@`.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    pub mailbox: Mailbox,
    /// What is said about it.
    #[command(flatten)]
    pub form: Form,
    /// Who records it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Arguments of `consent confirm`.
#[derive(Clone, Debug, Args)]
pub struct ConfirmArgs {
    /// Exactly this spelling.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    pub mailbox: Mailbox,
    /// To whom the consent was given.
    #[arg(long)]
    pub controller: ControllerId,
    /// What for: `marketing`, `topic:NAME`, `list:NAME` or `open_tracking`.
    #[arg(long, default_value = "marketing")]
    pub purpose: Purpose,
    /// What proves the confirmation: a message id, a ticket. Without it the consent lifts no opt-out.
    #[arg(long, value_name = "TEXT")]
    pub evidence: Option<String>,
    /// Who records it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Arguments of `consent ask`.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// Exactly this spelling.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    pub mailbox: Mailbox,
    /// Who wants to write to it.
    #[arg(long)]
    pub controller: ControllerId,
    /// What for: `marketing`, `topic:NAME` or `list:NAME`.
    #[arg(long, default_value = "marketing")]
    pub purpose: Purpose,
    /// Version of the notice that the form showed.
    #[arg(long, value_name = "TEXT")]
    pub notice: Option<String>,
    /// The form, URL or event where the address was entered.
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// From which address on the network it was entered; one network has only so many people asked.
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<std::net::IpAddr>,
    /// The language of the form: de, en, es, fr, it, nl. Default: what the person's country suggests.
    #[arg(long, value_name = "TAG")]
    pub language: Option<String>,
    /// Who hands it in.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Arguments of `consent show` and `consent history`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Exactly this spelling.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    pub mailbox: Mailbox,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `consent proof`.
#[derive(Clone, Debug, Args)]
pub struct ProofArgs {
    /// Exactly this spelling.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    pub mailbox: Mailbox,
    /// To whom the consent was given.
    #[arg(long)]
    pub controller: ControllerId,
}

/// Arguments of `consent import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// CSV with a header line, JSON, or a ZIP archive of CSV files; `-` reads the standard input. Columns are named like the
    /// flags of `set`, or as a campaign tool that is known exports them.
    pub file: PathBuf,
    /// On whose word and on what ground this list stands; kept as the source of every line that names none.
    #[arg(long, value_name = "TEXT")]
    pub attest: String,
    /// The controller of lines that do not say one.
    #[arg(long)]
    pub controller: Option<ControllerId>,
    /// The basis of lines that do not say one.
    #[arg(long)]
    pub basis: Option<Basis>,
    /// Whose export it is, when its header does not tell.
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub source: Option<Shape>,
    /// Reads and checks everything and counts what would be new; records nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Goes on with an import of this file that ended in the middle.
    #[arg(long, conflicts_with = "dry_run")]
    pub resume: bool,
    /// Writes the lines that cannot be read here: line, email, level, message.
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Who imports and attests it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Runs one operation; what it has to say goes to `out`, and imports keep their journals in the folder `journals`. Blocking.
///
/// # Errors
/// [`OperationError`]; an import that fails half-way has recorded the lines before.
pub fn run(
    command: &ConsentCommand,
    store: &Store,
    journals: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    match command {
        ConsentCommand::Set(args) => set(args, store, out, clock.now()),
        ConsentCommand::Confirm(args) => confirm(args, store, out, clock.now()),
        ConsentCommand::Ask(_) => Err(OperationError::Usage("expected a running daemon, which asks".to_owned())),
        ConsentCommand::Show(args) => show::show(args, store, out, clock.now()),
        ConsentCommand::History(args) => show::history(args, store, out),
        ConsentCommand::Proof(args) => show::proof(args, store, out, clock.now()),
        ConsentCommand::Import(args) => import::import(args, store, journals, out, clock),
        ConsentCommand::Undo(args) => undo::undo(args, store, journals, out, clock),
        ConsentCommand::Imports => imports(journals, Brings::Consents, out),
        ConsentCommand::Export(args) => args.write(out, |to, format| store.export_events(to, format)),
    }
}

fn address(text: &str) -> Result<Mailbox, String> {
    match Subject::parse(text)? {
        Subject::Address(mailbox) => Ok(mailbox),
        Subject::Domain(_) | Subject::Published(_) | Subject::Hashed { .. } => {
            Err("people agree, domains and hashes do not; expected an address".to_owned())
        }
    }
}

fn set(args: &SetArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let said = args.form.read(now).map_err(OperationError::Usage)?;
    let (mailbox, by) = (&args.mailbox, &args.by);
    let mut events = vec![NewEvent::consent(mailbox.clone(), said.fact, by.clone(), now)?];
    if !said.contact.is_empty() {
        events.push(NewEvent::contact(mailbox.clone(), said.contact, by.clone(), now)?);
    }
    let counts = store.record_many(events)?;
    let said = if counts.new == 0 { "already on record" } else { "recorded" };
    writeln!(out, "{said}").map_err(OperationError::output)?;
    Ok(Outcome::Done)
}

fn confirm(args: &ConfirmArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let known = store.blocking_dossier(&[&args.mailbox])?.pop().unwrap_or_default();
    let waiting = |fact: &ConsentFact| {
        (&fact.controller, &fact.purpose) == (&args.controller, &args.purpose)
            && fact.basis == Basis::DoubleOptIn
            && fact.confirmation == Confirmation::Pending
    };
    let Some(mut fact) = known.consents.into_iter().find(waiting) else {
        writeln!(out, "nothing is waiting for a confirmation").map_err(OperationError::output)?;
        return Ok(Outcome::Nothing);
    };
    fact.confirmation = Confirmation::At(now);
    if let Some(evidence) = &args.evidence {
        fact.evidence = Some(evidence.as_str().into());
        fact.standing = crate::policy::Standing::Proven;
    }
    let added = store.blocking_record(&NewEvent::consent(args.mailbox.clone(), fact, args.by.clone(), now)?)?;
    let said = if added == Added::New { "confirmed" } else { "already confirmed" };
    writeln!(out, "{said}").map_err(OperationError::output)?;
    Ok(Outcome::Done)
}
