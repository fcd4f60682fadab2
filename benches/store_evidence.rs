//! What one question to the embedded store costs, in nanoseconds: for a recipient without and with an entry, in a
//! store of 100,000 entries, quiet and while another process keeps writing.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use consentry::mail::Mailbox;
use consentry::policy::{Cause, Origin, Scope};
use consentry::store::{NewSuppression, Opening, Settings, Store};
use consentry::time::Timestamp;

/// Entries in the store.
const ENTRIES: u32 = 100_000;
/// Questions per measurement: about a second at most.
const QUESTIONS: u32 = 50_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let settings = Settings { path, key_file: None, cleartext: consentry::store::Cleartext::Keep };
    let now = Timestamp::from_secs(1_795_482_123);
    let entry = |name: String| -> Result<NewSuppression, Box<dyn Error>> {
        let mailbox = Mailbox::parse(&name)?;
        Ok(NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::Import, None, now))
    };
    let store = Store::open(&settings, Opening::Quick, now)?;
    let start = Instant::now();
    let entries =
        (0..ENTRIES).map(|n| entry(format!("person{n}@example{}.org", n % 50))).collect::<Result<Vec<_>, _>>()?;
    store.add_many(entries)?;
    report("add, per entry", ENTRIES, start)?;
    drop(store);
    let start = Instant::now();
    let store = Store::open(&settings, Opening::Whole, now)?;
    report("open whole, per entry", ENTRIES, start)?;

    let strangers = addresses("stranger")?;
    let people = addresses("person")?;
    ask(&store, &strangers, "no entry")?;
    ask(&store, &people, "an entry")?;
    let quick = Store::open(&settings, Opening::Quick, now)?;
    ask(&quick, &strangers, "no entry, without the filter")?;

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..200).try_for_each(|n| {
                let new = entry(format!("late{n}@example.org")).map_err(|e| e.to_string())?;
                quick.blocking_add(&new).map(drop).map_err(|e| e.to_string())
            })
        });
        ask(&store, &strangers, "no entry, another process writes")?;
        writer.join().map_err(|_| "the writer panicked")??;
        Ok(())
    })
}

fn addresses(name: &str) -> Result<Vec<Mailbox>, Box<dyn Error>> {
    let one = |n: u32| Mailbox::parse(&format!("{name}{n}@example{}.org", n % 50));
    Ok((0..QUESTIONS).map(one).collect::<Result<_, _>>()?)
}

fn ask(store: &Store, recipients: &[Mailbox], what: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    for recipient in recipients {
        black_box(store.blocking_evidence(&[recipient])?);
    }
    report(what, QUESTIONS, start)
}

fn report(what: &str, count: u32, start: Instant) -> Result<(), Box<dyn Error>> {
    let each = start.elapsed() / count;
    writeln!(std::io::stdout(), "{what:<36} {:>8} ns", each.as_nanos())?;
    Ok(())
}
