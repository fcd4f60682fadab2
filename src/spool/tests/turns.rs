//! Classes, and whose turn it is.

use super::*;

/// Even ids are of class 2, odd ones of class 1.
fn by_parity() -> Sorter {
    Sorter::new(|_, recipients| {
        let of = recipients.first().map(|recipient| recipient.mailbox.unquoted_local_part());
        let number: u16 = of.and_then(|text| text.rsplit('.').next()?.parse().ok()).unwrap_or(0);
        Class(2 - number % 2)
    })
}

/// Serves the classes of a list in turn, so many at a time; the others are passed over for a while.
struct Only {
    order: Vec<(Class, usize)>,
    again: Option<Duration>,
    took: Vec<(Class, usize)>,
    fetches: u32,
}

impl Turns for Only {
    fn begin(&mut self, _: Timestamp) {
        self.fetches += 1;
    }
    fn next(&mut self, due: &[(Class, Timestamp)], max: usize) -> Option<(Class, usize)> {
        let turn = self.took.len() % self.order.len().max(1);
        let wanted = self.order.iter().cycle().skip(turn).take(self.order.len());
        let found = wanted.copied().find(|(class, _)| due.iter().any(|(known, _)| known == class));
        found.map(|(class, count)| (class, count.min(max)))
    }
    fn took(&mut self, class: Class, count: usize) {
        self.took.push((class, count));
    }
    fn again(&self) -> Option<Duration> {
        self.again
    }
}

fn only(order: &[(u16, usize)]) -> Only {
    let order = order.iter().map(|(class, count)| (Class(*class), *count)).collect();
    Only { order, again: None, took: Vec::new(), fetches: 0 }
}

#[tokio::test]
async fn classes_are_served_in_turns_and_one_that_is_passed_over_does_not_hold_up_the_other() {
    let mut rig = Rig::new();
    rig.settings.sorter = by_parity();
    let spool = rig.open();
    for id in 1..=40 {
        spool.commit(batch(id)).await.unwrap();
    }
    let mut turns = only(&[(2, 3), (1, 1)]);
    let leases = spool.lease_in_turns(8, &mut turns).await;
    assert_eq!(ids(&leases), [1, 2, 3, 4, 6, 8, 10, 12]);
    assert_eq!(turns.took, [(Class(2), 3), (Class(1), 1), (Class(2), 3), (Class(1), 1)]);
    let mut even = only(&[(2, 100)]);
    let rest = spool.lease_in_turns(100, &mut even).await;
    assert_eq!(ids(&rest), (7..=20).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(spool.lease(100).await.len(), 18, "the others still wait");
}

#[tokio::test]
async fn whoever_passes_all_over_is_asked_again_when_they_said_and_not_in_a_loop() {
    let mut rig = Rig::new();
    rig.settings.sorter = by_parity();
    let spool = rig.open();
    spool.commit(batch(1)).await.unwrap();
    let mut nobody = only(&[]);
    nobody.again = Some(Duration::from_secs(20));
    let waited = tokio::time::timeout(Duration::from_millis(300), spool.lease_in_turns(1, &mut nobody)).await;
    assert!(waited.is_err());
    // Once at first, and once more for what its commit had left as a notice.
    assert!(nobody.fetches <= 2, "{}", nobody.fetches);
    nobody.again = Some(Duration::from_millis(5));
    let waited = tokio::time::timeout(Duration::from_millis(300), spool.lease_in_turns(1, &mut nobody)).await;
    assert!(waited.is_err() && nobody.fetches > 4, "{}", nobody.fetches);
}

#[tokio::test]
async fn a_class_is_found_again_after_a_restart() {
    let mut rig = Rig::new();
    rig.settings.sorter = by_parity();
    let spool = rig.open();
    for id in 1..=6 {
        spool.commit(batch(id)).await.unwrap();
    }
    spool.shutdown().await;
    drop(spool);
    let again = rig.open();
    assert_eq!(ids(&again.lease_in_turns(10, &mut only(&[(1, 10)])).await), [1, 3, 5]);
}
