//! The life of a copy, from commit to settlement, also across restarts.

use super::*;

#[tokio::test]
async fn what_was_committed_is_leased_with_the_same_bytes_now_and_after_a_restart() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    spool.commit(batch_with(Body::Memory(body(2)), &[2], 70)).await.unwrap();
    let crashed = rig.crashed();
    for (spool, found) in [(spool, 0), { crashed.recover() }.into_with_count()] {
        let leases = lease_all(&spool).await;
        assert_eq!(ids(&leases), [1, 2]);
        leases.iter().for_each(assert_intact);
        assert_eq!(leases[1].pending().len(), 70);
        assert!(found == 0 || found == 2);
    }
}

trait WithCount {
    fn into_with_count(self) -> (Spool, u64);
}

impl WithCount for (Spool, Recovered) {
    fn into_with_count(self) -> (Spool, u64) {
        assert_eq!(self.1, Recovered { copies: 2, recipients: 72, last_id: 2, ..Recovered::default() });
        (self.0, self.1.copies)
    }
}

#[tokio::test]
async fn a_settled_recipient_stays_settled() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    spool.commit(batch(2)).await.unwrap();
    let later = START.plus(Duration::from_mins(1));
    for lease in lease_all(&spool).await {
        let mut how = delivered(&lease);
        if lease.entry().id.as_u64() == 2 {
            how.outcomes[1].1 = Settlement::Deferred { until: later };
        }
        lease.settle(how).await.unwrap();
    }
    assert_eq!((spool.stats().copies, spool.stats().deferred, spool.stats().recipients), (1, 1, 1));
    let crashed = rig.crashed();
    let (spool, found) = crashed.recover();
    assert_eq!((found.copies, found.recipients, found.last_id), (1, 1, 2));
    assert!(lease_all(&spool).await.is_empty());
    crashed.clock.advance(Duration::from_mins(1));
    let leases = lease_all(&spool).await;
    assert_eq!(leases[0].pending(), [(RecipientIndex(1), recipient("r1.2@x.example"))]);
    assert_eq!(leases[0].entry().attempts, 1);
    assert_intact(&leases[0]);
}

#[tokio::test]
async fn a_recipient_left_out_is_tried_again_at_once() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let lease = lease_all(&spool).await.pop().unwrap();
    let how = Settlements { outcomes: vec![(RecipientIndex(0), Settlement::Bounced)], ..Settlements::default() };
    lease.settle(how).await.unwrap();
    let again = lease_all(&spool).await;
    assert_eq!(again[0].pending().len(), 1);
    assert_eq!(again[0].pending()[0].0, RecipientIndex(1));
}

#[tokio::test]
async fn a_follow_up_is_committed_with_the_settlement() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let lease = lease_all(&spool).await.pop().unwrap();
    let report = Batch::notice(
        QueueId::from_u64(9),
        recipient("bounces@sender.example"),
        header(9),
        manifest(),
        Body::Memory(body(9)),
    );
    let mut how = delivered(&lease);
    how.follow_up = Some(report);
    lease.settle(how).await.unwrap();
    let (spool, found) = rig.crashed().into_recovered();
    assert_eq!((found.copies, found.last_id), (1, 9));
    let leases = lease_all(&spool).await;
    assert_eq!(leases[0].entry().manifest.reverse_path, ReversePath::Null);
    assert_eq!(memory(&leases[0].entry().body), body(9));
}

impl Rig {
    fn into_recovered(self) -> (Spool, Recovered) {
        let opened = self.recover();
        // The open files outlive their directory; only names are gone.
        drop(self);
        opened
    }
}

#[tokio::test]
async fn a_copy_is_with_one_worker_and_comes_back_when_dropped() {
    let rig = Rig::new();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let leases = lease_all(&spool).await;
    assert_eq!((ids(&leases), spool.stats().leased), (vec![1], 1));
    assert!(lease_all(&spool).await.is_empty());
    drop(leases);
    assert_eq!(spool.stats().leased, 0);
    assert!(lease_all(&spool).await.is_empty(), "due before its delay");
    rig.clock.advance(LEASE_RETURN_DELAY);
    let again = lease_all(&spool).await;
    assert_eq!(ids(&again), [1]);
    assert_intact(&again[0]);
    assert_eq!(again[0].entry().attempts, 0);
}

#[tokio::test]
async fn a_waiting_lease_is_woken_by_a_commit_and_by_the_end() {
    let rig = Rig::new();
    let spool = rig.open();
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { spool.lease(1).await.len() }
    });
    tokio::task::yield_now().await;
    spool.commit(batch(1)).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    let spool_again = spool.clone();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let spool = spool_again.clone();
            tokio::spawn(async move { spool.lease(1).await.len() })
        })
        .collect();
    tokio::task::yield_now().await;
    spool.shutdown().await;
    for lease in waiting {
        assert_eq!(lease.await.unwrap(), 0);
    }
    assert!(matches!(spool.commit(batch(2)).await, Err(SpoolError::Failed(_))));
    assert!(matches!(spool.health(), Health::Failed(_)));
}

#[tokio::test]
async fn the_longest_due_is_leased_first_and_equals_in_their_order() {
    let rig = Rig::new();
    let spool = rig.open();
    for id in [3, 1, 2] {
        spool.commit(batch(id)).await.unwrap();
    }
    let order: Vec<u64> = spool.lease(10).await.iter().map(|lease| lease.entry().id.as_u64()).collect();
    assert_eq!(order, [3, 1, 2]);
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_back() {
    let mut rig = Rig::new();
    rig.settings.sizes.cache_max = 0;
    let spool = rig.open();
    let many: Vec<u64> = (1..40).collect();
    spool.commit(batch_with(Body::Memory(body(1)), &many, 2)).await.unwrap();
    assert_eq!(spool.handle.shared.index().sums().cached, 0);
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), many);
    for lease in &leases {
        assert_eq!(lease.entry().header, header(lease.entry().id.as_u64()));
        assert_eq!(memory(&lease.entry().body), body(1));
    }
}

/// From memory, from the segment, for the operator and after a crash.
#[tokio::test]
async fn a_copy_with_a_beginning_of_its_own_is_parted_at_the_blank_line_wherever_it_comes_from() {
    for cache_max in [0, 1 << 20] {
        let mut rig = Rig::new();
        rig.settings.sizes.cache_max = cache_max;
        let spool = rig.open();
        let mut both = batch_with(Body::Memory(Bytes::from_static(b"shared")), &[1, 2], 1);
        for copy in &mut both.copies {
            copy.header = Bytes::from(format!("X: {}\r\n\r\nown {}\r\n\r\n", copy.id.as_u64(), copy.id.as_u64()));
        }
        spool.commit(both).await.unwrap();
        let right = |id: QueueId, header: &Bytes, body: &Body| {
            assert_eq!(header, &format!("X: {}\r\n\r\n", id.as_u64()));
            assert_eq!(memory(body), format!("own {}\r\n\r\nshared", id.as_u64()));
        };
        let shown = spool.show(QueueId::from_u64(2)).await.unwrap().unwrap();
        right(QueueId::from_u64(2), &shown.header, &shown.body);
        let leases = lease_all(&spool).await;
        assert_eq!(ids(&leases), [1, 2]);
        for lease in &leases {
            right(lease.entry().id, &lease.entry().header, &lease.entry().body);
        }
        drop(leases);
        let (spool, _) = rig.crashed().into_recovered();
        for lease in lease_all(&spool).await {
            right(lease.entry().id, &lease.entry().header, &lease.entry().body);
        }
    }
}

#[tokio::test]
async fn the_cache_is_charged_and_relieved() {
    let mut rig = Rig::new();
    rig.settings.sizes.cache_max = 4000;
    let spool = rig.open();
    for id in 1..20 {
        spool.commit(batch(id)).await.unwrap();
        assert!(spool.handle.shared.index().sums().cached <= 4000);
    }
    let cached = spool.handle.shared.index().sums().cached;
    assert!(cached > 2000, "{cached}");
    let leases = lease_all(&spool).await;
    leases.iter().for_each(assert_intact);
    assert_eq!(ids(&leases), (1..20).collect::<Vec<_>>());
    assert_eq!(spool.handle.shared.index().sums().cached, 0);
}

#[tokio::test]
async fn operators_list_show_hurry_and_drop() {
    let rig = Rig::new();
    let spool = rig.open();
    for id in 1..=3 {
        spool.commit(batch(id)).await.unwrap();
    }
    let mut leases = lease_all(&spool).await;
    assert_eq!(spool.drop(QueueId::from_u64(1), Bytes::new()).await, Ok(Changed::Leased));
    for lease in leases.drain(..) {
        let until = START.plus(Duration::from_mins(10));
        let outcomes = lease.pending().iter().map(|(index, _)| (*index, Settlement::Deferred { until })).collect();
        lease.settle(Settlements { outcomes, ..Settlements::default() }).await.unwrap();
    }
    assert!(lease_all(&spool).await.is_empty());
    assert!(
        spool.retry_now(QueueId::from_u64(2), Bytes::new()) && !spool.retry_now(QueueId::from_u64(2), Bytes::new())
    );
    let second = lease_all(&spool).await;
    assert_eq!(ids(&second), [2]);
    let listed: Vec<u64> = spool.pending(10, Some(QueueId::from_u64(1))).iter().map(|copy| copy.id.as_u64()).collect();
    assert_eq!(listed, [2, 3]);
    let shown = spool.show(QueueId::from_u64(3)).await.unwrap().unwrap();
    assert_eq!((shown.header, memory(&shown.body), shown.recipients.len()), (header(3), body(3), 2));
    assert!(spool.show(QueueId::from_u64(4)).await.unwrap().is_none());
    let note = Bytes::from_static(b"{\"dropped\":3}");
    assert_eq!(spool.drop(QueueId::from_u64(3), note).await, Ok(Changed::Done));
    assert_eq!(spool.drop(QueueId::from_u64(3), Bytes::new()).await, Ok(Changed::Unknown));
    let (_, found) = rig.crashed().into_recovered();
    assert_eq!(found.copies, 2);
    assert!(rig.seen.lines().contains(&"{\"dropped\":3}".to_owned()));
}

#[tokio::test]
async fn a_clock_that_stood_in_the_future_does_not_put_mail_off_for_years() {
    let rig = Rig::new();
    let years = Duration::from_hours(24 * 3650);
    rig.clock.advance(years);
    let spool = rig.open();
    let mut from_the_future = batch(1);
    from_the_future.manifest.received = rig.clock.now();
    spool.commit(from_the_future).await.unwrap();
    spool.commit(batch(2)).await.unwrap();
    for lease in lease_all(&spool).await.into_iter().filter(|lease| lease.entry().id.as_u64() == 2) {
        let until = rig.clock.now().plus(Duration::from_mins(10));
        let outcomes = vec![(RecipientIndex(0), Settlement::Deferred { until })];
        lease.settle(Settlements { outcomes, ..Settlements::default() }).await.unwrap();
    }
    let back = rig.crashed();
    let spool = back.open();
    let first = lease_all(&spool).await;
    assert_eq!(ids(&first), [1]);
    back.clock.advance(DUE_AHEAD_MAX);
    assert_eq!(ids(&lease_all(&spool).await), [2]);
}

#[tokio::test]
async fn limits_hold_at_and_past_them() {
    let mut rig = Rig::new();
    rig.settings.pending_max = 2;
    rig.settings.sizes.frame_max = 2000;
    let spool = rig.open();
    let around = {
        let probe = batch_with(Body::Memory(Bytes::new()), &[1], 1);
        let job = super::super::job::Job::new(None, Vec::new(), Some((probe, None)), 2000).unwrap();
        usize::try_from(job.frame_length()).unwrap() - 36
    };
    let fits = Body::Memory(Bytes::from(vec![b'x'; 2000 - around]));
    let too_large = Body::Memory(Bytes::from(vec![b'x'; 2001 - around]));
    assert!(matches!(spool.commit(batch_with(too_large, &[1], 1)).await, Err(SpoolError::Unfit(_))));
    spool.commit(batch_with(fits, &[1], 1)).await.unwrap();
    assert!(matches!(spool.commit(batch(1)).await, Err(SpoolError::Unfit(_))), "an id used twice");
    assert!(matches!(spool.commit(batch_with(Body::Memory(body(2)), &[2, 3], 1)).await, Err(SpoolError::Full)));
    spool.commit(batch(2)).await.unwrap();
    assert!(matches!(spool.commit(batch(3)).await, Err(SpoolError::Full)));
    let lease = spool.lease(1).await.pop().unwrap();
    let how = delivered(&lease);
    lease.settle(how).await.unwrap();
    spool.commit(batch(3)).await.unwrap();
}

#[tokio::test]
async fn notes_reach_the_sink_once_and_in_order_across_restarts() {
    let rig = Rig::new();
    let spool = rig.open();
    let mut first = batch(1);
    first.note(Bytes::from_static(b"{\"second\":1}"));
    spool.commit(first).await.unwrap();
    spool.note(Bytes::from_static(b"{\"refused\":1}"));
    spool.commit(batch(2)).await.unwrap();
    spool.shutdown().await;
    let expected = ["{\"committed\":1}", "{\"second\":1}", "{\"refused\":1}", "{\"committed\":2}"];
    let mut lines = rig.seen.lines();
    lines.sort();
    let mut sorted = expected.map(str::to_owned);
    sorted.sort();
    assert_eq!(lines, sorted);
    assert!(rig.seen.seqs().is_sorted_by(|a, b| a < b));
    // A sink that lost its last two notes gets exactly those again.
    let all = rig.seen.0.lock().unwrap().clone();
    rig.seen.0.lock().unwrap().truncate(2);
    let spool = rig.open();
    assert_eq!(*rig.seen.0.lock().unwrap(), all);
    spool.commit(batch(3)).await.unwrap();
    assert!(rig.seen.seqs().is_sorted_by(|a, b| a < b));
    assert_eq!(rig.seen.lines().last().unwrap(), "{\"committed\":3}");
}

#[tokio::test]
async fn many_tasks_commit_at_once() {
    let rig = Rig::new();
    let spool = rig.open();
    let tasks: Vec<_> = (0..20_u64)
        .map(|task| {
            let spool = spool.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    spool.commit(batch(task * 10 + n + 1)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (again, found) = rig.crashed().into_recovered();
    assert_eq!((found.copies, found.last_id), (200, 200));
    drop(again);
    let leases = lease_all(&spool).await;
    assert_eq!(ids(&leases), (1..=200).collect::<Vec<_>>());
    leases.iter().for_each(assert_intact);
}
