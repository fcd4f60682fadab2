//! `consentry webhook`: how the receivers of events stand, and what an operator does about it, beside a running daemon.

use std::io::Write;

use serde_json::json;

use crate::config::Settings;
use crate::daemon::StartError;
use crate::events::Events;
use crate::exit::{Exit, Failure};
use crate::mail::HookName;
use crate::time::Clock;
use crate::webhook::{FILE, Ledger, Standing, WebhookError};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Where each hook stands in the trail, what waits and what is dead.
    List {
        /// One JSON object a line instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Events that a hook refused for too long, one JSON object a line: `event`, `died`, `why`.
    Dead {
        /// The hook.
        #[arg(value_name = "NAME")]
        hook: HookName,
    },
    /// Try dead letters again, in front of what waits of the same subjects (exit code 1 when there are none).
    Replay {
        /// The hook.
        #[arg(value_name = "NAME")]
        hook: HookName,
        /// Only the event of this number.
        #[arg(long, value_name = "SEQ")]
        seq: Option<u64>,
    },
    /// Send again after a receiver said 410 Gone, or at once instead of after a pause (exit code 1 when the hook is not known).
    Resume {
        /// The hook.
        #[arg(value_name = "NAME")]
        hook: HookName,
    },
    /// Remove position, waiting events and dead letters of a hook that is not configured any more.
    Forget {
        /// The hook.
        #[arg(value_name = "NAME")]
        hook: HookName,
    },
}

pub(super) fn run(
    command: &Command,
    settings: &Settings,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let is_configured = |name: &HookName| settings.webhooks.hooks.iter().any(|hook| hook.name == *name);
    let path = settings.data_dir.join(FILE);
    if !path.exists() {
        // The daemon makes it, and owns it then.
        writeln!(out, "no hook has been told of anything yet")?;
        return Ok(Exit::No);
    }
    let ledger = Ledger::open(&path).map_err(failure)?;
    let known = |known: bool| if known { Exit::Done } else { Exit::No };
    Ok(match command {
        Command::List { json } => {
            let newest =
                Events::of(&settings.data_dir.join("audit")).end().map_err(|error| failure(error.into()))?.seq();
            for standing in ledger.standings().map_err(failure)? {
                let is_configured = is_configured(&standing.name);
                if *json {
                    writeln!(out, "{}", object(&standing, newest, is_configured))?;
                } else {
                    writeln!(out, "{}", line(&standing, newest, is_configured))?;
                }
            }
            Exit::Done
        }
        Command::Dead { hook } => {
            for dead in ledger.dead(hook).map_err(failure)? {
                // Word for word as it was sent: only what is around it is made here.
                let around = json!({ "seq": dead.seq, "died": dead.died.rfc3339(), "why": dead.why }).to_string();
                let around = around.strip_suffix('}').unwrap_or_default();
                writeln!(out, "{around},\"event\":{}}}", String::from_utf8_lossy(&dead.line))?;
            }
            Exit::Done
        }
        Command::Replay { hook, seq } => {
            let count = ledger.replay(hook, *seq, clock.now()).map_err(failure)?;
            writeln!(out, "{count} dead letters are tried again")?;
            known(count > 0)
        }
        Command::Resume { hook } => known(ledger.resume(hook).map_err(failure)?),
        Command::Forget { hook } if is_configured(hook) => {
            let what = format!("`{hook}` is configured; remove its [[webhook]] and reload first");
            return Err(Failure::new(Exit::Usage, what));
        }
        Command::Forget { hook } => known(ledger.forget(hook).map_err(failure)?),
    })
}

fn failure(error: WebhookError) -> Failure {
    StartError::from(error).into()
}

fn object(standing: &Standing, newest: u64, is_configured: bool) -> serde_json::Value {
    json!({
        "name": standing.name.as_str(),
        "configured": is_configured,
        "position": standing.position.seq(),
        "newest": newest,
        "waiting": standing.parked,
        "waiting_subjects": standing.subjects,
        "dead": standing.dead,
        "paused": standing.paused,
        "trouble": standing.trouble,
    })
}

fn line(standing: &Standing, newest: u64, is_configured: bool) -> String {
    let how = match (&standing.paused, &standing.trouble) {
        _ if !is_configured => "not configured".to_owned(),
        (Some(why), _) => format!("paused: {why}"),
        (None, Some(why)) => format!("takes nothing: {why}"),
        (None, None) => "works".to_owned(),
    };
    let Standing { name, position, parked, subjects, dead, .. } = standing;
    let position = position.seq();
    format!("{name}: {how}; at event {position} of {newest}, {parked} waiting ({subjects} subjects), {dead} dead")
}
