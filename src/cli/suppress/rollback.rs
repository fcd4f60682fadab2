//! `consentry suppress rollback`: takes back what an outage of a receiver left behind.
//!
//! Only hard bounces that the gateway recorded itself, in session or from a report, are touched. What a person said,
//! what an operator entered and what was imported stays, whatever the pattern.

use std::io::Write;

use clap::Args;

use super::{OperationError, Outcome, line};
use crate::policy::{Cause, Origin};
use crate::store::{Cursor, Entry, PAGE_MAX, Reach, Removal, Selection, Store, Subject};
use crate::time::Timestamp;

/// Entries that are shown one by one; the rest is counted.
const SHOWN_MAX: u64 = 20;

/// Arguments of `suppress rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// What is taken back; only `hard_bounce` can be.
    #[arg(long, value_name = "CAUSE")]
    pub reason: Cause,
    /// Said from this time on, and before that one.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], value_parser = Timestamp::parse, required = true)]
    pub between: Vec<Timestamp>,
    /// Only where the address or the evidence (codes, entry, message) looks like this; `*` stands for anything.
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub pattern: String,
    /// Counts and shows what would be taken back, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Why these people may be written to again; it is kept with each.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub because: Option<String>,
    /// Who asks.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

impl RollbackArgs {
    /// What is recorded of it; `None` when nothing changes.
    pub(super) fn evidence(&self) -> Option<String> {
        let because = self.because.as_deref().filter(|_| !self.dry_run)?;
        let times: Vec<_> = self.between.iter().map(ToString::to_string).collect();
        Some(format!("rollback of {} between {} by {}: {because}", self.reason, times.join(" and "), self.by))
    }
}

/// Takes back, or counts.
pub(super) fn rollback(
    args: &RollbackArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    if args.reason != Cause::HardBounce {
        let message = format!("`{}` is not taken back in bulk; expected `hard_bounce`", args.reason);
        return Err(OperationError::Usage(message));
    }
    let because = args.because.as_deref().map_or("", str::trim);
    if because.is_empty() && !args.dry_run {
        return Err(OperationError::Usage("say why with --because: it is kept with each entry".to_owned()));
    }
    let selection = Selection { scope: None, cause: Some(Cause::HardBounce) };
    let (mut after, mut count) = (Cursor::default(), 0_u64);
    loop {
        let page = store.list(&selection, after, PAGE_MAX)?;
        for entry in page.entries.iter().filter(|entry| is_meant(args, entry)) {
            if is_shared(store, entry)? {
                continue;
            }
            if !args.dry_run {
                store.blocking_remove(&removal(args, entry, now))?;
            }
            count += 1;
            if count <= SHOWN_MAX {
                writeln!(out, "{}", line(entry, now)).map_err(OperationError::output)?;
            }
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let verb = if args.dry_run { "would be taken back" } else { "taken back" };
    writeln!(out, "{count} {verb}").map_err(OperationError::output)?;
    Ok(if count == 0 { Outcome::Nothing } else { Outcome::Done })
}

fn is_meant(args: &RollbackArgs, entry: &Entry) -> bool {
    let within = match args.between.as_slice() {
        [from, to] => *from <= entry.fact.since && entry.fact.since < *to,
        _ => false,
    };
    let texts = [entry.address.as_deref(), entry.fact.evidence.as_deref()];
    let looks = args.pattern == "*" || texts.into_iter().flatten().any(|text| looks_like(&args.pattern, text));
    within && looks && entry.fact.origin == Origin::Dsn
}

/// Whether removing the entry would also remove one that somebody else made: under another spelling of the address.
fn is_shared(store: &Store, entry: &Entry) -> Result<bool, OperationError> {
    let found = store.matching(&subject(entry))?;
    Ok(found.iter().any(|(_, other)| {
        other.kind == entry.kind
            && other.fact.cause == entry.fact.cause
            && other.fact.scope == entry.fact.scope
            && other.fact.origin != Origin::Dsn
    }))
}

const fn subject(entry: &Entry) -> Subject {
    Subject::Hashed { kind: entry.kind, exact: entry.exact, family: entry.family }
}

fn removal(args: &RollbackArgs, entry: &Entry, now: Timestamp) -> Removal {
    Removal {
        subject: subject(entry),
        scope: Some(entry.fact.scope.clone()),
        cause: Some(entry.fact.cause),
        reach: Reach::Gateway,
        by: args.by.clone(),
        because: args.because.clone(),
        at: now,
    }
}

/// Whether `text` fits `pattern`, in any case; `*` stands for anything, also nothing.
fn looks_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut open = false;
    let mut last = "";
    for part in parts {
        // Every part but the last may stand at its first place; the last one has to end the text.
        match rest.find(last) {
            Some(at) if open => rest = rest.get(at + last.len()..).unwrap_or_default(),
            Some(_) => {}
            None => return false,
        }
        (open, last) = (true, part);
    }
    if open { rest.ends_with(last) } else { rest.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mailbox;
    use crate::policy::Scope;
    use crate::store::NewSuppression;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn at(hours: u64) -> Timestamp {
        NOW.plus(std::time::Duration::from_hours(hours))
    }

    fn add(store: &Store, address: &str, cause: Cause, origin: Origin, hours: u64) {
        let evidence = Some("550 5.1.1 by DEAD-STATUS, message X".to_owned());
        let mailbox = Mailbox::parse(address).unwrap();
        let new = NewSuppression::lasting(mailbox, Scope::Everything, cause, origin, evidence, at(hours));
        store.blocking_add(&new).unwrap();
    }

    fn store() -> Store {
        let store = Store::memory();
        add(&store, "a@big.example", Cause::HardBounce, Origin::Dsn, 1);
        add(&store, "b@big.example", Cause::HardBounce, Origin::Dsn, 2);
        add(&store, "c@big.example", Cause::HardBounce, Origin::Dsn, 5);
        add(&store, "d@small.example", Cause::HardBounce, Origin::Dsn, 1);
        add(&store, "e@big.example", Cause::HardBounce, Origin::Operator, 1);
        add(&store, "f@big.example", Cause::Complaint, Origin::Dsn, 1);
        add(&store, "g@big.example", Cause::Unsubscribe, Origin::OneClick, 1);
        store
    }

    fn args(pattern: &str, dry_run: bool) -> RollbackArgs {
        RollbackArgs {
            reason: Cause::HardBounce,
            between: vec![at(1), at(5)],
            pattern: pattern.to_owned(),
            dry_run,
            because: Some("their directory was down".to_owned()),
            by: "ann".to_owned(),
        }
    }

    fn run(args: &RollbackArgs, store: &Store) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = rollback(args, store, &mut out, at(9)).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    fn left(store: &Store) -> Vec<String> {
        let page = store.list(&Selection::default(), Cursor::default(), PAGE_MAX).unwrap();
        page.entries.into_iter().map(|entry| entry.address.unwrap()).collect()
    }

    #[test]
    fn it_takes_back_machine_made_hard_bounces_of_the_time_and_pattern_and_nothing_else() {
        let store = store();
        let (outcome, said) = run(&args("*@big.example", true), &store);
        assert_eq!((outcome, left(&store).len()), (Outcome::Done, 7), "{said}");
        assert!(said.ends_with("2 would be taken back\n"), "{said}");
        let (_, said) = run(&args("*@big.example", false), &store);
        assert!(said.ends_with("2 taken back\n"), "{said}");
        assert_eq!(
            left(&store),
            ["c@big.example", "d@small.example", "e@big.example", "f@big.example", "g@big.example"]
        );
        assert_eq!(run(&args("*@big.example", false), &store).0, Outcome::Nothing);
        assert_eq!(run(&args("550 5.1.1*", false), &store).1.lines().last(), Some("1 taken back"), "by evidence");
    }

    #[test]
    fn a_spelling_that_an_operator_entered_is_not_taken_with_it() {
        let store = Store::memory();
        add(&store, "ann@gmail.com", Cause::HardBounce, Origin::Operator, 1);
        add(&store, "a.nn@gmail.com", Cause::HardBounce, Origin::Dsn, 1);
        run(&args("*", false), &store);
        assert!(left(&store).contains(&"ann@gmail.com".to_owned()));
    }

    #[test]
    fn opt_outs_are_refused_and_a_reason_is_asked_for() {
        let store = store();
        for cause in Cause::ALL.iter().filter(|cause| **cause != Cause::HardBounce) {
            let asked = RollbackArgs { reason: *cause, ..args("*", false) };
            assert!(matches!(rollback(&asked, &store, &mut Vec::new(), NOW), Err(OperationError::Usage(_))), "{cause}");
        }
        let silent = RollbackArgs { because: Some(" ".to_owned()), ..args("*", false) };
        assert!(matches!(rollback(&silent, &store, &mut Vec::new(), NOW), Err(OperationError::Usage(_))));
        assert_eq!(left(&store).len(), 7);
    }

    #[test]
    fn patterns_fit_as_people_expect() {
        for (pattern, text) in
            [("*", ""), ("a@b", "A@b"), ("*@b", "x@b"), ("a*", "a"), ("*x*", "axb"), ("a*b*c", "a1b2c"), ("*aa", "aaa")]
        {
            assert!(looks_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("*@b", "x@bc"), ("a*", "ba"), ("a*b*c", "a1c2b"), ("ab*b", "ab"), ("a*a", "a")]
        {
            assert!(!looks_like(pattern, text), "{pattern} {text}");
        }
    }
}
