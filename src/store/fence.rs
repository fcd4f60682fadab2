//! From the answer to the act: who has read facts and has not acted on them yet.
//!
//! A decision is made from facts and then acted upon: a recipient is named to the upstream. Between the two somebody
//! may opt out. A [`Ticket`] is held from before the facts are read until the act is done; [`Fence::passed`] waits for
//! every ticket that was out when it was called. Whoever records an opt-out and then waits for the fence may
//! acknowledge it: nobody acts on older facts any more (promise P3). Nobody who reads facts ever waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Shared by those who act and those who record.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each call of `passed`.
    era: u64,
    /// Tickets that are out, by the era they were taken in. As many as there are connections to the upstream, twice.
    out: BTreeMap<u64, usize>,
}

/// Held from before the facts are read until they have been acted upon.
#[derive(Debug)]
pub struct Ticket {
    fence: Fence,
    era: u64,
}

impl Fence {
    /// Take it before reading the facts.
    pub fn enter(&self) -> Ticket {
        let mut state = self.lock();
        let era = state.era;
        *state.out.entry(era).or_insert(0) += 1;
        drop(state);
        Ticket { fence: self.clone(), era }
    }

    /// Waits until every ticket that is out now has been given back. Tickets taken meanwhile are not waited for: they
    /// read facts that are recorded already.
    pub async fn passed(&self) {
        let era = {
            let mut state = self.lock();
            let era = state.era;
            state.era += 1;
            era
        };
        loop {
            let left = self.0.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.lock().out.keys().next().is_none_or(|oldest| *oldest > era) {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.fence.lock();
        if let Some(count) = state.out.get_mut(&self.era) {
            *count -= 1;
            if *count == 0 {
                state.out.remove(&self.era);
                self.fence.0.left.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_tickets_taken_before_are_waited_for() {
        let fence = Fence::default();
        let (first, second) = (fence.enter(), fence.enter());
        let mut passed = pin!(fence.passed());
        assert_eq!(poll(passed.as_mut()), Poll::Pending);
        let later = fence.enter();
        drop(first);
        assert_eq!(poll(passed.as_mut()), Poll::Pending);
        drop(second);
        assert_eq!(poll(passed.as_mut()), Poll::Ready(()));
        let mut again = pin!(fence.passed());
        assert_eq!(poll(again.as_mut()), Poll::Pending);
        drop(later);
        assert_eq!(poll(again.as_mut()), Poll::Ready(()));
        assert!(fence.lock().out.is_empty(), "nothing stays behind");
    }
}
