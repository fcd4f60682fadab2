//! `consentry preflight`: who on this list may be written to, before anything is sent?
//!
//! Each row is decided as the gateway decides it, from the facts of the store alone: what other columns claim about
//! class, country or consent proves nothing and is not read.

mod output;
mod rows;
mod tally;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::exit::{Exit, Failure};
use crate::mail::Mailbox;
use crate::policy::{Decision, Verdict};
use crate::store::Opening;
use crate::store::record::csv_line;
use crate::time::Clock;

use self::output::Output;
use self::rows::{Row, Rows};
use self::tally::Tally;
use super::Place;
use super::inquiry::About;
use super::progress::{At, Progress};

/// Rows that are decided with one question to the store: enough to make the question cheap, few enough to hold.
const BATCH: usize = 500;
/// How much of an unreadable address is repeated in the rejects, in characters: as long as an address may be.
const QUOTED_MAX: usize = 254;
/// The reason of rows that name no recipient.
const INVALID: &str = "INVALID_ADDRESS";

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    about: About,
    /// CSV with a column `email`, `recipient` or `address`, or addresses one a line; standard input when left out.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write the rows that may be written to here, as they were read.
    #[arg(long, value_name = "FILE")]
    cleaned: Option<PathBuf>,
    /// Write the others here: line, email, reason, rule, detail.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Ends with 0 when every row may be written to, with 1 when some may not, with 65 when some could not be read.
pub(super) fn run(
    asked: &Arguments,
    place: &Place,
    clock: &Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    if asked.cleaned.is_some() && asked.cleaned == asked.rejects {
        return Err(Failure::new(Exit::Usage, "--cleaned and --rejects name the same file"));
    }
    let settings = place.load()?;
    let store = crate::daemon::open_store(&settings, Opening::Quick, &**clock)?;
    let inquiry = asked.about.inquiry(&settings, &store, &**clock)?;
    let runtime = super::small_runtime()?;
    let (input, size) = open(asked.file.as_deref().filter(|path| *path != Path::new("-")))?;
    let mut cleaned = asked.cleaned.as_deref().map(create).transpose()?;
    let mut rejects = asked.rejects.as_deref().map(create).transpose()?;
    let mut progress = Progress::new(&**clock, size);
    let sift = Sift {
        decide: |mailboxes: &[&Mailbox]| Ok(runtime.block_on(inquiry.decide(mailboxes))?),
        cleaned: cleaned.as_mut().map(|output| output as &mut dyn Write),
        rejects: rejects.as_mut().map(|output| output as &mut dyn Write),
        watch: |rows, octets| progress.draw(At { done: rows, ahead: 0 }, octets),
        tally: Tally::default(),
    };
    let tally = sift.all(input)?;
    drop(progress);
    for output in [cleaned, rejects].into_iter().flatten() {
        output.finish()?;
    }
    if asked.json {
        writeln!(out, "{}", tally.to_json())?;
    } else {
        tally.write_text(out)?;
    }
    Ok(tally.exit())
}

/// The input, and its size where it is known.
fn open(file: Option<&Path>) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    let Some(path) = file else { return Ok((Box::new(io::stdin().lock()), None)) };
    let opened = File::open(path).map_err(|error| unusable(path, &error))?;
    let size = opened.metadata().ok().filter(std::fs::Metadata::is_file).map(|known| known.len());
    Ok((Box::new(BufReader::new(opened)), size))
}

fn create(path: &Path) -> Result<Output, Failure> {
    Output::create(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", path.display()))
}

/// Rows come in, and go out by what is decided about them. It holds [`BATCH`] rows at a time.
struct Sift<'a, D, W> {
    /// Decides for each mailbox, in their order.
    decide: D,
    cleaned: Option<&'a mut dyn Write>,
    rejects: Option<&'a mut dyn Write>,
    /// Is told rows and octets so far.
    watch: W,
    tally: Tally,
}

impl<D, W> Sift<'_, D, W>
where
    D: FnMut(&[&Mailbox]) -> Result<Vec<Decision>, Failure>,
    W: FnMut(u64, u64),
{
    /// Reads to the end.
    fn all(mut self, input: impl BufRead) -> Result<Tally, Failure> {
        let unread = |error: io::Error| {
            let exit = if error.kind() == io::ErrorKind::InvalidData { Exit::Data } else { Exit::Io };
            Failure::new(exit, format!("the recipients cannot be read: {error}"))
        };
        let Some(mut rows) = Rows::open(input).map_err(unread)? else {
            return Err(Failure::new(Exit::Data, "there are no recipients: nothing was read"));
        };
        if let Some(rejects) = &mut self.rejects {
            csv_line(["line", "email", "reason", "rule", "detail"], *rejects)?;
        }
        if let Some(header) = rows.header() {
            self.keep(header)?;
        }
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.next().map_err(unread)? {
            batch.push(row);
            if batch.len() == BATCH {
                self.settle(&mut batch)?;
                (self.watch)(self.tally.rows(), rows.octets());
            }
        }
        self.settle(&mut batch)?;
        Ok(self.tally)
    }

    fn settle(&mut self, batch: &mut Vec<Row>) -> Result<(), Failure> {
        let mailboxes: Vec<_> = batch.iter().filter_map(|row| row.recipient.as_ref().ok()).collect();
        let decisions = if mailboxes.is_empty() { Vec::new() } else { (self.decide)(&mailboxes)? };
        if decisions.len() != mailboxes.len() {
            return Err(Failure::new(Exit::Software, "not every recipient was decided"));
        }
        let mut decisions = decisions.into_iter();
        for row in batch.drain(..) {
            match &row.recipient {
                Ok(mailbox) => {
                    let decision = decisions.next();
                    self.place(&row, mailbox, decision.as_ref())?;
                }
                Err(unreadable) => {
                    self.tally.invalid += 1;
                    self.reject(row.line, [&unreadable.text, INVALID, "", &unreadable.why])?;
                }
            }
        }
        Ok(())
    }

    fn place(&mut self, row: &Row, mailbox: &Mailbox, decision: Option<&Decision>) -> Result<(), Failure> {
        let Some(decision) = decision else { return Ok(()) };
        self.tally.add(decision);
        match decision.verdict {
            Verdict::Permit(_) => self.keep(&row.raw),
            Verdict::Refuse(_) => {
                let rule = format!("{}@{}", decision.rule, decision.rule_version);
                self.reject(row.line, [mailbox.as_str(), decision.reason.as_str(), &rule, decision.source])
            }
        }
    }

    fn keep(&mut self, raw: &[u8]) -> Result<(), Failure> {
        if let Some(cleaned) = &mut self.cleaned {
            cleaned.write_all(raw)?;
            if !raw.ends_with(b"\n") {
                cleaned.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn reject(&mut self, line: u64, [address, reason, rule, detail]: [&str; 4]) -> Result<(), Failure> {
        if let Some(rejects) = &mut self.rejects {
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            let quoted: String = address.chars().take(QUOTED_MAX).map(plain).collect();
            csv_line([line.to_string().as_str(), &quoted, reason, rule, detail], *rejects)?;
        }
        Ok(())
    }
}
