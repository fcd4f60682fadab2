//! Leases between the one who fetches them and the workers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    ready: VecDeque<L>,
    closed: bool,
}

impl<L> Queue<L> {
    /// A queue that is full at `capacity`, which is for whoever pushes to respect.
    pub(super) fn new(capacity: usize, stock: Arc<Stock>) -> Self {
        let state = State { ready: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), capacity, stock, filled: Notify::new() }
    }

    /// Whether no more should be pushed.
    pub(super) fn is_full(&self) -> bool {
        self.lock().ready.len() >= self.capacity
    }

    /// How much is ready.
    pub(super) fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether nothing is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().ready.is_empty()
    }

    pub(super) fn push(&self, leases: Vec<L>) {
        let count = leases.len();
        {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.ready.extend(leases);
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
        let lease = state.ready.pop_front();
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
                if !self.lock().ready.is_empty() {
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
            self.stock.take(state.ready.len());
            std::mem::take(&mut state.ready)
        };
        drop(returned);
        self.filled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
            queue.push((start..start + 5).collect());
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
        queue.push(vec![1, 2]);
        assert!(queue.is_full());
        queue.close();
        queue.push(vec![3]);
        assert_eq!((queue.try_pop(), queue.pop().await), (None, None));
        assert_eq!(stock.room().await, 2);
    }
}
