//! `consentry token`: who may come in at the API.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::api::{NewToken, Reach, Revoked, Right, Token, TokenError, TokenName, Tokens};
use crate::exit::{Exit, Failure};
use crate::mail::ControllerId;
use crate::time::{Clock, Timestamp};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Makes a token and prints it: once, only its hash is kept.
    Add {
        /// What it is called; records say it.
        #[arg(value_name = "NAME", value_parser = TokenName::new)]
        name: TokenName,
        /// For the facts of this controller and its lists alone; without it for everybody's.
        #[arg(long, value_name = "NAME")]
        controller: Option<ControllerId>,
        /// What it allows; may be given more than once: suppressions:read, suppressions:write, consents:read, consents:write,
        /// decisions:read, events:read, queue:read, queue:write.
        #[arg(long = "right", value_name = "RIGHT", required = true)]
        rights: Vec<Right>,
        /// Who makes it.
        #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
        by: String,
    },
    /// Shows all of them, without their secrets.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Takes one back: from the next request on it opens nothing. Exit code 1 when no token in use has the name.
    Revoke {
        /// What it is called.
        #[arg(value_name = "NAME", value_parser = TokenName::new)]
        name: TokenName,
    },
}

/// Works on the file in the data folder; a running daemon reads it at each request.
pub(super) fn run(command: &Command, data_dir: &Path, clock: &dyn Clock, out: &mut dyn Write) -> Result<Exit, Failure> {
    let file = Tokens::file(data_dir);
    match command {
        Command::Add { name, controller, rights, by } => {
            crate::daemon::private_folder(data_dir)?;
            let reach = controller.clone().map_or(Reach::Gateway, Reach::Controller);
            let mut rights = rights.clone();
            rights.sort_unstable();
            rights.dedup();
            let new = NewToken { name: name.clone(), reach, rights, by: by.clone() };
            let secret = Tokens::add(&file, &new, clock.now()).map_err(|error| failure(&error))?;
            writeln!(out, "{secret}")?;
            Ok(Exit::Done)
        }
        Command::List { json } => {
            for token in Tokens::read(&file).map_err(|error| failure(&error))?.all() {
                show(token, *json, out)?;
            }
            Ok(Exit::Done)
        }
        Command::Revoke { name } => match Tokens::revoke(&file, name, clock.now()).map_err(|error| failure(&error))? {
            Revoked::Now => {
                writeln!(out, "revoked")?;
                Ok(Exit::Done)
            }
            Revoked::Unknown => {
                writeln!(out, "no token in use is named `{name}`")?;
                Ok(Exit::No)
            }
        },
    }
}

fn show(token: &Token, as_json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let Token { name, reach, rights, created, by, revoked, .. } = token;
    let controller = match reach {
        Reach::Gateway => None,
        Reach::Controller(controller) => Some(controller.as_str()),
    };
    let rights: Vec<_> = rights.iter().map(|right| right.as_str()).collect();
    if as_json {
        let revoked = revoked.map(Timestamp::rfc3339);
        return writeln!(
            out,
            "{}",
            json!({
                "name": name.as_str(), "controller": controller, "rights": rights, "created": created.rfc3339(), "by": by,
                "revoked": revoked,
            })
        );
    }
    let whose = controller.map_or_else(|| "everybody".to_owned(), |controller| format!("controller {controller}"));
    let ended = revoked.map_or_else(String::new, |at| format!("  revoked {at}"));
    writeln!(out, "{name}  {whose}  {}  made {created} by {by}{ended}", rights.join(" "))
}

fn failure(error: &TokenError) -> Failure {
    let exit = match error {
        TokenError::Io { .. } => Exit::Io,
        TokenError::Damaged { .. } => Exit::Data,
        TokenError::Unfit(_) => Exit::Usage,
    };
    Failure::new(exit, error)
}
