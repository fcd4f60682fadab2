//! Leases between the one who fetches them and the workers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Leases per worker that may wait here: one to follow at once, and as many again while the next batch is fetched.
/// More would be rechecked no later but would be missing elsewhere when this process ends.
const READY_PER_WORKER: usize = 4;

/// Hands each lease to one worker. Leases wait here only shortly; dropped, they return to the spool's queue.
#[derive(Debug)]
pub(super) struct Queue<L> {
    state: Mutex<State<L>>,
    capacity: usize,
    filled: Notify,
    drained: Notify,
}

#[derive(Debug)]
struct State<L> {
    ready: VecDeque<L>,
    closed: bool,
}

impl<L> Queue<L> {
    pub(super) fn new(workers: usize) -> Self {
        let state = State { ready: VecDeque::new(), closed: false };
        let capacity = workers.saturating_mul(READY_PER_WORKER);
        Self { state: Mutex::new(state), capacity, filled: Notify::new(), drained: Notify::new() }
    }

    /// Waits until at least half is free (so that leases are fetched in batches), and says how much.
    pub(super) async fn room(&self) -> usize {
        loop {
            let drained = self.drained.notified();
            let free = self.capacity.saturating_sub(self.lock().ready.len());
            if free >= self.capacity.div_ceil(2) {
                return free;
            }
            drained.await;
        }
    }

    pub(super) fn push(&self, leases: Vec<L>) {
        let count = leases.len();
        {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.ready.extend(leases);
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
        if state.ready.len() == self.capacity / 2 {
            self.drained.notify_one();
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
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn each_lease_reaches_one_worker_and_none_is_forgotten() {
        let queue = Arc::new(Queue::new(3));
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
            let room = queue.room().await;
            assert!(room >= 6, "{room}");
            queue.push((start..start + 5).collect());
        }
        while !queue.lock().ready.is_empty() {
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
    async fn a_closed_queue_hands_out_nothing() {
        let queue = Queue::new(1);
        queue.push(vec![1, 2]);
        queue.close();
        queue.push(vec![3]);
        assert_eq!((queue.try_pop(), queue.pop().await), (None, None));
    }
}
