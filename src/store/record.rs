//! Entries as lines of files: NDJSON, which loses nothing, and CSV, which spreadsheets open.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::entry::{Cursor, Entry, PAGE_MAX, Selection};
use super::{AddressKey, Kind, NewSuppression, Store, StoreError, Subject};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::time::Timestamp;

/// How exported entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFormat {
    /// One JSON object per line, exact: importing the export gives the same store.
    Ndjson,
    /// RFC 4180 with a header line; cells that a spreadsheet would run as a formula begin with `'`.
    Csv,
}

/// Columns of the CSV form, in order; the names are those of [`Record`]'s fields.
const COLUMNS: [&str; 12] = [
    "kind", "address", "scope", "cause", "origin", "since", "expires", "evidence", "created", "exact", "family", "key",
];

/// One entry as a line: every field is text, as people and other programs write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `address` or `domain`; read from the address when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The address, or `@domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// See [`Scope`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// See [`Cause`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// See [`Origin`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When it began to count: RFC 3339, a date, or seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When it stops counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// When it was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Keyed hash of the exact spelling, for an entry without an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Keyed hash of the family spelling, for an entry without an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Which key the hashes were made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a line says when it does not say it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) scope: Scope,
    pub(crate) cause: Cause,
    pub(crate) now: Timestamp,
}

impl Record {
    /// The line of an entry; keyed hashes, labelled `key_name`, stand in for an address that is not kept.
    pub fn of(entry: &Entry, key_name: &str) -> Self {
        let hashed = entry.address.is_none();
        let fact = &entry.fact;
        Self {
            kind: Some(entry.kind.as_str().to_owned()),
            address: entry.address.clone(),
            scope: Some(fact.scope.to_string()),
            cause: Some(fact.cause.to_string()),
            origin: Some(fact.origin.to_string()),
            since: Some(fact.since.rfc3339()),
            expires: fact.expires.map(Timestamp::rfc3339),
            evidence: fact.evidence.clone(),
            created: Some(entry.created.rfc3339()),
            exact: hashed.then(|| entry.exact.to_string()),
            family: hashed.then(|| entry.family.to_string()),
            key: hashed.then(|| key_name.to_owned()),
        }
    }

    /// The record of a row's cells; unknown names are passed over, of doubled ones the first counts.
    pub(crate) fn from_cells<'a>(cells: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut record = Self::default();
        for (name, cell) in cells {
            if let Some(field) = record.field(name) {
                field.get_or_insert_with(|| cell.to_owned());
            }
        }
        record
    }

    /// Whether it is a line of an export, whose order is that of recording, and of no list.
    pub(crate) fn is_of_an_export(&self) -> bool {
        self.kind.is_some() && self.origin.is_some() && self.created.is_some()
    }

    /// Whether a cell of this (lower-case) name holds the address, in the words of many exports.
    pub(crate) fn is_address_column(name: &str) -> bool {
        matches!(
            name,
            "address"
                | "email"
                | "e-mail"
                | "mail"
                | "recipient"
                | "emailaddress"
                | "email_address"
                | "email address"
                | "adresse"
                | "courriel"
                | "md5"
                | "sha1"
                | "sha256"
                | "email_md5"
                | "email_sha1"
                | "email_sha256"
                | "md5_email"
                | "sha256_email"
                | "hash"
        )
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            name if Self::is_address_column(name) => Some(&mut self.address),
            "kind" => Some(&mut self.kind),
            "scope" => Some(&mut self.scope),
            "cause" | "reason" | "suppressionreason" => Some(&mut self.cause),
            "origin" => Some(&mut self.origin),
            "since" => Some(&mut self.since),
            "expires" => Some(&mut self.expires),
            "evidence" => Some(&mut self.evidence),
            "created" | "created_at" | "createdat" => Some(&mut self.created),
            "exact" => Some(&mut self.exact),
            "family" => Some(&mut self.family),
            "key" => Some(&mut self.key),
            _ => None,
        }
    }

    /// Reads what the line says, with `defaults` for what it leaves out.
    ///
    /// # Errors
    /// A sentence naming the field and what was expected.
    pub(crate) fn into_new(self, defaults: &Defaults, key_name: &str) -> Result<NewSuppression, String> {
        let subject = self.subject(key_name)?;
        let created = self.created.as_deref().map(when).transpose()?;
        let since = self.since.as_deref().map(when).transpose()?;
        let fact = Suppression {
            scope: self.scope.map_or_else(|| Ok(defaults.scope.clone()), |text| text.parse())?,
            cause: self.cause.map_or(Ok(defaults.cause), |text| cause(&text))?,
            origin: self.origin.map_or(Ok(Origin::Import), |text| text.parse())?,
            evidence: self.evidence,
            since: since.or(created).unwrap_or(defaults.now),
            expires: self.expires.as_deref().map(when).transpose()?,
        };
        NewSuppression::new(subject, fact, created.unwrap_or(defaults.now)).map_err(|e| e.to_string())
    }

    fn subject(&self, key_name: &str) -> Result<Subject, String> {
        let kind = match &self.kind {
            None => None,
            Some(word) => {
                Some(Kind::parse(word).ok_or_else(|| format!("kind `{word}`: expected `address` or `domain`"))?)
            }
        };
        let Some(text) = &self.address else {
            return self.hashed(kind, key_name);
        };
        let subject = Subject::parse(text)?;
        let fits = match &subject {
            Subject::Address(_) | Subject::Published(_) => kind != Some(Kind::Domain),
            Subject::Domain(_) => kind != Some(Kind::Address),
            Subject::Hashed { .. } => false,
        };
        if fits { Ok(subject) } else { Err("kind and address disagree; a domain is written `@example.org`".to_owned()) }
    }

    fn hashed(&self, kind: Option<Kind>, key_name: &str) -> Result<Subject, String> {
        let key = |text: &Option<String>| text.as_deref().and_then(AddressKey::parse);
        let (Some(kind), Some(exact), Some(family)) = (kind, key(&self.exact), key(&self.family)) else {
            return Err("expected an address, or kind, exact and family of an entry kept as keyed hashes".to_owned());
        };
        if self.key.as_deref() != Some(key_name) {
            return Err(
                "hashed with another store's key; it can only be imported into a store with that key".to_owned()
            );
        }
        Ok(Subject::Hashed { kind, exact, family })
    }

    fn cells(&self) -> [&str; COLUMNS.len()] {
        [
            &self.kind,
            &self.address,
            &self.scope,
            &self.cause,
            &self.origin,
            &self.since,
            &self.expires,
            &self.evidence,
            &self.created,
            &self.exact,
            &self.family,
            &self.key,
        ]
        .map(|cell| cell.as_deref().unwrap_or_default())
    }
}

/// An instant as exports of many programs write it.
fn when(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Timestamp::from_secs).map_err(|_| format!("`{text}` seconds is beyond all time"));
    }
    Timestamp::parse(text)
}

/// A cause in any case; `bounce` is what other senders call a hard bounce.
fn cause(text: &str) -> Result<Cause, String> {
    let word = text.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    if word == "bounce" { Ok(Cause::HardBounce) } else { word.parse() }
}

/// Whether a spreadsheet would run a cell that begins so (OWASP, CSV injection; CWE-1236).
fn runs(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The cell with a leading `'` when a spreadsheet would run it. A cell that already begins with `'` before such a
/// character gets another one, so that [`unguard`] always gives back exactly what was there.
pub(crate) fn guard(cell: &str) -> std::borrow::Cow<'_, str> {
    if runs(cell) { format!("'{cell}").into() } else { cell.into() }
}

/// Takes away the one `'` that [`guard`] added.
pub(crate) fn unguard(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| runs(rest)).unwrap_or(cell)
}

/// One CSV line, guarded and quoted (RFC 4180).
pub(crate) fn csv_line<'a>(cells: impl IntoIterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).buffer_capacity(4096).from_writer(out);
    writer.write_record(cells.into_iter().map(|cell| guard(cell).into_owned())).map_err(io::Error::other)?;
    writer.flush()
}

/// See [`Store::export`].
pub(super) fn export(
    store: &Store,
    out: &mut dyn Write,
    format: EntryFormat,
    selection: &Selection,
) -> Result<u64, StoreError> {
    let failed = || StoreError::io("write the export", Path::new("export"));
    let key_name = store.key_name();
    if format == EntryFormat::Csv {
        csv_line(COLUMNS, out).map_err(failed())?;
    }
    let (mut after, mut count) = (Cursor::default(), 0);
    loop {
        let page = store.list(selection, after, PAGE_MAX)?;
        for entry in &page.entries {
            let record = Record::of(entry, &key_name);
            match format {
                EntryFormat::Csv => csv_line(record.cells(), out),
                EntryFormat::Ndjson => ndjson_line(&record, out),
            }
            .map_err(failed())?;
            count += 1;
        }
        match page.next {
            Some(next) => after = next,
            None => return out.flush().map_err(failed()).map(|()| count),
        }
    }
}

/// One JSON object and a line end.
pub(crate) fn ndjson_line(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn defaults() -> Defaults {
        Defaults { scope: Scope::Everything, cause: Cause::Manual, now: Timestamp::from_secs(1) }
    }

    #[test]
    fn no_cell_runs_in_a_spreadsheet() {
        for bad in ["=1+1@e.example", "+cmd@e", "-2@e", "@SUM", "\tx", "\rx"] {
            assert_eq!(guard(bad), format!("'{bad}"));
            assert_eq!(unguard(&guard(bad)), bad);
        }
        assert_eq!(guard("v@e.example"), "v@e.example");
        assert_eq!(unguard("'tis@e.example"), "'tis@e.example");
    }

    proptest! {
        #[test]
        fn guarding_is_undone_exactly(cell in "['=+@a-]{0,6}") {
            let guarded = guard(&cell);
            prop_assert_eq!(unguard(&guarded), &cell);
            prop_assert!(!guard(&cell).starts_with(['=', '+', '-', '@']));
        }
    }

    fn record(cells: &[(&str, &str)]) -> Record {
        Record::from_cells(cells.iter().copied())
    }

    #[test]
    fn names_of_other_senders_are_understood() {
        let cells =
            [("emailaddress", "V@Example.com"), ("reason", "BOUNCE"), ("created_at", "1795482123"), ("ip", "x")];
        let new = record(&cells).into_new(&defaults(), "k").unwrap();
        assert_eq!(new.fact().cause, Cause::HardBounce);
        assert_eq!(new.fact().since, Timestamp::from_secs(1_795_482_123));
        assert_eq!(new.fact().origin, Origin::Import);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for cells in [
            &[("kind", "domain"), ("address", "v@example.com")][..],
            &[("kind", "address"), ("address", "@example.com")],
            &[("kind", "person"), ("address", "v@example.com")],
            &[("address", "v@example.com"), ("cause", "unsubscribe"), ("expires", "2030-01-01")],
            &[("address", "v@example.com"), ("since", "soon")],
            &[("kind", "address"), ("exact", "00"), ("family", "00"), ("key", "k")],
            &[],
        ] {
            assert!(record(cells).into_new(&defaults(), "k").is_err(), "{cells:?}");
        }
        let zeros = "0".repeat(32);
        let hashed = |key| record(&[("kind", "address"), ("exact", &zeros), ("family", &zeros), ("key", key)]);
        assert!(hashed("k").into_new(&defaults(), "k").is_ok());
        assert!(hashed("other").into_new(&defaults(), "k").is_err());
    }

    #[test]
    fn columns_and_cells_go_together() {
        let filled = Record::from_cells(COLUMNS.into_iter().map(|name| (name, name)));
        assert_eq!(filled.cells(), COLUMNS);
    }
}
