//! Directories written by earlier versions open for ever.

use super::*;

/// The frozen copy of format version 1.
fn v1() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spool/v1")
}

/// Writes the frozen directory. It was run once for each version of the format; run again it would prove nothing.
#[tokio::test]
#[ignore = "writes the frozen directory of the present version, once"]
async fn freeze() {
    let rig = Rig::new();
    let spool = rig.open();
    for id in 1..=3 {
        spool.commit(batch(id)).await.unwrap();
    }
    let mut writer = spool.body_writer().unwrap();
    writer.write(&body(4)).unwrap();
    let large = writer.finish().await.unwrap();
    spool.commit(batch_with(large, &[4], 2)).await.unwrap();
    for lease in lease_all(&spool).await {
        let mut how = delivered(&lease);
        match lease.entry().id.as_u64() {
            1 => {}
            2 => how.outcomes[0].1 = Settlement::Deferred { until: START.plus(Duration::from_secs(60)) },
            _ => continue,
        }
        lease.settle(how).await.unwrap();
    }
    spool.shutdown().await;
    copy_directory(rig.path(), &v1());
}

#[tokio::test]
async fn version_1_opens() {
    let rig = Rig::new();
    copy_directory(&v1(), rig.path());
    let (spool, found) = rig.recover();
    assert_eq!(found, Recovered { copies: 3, recipients: 5, last_id: 4, ..Recovered::default() });
    rig.clock.advance(Duration::from_secs(60));
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), [2, 3, 4]);
    leases.iter().for_each(assert_intact);
    assert_eq!(leases.iter().map(|lease| lease.pending().len()).sum::<usize>(), 5);
    assert_eq!(rig.seen.lines().len(), 6);
}

#[tokio::test]
async fn a_later_version_is_refused_and_nothing_is_touched() {
    let rig = Rig::new();
    copy_directory(&v1(), rig.path());
    let newest = rig.names().into_iter().rfind(|name| name.starts_with("seg-")).unwrap();
    let path = rig.path().join(newest);
    let mut bytes = std::fs::read(&path).unwrap();
    for copy in [0, 48] {
        bytes[copy + 8] = 2;
        let crc = crc32fast::hash(&bytes[copy..copy + 44]).to_le_bytes();
        bytes[copy + 44..copy + 48].copy_from_slice(&crc);
    }
    std::fs::write(path, bytes).unwrap();
    let before: Vec<_> = rig.names().iter().map(|name| std::fs::read(rig.path().join(name)).ok()).collect();
    let refused = rig.try_open().unwrap_err();
    assert!(matches!(&refused, SpoolError::Unusable(words) if words.contains("version 2")), "{refused}");
    let names: Vec<_> = rig.names().into_iter().filter(|name| name != "LOCK").collect();
    let after: Vec<_> = names.iter().map(|name| std::fs::read(rig.path().join(name)).ok()).collect();
    assert_eq!(
        before.into_iter().flatten().filter(|b| !b.is_empty()).collect::<Vec<_>>(),
        after.into_iter().flatten().filter(|b| !b.is_empty()).collect::<Vec<_>>()
    );
}
