//! `consentry queue`: what is waiting, at the running daemon; without one, in the spool itself.

use std::io::Write;
use std::sync::Arc;

use crate::control::{Answer, Desk, Question, Selection, Waiting, ask, ask_offline};
use crate::exit::{Exit, Failure};
use crate::store::Fence;
use crate::telemetry::EventLog;
use crate::time::Clock;

use super::Place;

/// What to do with the queue.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// How much is waiting.
    Stats {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// What is waiting, oldest first.
    List {
        /// How many copies.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on behind this queue id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Try now instead of later.
    Retry {
        /// A queue id, or `all`.
        which: String,
    },
    /// Give up without telling the sender; recorded with the reason.
    Drop {
        /// A queue id, or `all`.
        which: String,
        /// Why.
        #[arg(long)]
        because: String,
    },
}

pub(super) fn run(
    command: &Command,
    place: &Place,
    clock: &Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let settings = place.load()?;
    let question = question(command);
    let answer = super::small_runtime()?.block_on(async {
        if let Some(answer) = ask(&settings.data_dir, &question).await? {
            return Ok::<_, Failure>(answer);
        }
        let (spool, _) = crate::daemon::open_spool(&settings, clock)?;
        // Nobody follows the log of a command; what it changes is in the audit trail.
        let (log, _writer) = EventLog::start(std::io::sink())?;
        let desk = Desk { spool, log, fence: Fence::default(), clock: Arc::clone(clock) };
        let answer = ask_offline(question, &desk).await;
        desk.spool.shutdown().await;
        Ok(answer)
    })?;
    print(command, answer, out)
}

fn question(command: &Command) -> Question {
    let selection = |which: &str| if which == "all" { Selection::All } else { Selection::One(which.to_owned()) };
    match command {
        Command::Stats { .. } => Question::Stats,
        Command::List { limit, after, .. } => Question::List { limit: *limit, after: after.clone() },
        Command::Retry { which } => Question::Retry { which: selection(which) },
        Command::Drop { which, because } => Question::Drop { which: selection(which), because: because.clone() },
    }
}

fn print(command: &Command, answer: Answer, out: &mut dyn Write) -> Result<Exit, Failure> {
    let json = matches!(command, Command::Stats { json: true } | Command::List { json: true, .. });
    match answer {
        Answer::Fault { message } => return Err(Failure::new(Exit::Data, message)),
        Answer::Done { copies, busy } => {
            writeln!(out, "copies {copies}")?;
            if busy > 0 {
                writeln!(out, "under way and left alone {busy}")?;
            }
            return Ok(if copies == 0 { Exit::No } else { Exit::Done });
        }
        Answer::List { copies } => print_list(&copies, json, out)?,
        stats @ Answer::Stats { .. } if json => writeln!(out, "{}", to_json(&stats)?)?,
        Answer::Stats { copies, recipients, deferred, leased, damaged, octets, disk_octets, oldest, notes_lost } => {
            writeln!(
                out,
                "copies {copies}\nrecipients {recipients}\ndeferred {deferred}\nunder way {leased}\ndamaged {damaged}"
            )?;
            writeln!(out, "octets {octets}\non disk {disk_octets}\noldest {}", oldest.as_deref().unwrap_or("-"))?;
            writeln!(out, "audit records lost {notes_lost}")?;
        }
    }
    Ok(Exit::Done)
}

fn print_list(copies: &[Waiting], json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        for copy in copies {
            writeln!(out, "{}", to_json(copy)?)?;
        }
        return Ok(());
    }
    writeln!(
        out,
        "{:<13} {:<24} {:<24} {:>5} {:<8} {:<16} domains",
        "id", "received", "next attempt", "tries", "state", "stream"
    )?;
    for copy in copies {
        let stream = copy.stream.as_deref().unwrap_or("-");
        writeln!(
            out,
            "{:<13} {:<24} {:<24} {:>5} {:<8} {stream:<16} {}",
            copy.id,
            copy.received,
            copy.due,
            copy.attempts,
            copy.state,
            copy.domains.join(",")
        )?;
    }
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Software, error))
}
