//! From TOML to a book: what is shipped, and an operator's file on top of it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::book::{ALL, Book, GROUPS_MAX, Group, GroupNumber, Limits, OTHER, Of, Special};
use crate::mail::RouteName;
use crate::rules::Problem;
use crate::rules::reader::{Fields, Problems, document};

/// The file that is built in, and the name that its problems are reported under.
pub(super) const SHIPPED: (&str, &str) = ("config/shaping.toml", include_str!("../../config/shaping.toml"));
/// The largest file that is read, in octets: ten times what is shipped.
const FILE_OCTETS_MAX: u64 = 256 * 1024;
/// The highest number of connections, messages or recipients that can be asked for: what is beyond is no limit.
const COUNT_MAX: u32 = 100_000;
/// The source of what an operator says without naming one.
const OWN: &str = "the operator's file";
/// Limits for routes in one file: each group on some routes.
const SPECIAL_MAX: usize = 1000;

/// Why a book could not be read: the fault of whoever wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum ShapingError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it says is not a set of groups and limits. Every problem, one a line.
    #[error("{}", crate::rules::lines(.0))]
    Wrong(Vec<Problem>),
}

/// What is shipped.
///
/// # Errors
/// [`ShapingError::Wrong`] when the shipped file itself is wrong, which a test excludes.
pub fn embedded() -> Result<Book, ShapingError> {
    let (name, text) = SHIPPED;
    read(name, text, Book::default(), Author::Shipped).map_err(ShapingError::Wrong)
}

/// What is shipped, with an operator's file on top.
///
/// # Errors
/// [`ShapingError::Read`] when the file cannot be read, [`ShapingError::Wrong`] with every problem in it.
pub fn load(path: &Path) -> Result<Book, ShapingError> {
    let failed = |source| ShapingError::Read { path: path.to_owned(), source };
    let octets = std::fs::metadata(path).map_err(failed)?.len();
    if octets > FILE_OCTETS_MAX {
        return Err(failed(std::io::Error::other(format!("larger than {FILE_OCTETS_MAX} octets"))));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    with_operator(&path.display().to_string(), &text).map_err(ShapingError::Wrong)
}

pub(crate) fn with_operator(name: &str, text: &str) -> Result<Book, Vec<Problem>> {
    let (shipped_name, shipped) = SHIPPED;
    let book = read(shipped_name, shipped, Book::default(), Author::Shipped)?;
    read(name, text, book, Author::Operator)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Shipped,
    Operator,
}

fn read(name: &str, text: &str, mut book: Book, author: Author) -> Result<Book, Vec<Problem>> {
    let mut problems = Problems::new(name, text);
    if let Some(document) = document(text, &mut problems) {
        let mut fields = Fields::new(document.get_ref(), document.span(), None);
        if author == Author::Shipped {
            book.version = fields.owed_text("version", &mut problems).unwrap_or_default();
        }
        let mut own = Vec::new();
        for table in fields.tables("group", &mut problems) {
            group(table, &mut book, &mut own, author, &mut problems);
        }
        if let Some(mut other) = fields.table(OTHER, &mut problems) {
            book.other = limits(&mut other, &mut problems).or(book.other);
            if author == Author::Shipped {
                other.owed_text("source", &mut problems);
            }
            other.finish(&mut problems);
        }
        for table in fields.tables("limit", &mut problems) {
            let special = special(table, &book, &mut problems);
            book.special.extend(special);
        }
        if book.groups.len() > GROUPS_MAX || book.special.len() > SPECIAL_MAX {
            fields.wrong(format!("more than {GROUPS_MAX} groups or {SPECIAL_MAX} limits"), &mut problems);
        }
        fields.finish(&mut problems);
    }
    let found = problems.into_found();
    if found.is_empty() { Ok(book) } else { Err(found) }
}

/// A new group, or what an operator says of a shipped one: keys that they leave out stay as they are.
fn group(
    mut fields: Fields<'_>,
    book: &mut Book,
    own: &mut Vec<&'static str>,
    author: Author,
    problems: &mut Problems<'_>,
) {
    let Some(name) = fields.owed_text("name", problems) else { return };
    fields.within = Some(name.to_owned());
    let is_a_name = name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_a_name || [ALL, OTHER].contains(&name) {
        fields.wrong("`name`: expected at most 32 of a-z, 0-9 and `-`, and neither `all` nor `other`", problems);
    }
    if own.contains(&name) {
        fields.wrong("there is a group of this name already in this file", problems);
    }
    own.push(name);
    let domains = fields.words("domains", problems);
    let mx = fields.words("mx", problems);
    let limits = limits(&mut fields, problems);
    let source = match author {
        Author::Shipped => fields.owed_text("source", problems),
        Author::Operator if fields.has("source") => fields.owed_text("source", problems),
        Author::Operator => None,
    };
    if let Some(known) = book.groups.iter_mut().find(|known| known.name == name) {
        known.domains = domains.unwrap_or_else(|| std::mem::take(&mut known.domains));
        known.mx = mx.unwrap_or_else(|| std::mem::take(&mut known.mx));
        known.limits = limits.or(known.limits);
        known.source = source.unwrap_or(OWN);
    } else {
        if domains.is_none() && mx.is_none() {
            fields.wrong("expected at least one of `domains` and `mx`", problems);
        }
        let (domains, mx) = (domains.unwrap_or_default(), mx.unwrap_or_default());
        // An operator's own come first: what they single out is not lost in a wider pattern.
        let place = if author == Author::Operator { 0 } else { book.groups.len() };
        book.groups.insert(place, Group { name, domains, mx, limits, source: source.unwrap_or(OWN) });
    }
    fields.finish(problems);
}

fn special(mut fields: Fields<'_>, book: &Book, problems: &mut Problems<'_>) -> Option<Special> {
    let route = fields.text("route", problems);
    if route.is_none() {
        fields.wrong("`route` is missing; expected the name of a route, `upstream` for [upstream]", problems);
    }
    let route = route.and_then(|(text, at)| {
        RouteName::new(text).map_err(|error| problems.at(at, None, format!("`route`: {error}"))).ok()
    });
    let of = match fields.text("group", problems) {
        None => {
            fields.wrong("`group` is missing; expected the name of a group, `all` or `other`", problems);
            None
        }
        Some((ALL, _)) => Some(Of::All),
        Some((OTHER, _)) => Some(Of::Other),
        Some((name, at)) => {
            let found = book.groups().find(|(_, group)| group.name == name);
            if found.is_none() {
                problems.at(at, None, format!("`group`: there is no group `{name}`; expected one, `all` or `other`"));
            }
            found.map(|(number, _): (GroupNumber, _)| Of::Group(number))
        }
    };
    let limits = limits(&mut fields, problems);
    if limits == Limits::default() {
        fields
            .wrong("expected at least one of `rate`, `connections`, `messages_per_connection`, `recipients`", problems);
    }
    if of == Some(Of::All) && limits != (Limits { rate: limits.rate, ..Limits::default() }) {
        fields
            .wrong("for group `all` there is `rate` alone; connections of a route are its `max_connections`", problems);
    }
    fields.finish(problems);
    Some(Special { route: route?, of: of?, limits })
}

fn limits(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> Limits {
    let mut count = |key: &'static str, problems: &mut Problems<'_>| {
        let number = fields.number(key, COUNT_MAX, problems)?;
        let some = NonZeroU32::new(number);
        if some.is_none() {
            fields.wrong(
                format!("`{key}`: 0 would stop everything; expected at least 1, or use `consentry queue suspend`"),
                problems,
            );
        }
        some
    };
    let connections = count("connections", problems);
    let messages_per_connection = count("messages_per_connection", problems);
    let recipients = count("recipients", problems);
    Limits { rate: fields.word("rate", problems), connections, messages_per_connection, recipients }
}
