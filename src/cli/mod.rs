//! The command line: one file for each operation.
//!
//! **Promise:** every command says what it did or why not, and ends with a code of sysexits.h that scripts can use.
//!
//! **Owns:** arguments and their help, exit codes, where the configuration is looked for.
//!
//! **Never knows:** the rules of the domain.

mod ask;
mod check;
mod classify;
pub mod consent;
mod course;
mod dns;
mod doctor;
mod events;
mod explain;
mod inquiry;
mod journal;
mod keygen;
pub mod operation;
mod preflight;
mod progress;
mod queue;
mod rules;
mod serve;
mod shaping;
mod source;
mod store;
pub mod suppress;
mod token;
mod webhook;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::api;
use crate::config;
use crate::control;
use crate::exit::{Exit, Failure};
use crate::replies::{self, Book};
use crate::store::Opening;
use crate::telemetry::Event;
use crate::time::{Clock, SystemClock};

use operation::Outcome;

/// Where the journals of imports lie in the data folder.
const IMPORTS: &str = "imports";
/// Where the configuration is looked for when nothing is said.
const DEFAULT_CONFIG: &str = "/etc/consentry/consentry.toml";

/// The last gate before campaign mail leaves: checks consent, adds one-click unsubscribe, signs, never loses a message.
#[derive(Debug, Parser)]
#[command(name = "consentry", version, propagate_version = true)]
struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, env = "CONSENTRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder with a consentry.toml of its own in it, as the demo makes one; wins over --config.
    #[arg(long, global = true, env = "CONSENTRY_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Run the gateway.
    Serve,
    /// Check the configuration and say everything that is wrong with it (exit code 78).
    Check,
    /// Show the gateway at work in a temporary folder, or put it in front of your own tools.
    Demo(crate::demo::Arguments),
    /// Say what would be decided for one recipient on one stream, and why.
    Explain(explain::Arguments),
    /// Say what would be decided for every recipient of a file, before a campaign is sent.
    Preflight(preflight::Arguments),
    /// The law that the gateway goes by: list, show, check, test.
    Rules(rules::Arguments),
    /// Who must not be written to: add, remove, show, list, import, export, count.
    Suppress(suppress::SuppressArgs),
    /// Who agreed to be written to, and what proves it: set, confirm, show, history, proof, import.
    Consent(consent::ConsentArgs),
    /// Where the facts live: status, create, verify, copy, rebuild, forget.
    Store(store::Arguments),
    /// Say what a refusal of a mail server means, and what follows.
    Classify(classify::Arguments),
    /// Say which group of destinations a domain falls in, and how fast its mail leaves.
    Shaping(shaping::Arguments),
    /// What is waiting to be delivered: list, show, stats, retry, hold, release, drop, suspend, resume.
    #[command(subcommand)]
    Queue(queue::Command),
    /// What was decided and changed, from the audit trail: all of it, what is new, or one type.
    Events(events::Arguments),
    /// Programs outside that are told of events: list, dead, replay, resume, forget.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// What must be published in the DNS, and whether it is (exit code 1 when something is missing or wrong).
    Dns(dns::Arguments),
    /// Whether people can leave: the unsubscribe door as a mailbox provider meets it (exit code 1 when they cannot).
    Doctor(doctor::Arguments),
    /// Who may come in at the API: add, list, revoke.
    #[command(subcommand)]
    Token(token::Command),
    /// Make keys: DKIM, credentials.
    #[command(subcommand)]
    Keygen(keygen::Command),
}

/// Runs the operation that the arguments name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked_for_help = !error.use_stderr();
            // When even that cannot be printed, the exit code still says it.
            let _unprinted = error.print();
            return if asked_for_help { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _unprinted = writeln!(std::io::stderr(), "{failure}");
            failure.exit().into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let place = Place { config: arguments.config, data: arguments.data };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut out = std::io::stdout();
    match arguments.operation {
        Operation::Serve => serve::run(&place, clock),
        Operation::Check => check::run(&place, &mut out),
        Operation::Demo(demo) => crate::demo::run(&demo, place.data, clock),
        Operation::Explain(question) => explain::run(&question, &place, &clock, &mut out),
        Operation::Preflight(question) => preflight::run(&question, &place, &clock, &mut out),
        Operation::Rules(asked) => {
            let configured = if asked.name_a_folder() { None } else { place.rules_directory()? };
            rules::run(&asked, configured.as_deref(), &mut out)
        }
        Operation::Suppress(arguments) => {
            let settings = place.load()?;
            let opening = if arguments.command.is_about_many() { Opening::Many } else { Opening::Quick };
            let store = crate::daemon::open_store(&settings, opening, &*clock)?;
            let journals = settings.data_dir.join(IMPORTS);
            let outcome = suppress::run(&arguments.command, &store, &journals, &mut out, &*clock);
            if outcome.is_ok() && arguments.command.adds() {
                settle(&settings)?;
            }
            if let Ok(ended) = outcome {
                let privacy = crate::daemon::privacy(settings.log_addresses, settings.store.key_file.as_deref())?;
                record(&settings, arguments.command.event(ended, &privacy, clock.now()))?;
            }
            outcome.map(Outcome::exit).map_err(|error| Failure::new(error.exit(), error))
        }
        Operation::Consent(arguments) => {
            let settings = place.load()?;
            if let consent::ConsentCommand::Ask(args) = &arguments.command {
                return ask::run(args, &settings.data_dir, &mut out);
            }
            let store = crate::daemon::open_store(&settings, Opening::Quick, &*clock)?;
            let journals = settings.data_dir.join(IMPORTS);
            let outcome = consent::run(&arguments.command, &store, &journals, &mut out, &*clock);
            if outcome.is_ok() && arguments.command.changes() {
                settle(&settings)?;
            }
            if let Ok(ended) = outcome {
                record(&settings, arguments.command.event(ended, clock.now()))?;
            }
            outcome.map(Outcome::exit).map_err(|error| Failure::new(error.exit(), error))
        }
        Operation::Classify(question) => classify::run(&question, &*place.replies()?, &mut out),
        Operation::Shaping(question) => shaping::run(&question, &place.load()?, &mut out),
        Operation::Store(arguments) => store::run(&arguments, &place, &mut out, &*clock),
        Operation::Queue(command) => queue::run(&command, &place, &clock, &mut out),
        Operation::Events(arguments) => {
            let trail = crate::events::Events::of(&place.load()?.data_dir.join("audit"));
            events::run(&arguments, &trail, &mut out)
        }
        Operation::Webhook(command) => webhook::run(&command, &place.load()?, &*clock, &mut out),
        Operation::Dns(arguments) => dns::run(&arguments, &place, &mut out),
        Operation::Doctor(arguments) => doctor::run(&arguments, &place, &mut out),
        Operation::Token(command) => token::run(&command, &place.load()?.data_dir, &*clock, &mut out),
        Operation::Keygen(command) => keygen::run(&command, &mut out),
    }
}

/// Where the configuration is.
#[derive(Debug)]
struct Place {
    config: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Place {
    fn file(&self) -> PathBuf {
        match (&self.data, &self.config) {
            (Some(folder), _) => folder.join("consentry.toml"),
            (None, Some(file)) => file.clone(),
            (None, None) => PathBuf::from(DEFAULT_CONFIG),
        }
    }

    /// The folder of the operator's own rules. Nobody needs a configuration to read the law: none at the usual place
    /// is none, and one that was named must be there.
    fn rules_directory(&self) -> Result<Option<PathBuf>, Failure> {
        let is_named = self.config.is_some() || self.data.is_some();
        if is_named || self.file().exists() { Ok(self.load()?.rules_directory) } else { Ok(None) }
    }

    /// What refusals mean: by the configuration when there is one, as for the rules.
    fn replies(&self) -> Result<Arc<Book>, Failure> {
        if self.config.is_some() || self.data.is_some() || self.file().exists() {
            return Ok(self.load()?.delivery.replies);
        }
        replies::embedded().map(Arc::new).map_err(|error| Failure::new(Exit::Software, error))
    }

    fn load(&self) -> Result<config::Settings, Failure> {
        Ok(config::load(&self.file())?)
    }
}

/// A running daemon may have read the facts just before they changed: what was added counts, and may be acknowledged,
/// once it is done with naming those recipients (promise P3).
fn settle(settings: &config::Settings) -> Result<(), Failure> {
    small_runtime()?.block_on(api::ask(&settings.data_dir, control::Question::Fence))?;
    Ok(())
}

/// Tells a running daemon what was changed by hand, for its log and audit trail. Without one the store's own history,
/// which says who, when and why, is the record.
fn record(settings: &config::Settings, event: Option<Event>) -> Result<(), Failure> {
    if let Some(event) = event {
        let line = String::from_utf8_lossy(&event.to_json()).into_owned();
        small_runtime()?.block_on(api::ask(&settings.data_dir, control::Question::Record { line }))?;
    }
    Ok(())
}

/// A runtime for commands that wait for one thing.
fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::from)
}
