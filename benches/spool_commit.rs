//! How many commits of 10 KB a second the spool makes durable, from 50 tasks.
//!
//! `cargo bench --bench spool_commit [-- directory]`; the directory must lie on the disk that is to be measured.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consentry::mail::{BodyType, ControllerId, IdSource, Label, Mailbox, Recipient, ReversePath, StreamName};
use consentry::spool::{Batch, Body, Discard, Manifest, Settings, Settlement, Settlements, Spool};
use consentry::time::{Clock, SystemClock};

/// Sessions that commit at the same time.
const TASKS: usize = 50;
/// Octets of a body: what campaign mail weighs.
const BODY: usize = 10 * 1024;
/// How long each part runs.
const RUN: Duration = Duration::from_secs(3);
/// Copies leased at a time.
const LEASE: usize = 64;

fn manifest() -> Result<Manifest, Box<dyn Error>> {
    let now = SystemClock.now();
    Ok(Manifest {
        reverse_path: ReversePath::Null,
        label: Label {
            stream: StreamName::new("bench")?,
            controller: ControllerId::new("bench")?,
            list: None,
            campaign: None,
        },
        body_type: BodyType::EightBitMime,
        smtputf8: false,
        reporting: consentry::mail::Reporting::default(),
        received: now,
        expires: now.plus(Duration::from_hours(120)),
    })
}

async fn commit_until(end: Instant, spool: Spool, ids: Arc<IdSource>, count: Arc<AtomicU64>) -> Result<(), String> {
    let manifest = manifest().map_err(|error| error.to_string())?;
    let to = Recipient::new(Mailbox::parse("person@recipient.example").map_err(|error| error.to_string())?);
    let header = Bytes::from("Subject: measured\r\nX-Fill: ".to_owned() + &"x".repeat(900) + "\r\n\r\n");
    let body = Body::Memory(Bytes::from(vec![b'b'; BODY]));
    let note = Bytes::from(format!("{{\"type\":\"Reception\",\"fill\":\"{}\"}}", "y".repeat(300)));
    while Instant::now() < end {
        let id = ids.queue_id(SystemClock.now());
        let mut batch = Batch::notice(id, to.clone(), header.clone(), manifest.clone(), body.clone());
        batch.note(note.clone());
        spool.commit(batch).await.map_err(|error| error.to_string())?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn deliver(spool: Spool, count: Arc<AtomicU64>) {
    loop {
        let leases = spool.lease(LEASE).await;
        if leases.is_empty() {
            return;
        }
        let settled = leases.into_iter().map(|lease| {
            let outcomes = lease.pending().iter().map(|(index, _)| (*index, Settlement::Delivered)).collect();
            let notes = vec![Bytes::from_static(b"{\"type\":\"Delivery\"}")];
            lease.settle(Settlements { outcomes, notes, follow_up: None })
        });
        for settling in settled.map(|settling| tokio::spawn(async { settling.await.is_ok() })).collect::<Vec<_>>() {
            if settling.await.unwrap_or(false) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

async fn run(directory: PathBuf, delivering: bool) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::new(&directory);
    settings.min_free = 0;
    let (spool, _) = Spool::open(settings, Arc::new(SystemClock), Box::new(Discard))?;
    let (ids, committed, settled) = (Arc::new(IdSource::default()), Arc::default(), Arc::default());
    let began = Instant::now();
    let workers = if delivering { 2 } else { 0 };
    let deliverers: Vec<_> = (0..workers).map(|_| tokio::spawn(deliver(spool.clone(), Arc::clone(&settled)))).collect();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(commit_until(began + RUN, spool.clone(), Arc::clone(&ids), Arc::clone(&committed))))
        .collect();
    for task in tasks {
        task.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate =
        |count: &AtomicU64| f64::from(u32::try_from(count.load(Ordering::Relaxed)).unwrap_or(u32::MAX)) / seconds;
    println!("commits/s {:.0}   settled/s {:.0}   {}", rate(&committed), rate(&settled), directory.display());
    spool.shutdown().await;
    for deliverer in deliverers {
        deliverer.await?;
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let base = given.map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (name, delivering) in [("commits alone", false), ("commits and deliveries", true)] {
        println!("{name}, {TASKS} tasks, {BODY} octets");
        runtime.block_on(run(base.join("spool-bench"), delivering))?;
    }
    Ok(())
}
