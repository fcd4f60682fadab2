//! Events as lines of files: a history that goes out, and comes back as it was.
//!
//! Each line has a seal: a hash of the whole event with the store's key. Only what went out under this key and was not touched
//! comes back as it was, proven records among it. Everything else is somebody's word about a list, and never more than that.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};

use super::copy::Copied;
use super::entry::PAGE_MAX;
use super::event::Event;
use super::fact::{Columns, TEXT_VERSION};
use super::key::AddressKey;
use super::record::{EntryFormat, csv_line, ndjson_line};
use super::redis::octets_of;
use super::{Cleartext, Cursor, Store, StoreError};
use crate::mail::Mailbox;
use crate::time::Timestamp;

/// The column that only lines of ours have.
const SEAL: &str = "seal";
/// What a sale is called before its parts.
const SALE: &str = "sale_";
/// Between functions; alone it says that there are none.
const COMMA: &str = ",";
/// Columns of the CSV form, in order: whom, what, and by whom it was told.
const COLUMNS: [&str; 29] = [
    "address",
    "exact",
    "controller",
    "purpose",
    "basis",
    "standing",
    "collected_at",
    "collected",
    "notice",
    "refusal_box",
    "sale_at",
    "sale_family",
    "sale_kind",
    "confirmation",
    "last_contact",
    "last_mailing",
    "expires",
    "source",
    "method",
    "ip",
    "evidence",
    "class",
    "country",
    "functions",
    "contract",
    "retracts",
    "recorded_at",
    "recorded_by",
    SEAL,
];

/// What becomes of an event that is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is not there.
    New,
    /// It is there.
    Existing,
    /// Something later is on record about this person: an old word must not become the last one (promise P10).
    GivesWay,
}

/// Whether a cell of this (lower-case) name may stand in an exported line.
pub(crate) fn is_column(name: &str) -> bool {
    COLUMNS.contains(&name)
}

/// Whether a line says that it is one of ours.
pub(crate) fn is_sealed<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| name == SEAL)
}

impl Store {
    /// Writes every event, page by page: all that people agreed to, and all that was declared or taken back. Answers how
    /// many. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Io`] when `out` cannot be written.
    pub fn export_events(&self, out: &mut dyn Write, format: EntryFormat) -> Result<u64, StoreError> {
        let failed = || StoreError::io("write the export", Path::new("export"));
        if format == EntryFormat::Csv {
            csv_line(COLUMNS, out).map_err(failed())?;
        }
        let (mut after, mut count) = (Cursor::default(), 0);
        loop {
            let page = self.events(after, PAGE_MAX)?;
            let Some((next, _)) = page.last() else {
                return out.flush().map_err(failed()).map(|()| count);
            };
            after = *next;
            for (_, event) in &page {
                let cells = self.cells(event);
                match format {
                    EntryFormat::Csv => csv_line(COLUMNS.map(|name| cells.get(name).map_or("", String::as_str)), out),
                    EntryFormat::Ndjson => ndjson_line(&cells, out),
                }
                .map_err(failed())?;
                count += 1;
            }
        }
    }

    fn cells(&self, event: &Event) -> BTreeMap<String, String> {
        let Columns { kind: _, controller, purpose, fact } = Columns::of(&event.told);
        // Our own text is always an object; if it ever was none, the line would not come back.
        let mut cells = flat(serde_json::from_str(&fact).unwrap_or_default());
        let mut put = |name: &str, text: String| cells.insert(name.to_owned(), text);
        match &event.address {
            Some(address) => put("address", address.clone()),
            None => put("exact", event.exact.to_string()),
        };
        if !controller.is_empty() {
            put("controller", controller);
            put("purpose", purpose);
        }
        put("recorded_at", event.at.rfc3339());
        put("recorded_by", event.by.clone());
        put(SEAL, self.seal(event));
        cells
    }

    fn seal(&self, event: &Event) -> String {
        self.key().seal(&octets_of(&Copied::Event(event.clone())))
    }

    /// Reads an exported line.
    ///
    /// # Errors
    /// A sentence, when it is not exactly what went out of a store with this key.
    pub(crate) fn read_sealed<'a>(&self, cells: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Event, String> {
        let cells: HashMap<&str, &str> = cells.collect();
        let whole = self.unsealed(&cells).filter(|event| cells.get(SEAL).is_some_and(|seal| *seal == self.seal(event)));
        let Some(mut event) = whole else {
            return Err("seal: of another store, or the line was changed since; without `seal`, `recorded_at` and \
                        `recorded_by` it can come in as a word of your own"
                .to_owned());
        };
        if self.cleartext() == Cleartext::HashOnly {
            event.address = None;
        }
        Ok(event)
    }

    fn unsealed(&self, cells: &HashMap<&str, &str>) -> Option<Event> {
        let cell = |name: &str| cells.get(name).map(|text| (*text).to_owned());
        let address = cell("address");
        let exact = match &address {
            Some(text) => self.key().exact(&Mailbox::parse(text).ok()?, &mut String::new()),
            None => AddressKey::parse(cells.get("exact")?)?,
        };
        let controller = cell("controller").unwrap_or_default();
        let columns = Columns {
            kind: if controller.is_empty() { "contact" } else { "consent" }.to_owned(),
            controller,
            purpose: cell("purpose").unwrap_or_default(),
            fact: nested(cells).to_string(),
        };
        let at = Timestamp::parse(cells.get("recorded_at")?).ok()?;
        Some(Event { cursor: Cursor(0), exact, address, told: columns.read()?, at, by: cell("recorded_by")? })
    }

    /// What [`Store::restore`] would do with each. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn weigh(&self, events: &[Event]) -> Result<Vec<Restored>, StoreError> {
        let mut keys: Vec<_> = events.iter().map(|event| event.exact).collect();
        keys.sort();
        keys.dedup();
        let mut known: HashMap<AddressKey, Vec<Event>> =
            self.histories(&keys)?.into_iter().zip(keys).map(swap).collect();
        let mut weigh = |event: &Event| {
            let theirs = known.entry(event.exact).or_default();
            if theirs.iter().any(|known| known.is_same(event)) {
                return Restored::Existing;
            }
            if theirs.iter().any(|known| known.at > event.at) {
                return Restored::GivesWay;
            }
            theirs.push(event.clone());
            Restored::New
        };
        Ok(events.iter().map(&mut weigh).collect())
    }

    /// Takes events back as they were, in their order, unless something later is on record about the same person. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`]; trying again goes on.
    pub fn restore(&self, events: Vec<Event>) -> Result<Vec<Restored>, StoreError> {
        let weighed = self.weigh(&events)?;
        let new = events.into_iter().zip(&weighed).filter(|(_, became)| **became == Restored::New);
        self.take(new.map(|(event, _)| Copied::Event(event)).collect())?;
        Ok(weighed)
    }
}

fn swap<A, B>((one, other): (A, B)) -> (B, A) {
    (other, one)
}

/// The parts of a fact under names of their own.
fn flat(fact: Map<String, Value>) -> BTreeMap<String, String> {
    let mut cells = BTreeMap::new();
    for (name, value) in fact {
        match value {
            Value::String(text) => drop(cells.insert(name, text)),
            Value::Object(sale) => {
                let parts = sale
                    .into_iter()
                    .filter_map(|(part, value)| Some((format!("{SALE}{part}"), value.as_str()?.to_owned())));
                cells.extend(parts);
            }
            Value::Array(functions) => {
                let names: Vec<_> = functions.iter().filter_map(Value::as_str).collect();
                cells.insert(name, if names.is_empty() { COMMA.to_owned() } else { names.join(COMMA) });
            }
            // The text's version, which is this program's own.
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
    cells
}

/// The fact of which [`flat`] made these cells, among others.
fn nested(cells: &HashMap<&str, &str>) -> Value {
    let mut fact = Map::new();
    let mut sale = Map::new();
    for (name, text) in cells {
        match *name {
            "address" | "exact" | "controller" | "purpose" | "recorded_at" | "recorded_by" | SEAL => {}
            "functions" => {
                let names = text.split(COMMA).filter(|name| !name.is_empty()).map(Value::from).collect();
                fact.insert((*name).to_owned(), Value::Array(names));
            }
            name => match name.strip_prefix(SALE) {
                Some(part) => drop(sale.insert(part.to_owned(), Value::from(*text))),
                None => drop(fact.insert(name.to_owned(), Value::from(*text))),
            },
        }
    }
    if !sale.is_empty() {
        fact.insert("sale".to_owned(), Value::Object(sale));
    }
    fact.insert("v".to_owned(), TEXT_VERSION.into());
    Value::Object(fact)
}
