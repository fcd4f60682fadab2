//! `consentry consent import`: what another system has on record, row by row, in bounded memory.
//!
//! Whoever imports a list vouches for it (`--attest`). So its records are asserted, never proven, whatever evidence
//! their lines name; and a record that is asserted lifts nobody's opt-out (promise P10).

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use super::form::Form;
use super::{ImportArgs, OperationError, Outcome, address};
use crate::cli::course::{self, Asked, Course, Mode, Streams, Target};
use crate::cli::journal::{Brings, Imported, Journal, Planned};
use crate::cli::progress::At;
use crate::cli::source::Report;
use crate::imports::{Cells, Format, Item, Reading, Rows};
use crate::mail::ControllerId;
use crate::policy::{Basis, ConsentFact, Standing};
use crate::store::{Added, AddressKey, CHUNK_MAX, Event, NewEvent, Record, Restored, Store, Told, line};
use crate::time::{Clock, Timestamp};

/// The method of records that came in with a file and name no other.
const METHOD: &str = "import";

pub(super) fn import(
    args: &ImportArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    if args.attest.trim().is_empty() {
        return Err(OperationError::Usage(
            "--attest: say on whose word and on what ground this list stands".to_owned(),
        ));
    }
    let asked = Asked {
        file: &args.file,
        errors: args.errors.as_deref(),
        mode: Mode::asked(args.dry_run, args.resume),
        planned: planned(args, store.key_name()),
    };
    course::import(asked, folder, out, clock, &mut |course, streams| read(args, store, course, streams), &|counts| {
        said(args, counts)
    })
}

fn said(args: &ImportArgs, counts: &Imported) -> String {
    let Imported { invalid, passed, new, upgraded, existing, ignored, .. } = counts;
    let would = if args.dry_run { "would be " } else { "" };
    let beside = if *passed > 0 { format!(", {passed} passed over") } else { String::new() };
    format!(
        "{new} {would}new, {upgraded} upgraded, {existing} already there, {ignored} ignored{beside}, {invalid} invalid"
    )
}

/// What is written down of an import that begins: with it, who attests what.
pub(super) fn planned(args: &ImportArgs, key: String) -> Planned {
    let source = args.source.map_or_else(|| "auto".to_owned(), |shape| format!("{shape:?}"));
    let controller = args.controller.as_ref().map_or("unsaid", ControllerId::as_str);
    let basis = args.basis.map_or_else(|| "unsaid".to_owned(), |basis| basis.to_string());
    Planned {
        brings: Brings::Consents,
        file: args.file.display().to_string(),
        content: None,
        arguments: format!("controller {controller}, basis {basis}, source {source}, attested {:?}", args.attest),
        by: args.by.clone(),
        key,
    }
}

/// Imports what a stream holds, some [`CHUNK_MAX`] facts at a time. When the arguments name no file for bad rows, the first ones also
/// go to `out`.
///
/// # Errors
/// [`OperationError`]; the rows before it are recorded.
pub(super) fn read(
    args: &ImportArgs,
    store: &Store,
    course: &mut Course,
    streams: Streams<'_>,
) -> Result<(), OperationError> {
    let Streams { member, input, report, out, watch, .. } = streams;
    let shown = if args.errors.is_some() { None } else { Some(out as &mut dyn Write) };
    let mut events = Events {
        rows: Rows::new(input, Format::Records, args.source),
        report: Report::new(member, report, shown),
        args,
        by: match &course.target {
            Target::Count => args.by.clone(),
            Target::Record(journal) => journal.head.teller(),
        },
        now: course.now,
        store,
        skip: course.skip,
        counts: course.counts,
    };
    loop {
        let Chunk { told: chunk, ours } = events.chunk()?;
        if chunk.is_empty() && ours.is_empty() {
            break;
        }
        restore(ours, store, &mut course.target, &mut events.counts)?;
        let keys = store.exact_keys(&chunk);
        let known = store.consents_under(&keys)?;
        match &mut course.target {
            Target::Count => count(&weighed(chunk, known, keys), &mut events.counts),
            Target::Record(journal) => {
                record(weighed(chunk, known, keys), store, journal, &mut events.counts)?;
            }
        }
        watch(At { done: events.counts.rows, ahead: 0 });
    }
    course.counts = events.counts;
    events.report.finish().map_err(OperationError::output)
}
/// What a consent of an import means beside what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    New,
    /// It takes the place of a word that says less.
    Upgrades,
    Known,
    /// What is known is proven, later, or a withdrawal: an importer's word does not come before it (promise P10).
    GivesWay,
}

fn meaning(new: &NewEvent, known: &[ConsentFact]) -> Meaning {
    // A declaration replaces no consent.
    let Told::Consent(fact) = new.told() else { return Meaning::New };
    let about = |known: &&ConsentFact| (&known.controller, &known.purpose) == (&fact.controller, &fact.purpose);
    match known.iter().find(about) {
        None => Meaning::New,
        Some(known) if *known == **fact => Meaning::Known,
        Some(known)
            if known.standing == Standing::Proven
                || known.basis == Basis::None
                || known.collected_at > fact.collected_at =>
        {
            Meaning::GivesWay
        }
        Some(_) => Meaning::Upgrades,
    }
}

/// One row's word, weighed.
struct Weighed {
    new: NewEvent,
    key: AddressKey,
    meaning: Meaning,
}

/// Each of a chunk beside what is known, `known` in the same order, and beside the rows before it about the same person: a list
/// in which an old word follows a newer one must not bring the old one back (promise P10).
fn weighed(chunk: Vec<NewEvent>, known: Vec<Vec<ConsentFact>>, keys: Vec<AddressKey>) -> Vec<Weighed> {
    let mut said: HashMap<AddressKey, Vec<ConsentFact>> = HashMap::new();
    let weigh = |((new, known), key): ((NewEvent, Vec<ConsentFact>), AddressKey)| {
        let facts = said.entry(key).or_insert(known);
        let meaning = meaning(&new, facts);
        if let (Told::Consent(fact), Meaning::New | Meaning::Upgrades) = (new.told(), meaning) {
            facts.retain(|known| (&known.controller, &known.purpose) != (&fact.controller, &fact.purpose));
            facts.push((**fact).clone());
        }
        Weighed { new, key, meaning }
    };
    chunk.into_iter().zip(known).zip(keys).map(weigh).collect()
}

/// What an import would do, without doing it.
fn count(chunk: &[Weighed], counts: &mut Imported) {
    for Weighed { meaning, .. } in chunk {
        match meaning {
            Meaning::New => counts.new += 1,
            Meaning::Upgrades => counts.upgraded += 1,
            Meaning::Known => counts.existing += 1,
            Meaning::GivesWay => counts.ignored += 1,
        }
    }
}

/// Records a chunk. About whom it is stands in the journal before.
fn record(
    mut chunk: Vec<Weighed>,
    store: &Store,
    journal: &mut Journal,
    counts: &mut Imported,
) -> Result<(), OperationError> {
    let all = chunk.len();
    chunk.retain(|weighed| weighed.meaning != Meaning::GivesWay);
    counts.ignored += u64::try_from(all - chunk.len()).unwrap_or(u64::MAX);
    let mut people: Vec<_> = chunk.iter().map(|weighed| weighed.key).collect();
    people.dedup();
    journal.about(&people)?;
    let meanings: Vec<_> = chunk.iter().map(|weighed| weighed.meaning).collect();
    let kept: Vec<_> = chunk.into_iter().map(|weighed| weighed.new).collect();
    for (became, meaning) in store.record_chunk(&kept)?.into_iter().zip(meanings) {
        match (became, meaning) {
            (Added::New, Meaning::Upgrades) => counts.upgraded += 1,
            (Added::New, _) => counts.new += 1,
            (Added::Renewed | Added::Existing, _) => counts.existing += 1,
        }
    }
    journal.done(Vec::new(), Vec::new(), *counts)
}

/// Takes lines of our own export back, or counts them. They stay their tellers', and so are not what undoing an import takes
/// back.
fn restore(ours: Vec<Event>, store: &Store, target: &mut Target, counts: &mut Imported) -> Result<(), OperationError> {
    let became = match target {
        Target::Count => store.weigh(&ours)?,
        Target::Record(_) => store.restore(ours)?,
    };
    for became in became {
        match became {
            Restored::New => counts.new += 1,
            Restored::Existing => counts.existing += 1,
            Restored::GivesWay => counts.ignored += 1,
        }
    }
    Ok(())
}

/// What some rows say.
#[derive(Debug, Default)]
struct Chunk {
    /// Somebody's word about a list.
    told: Vec<NewEvent>,
    /// What went out of this store before.
    ours: Vec<Event>,
}

/// The events of a file; rows that give none are counted and reported.
struct Events<'a> {
    rows: Rows<'a>,
    report: Report<'a>,
    args: &'a ImportArgs,
    /// Who tells them.
    by: String,
    store: &'a Store,
    now: Timestamp,
    /// Rows that were done before are passed over in silence.
    skip: u64,
    counts: Imported,
}

impl Events<'_> {
    /// The events of the next rows: [`CHUNK_MAX`], or one more, since a row's consent and declaration stay together.
    fn chunk(&mut self) -> Result<Chunk, OperationError> {
        let mut chunk = Chunk::default();
        while chunk.told.len() + chunk.ours.len() < CHUNK_MAX {
            let row = self.rows.next_row()?;
            if let Some(header) = self.rows.new_header() {
                check_header(header)?;
            }
            let Some(item) = row else { break };
            self.counts.rows += 1;
            if self.counts.rows > self.skip {
                self.take(item, &mut chunk)?;
            }
        }
        Ok(chunk)
    }

    fn take(&mut self, item: Item, chunk: &mut Chunk) -> Result<(), OperationError> {
        let who = item.row.as_ref().ok().and_then(Cells::address).unwrap_or_default().to_owned();
        match item.row.and_then(|row| self.rows.shape().consent(row)) {
            Ok(Reading::Passes(_)) => self.counts.passed += 1,
            Ok(Reading::Says(cells)) if line::is_sealed(cells.iter().map(|(name, _)| name)) => {
                match self.store.read_sealed(cells.iter()) {
                    Ok(event) => {
                        self.counts.valid += 1;
                        chunk.ours.push(event);
                    }
                    Err(why) => self.bad(item.number, &who, &why)?,
                }
            }
            Ok(Reading::Says(cells)) => match self.events(&who, &cells) {
                Ok((consent, contact)) => {
                    self.counts.valid += 1;
                    chunk.told.push(consent);
                    chunk.told.extend(contact);
                }
                Err(why) => self.bad(item.number, &who, &why)?,
            },
            Err(why) => self.bad(item.number, &who, &why)?,
        }
        Ok(())
    }

    fn bad(&mut self, number: u64, who: &str, why: &str) -> Result<(), OperationError> {
        self.counts.invalid += 1;
        self.report.bad(number, who, why).map_err(OperationError::output)
    }

    fn events(&self, who: &str, cells: &Cells) -> Result<(NewEvent, Option<NewEvent>), String> {
        let mailbox = address(who)?;
        let mut form = Form::default();
        for (name, cell) in cells.iter().filter(|(_, cell)| !cell.is_empty()) {
            if !form.take(name, cell)? && !Record::is_address_column(name) {
                return Err(format!("`{name}` is not known; expected names of the flags of `consent set`"));
            }
        }
        form.controller = form.controller.or_else(|| self.args.controller.as_ref().map(ToString::to_string));
        form.basis = form.basis.or_else(|| self.args.basis.map(|basis| basis.to_string()));
        form.source.get_or_insert_with(|| self.args.attest.clone());
        form.method.get_or_insert_with(|| METHOD.to_owned());
        if form.collected_at.is_none() {
            // The day of the import is no day of collection; taken for one, old data would look fresh.
            return Err("collected-at: missing; expected when the address was collected".to_owned());
        }
        let mut said = form.read(self.now)?;
        said.fact.standing = Standing::Asserted;
        let by = &self.by;
        let consent = NewEvent::consent(mailbox.clone(), said.fact, by.clone(), self.now).map_err(|e| e.to_string())?;
        if said.contact.is_empty() {
            return Ok((consent, None));
        }
        let contact = NewEvent::contact(mailbox, said.contact, by.clone(), self.now).map_err(|e| e.to_string())?;
        Ok((consent, Some(contact)))
    }
}

/// Of a list that is nobody's export every column has to be known: a misspelt `expires` would be no small loss.
fn check_header(header: &[String]) -> Result<(), OperationError> {
    let is_ours = line::is_sealed(header.iter().map(String::as_str));
    let known =
        |name: &&String| Record::is_address_column(name) || Form::knows(name) || (is_ours && line::is_column(name));
    match header.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(OperationError::Format(format!(
            "column `{name}` is not known; take it out, or name it like a flag of `consent set`"
        ))),
    }
}
