//! From TOML to a book: what is shipped, and an operator's file on top of it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::rules::Problem;
use crate::rules::reader::{Fields, Problems, document};
use crate::time;

use super::book::{Book, ClassRule, Entry, Schedule};
use super::class::{Class, Follows};

/// The file that is built in, and the name that its problems are reported under.
pub(super) const SHIPPED: (&str, &str) = ("config/replies.toml", include_str!("../../config/replies.toml"));
/// The largest file that is read, in octets: ten times what is shipped.
pub(super) const FILE_OCTETS_MAX: u64 = 256 * 1024;
/// The most entries in one file. Every refusal is held against all of them.
pub(super) const ENTRIES_MAX: usize = 500;
/// The longest pause that a class may ask for: longer than a day, a copy would hardly be tried again.
pub(super) const PAUSE_MAX: Duration = Duration::from_hours(24);

/// Why a book could not be read: the fault of whoever wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum RepliesError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it says is not a set of entries. Every problem, one a line.
    #[error("{}", crate::rules::lines(.0))]
    Wrong(Vec<Problem>),
}

/// The entries that are shipped.
///
/// # Errors
/// [`RepliesError::Wrong`] when the shipped file itself is wrong, which a test excludes.
pub fn embedded() -> Result<Book, RepliesError> {
    shipped().map_err(RepliesError::Wrong)
}

/// The entries that are shipped, with those of an operator's file in front of them.
///
/// # Errors
/// [`RepliesError::Read`] when the file cannot be read, [`RepliesError::Wrong`] with every problem in it.
pub fn load(path: &Path) -> Result<Book, RepliesError> {
    let failed = |source| RepliesError::Read { path: path.to_owned(), source };
    let octets = std::fs::metadata(path).map_err(failed)?.len();
    if octets > FILE_OCTETS_MAX {
        return Err(failed(std::io::Error::other(format!("larger than {FILE_OCTETS_MAX} octets"))));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    with_operator(&path.display().to_string(), &text).map_err(RepliesError::Wrong)
}

fn shipped() -> Result<Book, Vec<Problem>> {
    let (name, text) = SHIPPED;
    let mut problems = Problems::new(name, text);
    let book = document(text, &mut problems).and_then(|document| {
        let mut fields = Fields::new(document.get_ref(), document.span(), None);
        let version = fields.owed_text("version", &mut problems);
        let classes: Vec<_> = fields
            .tables("class", &mut problems)
            .into_iter()
            .filter_map(|table| class_rule(table, Author::Shipped, &mut problems))
            .collect();
        let missing = Class::ALL.iter().filter(|class| !classes.iter().any(|rule| rule.class == **class));
        for class in missing {
            fields.wrong(format!("class `{class}` is missing"), &mut problems);
        }
        let entries = entries(&mut fields, &[], &mut problems);
        fields.finish(&mut problems);
        Some(Book { version: version?, classes, entries })
    });
    let found = problems.into_found();
    book.filter(|_| found.is_empty()).ok_or(found)
}

/// The shipped book with an operator's text on top: their entries are asked first; what is shipped stays, unless they
/// name an entry or a class and say why.
pub(super) fn with_operator(name: &str, text: &str) -> Result<Book, Vec<Problem>> {
    let mut book = shipped()?;
    let mut problems = Problems::new(name, text);
    if let Some(document) = document(text, &mut problems) {
        let mut fields = Fields::new(document.get_ref(), document.span(), None);
        let mut own = entries(&mut fields, &book.entries, &mut problems);
        for table in fields.tables("class", &mut problems) {
            if let Some(rule) = class_rule(table, Author::Operator, &mut problems)
                && let Some(known) = book.classes.iter_mut().find(|known| known.class == rule.class)
            {
                *known = ClassRule { title: known.title, ..rule };
            }
        }
        for table in fields.tables("override", &mut problems) {
            change(table, &mut book.entries, &mut problems);
        }
        fields.finish(&mut problems);
        own.append(&mut book.entries);
        book.entries = own;
    }
    let found = problems.into_found();
    if found.is_empty() { Ok(book) } else { Err(found) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Shipped,
    Operator,
}

fn class_rule(mut fields: Fields<'_>, author: Author, problems: &mut Problems<'_>) -> Option<ClassRule> {
    let class = owed_word::<Class>(&mut fields, "name", problems);
    fields.within = class.map(|class| class.to_string());
    let title = match author {
        Author::Shipped => fields.owed_text("title", problems),
        // The words stay; what an operator changes is what follows, and why is kept beside it in their file.
        Author::Operator => fields.owed_text("reason", problems).and(Some("")),
    };
    let follows = owed_word::<Follows>(&mut fields, "follows", problems);
    if let (Some(class), Some(follows)) = (class, follows)
        && !class.allows(follows)
    {
        let allowed: Vec<_> =
            Follows::ALL.iter().filter(|one| class.allows(**one)).map(|one| format!("`{one}`")).collect();
        let message = format!("`follows`: `{follows}` never follows from `{class}`; expected {}", allowed.join(" or "));
        fields.wrong(message, problems);
    }
    let first = fields.word::<Pause>("retry_first", problems);
    let longest = fields.word::<Pause>("retry_longest", problems);
    let schedule = match (first, longest) {
        (Some(first), Some(longest)) if first.0 <= longest.0 => Some(Schedule { first: first.0, longest: longest.0 }),
        (None, None) => None,
        (Some(_) | None, Some(_) | None) => {
            fields.wrong("expected `retry_first` and `retry_longest` together, the second not shorter", problems);
            None
        }
    };
    fields.finish(problems);
    Some(ClassRule { class: class?, title: title?, follows: follows?, schedule })
}

fn owed_word<T: FromStr<Err = String>>(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems<'_>,
) -> Option<T> {
    if !fields.has(key) {
        fields.wrong(format!("`{key}` is missing"), problems);
    }
    fields.word(key, problems)
}

fn entries(fields: &mut Fields<'_>, known: &[Entry], problems: &mut Problems<'_>) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for table in fields.tables("reply", problems) {
        let start = table.start();
        let Some(entry) = entry(table, problems) else { continue };
        if known.iter().chain(&found).any(|other| other.id == entry.id) {
            problems.at(start, Some(entry.id), "there is an entry of this name already; give yours another");
        }
        found.push(entry);
    }
    if found.len() > ENTRIES_MAX {
        fields.wrong(format!("more than {ENTRIES_MAX} entries in one file"), problems);
    }
    found
}

fn entry(mut fields: Fields<'_>, problems: &mut Problems<'_>) -> Option<Entry> {
    let id = fields.owed_text("id", problems);
    fields.within = id.map(str::to_owned);
    let class = owed_word::<Class>(&mut fields, "class", problems);
    let stages = fields.words("stage", problems).unwrap_or_default();
    let codes = fields.words("code", problems).unwrap_or_default();
    let statuses = fields.words("status", problems).unwrap_or_default();
    let texts = fields.words("text", problems).unwrap_or_default();
    let names_something = ["code", "status", "text"].into_iter().any(|key| fields.has(key));
    if !names_something {
        fields.wrong("expected at least one of `code`, `status`, `text`", problems);
    }
    let provider = if fields.has("provider") { fields.owed_text("provider", problems) } else { None };
    let source = fields.owed_text("source", problems);
    fields.finish(problems);
    Some(Entry { id: id?, class: class?, stages, codes, statuses, texts, provider, source: source?, overridden: None })
}

/// An operator lets a shipped entry tell another class.
fn change(mut fields: Fields<'_>, entries: &mut [Entry], problems: &mut Problems<'_>) {
    let id = fields.owed_text("reply", problems);
    fields.within = id.map(str::to_owned);
    let class = owed_word::<Class>(&mut fields, "class", problems);
    let reason = fields.owed_text("reason", problems);
    match id.map(|id| entries.iter_mut().find(|entry| entry.id == id)) {
        Some(Some(entry)) => {
            if let (Some(class), Some(reason)) = (class, reason) {
                entry.class = class;
                entry.overridden = Some(reason);
            }
        }
        Some(None) => fields.wrong("there is no shipped entry of this name to override", problems),
        None => {}
    }
    fields.finish(problems);
}

/// A pause as files write it: `90s`, `5m`, `2h`.
struct Pause(Duration);

impl FromStr for Pause {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let pause = time::parse_span(text)?;
        if pause > PAUSE_MAX { Err(format!("`{text}`: expected 24h at most")) } else { Ok(Self(pause)) }
    }
}
