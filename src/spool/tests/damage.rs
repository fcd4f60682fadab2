//! Whatever a segment holds when it is read back: no panic, no wrong message, and what is sound flows.

use super::super::frame::{FRAME_HEADER, FRAME_TRAILER, SEGMENT_HEADER};
use super::*;

/// A spool with three batches, the octets of its segment, and where each frame ends.
async fn written() -> (Rig, String, Vec<u8>, Vec<usize>) {
    let rig = Rig::new();
    let spool = rig.open();
    for id in 1..=3 {
        spool.commit(batch(id)).await.unwrap();
    }
    spool.shutdown().await;
    let name = rig.names().into_iter().find(|name| name.starts_with("seg-")).unwrap();
    let bytes = std::fs::read(rig.path().join(&name)).unwrap();
    let mut ends = vec![SEGMENT_HEADER];
    while ends[ends.len() - 1] < bytes.len() {
        let start = ends[ends.len() - 1];
        let length = u32::from_le_bytes(bytes[start + 8..start + 12].try_into().unwrap());
        ends.push(start + FRAME_HEADER + usize::try_from(length).unwrap() + FRAME_TRAILER);
    }
    assert_eq!(ends.len(), 4);
    (rig, name, bytes, ends)
}

async fn found_in(name: &str, bytes: &[u8]) -> (Vec<u64>, Recovered) {
    let rig = Rig::new();
    std::fs::create_dir(rig.path()).unwrap();
    std::fs::write(rig.path().join(name), bytes).unwrap();
    let (spool, report) = rig.recover();
    let leases = lease_all(&spool).await;
    leases.iter().for_each(assert_intact);
    let found = ids(&leases);
    drop(leases);
    spool.shutdown().await;
    // What was put aside or cut off is not met again as new damage, and what flowed still does.
    let (again, second) = rig.recover();
    assert_eq!(u64::try_from(found.len()).unwrap(), second.copies);
    assert_eq!(second.torn, 0);
    again.shutdown().await;
    (found, report)
}

#[tokio::test]
async fn every_truncation_keeps_the_whole_batches() {
    let (_rig, name, bytes, ends) = written().await;
    for cut in 0..bytes.len() {
        let (found, report) = found_in(&name, &bytes[..cut]).await;
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(found.len(), whole, "cut {cut}");
        assert_eq!(report.quarantined.len(), usize::from(cut < SEGMENT_HEADER), "cut {cut}");
        let torn = if cut < SEGMENT_HEADER { 0 } else { cut - ends.iter().filter(|end| **end <= cut).max().unwrap() };
        assert_eq!(report.torn, u64::try_from(torn).unwrap(), "cut {cut}");
    }
}

#[tokio::test]
async fn every_flipped_octet_costs_at_most_its_own_batch() {
    let (_rig, name, bytes, ends) = written().await;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        let (found, report) = found_in(&name, &damaged).await;
        let hit = ends.iter().filter(|end| **end <= at).count();
        let expected: Vec<u64> = (1..=3).filter(|id| usize::try_from(*id).unwrap() != hit).collect();
        assert_eq!(found, expected, "octet {at}");
        // A length that runs behind the end looks like an interrupted write only when nothing sound follows.
        assert_eq!(report.quarantined.len(), usize::from(hit > 0), "octet {at}: {report:?}");
    }
}

#[tokio::test]
async fn damage_in_an_older_segment_is_kept_with_its_reason() {
    let (rig, name, mut bytes, ends) = written().await;
    drop(rig.open());
    bytes.truncate(ends[3] - 1);
    let second = rig.crashed();
    std::fs::write(second.path().join("seg-00000000000000ff.log"), b"").unwrap();
    let newer = rig.names().into_iter().rfind(|name| name.starts_with("seg-")).unwrap();
    assert_ne!(newer, name);
    std::fs::write(second.path().join(&name), &bytes).unwrap();
    let (_spool, report) = second.recover();
    let kept: Vec<_> = report.quarantined.iter().filter(|q| q.file == name).collect();
    assert_eq!((kept.len(), kept[0].reason.as_str()), (1, "a frame is cut off"));
    let quarantine = second.path().join("quarantine");
    assert_eq!(std::fs::read(quarantine.join(&kept[0].kept_as)).unwrap(), &bytes[ends[2]..]);
    let reason = std::fs::read_to_string(quarantine.join(format!("{}.reason", kept[0].kept_as))).unwrap();
    assert_eq!(reason, "a frame is cut off\n");
    assert_eq!(report.copies, 2);
}

#[tokio::test]
async fn swapped_and_doubled_segments_are_told_by_their_own_numbers() {
    let rig = Rig::new();
    for id in 1..=2 {
        let spool = rig.open();
        spool.commit(batch(id)).await.unwrap();
        spool.shutdown().await;
    }
    let segments: Vec<String> = rig.names().into_iter().filter(|name| name.starts_with("seg-")).collect();
    let (a, b) = (rig.path().join(&segments[0]), rig.path().join(&segments[1]));
    let (first, second) = (std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    std::fs::write(&a, &second).unwrap();
    std::fs::write(&b, &first).unwrap();
    std::fs::write(rig.path().join("seg-00000000000000aa.log"), &first).unwrap();
    let (spool, report) = rig.recover();
    assert_eq!(report.quarantined.len(), 1);
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), [1, 2]);
    leases.iter().for_each(assert_intact);
}

#[tokio::test]
async fn what_is_damaged_while_running_is_set_aside_and_the_rest_flows() {
    let mut rig = Rig::new();
    rig.settings.sizes.cache_max = 0;
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    spool.commit(batch(2)).await.unwrap();
    let name = rig.names().into_iter().find(|name| name.starts_with("seg-")).unwrap();
    let mut bytes = std::fs::read(rig.path().join(&name)).unwrap();
    bytes[SEGMENT_HEADER + FRAME_HEADER + 100] ^= 1;
    std::fs::write(rig.path().join(&name), &bytes).unwrap();
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), [2]);
    assert_eq!((spool.stats().damaged, spool.stats().leased), (1, 1));
    assert!(matches!(spool.show(QueueId::from_u64(1)).await, Err(SpoolError::Failed(_))));
    let dropped = spool.drop(QueueId::from_u64(1), Bytes::from_static(b"{}")).await;
    assert_eq!((dropped, spool.stats().damaged), (Ok(Changed::Done), 0));
}
