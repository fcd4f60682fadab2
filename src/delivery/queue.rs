//! Leases between the one who fetches them and the workers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::fair::{Fair, Flow};

/// Leases that a stream may have in a queue that others have filled: enough that its turn is not missed.
const OWN_MIN: usize = 16;

/// How much is ready in all queues together, so that leases are fetched in batches and no more than can be used soon.
#[derive(Debug)]
pub(super) struct Stock {
    ready: AtomicUsize,
    capacity: usize,
    /// Leases are fetched when at least this much is free.
    batch: usize,
    drained: Notify,
}

impl Stock {
    pub(super) fn new(capacity: usize, batch: usize) -> Self {
        Self { ready: AtomicUsize::new(0), capacity, batch, drained: Notify::new() }
    }

    /// Waits until a batch is free, and says how much is.
    pub(super) async fn room(&self) -> usize {
        loop {
            let drained = self.drained.notified();
            let free = self.capacity.saturating_sub(self.ready.load(Ordering::Relaxed));
            if free >= self.batch {
                return free;
            }
            drained.await;
        }
    }

    /// Whether nothing is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.load(Ordering::Relaxed) == 0
    }

    fn add(&self, count: usize) {
        self.ready.fetch_add(count, Ordering::Relaxed);
    }

    fn take(&self, count: usize) {
        let before = self.ready.fetch_sub(count, Ordering::Relaxed);
        let free_at = self.capacity.saturating_sub(self.batch);
        if before > free_at && before.saturating_sub(count) <= free_at {
            self.drained.notify_one();
        }
    }
}

/// Hands each lease to one worker. Leases wait here only shortly; dropped, they return to the spool's queue.
#[derive(Debug)]
pub(super) struct Queue<L> {
    state: Mutex<State<L>>,
    capacity: usize,
    stock: Arc<Stock>,
    filled: Notify,
}

#[derive(Debug)]
struct State<L> {
    /// By stream, none of them empty.
    ready: BTreeMap<Flow, VecDeque<L>>,
    len: usize,
    fair: Fair,
    closed: bool,
}

impl<L> State<L> {
    fn push(&mut self, flow: Flow, leases: impl IntoIterator<Item = L>) {
        let own = self.ready.entry(flow).or_default();
        let before = own.len();
        own.extend(leases);
        self.len += own.len() - before;
        if own.is_empty() {
            self.ready.remove(&flow);
        }
    }

    /// In turns between streams, in its order within one.
    fn pop(&mut self) -> Option<L> {
        let flow = match self.ready.len() {
            0 => return None,
            1 => self.ready.first_key_value().map(|(flow, _)| *flow)?,
            _ => {
                let next = self.fair.next(self.ready.keys().copied())?;
                self.fair.served(next, 1);
                next
            }
        };
        let own = self.ready.get_mut(&flow)?;
        let lease = own.pop_front();
        if own.is_empty() {
            self.ready.remove(&flow);
        }
        self.len -= usize::from(lease.is_some());
        lease
    }
}

impl<L> Queue<L> {
    /// A queue that is full at `capacity`, which is for whoever pushes to respect.
    pub(super) fn new(capacity: usize, stock: Arc<Stock>) -> Self {
        let state = State { ready: BTreeMap::new(), len: 0, fair: Fair::default(), closed: false };
        Self { state: Mutex::new(state), capacity, stock, filled: Notify::new() }
    }

    /// How much more of `flow` should be pushed. What other streams have filled still has some room for it, up to twice
    /// the capacity.
    pub(super) fn room(&self, flow: Flow) -> usize {
        let state = self.lock();
        let own = state.ready.get(&flow).map_or(0, VecDeque::len);
        let free = self.capacity.saturating_sub(state.len);
        if own == state.len {
            return free;
        }
        let spare = OWN_MIN.saturating_sub(own).min(self.capacity.saturating_mul(2).saturating_sub(state.len));
        free.max(spare)
    }

    /// Whether no more of `flow` should be pushed.
    pub(super) fn is_full(&self, flow: Flow) -> bool {
        self.room(flow) == 0
    }

    /// How much is ready.
    pub(super) fn len(&self) -> usize {
        self.lock().len
    }

    /// Whether nothing is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&self, flow: Flow, leases: Vec<L>) {
        let count = leases.len();
        {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.push(flow, leases);
            self.stock.add(count);
        }
        // The worker that went idle last has a connection that is still open.
        for _ in 0..count.min(self.capacity) {
            self.filled.notify_last();
        }
    }

    /// What is ready, without waiting; nothing once closed.
    pub(super) fn try_pop(&self) -> Option<L> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let lease = state.pop();
        if lease.is_some() {
            self.stock.take(1);
        }
        lease
    }

    /// Waits for a lease; `None` once closed. Cancel safe.
    pub(super) async fn pop(&self) -> Option<L> {
        loop {
            let filled = self.filled.notified();
            if let Some(lease) = self.try_pop() {
                // Notices to workers that were busy are not kept, so who takes one passes on that there are more.
                if !self.is_empty() {
                    self.filled.notify_last();
                }
                return Some(lease);
            }
            if self.lock().closed {
                // So do those that wait beside.
                self.filled.notify_waiters();
                return None;
            }
            filled.await;
        }
    }

    /// From now on nothing is handed out; what is here returns to the spool.
    pub(super) fn close(&self) {
        let returned = {
            let mut state = self.lock();
            state.closed = true;
            self.stock.take(std::mem::take(&mut state.len));
            std::mem::take(&mut state.ready)
        };
        drop(returned);
        self.filled.notify_waiters();
    }

    /// Takes out everything that is ready.
    pub(super) fn drain(&self) -> Vec<L> {
        std::iter::from_fn(|| self.try_pop()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fair::{NOTICES, Priority, Share};
    use super::*;

    fn queue(capacity: usize) -> (Arc<Queue<u32>>, Arc<Stock>) {
        let stock = Arc::new(Stock::new(capacity, capacity.div_ceil(2)));
        (Arc::new(Queue::new(capacity, Arc::clone(&stock))), stock)
    }

    #[tokio::test]
    async fn each_lease_reaches_one_worker_and_none_is_forgotten() {
        let (queue, stock) = queue(12);
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move {
                    let mut got = Vec::new();
                    while let Some(lease) = queue.pop().await {
                        got.push(lease);
                        tokio::task::yield_now().await;
                    }
                    got
                })
            })
            .collect();
        for start in (0..1000).step_by(5) {
            let room = stock.room().await;
            assert!(room >= 6, "{room}");
            queue.push(NOTICES, (start..start + 5).collect());
        }
        while !queue.is_empty() {
            tokio::task::yield_now().await;
        }
        queue.close();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.await.unwrap());
        }
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_closed_queue_hands_out_nothing_and_counts_nothing() {
        let (queue, stock) = queue(2);
        queue.push(NOTICES, vec![1, 2]);
        assert!(queue.is_full(NOTICES));
        queue.close();
        queue.push(NOTICES, vec![3]);
        assert_eq!((queue.try_pop(), queue.pop().await), (None, None));
        assert_eq!(stock.room().await, 2);
    }

    #[tokio::test]
    async fn a_queue_that_one_stream_has_filled_has_room_for_another_and_takes_turns() {
        let (queue, _) = queue(64);
        let usual = Flow { number: 1, share: Share::default() };
        let first = Flow { number: 2, share: Share { priority: Priority::First, ..Share::default() } };
        assert_eq!(queue.room(usual), 64);
        queue.push(usual, (0..64).collect());
        assert!(queue.is_full(usual));
        assert_eq!(queue.room(first), OWN_MIN);
        queue.push(first, (100..116).collect());
        assert!(queue.is_full(first));
        let got: Vec<_> = (0..17).filter_map(|_| queue.try_pop()).collect();
        assert!(got.iter().filter(|lease| **lease >= 100).count() >= 15, "{got:?}");
        assert_eq!((queue.len(), queue.drain().len(), queue.len()), (63, 63, 0));
    }
}
