//! `consentry consent ask`: has the daemon write to a person who signed up.

use std::io::Write;
use std::path::Path;

use super::consent::AskArgs;
use crate::api;
use crate::control::{Answer, Question, SignUp, SignedUp};
use crate::exit::{Exit, Failure};

/// Says what became of it. Whoever shows that to a visitor shows the same for every outcome: else anybody could learn by it who is
/// on a list.
pub(super) fn run(args: &AskArgs, data_dir: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let sign_up = SignUp {
        address: args.mailbox.as_str().to_owned(),
        controller: args.controller.to_string(),
        purpose: args.purpose.to_string(),
        notice: args.notice.clone(),
        source: args.source.clone(),
        ip: args.ip,
        language: args.language.clone(),
        by: args.by.clone(),
    };
    let asked = super::small_runtime()?.block_on(api::ask(data_dir, Question::SignUp(sign_up)))?;
    let Some(answer) = asked else {
        return Err(Failure::new(Exit::Unavailable, "no daemon is running on this data folder; it sends the letter"));
    };
    let said = match answer {
        Answer::SignedUp(SignedUp::Asked { id, until }) => {
            writeln!(out, "asked by {id}; the link works until {until}")?;
            return Ok(Exit::Done);
        }
        Answer::SignedUp(SignedUp::Confirmed) => "the mailbox has confirmed this before, and it holds",
        Answer::SignedUp(SignedUp::Shut) => "the address is blocked (a complaint, a dead mailbox, an operator's entry)",
        Answer::SignedUp(SignedUp::TooOften) => "too often, of this address or from this network",
        Answer::Fault { message, .. } => return Err(Failure::new(Exit::Data, message)),
        Answer::Stats(_) | Answer::List { .. } | Answer::Copy(_) | Answer::Done { .. } => {
            return Err(Failure::new(Exit::Software, "the daemon answered another question"));
        }
    };
    writeln!(out, "not asked: {said}")?;
    Ok(Exit::No)
}
