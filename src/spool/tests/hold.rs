//! Copies that an operator holds, and copies that go back without a trace.

use super::*;

async fn hold(spool: &Spool, id: u64) -> Changed {
    spool.hold(QueueId::from_u64(id), Bytes::from(format!("{{\"held\":{id}}}"))).await.unwrap()
}

async fn release(spool: &Spool, id: u64) -> Changed {
    spool.release(QueueId::from_u64(id), Bytes::from(format!("{{\"released\":{id}}}"))).await.unwrap()
}

fn states(spool: &Spool) -> Vec<(u64, bool, u32)> {
    spool.pending(10, None).iter().map(|copy| (copy.id.as_u64(), copy.held, copy.attempts)).collect()
}

#[tokio::test]
async fn a_held_copy_waits_over_a_restart_until_it_is_released() {
    let rig = Rig::new();
    let spool = rig.open();
    for id in 1..=3 {
        spool.commit(batch(id)).await.unwrap();
    }
    assert_eq!(
        (hold(&spool, 1).await, hold(&spool, 1).await, hold(&spool, 9).await),
        (Changed::Done, Changed::Already, Changed::Unknown)
    );
    assert_eq!(hold(&spool, 2).await, Changed::Done);
    assert_eq!((spool.stats().held, spool.stats().copies), (2, 3));
    assert!(!spool.retry_now(QueueId::from_u64(1), Bytes::new()), "held is stronger than due");
    let rig = rig.crashed();
    let spool = rig.open();
    rig.clock.advance(Duration::from_hours(24 * 30));
    assert_eq!(ids(&lease_all(&spool).await), [3], "however long it is held");
    assert_eq!(states(&spool), [(1, true, 0), (2, true, 0), (3, false, 0)]);
    assert_eq!((release(&spool, 1).await, release(&spool, 1).await), (Changed::Done, Changed::Already));
    assert_eq!(ids(&lease_all(&spool).await), [1]);
    assert_eq!(spool.drop(QueueId::from_u64(2), Bytes::from_static(b"{}")).await, Ok(Changed::Done));
    assert_eq!((spool.stats().held, spool.stats().copies), (0, 2));
    let lines = rig.seen.lines();
    assert!(lines.contains(&"{\"released\":1}".to_owned()), "{lines:?}");
    let again = rig.crashed().open();
    assert_eq!(states(&again), [(1, false, 0), (3, false, 0)]);
}

#[tokio::test]
async fn a_held_copy_stays_held_when_its_mail_is_moved_to_a_new_segment() {
    let mut rig = Rig::new();
    rig.settings.sizes.segment_max = 4096;
    rig.settings.sizes.dead_min = 4096;
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    assert_eq!(hold(&spool, 1).await, Changed::Done);
    let first = rig.names().into_iter().find(|name| name.starts_with("seg-")).unwrap();
    let mut id = 1;
    while rig.names().contains(&first) {
        id += 1;
        assert!(id < 5000, "the first segment is never cleared");
        spool.commit(batch(id)).await.unwrap();
        for lease in lease_all(&spool).await {
            let outcomes = lease.pending().iter().map(|(index, _)| (*index, Settlement::Delivered)).collect();
            lease.settle(Settlements { outcomes, ..Settlements::default() }).await.unwrap();
        }
    }
    let again = rig.crashed().open();
    assert_eq!((states(&again), ids(&lease_all(&again).await)), (vec![(1, true, 0)], Vec::new()));
    assert_eq!(release(&again, 1).await, Changed::Done);
    assert_eq!(ids(&lease_all(&again).await), [1]);
}

#[tokio::test]
async fn a_leased_copy_is_not_held_and_a_postponed_one_counts_no_attempt() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let lease = lease_all(&spool).await.remove(0);
    assert_eq!(hold(&spool, 1).await, Changed::Leased);
    lease.put_back(START.plus(Duration::from_mins(5)));
    assert!(lease_all(&spool).await.is_empty());
    assert_eq!(states(&spool), [(1, false, 0)]);
    rig.clock.advance(Duration::from_mins(5));
    let lease = lease_all(&spool).await.remove(0);
    lease.put_back(START.plus(Duration::from_hours(10_000)));
    assert_eq!(spool.pending(1, None)[0].due, START.plus(Duration::from_mins(5)).plus(DUE_AHEAD_MAX), "bounded");
    assert_eq!(ids(&lease_all(&rig.crashed().open()).await), [1], "nothing was written");
}

#[tokio::test]
async fn labels_tell_what_copies_are_about() {
    let rig = Rig::new();
    let spool = rig.open();
    for id in 1..=5 {
        spool.commit(batch(id)).await.unwrap();
    }
    let page = spool.labelled(3, Some(QueueId::from_u64(1))).await;
    assert_eq!(page.iter().map(|(copy, _)| copy.id.as_u64()).collect::<Vec<_>>(), [2, 3, 4]);
    for (copy, labels) in page {
        let (labels, shown) = (labels.unwrap(), spool.show(copy.id).await.unwrap().unwrap());
        assert_eq!((labels.manifest, labels.recipients), (shown.manifest, shown.recipients));
    }
}
