//! `consentry suppress import-register`: a country's opt-out list as its registry gives it out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ExportArgs, ExportFormat, OperationError, Outcome};
use crate::cli::source::SHOWN_MAX;
use crate::imports::{LINE_MAX, decode, read_line};
use crate::policy::RegisterName;
use crate::store::record::ndjson_line;
use crate::store::{AddressKey, PublishedHash, RegisterEntry, Store, StoreError, Subject};
use crate::time::Timestamp;

/// Arguments of `suppress import-register`.
#[derive(Clone, Debug, Args)]
pub struct RegisterArgs {
    /// The list's name in the rules: `ecg`, `lista_robinson`.
    #[arg(value_name = "NAME")]
    pub name: RegisterName,
    /// One `ADDRESS`, `@DOMAIN`, or SHA-1 or SHA-256 of an address in lower case per line, or what `export-register` wrote; a line that begins with `#` is a comment; `-` reads the standard input.
    pub file: PathBuf,
    /// When the registry drew this copy.
    #[arg(long, value_name = "WHEN", value_parser = Timestamp::parse)]
    pub fresh_on: Timestamp,
}

/// Arguments of `suppress export-register`.
#[derive(Clone, Debug, Args)]
pub struct ExportRegisterArgs {
    /// The list's name in the rules.
    #[arg(value_name = "NAME")]
    pub name: RegisterName,
    /// The file, made readable by its owner only; `-` writes to the standard output.
    #[arg(default_value = "-")]
    pub file: PathBuf,
}

/// One subject of a list as it goes out: a keyed hash, and of which key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLine {
    register: String,
    fresh_on: String,
    hash: String,
    key: String,
}

pub(super) fn list(store: &Store, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    for (name, fresh_on, subjects) in store.registers()? {
        writeln!(out, "{name}: {subjects} subjects, drawn {fresh_on}").map_err(OperationError::output)?;
    }
    Ok(Outcome::Done)
}

/// Writes one NDJSON line for each subject.
pub(super) fn export(args: &ExportRegisterArgs, store: &Store, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    let Some((_, fresh_on, _)) = store.registers()?.into_iter().find(|(name, ..)| *name == args.name) else {
        writeln!(out, "no list {} is loaded", args.name).map_err(OperationError::output)?;
        return Ok(Outcome::Nothing);
    };
    let (fresh_on, key) = (fresh_on.rfc3339(), store.key_name());
    let to = ExportArgs { file: args.file.clone(), format: ExportFormat::Ndjson };
    to.write(out, |to, _| {
        let failed = || {
            let path = args.file.clone();
            |source| StoreError::Io { action: "write the export", path, source }
        };
        let mut count = 0;
        store.each_listed(&args.name, &mut |keys| {
            for hash in keys {
                let register = args.name.to_string();
                let line = KeptLine { register, fresh_on: fresh_on.clone(), hash: hash.to_string(), key: key.clone() };
                ndjson_line(&line, to).map_err(failed())?;
                count += 1;
            }
            Ok(())
        })?;
        to.flush().map_err(failed())?;
        Ok(count)
    })
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
    let key = store.key_name();
    let mut lines = Lines { input: &mut input, args, key: &key, number: 0, bad: Vec::new(), bad_count: 0 };
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
    args: &'a RegisterArgs,
    key: &'a str,
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
                    let path = self.args.file.clone();
                    return Some(Err(StoreError::Io { action: "read the list", path, source }));
                }
            };
            if octets.is_empty() {
                let unfit = StoreError::Unfit { what: "some lines of the list cannot be read" };
                return (self.bad_count > 0).then_some(Err(unfit));
            }
            self.number += 1;
            match entry(octets, self.args, self.key) {
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
fn entry(octets: Vec<u8>, args: &RegisterArgs, key: &str) -> Result<Option<RegisterEntry>, String> {
    if octets.len() > LINE_MAX {
        return Err(format!("longer than {LINE_MAX} octets"));
    }
    let text = decode(octets);
    let text = text.trim_start_matches('\u{FEFF}').trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if text.starts_with('{') {
        return kept(text, args, key).map(|kept| Some(RegisterEntry::Kept(kept)));
    }
    match PublishedHash::parse(text) {
        Some(hash) => Ok(Some(RegisterEntry::Hash(hash))),
        None => Subject::parse(text).map(|subject| Some(RegisterEntry::Subject(subject))),
    }
}

/// What a line of our own says, if it is of this list, this day and this key.
fn kept(text: &str, args: &RegisterArgs, key: &str) -> Result<AddressKey, String> {
    let line: KeptLine = serde_json::from_str(text).map_err(|e| format!("not a line of `export-register`: {e}"))?;
    if line.key != key {
        return Err("hashed with another store's key; it can only be loaded into a store with that key".to_owned());
    }
    if (line.register.as_str(), Timestamp::parse(&line.fresh_on)) != (args.name.as_str(), Ok(args.fresh_on)) {
        return Err(format!("of the list {}, drawn {}; name that list and that day", line.register, line.fresh_on));
    }
    AddressKey::parse(&line.hash).ok_or_else(|| "hash: expected 32 hexadecimal digits".to_owned())
}
