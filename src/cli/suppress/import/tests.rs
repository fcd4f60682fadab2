//! Windows: whatever their size, and wherever an import is cut, the store holds what the rows say in the order of the file.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use clap::Parser as _;
use proptest::prelude::*;

use super::*;
use crate::cli::course::UndoArgs;
use crate::cli::journal::{Journals, Resume};
use crate::cli::suppress::undo::undo;
use crate::cli::suppress::{SuppressArgs, SuppressCommand};
use crate::store::{EntryFormat, Selection};
use crate::time::{ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);
/// Entries in one change here, so that a window has several.
const CHUNK: usize = 2;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    suppress: SuppressArgs,
}

fn arguments(more: &[&str]) -> Result<ImportArgs, clap::Error> {
    let line = Line::try_parse_from([&["suppress", "import", "list.csv"], more].concat())?;
    let SuppressCommand::Import(args) = line.suppress.command else { panic!("not an import") };
    Ok(args)
}

/// When a run ends before its end.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Behind so many looks of whoever watches.
    looks: usize,
    /// What was written down last is lost, as when the machine itself fails.
    loses: bool,
}

/// A store with a journal that an import goes through.
struct Import<'a> {
    store: Store,
    folder: tempfile::TempDir,
    text: &'a str,
}

impl<'a> Import<'a> {
    fn of(text: &'a str, known: &[NewSuppression]) -> Self {
        let store = Store::memory();
        store.add_many(known.iter().cloned()).unwrap();
        Self { store, folder: tempfile::tempdir().unwrap(), text }
    }

    fn journal(&self, resume: Resume) -> Journal {
        let content = Some(crate::cli::journal::Content { size: 1, sha256: "00".to_owned() });
        let args = arguments(&[]).unwrap();
        let planned = Planned { content, ..planned(&args, self.store.key_name()) };
        Journals::open(self.folder.path()).unwrap().take_up(planned, resume, NOW).unwrap()
    }

    /// One run; nothing when it was cut.
    fn run(&self, window: usize, resume: Resume, cut: Option<Cut>) -> Option<Imported> {
        let mut course = Course::of(self.journal(resume));
        let Target::Record(journal) = &mut course.target else { panic!("it records") };
        let mut looks = 0;
        let mut watch = |_| {
            looks += 1;
            if cut.is_some_and(|cut| looks > cut.looks) {
                resume_unwind(Box::new("cut"));
            }
        };
        let (mut input, mut report) = (self.text.as_bytes(), io::sink());
        let scope = Scope::Everything;
        let mut entries = Entries {
            rows: Rows::new(&mut input, Format::Csv, None),
            report: Report::new(None, &mut report, None),
            wanted: Wanted { scope: &scope, cause: None },
            defaults: Defaults { scope: scope.clone(), cause: Cause::Manual, now: course.now },
            key_name: self.store.key_name(),
            skip: course.skip,
            counts: course.counts,
            failed: None,
        };
        let mut recording = Recording {
            store: &self.store,
            journal,
            window: Window::new(&self.store, window),
            chunk: CHUNK,
            clock: &ManualClock::new(NOW),
            watch: &mut watch,
        };
        let ended = catch_unwind(AssertUnwindSafe(|| recording.run(&mut entries).unwrap()));
        let counts = entries.counts;
        if ended.is_ok() {
            journal.finish(counts, NOW).unwrap();
            return Some(counts);
        }
        if cut.is_some_and(|cut| cut.loses) {
            self.lose_the_last_line();
        }
        None
    }

    /// What was not synced may be lost: the line that says what a chunk became.
    fn lose_the_last_line(&self) {
        let path = self.path();
        let text = std::fs::read_to_string(&path).unwrap();
        let before = text.trim_end().rfind('\n').unwrap() + 1;
        if text[before..].starts_with("{\"done\"") {
            std::fs::write(&path, &text[..before]).unwrap();
        }
    }

    fn path(&self) -> std::path::PathBuf {
        let mut files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|ending| ending == "ndjson")).unwrap()
    }

    /// The whole store, in an order that does not tell that of recording.
    fn everything(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.store.export(&mut out, EntryFormat::Ndjson, &Selection::default()).unwrap();
        let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn undo(&self) -> String {
        let id = Journals::open(self.folder.path()).unwrap().all().unwrap().remove(0).head.id;
        let args = UndoArgs { id, dry_run: false, because: Some("wrong list".to_owned()), by: "ann".to_owned() };
        let mut out = Vec::new();
        undo(&args, &self.store, self.folder.path(), &mut out, &ManualClock::new(NOW)).unwrap();
        let said = String::from_utf8(out).unwrap();
        said.lines().last().unwrap().to_owned()
    }
}

/// Rows about few people, so that many are named twice, in words that matter in their order.
fn rows() -> impl Strategy<Value = String> {
    let row = ("[a-e](\\+x)?", 0..3_u8, prop::option::of(1..4_u8), 0..3_u8);
    (prop::collection::vec(row, 0..60), any::<bool>()).prop_map(|(rows, renews)| {
        let mut text = "email,reason,expires,evidence,origin\n".to_owned();
        for (name, kind, expires, evidence) in rows {
            let kind = if renews { kind } else { kind.min(1) };
            let (reason, origin) =
                [("hard_bounce", ""), ("unsubscribe", ""), ("hard_bounce", "dsn")][usize::from(kind)];
            let expires = expires
                .filter(|_| renews && reason == "hard_bounce")
                .map_or(String::new(), |year| format!("203{year}-01-01"));
            writeln!(text, "{name}@x.example,{reason},{expires},row {evidence},{origin}").unwrap();
            if evidence == 2 {
                text += "nobody,,,,\n";
            }
        }
        text
    })
}

fn known() -> impl Strategy<Value = Vec<NewSuppression>> {
    prop::collection::vec("[a-e]@x\\.example", 0..3).prop_map(|addresses| {
        let new = |address: String| {
            let mailbox = crate::mail::Mailbox::parse(&address).unwrap();
            NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::OneClick, None, NOW)
        };
        addresses.into_iter().map(new).collect()
    })
}

fn cuts() -> impl Strategy<Value = Vec<(Cut, usize)>> {
    let cut = (0..20_usize, any::<bool>()).prop_map(|(looks, loses)| Cut { looks, loses });
    prop::collection::vec((cut, 1..30_usize), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_order_or_not_and_cut_or_not_the_store_is_the_same(
        text in rows(), known in known(), window in 1..30_usize, cuts in cuts(),
    ) {
        // A window of one row leaves the order of the file.
        let plain = Import::of(&text, &known);
        let expected = plain.run(1, Resume::No, None).unwrap();
        let sorted = Import::of(&text, &known);
        let loses = cuts.iter().any(|(cut, _)| cut.loses);
        let (mut resume, mut ended) = (Resume::No, None);
        for (cut, window) in cuts {
            ended = sorted.run(window, resume, Some(cut));
            resume = Resume::Yes;
            if ended.is_some() {
                break;
            }
        }
        let counts = ended.or_else(|| sorted.run(window, resume, None)).unwrap();
        prop_assert_eq!(sorted.everything(), plain.everything());
        let (said, plainly) = (sorted.undo(), plain.undo());
        // Of an entry that came in and was renewed later a chunk whose end was lost tells less: undo may take it with the others.
        if expected.renewed == 0 || !loses {
            prop_assert_eq!(counts, expected);
            prop_assert_eq!(said, plainly);
            prop_assert_eq!(sorted.everything(), plain.everything());
        }
    }
}

#[test]
fn a_window_has_as_many_rows_as_it_is_told_and_no_more() {
    for (given, fits) in [("0", false), ("1", true), ("500000", true), ("500001", false)] {
        assert_eq!(arguments(&["--window", given]).is_ok(), fits, "{given}");
    }
    let windows = |rows: usize| {
        let mut text = "email\n".to_owned();
        (0..rows).for_each(|row| writeln!(text, "v{row}@x.example").unwrap());
        let import = Import::of(&text, &[]);
        import.run(10, Resume::No, None).unwrap();
        std::fs::read_to_string(import.path()).unwrap().matches("{\"window\"").count()
    };
    assert_eq!([9, 10, 11, 20, 21].map(windows), [1, 1, 2, 2, 3]);
}

/// Whoever writes into the standard input, a line every so often.
struct Slow<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    line: &'a [u8],
    clock: &'a ManualClock,
    pause: Duration,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Slow<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.line.is_empty() {
            self.clock.advance(self.pause);
            self.line = self.lines.next().unwrap_or_default().as_bytes();
        }
        Ok(self.line)
    }

    fn consume(&mut self, count: usize) {
        self.line = &self.line[count..];
    }
}

#[test]
fn nobody_waits_for_a_window_that_fills_slowly() {
    let text = "a@x.example\nb@x.example\nc@x.example\nd@x.example\n";
    let sizes = |pause: Duration| {
        let (store, folder, clock) = (Store::memory(), tempfile::tempdir().unwrap(), ManualClock::new(NOW));
        let args = arguments(&["--format", "plain"]).unwrap();
        let journals = Journals::open(folder.path()).unwrap();
        let mut course = Course::of(journals.begin(planned(&args, store.key_name()), NOW).unwrap());
        let mut input = Slow { lines: text.split_inclusive('\n'), line: b"", clock: &clock, pause };
        let mut seen = Vec::new();
        let streams = Streams {
            member: None,
            input: &mut input,
            report: &mut io::sink(),
            out: &mut io::sink(),
            clock: &clock,
            watch: &mut |at| seen.push(at.done),
        };
        read(&args, &store, &mut course, streams).unwrap();
        seen
    };
    assert_eq!(sizes(WAIT_MAX / 5), [4]);
    assert_eq!(sizes(WAIT_MAX / 2), [2, 4]);
    assert_eq!(sizes(WAIT_MAX), [1, 2, 3, 4]);
}
