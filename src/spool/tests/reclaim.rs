//! Segments are given back, and a crash at any point neither loses nor brings back anything.

use super::*;

fn segments(rig: &Rig) -> Vec<String> {
    rig.names().into_iter().filter(|name| name.starts_with("seg-")).collect()
}

fn small() -> Rig {
    let mut rig = Rig::new();
    rig.settings.sizes.segment_max = 1500;
    rig.settings.sizes.dead_min = 2000;
    rig
}

#[tokio::test]
async fn delivered_mail_leaves_no_segments_behind() {
    let rig = small();
    let spool = rig.open();
    for id in 1..=50 {
        spool.commit(batch(id)).await.unwrap();
        let lease = spool.lease(1).await.pop().unwrap();
        let how = delivered(&lease);
        lease.settle(how).await.unwrap();
    }
    spool.shutdown().await;
    assert!(segments(&rig).len() <= 2, "{:?}", segments(&rig));
    let spool = rig.open();
    assert_eq!(segments(&rig).len(), 1, "{:?}", segments(&rig));
    assert_eq!(rig.seen.lines().len(), 100);
    assert!(rig.seen.seqs().is_sorted_by(|a, b| a < b));
    spool.commit(batch(51)).await.unwrap();
    assert!(rig.seen.seqs().is_sorted_by(|a, b| a < b));
}

/// Mail 1, 11, 21, .. stays, the rest is delivered; after every step a crash is tried.
#[tokio::test]
async fn pinned_segments_are_cleared_and_the_ledger_holds_at_every_step() {
    let rig = small();
    let spool = rig.open();
    let (mut kept, mut held) = (Vec::new(), Vec::new());
    let mut most = 0;
    for id in 1..=60 {
        spool.commit(batch(id)).await.unwrap();
        let lease = spool.lease(1).await.pop().unwrap();
        if id % 10 == 1 {
            kept.push(id);
            held.push(lease);
        } else {
            let how = delivered(&lease);
            lease.settle(how).await.unwrap();
        }
        most = most.max(segments(&rig).len());
        // The appender may be at work while the directory is copied: segments that go meanwhile are no crash.
        spool.probe().await.unwrap();
        if id % 7 == 0 {
            spool.probe().await.unwrap();
            assert_eq!(pending_after_crash(&rig).await, kept, "after {id}");
        }
    }
    assert!(most < 12, "{most} segments");
    let first = segments(&rig).into_iter().next().unwrap();
    assert_ne!(first, "seg-0000000000000001.log", "the first segment is still there");
    // Leases taken before the mail was moved still settle it.
    for lease in held.drain(1..) {
        let mut how = delivered(&lease);
        how.outcomes.truncate(1);
        lease.settle(how).await.unwrap();
    }
    spool.shutdown().await;
    let (spool, found) = rig.recover();
    assert_eq!((found.copies, found.recipients), (6, 7));
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), kept);
    leases.iter().for_each(assert_intact);
}

async fn pending_after_crash(rig: &Rig) -> Vec<u64> {
    let rig = rig.crashed();
    let (spool, _) = rig.recover();
    let leases = lease_all(&spool).await;
    leases.iter().for_each(assert_intact);
    ids(&leases)
}

#[tokio::test]
async fn a_moved_copy_keeps_its_state_and_its_body_file() {
    let rig = small();
    let spool = rig.open();
    let mut writer = spool.body_writer().unwrap();
    writer.write(&body(1)).unwrap();
    let large = writer.finish().await.unwrap();
    spool.commit(batch_with(large, &[1], 2)).await.unwrap();
    let lease = spool.lease(1).await.pop().unwrap();
    let until = START.plus(Duration::from_secs(60));
    let outcomes =
        vec![(RecipientIndex(0), Settlement::Delivered), (RecipientIndex(1), Settlement::Deferred { until })];
    lease.settle(Settlements { outcomes, ..Settlements::default() }).await.unwrap();
    for id in 2..=40 {
        spool.commit(batch(id)).await.unwrap();
        let lease = spool.lease(1).await.pop().unwrap();
        let how = delivered(&lease);
        lease.settle(how).await.unwrap();
    }
    spool.shutdown().await;
    assert!(!segments(&rig).contains(&"seg-0000000000000001.log".to_owned()));
    let (spool, found) = rig.recover();
    assert_eq!((found.copies, found.recipients, found.orphans), (1, 1, 0));
    assert!(lease_all(&spool).await.is_empty());
    rig.clock.advance(Duration::from_secs(60));
    let lease = lease_all(&spool).await.pop().unwrap();
    assert_eq!((lease.entry().attempts, lease.pending()[0].0), (1, RecipientIndex(1)));
    assert_intact(&lease);
    let how = delivered(&lease);
    lease.settle(how).await.unwrap();
    spool.shutdown().await;
    assert!(!rig.names().iter().any(|name| name.starts_with("body-")));
}

#[tokio::test]
async fn a_segment_stays_until_the_sink_has_its_notes() {
    struct Deaf;
    impl NoteSink for Deaf {
        fn last(&self) -> u64 {
            0
        }
        fn append(&mut self, _: u64, _: &Bytes) {}
        fn write(&mut self) -> std::io::Result<()> {
            Ok(())
        }
        fn sync(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Other.into())
        }
    }
    let rig = small();
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&rig.clock);
    let (spool, _) = Spool::open(rig.settings.clone(), clock, Box::new(Deaf)).unwrap();
    for id in 1..=20 {
        spool.commit(batch(id)).await.unwrap();
        let lease = spool.lease(1).await.pop().unwrap();
        let how = delivered(&lease);
        lease.settle(how).await.unwrap();
    }
    spool.shutdown().await;
    assert!(segments(&rig).len() > 3, "{:?}", segments(&rig));
    let spool = rig.open();
    assert_eq!(segments(&rig).len(), 1);
    assert_eq!(rig.seen.lines().len(), 40);
    drop(spool);
}
