//! Tests of the room as a whole; what one file promises alone is tested in that file.

mod damage;
mod faults;
mod files;
mod frozen;
mod hold;
mod queue;
mod reclaim;
mod turns;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::batch::NewCopy;
use super::faults::Faults;
use super::*;
use crate::mail::{BodyType, ControllerId, Label, Mailbox, QueueId, Recipient, Reporting, ReversePath, StreamName};
use crate::time::{Clock, ManualClock, Timestamp};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A sink that shows what it was given.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(u64, Bytes)>>>);

impl Seen {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().map(|(seq, _)| *seq).collect()
    }
}

impl NoteSink for Seen {
    fn last(&self) -> u64 {
        self.0.lock().unwrap().last().map_or(0, |(seq, _)| *seq)
    }
    fn append(&mut self, seq: u64, line: &Bytes) {
        self.0.lock().unwrap().push((seq, line.clone()));
    }
    fn write(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A directory, a clock, a sink and a plan of faults.
struct Rig {
    directory: TempDir,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    settings: Settings,
    seen: Seen,
}

impl Rig {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mut settings = Settings::new(directory.path().join("spool"));
        settings.min_free = 0;
        let clock = Arc::new(ManualClock::new(START));
        Self { directory, clock, faults: Arc::default(), settings, seen: Seen::default() }
    }

    fn path(&self) -> &Path {
        &self.settings.directory
    }

    fn try_open(&self) -> Result<(Spool, Recovered), SpoolError> {
        let disk = Disk::open(self.path()).unwrap().with_faults(Arc::clone(&self.faults));
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        Spool::open_on(disk, self.settings.clone(), clock, Box::new(self.seen.clone()))
    }

    fn open(&self) -> Spool {
        self.try_open().unwrap().0
    }

    fn recover(&self) -> (Spool, Recovered) {
        self.try_open().unwrap()
    }

    /// The same spool as a crash at this moment would leave it.
    fn crashed(&self) -> Self {
        let other = Self::new();
        // A copy is of one moment only when no file came or went meanwhile: the appender may be clearing segments.
        loop {
            let before = self.names();
            let copied = try_copy(self.path(), other.path());
            if copied.is_ok() && self.names() == before {
                break;
            }
            std::fs::remove_dir_all(other.path()).unwrap();
        }
        Self { settings: Settings { directory: other.path().to_owned(), ..self.settings.clone() }, ..other }
    }

    fn names(&self) -> Vec<String> {
        names(self.path())
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copy_directory(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            try_copy(&from, &to)?;
        } else {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

fn manifest() -> Manifest {
    Manifest {
        reverse_path: ReversePath::Mailbox(Mailbox::parse("bounces@sender.example").unwrap()),
        label: Label {
            stream: StreamName::new("news").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            list: None,
            campaign: None,
        },
        body_type: BodyType::EightBitMime,
        smtputf8: true,
        reporting: Reporting::default(),
        received: START,
        expires: START.plus(Duration::from_hours(120)),
    }
}

fn recipient(text: &str) -> Recipient {
    Recipient::new(Mailbox::parse(text).unwrap())
}

fn header(id: u64) -> Bytes {
    Bytes::from(format!("Subject: number {id}\r\n\r\n"))
}

fn body(id: u64) -> Bytes {
    Bytes::from(format!("This is the body of number {id}.\r\n"))
}

fn batch_with(body: Body, ids: &[u64], recipients: u64) -> Batch {
    let mut batch = Batch::new(manifest(), body);
    for id in ids {
        let recipients = (0..recipients).map(|n| recipient(&format!("r{n}.{id}@x.example"))).collect();
        batch.copies.push(NewCopy { id: QueueId::from_u64(*id), recipients, header: header(*id) });
    }
    batch.note(Bytes::from(format!("{{\"committed\":{}}}", ids.first().unwrap())));
    batch
}

fn batch(id: u64) -> Batch {
    batch_with(Body::Memory(body(id)), &[id], 2)
}

fn memory(body: &Body) -> Bytes {
    match body {
        Body::Memory(bytes) => bytes.clone(),
        Body::File(file) => Bytes::from(std::fs::read(&file.path).unwrap()),
    }
}

fn delivered(lease: &Lease) -> Settlements {
    Settlements {
        outcomes: lease.pending().iter().map(|(index, _)| (*index, Settlement::Delivered)).collect(),
        notes: vec![Bytes::from(format!("{{\"delivered\":{}}}", lease.entry().id.as_u64()))],
        follow_up: None,
    }
}

/// Leases everything that is due; the stats say whether there is anything, so that this never waits.
async fn lease_all(spool: &Spool) -> Vec<Lease> {
    let mut leases = Vec::new();
    loop {
        let now = spool.handle.shared.clock.now();
        if spool.handle.shared.index().next_due().is_none_or(|due| due > now) {
            return leases;
        }
        leases.extend(spool.lease(7).await);
    }
}

fn ids(leases: &[Lease]) -> Vec<u64> {
    let mut ids: Vec<u64> = leases.iter().map(|lease| lease.entry().id.as_u64()).collect();
    ids.sort_unstable();
    ids
}

/// Checks that a leased copy is what [`batch`] put in, to the last octet.
fn assert_intact(lease: &Lease) {
    let entry = lease.entry();
    let id = entry.id.as_u64();
    assert_eq!(entry.header, header(id));
    assert_eq!(memory(&entry.body), body(id));
    assert_eq!(*entry.manifest, manifest());
    for (index, recipient) in lease.pending() {
        assert_eq!(recipient.mailbox.as_str(), format!("r{}.{id}@x.example", index.0));
    }
}
