//! `consentry suppress import-register`: a country's opt-out list as its registry gives it out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{OperationError, Outcome};
use crate::cli::source::SHOWN_MAX;
use crate::imports::{LINE_MAX, decode, read_line};
use crate::policy::RegisterName;
use crate::store::{PublishedHash, RegisterEntry, Store, StoreError, Subject};
use crate::time::Timestamp;

/// Arguments of `suppress import-register`.
#[derive(Clone, Debug, Args)]
pub struct RegisterArgs {
    /// The list's name in the rules: `ecg`, `lista_robinson`.
    #[arg(value_name = "NAME")]
    pub name: RegisterName,
    /// One `ADDRESS`, `@DOMAIN`, or SHA-1 or SHA-256 of an address in lower case per line; a line that begins with `#` is a comment; `-` reads the standard input.
    pub file: PathBuf,
    /// When the registry drew this copy.
    #[arg(long, value_name = "WHEN", value_parser = Timestamp::parse)]
    pub fresh_on: Timestamp,
}

/// A line that cannot be read leaves the old copy standing: whoever stood on that line would be written to.
pub(super) fn import(
    args: &RegisterArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    let mut input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.file).map_err(OperationError::file(&args.file))?))
    };
    let mut lines = Lines { input: &mut input, path: &args.file, number: 0, bad: Vec::new(), bad_count: 0 };
    let loaded = store.load_register(&args.name, args.fresh_on, lines.by_ref(), now);
    let (bad, bad_count) = (lines.bad, lines.bad_count);
    for why in &bad {
        writeln!(out, "{why}").map_err(OperationError::output)?;
    }
    if bad_count > 0 {
        writeln!(out, "{bad_count} lines cannot be read; the list stays as it was").map_err(OperationError::output)?;
        return Ok(Outcome::SomeInvalid);
    }
    let subjects = loaded?;
    writeln!(out, "{}: {subjects} subjects, drawn {}", args.name, args.fresh_on).map_err(OperationError::output)?;
    Ok(Outcome::Done)
}

/// The subjects of a file. Behind the last line an error stands for all lines that cannot be read.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    path: &'a Path,
    number: u64,
    bad: Vec<String>,
    bad_count: u64,
}

impl Iterator for Lines<'_> {
    type Item = Result<RegisterEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let octets = match read_line(self.input) {
                Ok(octets) => octets,
                Err(source) => {
                    let path = self.path.to_owned();
                    return Some(Err(StoreError::Io { action: "read the list", path, source }));
                }
            };
            if octets.is_empty() {
                let unfit = StoreError::Unfit { what: "some lines of the list cannot be read" };
                return (self.bad_count > 0).then_some(Err(unfit));
            }
            self.number += 1;
            match entry(octets) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(why) => {
                    self.bad_count += 1;
                    if self.bad_count <= SHOWN_MAX {
                        self.bad.push(format!("line {}: {why}", self.number));
                    }
                }
            }
        }
    }
}

/// What a line names; nothing when it is empty or a comment.
fn entry(octets: Vec<u8>) -> Result<Option<RegisterEntry>, String> {
    if octets.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} octets"));
    }
    let text = decode(octets);
    let text = text.trim_start_matches('\u{FEFF}').trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    match PublishedHash::parse(text) {
        Some(hash) => Ok(Some(RegisterEntry::Hash(hash))),
        None => Subject::parse(text).map(|subject| Some(RegisterEntry::Subject(subject))),
    }
}
