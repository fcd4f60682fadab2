//! `consentry explain`: what would be decided for this recipient now, and why?

mod page;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use crate::api::explanation::{self, Shown};
use crate::exit::{Exit, Failure};
use crate::mail::Mailbox;
use crate::policy::Verdict;
use crate::store::Opening;
use crate::time::Clock;

use super::Place;
use super::inquiry::About;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    about: About,
    /// The recipient.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Ends with 0 when the answer is yes and with 1 when it is no.
pub(super) fn run(
    asked: &Arguments,
    place: &Place,
    clock: &Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let settings = place.load()?;
    let wrong = |error| Failure::new(Exit::Usage, format!("--to `{}`: {error}", asked.to));
    let mailbox = Mailbox::parse(&asked.to).map_err(wrong)?;
    let store = crate::daemon::open_store(&settings, Opening::Quick, &**clock)?;
    let inquiry = asked.about.inquiry(&settings, &store, &**clock)?;
    let answer = super::small_runtime()?.block_on(inquiry.explain(&mailbox))?;
    let shown = Shown::of(&inquiry, &mailbox, &answer);
    if asked.json {
        writeln!(out, "{}", explanation::json(&shown))?;
    } else {
        out.write_all(page::text(&shown).as_bytes())?;
    }
    Ok(match answer.decision.verdict {
        Verdict::Permit(_) => Exit::Done,
        Verdict::Refuse(_) => Exit::No,
    })
}
