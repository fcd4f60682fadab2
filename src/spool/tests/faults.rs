//! The n-th file operation fails, for every n.

use super::super::disk::Operation;
use super::super::faults::Fault;
use super::*;

/// What a run was told: ids whose commit was answered with success, with an error, and settled copies.
#[derive(Debug, Default)]
struct Ledger {
    accepted: Vec<u64>,
    refused: Vec<u64>,
    settled: Vec<u64>,
}

/// Commits, settles and rotates a little; never stops at an error.
async fn scenario(spool: &Spool) -> Ledger {
    let mut ledger = Ledger::default();
    for id in 1..=8 {
        let body = if id == 3 { large(spool, id).await } else { Ok(Body::Memory(body(id))) };
        let Ok(body) = body else {
            ledger.refused.push(id);
            continue;
        };
        match spool.commit(batch_with(body, &[id], 2)).await {
            Ok(_) => ledger.accepted.push(id),
            Err(_) => ledger.refused.push(id),
        }
        if id % 2 == 0 && spool.stats().copies > 0 && matches!(spool.health(), Health::Good | Health::Full) {
            let Some(lease) = spool.lease(1).await.pop() else { continue };
            let (id, how) = (lease.entry().id.as_u64(), delivered(&lease));
            if lease.settle(how).await.is_ok() {
                ledger.settled.push(id);
            }
        }
    }
    ledger
}

async fn large(spool: &Spool, id: u64) -> Result<Body, SpoolError> {
    let mut writer = spool.body_writer()?;
    writer.write(&body(id))?;
    writer.finish().await
}

fn small_segments() -> Rig {
    let mut rig = Rig::new();
    rig.settings.sizes.segment_max = 900;
    rig.settings.sizes.dead_min = 600;
    rig
}

/// Runs the scenario with the faults `n..until(n)` for n = 1, 2, .. until it is not hit any more.
async fn for_every_operation(kind: Fault, lasting: bool) {
    let mut hits = 0;
    for n in 1.. {
        let rig = small_segments();
        let spool = rig.open();
        rig.faults.arm(kind, n, if lasting { u64::MAX } else { n + 1 });
        let ledger = scenario(&spool).await;
        let was_hit = rig.faults.count() >= n;
        rig.faults.disarm();
        check(&rig, &spool, &ledger, n, lasting).await;
        if !was_hit {
            break;
        }
        hits += 1;
    }
    assert!(hits > 30, "only {hits} operations were made to fail");
}

async fn check(rig: &Rig, spool: &Spool, ledger: &Ledger, n: u64, lasting: bool) {
    for rig in [rig.crashed(), {
        spool.shutdown().await;
        rig.crashed()
    }] {
        let (spool, found) = rig.recover();
        let leases = lease_all(&spool).await;
        leases.iter().for_each(assert_intact);
        let pending = ids(&leases);
        for id in &ledger.accepted {
            let settled = ledger.settled.contains(id);
            assert!(pending.contains(id) || settled, "operation {n}: {id} lost; {ledger:?} {found:?}");
            assert!(!(pending.contains(id) && settled), "operation {n}: {id} came back; {ledger:?}");
        }
        if !lasting {
            let sent = ledger.refused.iter().find(|id| pending.contains(id));
            assert_eq!(sent, None, "operation {n}: refused mail is sent; {ledger:?}");
        }
    }
}

#[tokio::test]
async fn no_space_at_any_operation() {
    for_every_operation(Fault::Full, false).await;
}

#[tokio::test]
async fn part_of_a_write_at_any_operation() {
    for_every_operation(Fault::Short, false).await;
}

#[tokio::test]
async fn an_input_output_error_at_any_operation() {
    for_every_operation(Fault::Io, false).await;
}

#[tokio::test]
async fn a_disk_that_dies_at_any_operation() {
    for_every_operation(Fault::Io, true).await;
}

#[tokio::test]
async fn a_failed_fsync_latches_the_spool() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    rig.faults.only(Operation::Sync);
    rig.faults.arm(Fault::Io, 1, 2);
    let failed = spool.commit(batch(2)).await.unwrap_err();
    assert!(matches!(&failed, SpoolError::Failed(words) if words.contains("fsync")), "{failed}");
    let fsyncs = rig.faults.count();
    assert!(matches!(spool.commit(batch(3)).await, Err(SpoolError::Failed(_))));
    assert!(matches!(spool.probe().await, Err(SpoolError::Failed(_))));
    assert!(spool.lease(1).await.is_empty());
    assert!(matches!(spool.health(), Health::Failed(_)));
    assert!(matches!(spool.body_writer(), Err(SpoolError::Failed(_))));
    spool.shutdown().await;
    assert_eq!(rig.faults.count(), fsyncs, "an fsync was tried again");
    let (spool, found) = rig.recover();
    assert_eq!((found.copies, spool.health()), (1, Health::Good));
}

#[tokio::test]
async fn a_full_disk_refuses_mail_holds_settlements_and_recovers_by_itself() {
    for kind in [Fault::Full, Fault::Short] {
        let rig = Rig::new();
        let spool = rig.open();
        spool.commit(batch(1)).await.unwrap();
        let lease = spool.lease(1).await.pop().unwrap();
        let how = delivered(&lease);
        rig.faults.only(Operation::Write);
        rig.faults.arm(kind, 1, u64::MAX);
        let settling = tokio::spawn(lease.settle(how));
        assert_eq!(spool.commit(batch(2)).await.unwrap_err(), SpoolError::Full);
        assert_eq!(spool.probe().await.unwrap_err(), SpoolError::Full);
        assert_eq!(spool.health(), Health::Full);
        assert!(!settling.is_finished(), "a settlement was answered without being written");
        rig.faults.disarm();
        settling.await.unwrap().unwrap();
        spool.commit(batch(3)).await.unwrap();
        assert_eq!(spool.health(), Health::Good);
        let (spool, found) = rig.crashed().recover();
        assert_eq!((found.copies, found.quarantined.len(), found.torn), (1, 0, 0));
        assert_eq!(ids(&lease_all(&spool).await), [3]);
    }
}

#[tokio::test]
async fn a_settlement_that_never_finds_space_is_told_at_the_end() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let lease = spool.lease(1).await.pop().unwrap();
    let how = delivered(&lease);
    rig.faults.only(Operation::Write);
    rig.faults.arm(Fault::Full, 1, u64::MAX);
    let settling = tokio::spawn(lease.settle(how));
    tokio::task::yield_now().await;
    spool.shutdown().await;
    assert_eq!(settling.await.unwrap(), Err(SpoolError::Full));
}

#[tokio::test]
async fn an_unfit_follow_up_does_not_undo_the_settlement() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    spool.commit(batch(2)).await.unwrap();
    let lease = spool.lease(1).await.pop().unwrap();
    let mut how = delivered(&lease);
    how.follow_up = Some(batch(2));
    assert!(matches!(lease.settle(how).await, Err(SpoolError::Unfit(_))));
    let (spool, found) = rig.crashed().recover();
    assert_eq!((found.copies, ids(&lease_all(&spool).await)), (1, vec![2]));
}

#[tokio::test]
async fn below_the_floor_mail_is_refused_but_settlements_go_through() {
    let mut rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    spool.shutdown().await;
    rig.settings.min_free = u64::MAX;
    let spool = rig.open();
    assert_eq!(spool.commit(batch(2)).await.unwrap_err(), SpoolError::Full);
    assert_eq!(spool.health(), Health::Full);
    let lease = spool.lease(1).await.pop().unwrap();
    let how = delivered(&lease);
    lease.settle(how).await.unwrap();
    assert_eq!(spool.stats().copies, 0);
}

/// Names and contents are both forced to disk before anything is acknowledged.
#[tokio::test]
async fn every_acknowledgement_waits_for_its_fsyncs() {
    let mut rig = Rig::new();
    let spool = rig.open();
    let large = large(&spool, 1).await.unwrap();
    rig.faults.only(Operation::Sync);
    let syncs = |rig: &Rig| rig.faults.count();
    rig.faults.arm(Fault::Io, 0, 0);
    spool.commit(batch(2)).await.unwrap();
    assert_eq!(syncs(&rig), 1, "the segment");
    rig.faults.arm(Fault::Io, 0, 0);
    spool.commit(batch_with(large, &[1], 1)).await.unwrap();
    assert_eq!(syncs(&rig), 2, "the directory with the body's name, and the segment");
    spool.shutdown().await;
    rig.settings.sizes.segment_max = 400;
    let spool = rig.open();
    spool.commit(batch(3)).await.unwrap();
    rig.faults.arm(Fault::Io, 0, 0);
    spool.commit(batch(4)).await.unwrap();
    assert_eq!(syncs(&rig), 3, "header and name of the new segment, then its content");
}
