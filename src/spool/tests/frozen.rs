//! Directories written by earlier versions open for ever.

use super::*;
use crate::mail::{EnvelopeId, Notify, OriginalRecipient, Ret};

/// The frozen copy of format version 1: batches 1 to 3, batch 4 with its body in a file of its own; batch 1 delivered, of
/// batch 2 one recipient delivered and the rest deferred for a minute.
fn v1() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool/v1")
}

#[tokio::test]
async fn version_1_opens() {
    let rig = Rig::new();
    copy_directory(&v1(), rig.path());
    let (spool, found) = rig.recover();
    assert_eq!(found, Recovered { copies: 3, recipients: 5, last_id: 4, ..Recovered::default() });
    rig.clock.advance(Duration::from_mins(1));
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), [2, 3, 4]);
    leases.iter().for_each(assert_intact);
    assert_eq!(leases.iter().map(|lease| lease.pending().len()).sum::<usize>(), 5);
    assert_eq!(rig.seen.lines().len(), 6);
}

/// The frozen copy of format version 2: what the sender wants reported, and one settlement.
#[tokio::test]
async fn version_2_opens() {
    let rig = Rig::new();
    copy_directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool/v2"), rig.path());
    let (spool, found) = rig.recover();
    assert_eq!(found, Recovered { copies: 1, recipients: 3, last_id: 2, ..Recovered::default() });
    let lease = lease_all(&spool).await.remove(0);
    assert_eq!(lease.entry().manifest.reporting, reporting());
    let open: Vec<Recipient> = lease.pending().iter().map(|(_, recipient)| recipient.clone()).collect();
    assert_eq!(open, recipients());
}

fn reporting() -> Reporting {
    Reporting { ret: Some(Ret::Headers), envelope_id: Some(EnvelopeId::new("a+b c").unwrap()) }
}

fn recipients() -> Vec<Recipient> {
    let original = |text: &str| Some(OriginalRecipient::parse(text).unwrap());
    let with = |text: &str, notify: &str, original| Recipient {
        notify: Notify::parse(notify).unwrap(),
        original,
        ..recipient(text)
    };
    vec![
        recipient("said.nothing@x.example"),
        with("never@x.example", "NEVER", original("rfc822;a+2Bb@x.example")),
        with("some@x.example", "SUCCESS,DELAY", original("utf-8;\u{e9}@x.example")),
    ]
}

#[tokio::test]
async fn a_later_version_is_refused_and_nothing_is_touched() {
    let rig = Rig::new();
    copy_directory(&v1(), rig.path());
    let newest = rig.names().into_iter().rfind(|name| name.starts_with("seg-")).unwrap();
    let path = rig.path().join(newest);
    let mut bytes = std::fs::read(&path).unwrap();
    for copy in [0, 48] {
        bytes[copy + 8] = 3;
        let crc = crc32fast::hash(&bytes[copy..copy + 44]).to_le_bytes();
        bytes[copy + 44..copy + 48].copy_from_slice(&crc);
    }
    std::fs::write(path, bytes).unwrap();
    let before = contents(&rig);
    let refused = rig.try_open().unwrap_err();
    assert!(matches!(&refused, SpoolError::Unusable(words) if words.contains("version 3")), "{refused}");
    assert_eq!(contents(&rig), before);
}

fn contents(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let names = rig.names().into_iter().filter(|name| name != "LOCK" && rig.path().join(name).is_file());
    names.map(|name| (name.clone(), std::fs::read(rig.path().join(name)).unwrap())).collect()
}
