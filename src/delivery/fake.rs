//! What tests of delivery put in place of the spool and of the decision.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::{DeadMailbox, Finding, LOOK_AGAIN, Leased, Recheck, Ruling, Selector, Source, Unavailable};
use crate::mail::{BodyType, ControllerId, Label, Mailbox, QueueId, Recipient, ReversePath, StreamName};
use crate::spool::{Batch, Body, Entry, Manifest, RecipientIndex, Settlements, SpoolError, Turns};
use crate::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) waiting: Mutex<Vec<(Entry, Vec<String>)>>,
    pub(super) settled: Mutex<Vec<(u64, Settlements)>>,
    /// What is suspended from the start.
    pub(super) suspended: Option<Selector>,
    pub(super) postponed: Mutex<Vec<(u64, Timestamp)>>,
    pub(super) changed: tokio::sync::Notify,
    pub(super) returned: tokio::sync::Notify,
    pub(super) fail: Option<SpoolError>,
    /// Delivery is stopped only after the upstream has played its scripts.
    pub(super) linger: bool,
}

pub(super) struct FakeSpool(pub(super) Arc<Ledger>);

pub(super) struct FakeLease {
    entry: Entry,
    pending: Vec<(RecipientIndex, Recipient)>,
    ledger: Arc<Ledger>,
}

impl Source for FakeSpool {
    type Lease = FakeLease;
    async fn lease(&self, max: usize, _: &mut impl Turns) -> Vec<FakeLease> {
        let due: Vec<_> = loop {
            let returned = self.0.returned.notified();
            let due: Vec<_> = {
                let mut waiting = self.0.waiting.lock().unwrap();
                let count = waiting.len().min(max);
                waiting.drain(..count).collect()
            };
            if !due.is_empty() {
                break due;
            }
            returned.await;
        };
        let lease = |(entry, recipients): (Entry, Vec<String>)| {
            let recipient = |text: &String| Recipient::new(Mailbox::parse(text).unwrap());
            let pending = (0..).map(RecipientIndex).zip(recipients.iter().map(recipient)).collect();
            FakeLease { entry, pending, ledger: Arc::clone(&self.0) }
        };
        due.into_iter().map(lease).collect()
    }
}

impl Leased for FakeLease {
    fn entry(&self) -> &Entry {
        &self.entry
    }
    fn pending(&self) -> &[(RecipientIndex, Recipient)] {
        &self.pending
    }
    async fn settle(self, how: Settlements) -> Result<(), SpoolError> {
        self.ledger.settled.lock().unwrap().push((self.entry.id.as_u64(), how));
        self.ledger.changed.notify_one();
        self.ledger.fail.clone().map_or(Ok(()), Err)
    }
    fn put_back(self, until: Timestamp) {
        let ledger = self.ledger;
        ledger.postponed.lock().unwrap().push((self.entry.id.as_u64(), until));
        ledger.changed.notify_one();
        // The test's clock stands still: what is put off for long does not come again.
        if until < NOW.plus(LOOK_AGAIN) {
            let recipients = self.pending.iter().map(|(_, recipient)| recipient.mailbox.as_str().to_owned()).collect();
            ledger.waiting.lock().unwrap().push((self.entry, recipients));
            ledger.returned.notify_one();
        }
    }
}

/// Withdraws whom it is told to, counts how often it is asked, keeps what it is to report.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) withdrawn: HashSet<String>,
    pub(super) unavailable: bool,
    pub(super) short: bool,
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) reported: Mutex<Vec<Finding>>,
    pub(super) suppressed: Arc<Mutex<Vec<String>>>,
    /// How often the store does not answer before it does.
    pub(super) store_away: Mutex<u32>,
}

impl Recheck for Judge {
    async fn recheck(&self, _: &Entry, pending: &[(RecipientIndex, Recipient)]) -> Result<Vec<Ruling>, Unavailable> {
        let mut rulings = Vec::new();
        for (_, recipient) in pending {
            let address = recipient.mailbox.as_str().to_owned();
            let withdraw = self.withdrawn.contains(&address);
            let note = Bytes::from(format!("withdrawn {address}"));
            rulings.push(if withdraw { Ruling::Withdraw { note } } else { Ruling::Send });
            self.asked.lock().unwrap().push(address);
        }
        if self.short {
            rulings.pop();
        }
        if self.unavailable { Err(Unavailable) } else { Ok(rulings) }
    }

    fn report(&self, _: &Entry, failures: &[Finding]) -> Option<Batch> {
        self.reported.lock().unwrap().extend_from_slice(failures);
        None
    }

    async fn suppress(&self, dead: &DeadMailbox) -> Result<(), Unavailable> {
        let mut away = self.store_away.lock().unwrap();
        if *away > 0 {
            *away -= 1;
            return Err(Unavailable);
        }
        self.suppressed.lock().unwrap().push(dead.mailbox.as_str().to_owned());
        Ok(())
    }
}

pub(super) fn entry(n: u32, body: &str) -> Entry {
    let label = Label {
        stream: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        list: None,
        campaign: None,
    };
    let manifest = Manifest {
        reverse_path: ReversePath::Mailbox(Mailbox::parse("sender@x.example").unwrap()),
        label,
        body_type: BodyType::SevenBit,
        smtputf8: false,
        reporting: crate::mail::Reporting::default(),
        received: NOW,
        expires: NOW.plus(Duration::from_hours(24)),
    };
    Entry {
        id: QueueId::from_u64(u64::from(n)),
        manifest: Arc::new(manifest),
        header: Bytes::from(format!("Subject: {n}\r\n\r\n")),
        body: Body::Memory(Bytes::copy_from_slice(body.as_bytes())),
        attempts: 0,
    }
}

/// Copies 1 to `count`, each to one recipient named after it.
pub(super) fn copies(count: u32) -> Vec<(Entry, Vec<String>)> {
    (1..=count).map(|n| (entry(n, "body\r\n"), vec![format!("{n}@y.example")])).collect()
}
