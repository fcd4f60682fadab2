//! Where jobs wait for the appender.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::job::Job;
use super::settings::NOTES_OCTETS_MAX;

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    notes: Vec<Bytes>,
    notes_octets: usize,
    notes_lost: u64,
    closed: bool,
    duty: bool,
    sleeping: bool,
    /// Jobs for which a sleeping appender is woken.
    wanted: usize,
}

/// How long a group waits for those who were just answered to come back. Without it two halves of the clients take
/// turns, each waiting for the fsync of the other; a client that is alone never waits.
pub(super) const GATHER_MAX: Duration = Duration::from_micros(300);

/// A queue that is emptied as a whole: whatever came while the disk worked is the next group.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

/// What the appender got.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) jobs: Vec<Job>,
    pub(super) notes: Vec<Bytes>,
    pub(super) notes_lost: u64,
    /// Nothing more will come.
    pub(super) closed: bool,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `job`, or hands it back when the inbox is closed.
    pub(super) fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let mut state = self.state();
        if state.closed {
            return Err(Box::new(job));
        }
        state.jobs.push_back(job);
        if state.jobs.len() >= state.wanted {
            self.wake(&mut state);
        }
        Ok(())
    }

    /// Queues a note. Beyond [`NOTES_OCTETS_MAX`] it is counted as lost: refusing must not wait for a disk.
    pub(super) fn note(&self, line: Bytes) {
        let mut state = self.state();
        if state.closed || state.notes_octets + line.len() > NOTES_OCTETS_MAX {
            state.notes_lost += 1;
            return;
        }
        state.notes_octets += line.len();
        state.notes.push(line);
        self.wake(&mut state);
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.sleeping) {
            self.arrived.notify_one();
        }
    }

    /// Lets the appender look at its duties again.
    pub(super) fn note_duty(&self) {
        let mut state = self.state();
        state.duty = true;
        self.wake(&mut state);
    }

    /// Lets nothing more in.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.wake(&mut state);
    }

    /// Takes what is there, up to `octets`; waits for something, but not longer than `patience`, and then up to
    /// [`GATHER_MAX`] for as many jobs as `expected`.
    pub(super) fn take(&self, patience: Option<Duration>, octets: u64, expected: usize) -> Delivery {
        let mut state = self.state();
        while state.jobs.is_empty() && state.notes.is_empty() && !state.closed && !state.duty {
            state.sleeping = true;
            let Some(patience) = patience else {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state = self.arrived.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        if (1..expected).contains(&state.jobs.len()) && !state.closed {
            state.sleeping = true;
            state.wanted = expected;
            state = self.arrived.wait_timeout(state, GATHER_MAX).unwrap_or_else(PoisonError::into_inner).0;
            state.wanted = 0;
        }
        state.sleeping = false;
        state.duty = false;
        let mut room = octets;
        let mut fits = |job: &Job| {
            let length = job.frame_length();
            let fits = length <= room || room == octets;
            room = room.saturating_sub(length);
            fits
        };
        let count = state.jobs.iter().position(|job| !fits(job)).unwrap_or(state.jobs.len());
        let jobs = state.jobs.drain(..count).collect();
        state.notes_octets = 0;
        Delivery {
            jobs,
            notes: std::mem::take(&mut state.notes),
            notes_lost: std::mem::take(&mut state.notes_lost),
            closed: state.closed && state.jobs.is_empty(),
        }
    }

    /// Everything that waits, for refusing it; nothing more is let in.
    pub(super) fn drain(&self) -> Vec<Job> {
        let mut state = self.state();
        state.closed = true;
        state.jobs.drain(..).collect()
    }

    /// Jobs that wait now.
    pub(super) fn waiting(&self) -> usize {
        self.state().jobs.len()
    }

    /// Notes lost since they were last said in the trail.
    pub(super) fn notes_lost(&self) -> u64 {
        self.state().notes_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_at_and_past_the_limit() {
        let inbox = Inbox::default();
        inbox.note(Bytes::from(vec![b'x'; NOTES_OCTETS_MAX]));
        assert_eq!(inbox.notes_lost(), 0);
        inbox.note(Bytes::from_static(b"x"));
        assert_eq!(inbox.notes_lost(), 1);
        let taken = inbox.take(None, 1, 1);
        assert_eq!((taken.notes.len(), taken.notes_lost), (1, 1));
        inbox.note(Bytes::from_static(b"x"));
        assert_eq!(inbox.take(None, 1, 1).notes.len(), 1);
    }

    #[test]
    fn a_group_is_bounded_but_never_empty() {
        let inbox = Inbox::default();
        let job = || Job::new(None, vec![Bytes::from(vec![b'x'; 1000])], None, 10_000).unwrap();
        let length = job().frame_length();
        (0..5).for_each(|_| assert!(inbox.push(job()).is_ok()));
        assert_eq!(inbox.take(None, 1, 1).jobs.len(), 1);
        assert_eq!(inbox.take(None, 2 * length, 1).jobs.len(), 2);
        assert_eq!(inbox.take(None, 2 * length - 1, 1).jobs.len(), 1);
        inbox.close();
        let last = inbox.take(None, u64::MAX, 9);
        assert!(last.jobs.len() == 1 && last.closed);
        assert!(inbox.push(job()).is_err());
    }
}
