//! Facts as octets, as they lie in Redis and in the journal: short, and each with a checksum over all that it says.
//!
//! A record is its length, its body and a CRC-32. The checksum also covers the key that the record lies under, so that
//! one that strayed under another person's key is damage and not an answer.

use crate::mail::{ControllerId, ListName};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::copy::Copied;
use crate::store::entry::{Cursor, Entry, Kind};
use crate::store::event::Event;
use crate::store::fact::Columns;
use crate::store::key::{AddressKey, KEY_LEN};
use crate::time::Timestamp;

/// First octet of every body: the form that this release writes and reads.
const VERSION: u8 = 1;
/// Octets of a checksum.
const SUM_LEN: usize = 4;

/// Appends the record of an entry that lies under its family key. `change` is its number in its partition.
pub(super) fn put_entry(entry: &Entry, change: i64, out: &mut Vec<u8>) {
    let fact = &entry.fact;
    let mut body = vec![VERSION, kind_code(entry.kind) << 4 | cause_code(fact.cause), origin_code(fact.origin)];
    number(change, &mut body);
    number(fact.since.as_millis(), &mut body);
    number(entry.created.as_millis().wrapping_sub(fact.since.as_millis()), &mut body);
    optional(fact.expires, &mut body, |end, body| number(end.as_millis(), body));
    optional((entry.exact != entry.family).then_some(entry.exact), &mut body, |key, body| {
        body.extend_from_slice(key.octets());
    });
    let (controller, list) = match &fact.scope {
        Scope::Everything => (None, None),
        Scope::Controller(controller) => (Some(controller.as_str()), None),
        Scope::List(controller, list) => (Some(controller.as_str()), Some(list.as_str())),
    };
    for part in [controller, list, entry.address.as_deref(), fact.evidence.as_deref()] {
        optional(part, &mut body, text);
    }
    seal(&entry.family, &body, out);
}

/// Reads all entries under one family key; `None` when anything is not exactly what [`put_entry`] writes. The cursor of
/// each is its number in its partition.
pub(super) fn entries(family: &AddressKey, octets: &[u8]) -> Option<Vec<Entry>> {
    records(family, octets, |body| {
        let [kind_and_cause, origin] = body.take::<2>()?;
        let change = body.number()?;
        let since = body.number()?;
        let created = since.wrapping_add(body.number()?);
        let expires = body.optional(Body::number)?.map(Timestamp::from_millis);
        let exact = body.optional(|body| body.take::<KEY_LEN>().map(AddressKey::from_octets))?;
        let controller = body.optional(Body::text)?.map(|text| ControllerId::new(&text).ok());
        let list = body.optional(Body::text)?.map(|text| ListName::new(&text).ok());
        let scope = match (controller, list) {
            (None, None) => Scope::Everything,
            (Some(controller), None) => Scope::Controller(controller?),
            (Some(controller), Some(list)) => Scope::List(controller?, list?),
            (None, Some(_)) => return None,
        };
        let address = body.optional(Body::text)?;
        let fact = Suppression {
            scope,
            cause: cause_of(kind_and_cause & 15)?,
            origin: origin_of(origin)?,
            evidence: body.optional(Body::text)?,
            since: Timestamp::from_millis(since),
            expires,
        };
        Some(Entry {
            cursor: Cursor(change),
            kind: kind_of(kind_and_cause >> 4)?,
            exact: exact.unwrap_or(*family),
            family: *family,
            address,
            fact,
            created: Timestamp::from_millis(created),
        })
    })
}

/// Appends the record of an event that lies under its exact key.
pub(super) fn put_event(event: &Event, out: &mut Vec<u8>) {
    let Columns { kind, controller, purpose, fact } = Columns::of(&event.told);
    let mut body = vec![VERSION];
    number(event.cursor.0, &mut body);
    number(event.at.as_millis(), &mut body);
    optional(event.address.as_deref(), &mut body, text);
    for part in [&event.by, &kind, &controller, &purpose, &fact] {
        text(part, &mut body);
    }
    seal(&event.exact, &body, out);
}

/// Reads all events under one exact key; `None` when anything is not exactly what [`put_event`] writes.
pub(super) fn events(exact: &AddressKey, octets: &[u8]) -> Option<Vec<Event>> {
    records(exact, octets, |body| {
        let cursor = Cursor(body.number()?);
        let at = Timestamp::from_millis(body.number()?);
        let address = body.optional(Body::text)?;
        let by = body.text()?;
        let columns =
            Columns { kind: body.text()?, controller: body.text()?, purpose: body.text()?, fact: body.text()? };
        Some(Event { cursor, exact: *exact, address, told: columns.read()?, at, by })
    })
}

/// A fact without its place: what makes two of them the same, in every store.
pub(in crate::store) fn octets_of(copied: &Copied) -> Vec<u8> {
    match copied {
        Copied::Entry(entry) => entry_octets(entry),
        Copied::Event(event) => {
            let mut octets = event.exact.octets().to_vec();
            put_event(&Event { cursor: Cursor(0), ..event.clone() }, &mut octets);
            octets
        }
    }
}

/// [`octets_of`] for an entry.
pub(in crate::store) fn entry_octets(entry: &Entry) -> Vec<u8> {
    let mut octets = entry.family.octets().to_vec();
    put_entry(entry, 0, &mut octets);
    octets
}

/// The entry that [`entry_octets`] wrote, still without its number; `None` when it wrote something else.
pub(in crate::store) fn entry_of(octets: &[u8]) -> Option<Entry> {
    let (family, record) = octets.split_first_chunk()?;
    let [entry] = entries(&AddressKey::from_octets(*family), record)?.try_into().ok()?;
    Some(entry)
}

fn seal(key: &AddressKey, body: &[u8], out: &mut Vec<u8>) {
    number(i64::try_from(body.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(body);
    out.extend_from_slice(&checksum(key, body));
}

fn checksum(key: &AddressKey, body: &[u8]) -> [u8; SUM_LEN] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.octets());
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

fn records<T>(key: &AddressKey, octets: &[u8], read: impl Fn(&mut Body<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut rest = Body(octets);
    let mut found = Vec::new();
    while !rest.0.is_empty() {
        let body = rest.counted()?;
        if rest.take::<SUM_LEN>()? != checksum(key, body) {
            return None;
        }
        let mut body = Body(body);
        (body.take::<1>()? == [VERSION]).then_some(())?;
        found.push(read(&mut body)?);
        body.0.is_empty().then_some(())?;
    }
    // An empty value is never written: a key without facts has no field.
    (!found.is_empty()).then_some(found)
}

/// A signed number in 7-bit groups, zigzag, so that small ones are short.
fn number(value: i64, out: &mut Vec<u8>) {
    let mut left = (value << 1 ^ value >> 63).cast_unsigned();
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        if left == 0 {
            return out.push(low & 0x7F);
        }
        out.push(low | 0x80);
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    number(i64::try_from(text.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(text.as_bytes());
}

fn optional<T>(part: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(part.is_some()));
    if let Some(part) = part {
        write(part, out);
    }
}

/// What is left to read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<i64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let [octet] = self.take::<1>()?;
            value |= u64::from(octet & 0x7F) << shift;
            if octet & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    fn text(&mut self) -> Option<String> {
        self.counted().and_then(|octets| std::str::from_utf8(octets).ok()).map(str::to_owned)
    }

    /// The outer answer is whether it could be read.
    #[expect(clippy::option_option, reason = "outer: could it be read; inner: was it there")]
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take::<1>()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }
}

// Numbers for words, never to be reused for another: a stored one keeps its meaning.

const fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Address => 0,
        Kind::Domain => 1,
    }
}

fn kind_of(code: u8) -> Option<Kind> {
    [Kind::Address, Kind::Domain].into_iter().find(|kind| kind_code(*kind) == code)
}

pub(super) const fn cause_code(cause: Cause) -> u8 {
    match cause {
        Cause::Complaint => 0,
        Cause::LegalObjection => 1,
        Cause::Unsubscribe => 2,
        Cause::Manual => 3,
        Cause::Erased => 4,
        Cause::Invalid => 5,
        Cause::HardBounce => 6,
    }
}

fn cause_of(code: u8) -> Option<Cause> {
    Cause::ALL.iter().copied().find(|cause| cause_code(*cause) == code)
}

const fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Operator => 0,
        Origin::Import => 1,
        Origin::OneClick => 2,
        Origin::Page => 3,
        Origin::Mailto => 4,
        Origin::Dsn => 5,
        Origin::Fbl => 6,
        Origin::Api => 7,
    }
}

fn origin_of(code: u8) -> Option<Origin> {
    Origin::ALL.iter().copied().find(|origin| origin_code(*origin) == code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(change: i64, since: i64, expires: Option<i64>, address: Option<String>, same: bool) -> Entry {
        let family = AddressKey::from_octets([7; KEY_LEN]);
        let controller = ControllerId::new("acme").unwrap();
        Entry {
            cursor: Cursor(change),
            kind: if same { Kind::Domain } else { Kind::Address },
            exact: if same { family } else { AddressKey::from_octets([9; KEY_LEN]) },
            family,
            fact: Suppression {
                scope: if same { Scope::Everything } else { Scope::List(controller, ListName::new("news").unwrap()) },
                cause: Cause::HardBounce,
                origin: Origin::Dsn,
                evidence: address.clone(),
                since: Timestamp::from_millis(since),
                expires: expires.map(Timestamp::from_millis),
            },
            address,
            created: Timestamp::from_millis(since.wrapping_add(change)),
        }
    }

    proptest! {
        #[test]
        fn entries_read_back_as_they_were_written(
            change: i64, since: i64, expires: Option<i64>, address: Option<String>, same: bool, count in 1..4_usize,
        ) {
            let all = vec![entry(change, since, expires, address, same); count];
            let mut octets = Vec::new();
            for entry in &all {
                put_entry(entry, entry.cursor.0, &mut octets);
            }
            let bare = Entry { cursor: Cursor(0), ..all[0].clone() };
            prop_assert_eq!(entry_of(&entry_octets(&all[0])), Some(bare));
            prop_assert_eq!(entries(&all[0].family, &octets), Some(all));
        }

        #[test]
        fn no_octets_are_read_beyond_what_was_written(octets: Vec<u8>) {
            prop_assert_eq!(entries(&AddressKey::from_octets([7; KEY_LEN]), &octets), None);
            prop_assert_eq!(events(&AddressKey::from_octets([7; KEY_LEN]), &octets), None);
            prop_assert_eq!(entry_of(&octets), None);
        }
    }

    #[test]
    fn a_record_that_was_cut_flipped_or_moved_is_refused() {
        let whole = entry(12, 1_795_482_123_000, Some(5), Some("v@x.example".to_owned()), false);
        let mut octets = Vec::new();
        put_entry(&whole, 12, &mut octets);
        for end in 0..octets.len() {
            assert_eq!(entries(&whole.family, &octets[..end]), None, "{end}");
        }
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(entries(&whole.family, &flipped), None, "{bit}");
        }
        assert_eq!(entries(&whole.exact, &octets), None);
    }

    #[test]
    fn every_word_has_a_number_of_its_own() {
        for cause in Cause::ALL {
            assert_eq!(cause_of(cause_code(*cause)), Some(*cause));
        }
        for origin in Origin::ALL {
            assert_eq!(origin_of(origin_code(*origin)), Some(*origin));
        }
    }

    #[test]
    fn a_bare_hash_takes_few_octets() {
        let mut bare = entry(1000, 1_795_482_123_000, None, None, true);
        bare.created = bare.fact.since;
        let mut octets = Vec::new();
        put_entry(&bare, 1000, &mut octets);
        assert!(octets.len() <= 24, "{}", octets.len());
    }
}
