//! The n-th file operation fails, for every n.

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
            // A settlement that finds no space waits for it.
            let settled = tokio::time::timeout(Duration::from_secs(20), lease.settle(how)).await;
            if settled.unwrap().is_ok() {
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
        let run = tokio::time::timeout(Duration::from_secs(60), scenario(&spool));
        let ledger = if lasting && kind != Fault::Io { lasting_run(&rig, run).await } else { run.await.unwrap() };
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

/// With a disk that stays full a settlement waits for space: give it some after a while.
async fn lasting_run(rig: &Rig, run: impl Future<Output = Result<Ledger, tokio::time::error::Elapsed>>) -> Ledger {
    let faults = Arc::clone(&rig.faults);
    let relief = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        faults.disarm();
    });
    let ledger = run.await.unwrap();
    relief.await.unwrap();
    ledger
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
async fn a_disk_that_stays_full_for_a_while() {
    for n in [1, 3, 5, 9] {
        let rig = small_segments();
        let spool = rig.open();
        rig.faults.arm(Fault::Short, n, u64::MAX);
        let ledger = lasting_run(&rig, tokio::time::timeout(Duration::from_secs(60), scenario(&spool))).await;
        check(&rig, &spool, &ledger, n, true).await;
    }
}

#[tokio::test]
async fn a_failed_fsync_latches_the_spool() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    rig.faults.only_syncs();
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
async fn a_full_disk_refuses_mail_and_recovers_by_itself() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let lease = spool.lease(1).await.pop().unwrap();
    rig.faults.arm(Fault::Full, 1, u64::MAX);
    // Reading free space fails as well here; writing tells.
    assert_eq!(spool.commit(batch(2)).await.unwrap_err(), failed_or_full(&spool));
    rig.faults.disarm();
    drop(lease);
}

fn failed_or_full(spool: &Spool) -> SpoolError {
    match spool.health() {
        Health::Failed(words) => SpoolError::Failed(words),
        Health::Full | Health::Good => SpoolError::Full,
    }
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
