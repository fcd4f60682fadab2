//! Whether a hook works, and when it is tried again. Pure: time and chance are arguments.
//!
//! One refusal may be about the event; some in a row, of different subjects, are about the receiver. It then rests, its
//! position stays where it is, and the trail is the queue.

use std::time::Duration;

use crate::time::Timestamp;

/// Subjects that are refused in a row until the hook is taken to be down. Each of them is put aside, so few are enough, and
/// more than one, since the events of one person often come together.
const REFUSALS_MAX: u32 = 3;

/// Pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first one.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Pauses {
    /// The pause after so many attempts: doubled each time up to the longest, of which `chance`, from 0 to 1, leaves between
    /// half and all, so that hooks which failed together do not come back together.
    pub(super) fn after(self, attempts: u32, chance: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// What is known of a hook since the start.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// Subjects refused since something was taken.
    refused: u32,
    /// Rests since something was taken; none: it works.
    rests: u32,
    /// No attempt before.
    until: Option<Timestamp>,
}

impl Circuit {
    /// How long it rests from `now` on.
    pub(super) fn rest(&self, now: Timestamp) -> Option<Duration> {
        self.until.filter(|until| *until > now).map(|until| until.since(now))
    }

    /// Whether it has rested and has taken nothing since.
    pub(super) const fn is_open(&self) -> bool {
        self.rests > 0
    }

    /// Something was taken. Whether that is news.
    pub(super) fn took(&mut self) -> bool {
        let was_open = self.is_open();
        *self = Self::default();
        was_open
    }

    /// An event that was not tried before was refused. Whether that makes too many.
    pub(super) const fn refused(&mut self) -> bool {
        self.refused = self.refused.saturating_add(1);
        self.refused >= REFUSALS_MAX
    }

    /// Begins a rest. Until when.
    pub(super) fn open(&mut self, now: Timestamp, pauses: Pauses, chance: f64) -> Timestamp {
        let rests = self.rests.saturating_add(1);
        let until = now.plus(pauses.after(rests, chance));
        *self = Self { refused: 0, rests, until: Some(until) };
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_secs(2), longest: Duration::from_secs(9) };
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_longer() {
        let seconds = |chance| [1, 2, 3, 4, 40, u32::MAX].map(|n| PAUSES.after(n, chance).as_millis());
        assert_eq!(seconds(1.0), [2000, 4000, 8000, 9000, 9000, 9000]);
        assert_eq!(seconds(0.0), [1000, 2000, 4000, 4500, 4500, 4500]);
        assert_eq!(PAUSES.after(1, 7.0), PAUSES.first);
    }

    #[test]
    fn some_refusals_in_a_row_are_too_many_and_one_success_forgets_them() {
        let mut circuit = Circuit::default();
        assert_eq!([circuit.refused(), circuit.refused()], [false, false]);
        assert!(!circuit.took());
        assert_eq!([circuit.refused(), circuit.refused(), circuit.refused()], [false, false, true]);
    }

    #[test]
    fn it_rests_longer_each_time_until_something_is_taken() {
        let mut circuit = Circuit::default();
        let until = circuit.open(NOW, PAUSES, 1.0);
        assert_eq!((until, circuit.rest(NOW)), (NOW.plus(PAUSES.first), Some(PAUSES.first)));
        assert_eq!((circuit.rest(until), circuit.is_open()), (None, true));
        assert_eq!(circuit.open(until, PAUSES, 1.0).since(until), Duration::from_secs(4));
        assert!(circuit.took() && !circuit.is_open() && circuit.rest(NOW).is_none());
        assert!(!circuit.took());
    }
}
