//! One line that says how far it is, for whoever sits in front of it.

use std::io::{IsTerminal, Stderr, Write as _, stderr};
use std::time::Duration;

use crate::time::{Clock, Timestamp};

/// How often the line is drawn: often enough to be alive, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_millis(200);
/// Width of the bar, in characters.
const BAR: u64 = 20;

/// How far a command is, in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// That are done.
    pub(super) done: u64,
    /// That were read beyond them.
    pub(super) ahead: u64,
}

/// Draws on the standard error when that is a terminal, else nothing.
pub(super) struct Progress<'a> {
    to: Option<Stderr>,
    clock: &'a dyn Clock,
    started: Timestamp,
    drawn: Timestamp,
    total: Option<u64>,
}

impl<'a> Progress<'a> {
    /// `total` is the size of the input in octets, where it is known.
    pub(super) fn new(clock: &'a dyn Clock, total: Option<u64>) -> Self {
        let now = clock.now();
        let to = Some(stderr()).filter(IsTerminal::is_terminal);
        Self { to, clock, started: now, drawn: now, total }
    }

    /// So far it is, and so many octets were read.
    pub(super) fn draw(&mut self, at: At, octets: u64) {
        let Some(to) = &mut self.to else { return };
        let now = self.clock.now();
        if now.since(self.drawn) >= EVERY {
            self.drawn = now;
            // A terminal that has gone away is no reason to stop.
            let _unseen = write!(to, "\r{}\x1b[K", line(at, octets, self.total, now.since(self.started)));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(to) = &mut self.to {
            let _unseen = write!(to, "\r\x1b[K");
        }
    }
}

/// The share is that of the rows that are done, taken for as long as those that were only read.
fn line(at: At, octets: u64, total: Option<u64>, elapsed: Duration) -> String {
    let At { done, ahead } = at;
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    let read = if ahead > 0 { format!(", {ahead} more read") } else { String::new() };
    let Some(total) = total.filter(|total| *total > 0) else { return format!("{done} rows, {rate}/s{read}") };
    let done_octets = u128::from(octets.min(total)) * u128::from(done) / u128::from(done + ahead).max(1);
    let share = |of: u64| done_octets * u128::from(of) / u128::from(total);
    let bar: String = (0..BAR).map(|at| if u128::from(at) < share(BAR) { '#' } else { '.' }).collect();
    format!("[{bar}] {:>3} %  {done} rows, {rate}/s{read}", share(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_rate_and_share() {
        let second = Duration::from_secs(2);
        let at = |done, ahead| At { done, ahead };
        assert_eq!(line(at(1000, 0), 5, None, second), "1000 rows, 500/s");
        assert_eq!(line(at(1000, 0), 50, Some(200), second), "[#####...............]  25 %  1000 rows, 500/s");
        assert_eq!(line(at(1, 0), 300, Some(200), second), "[####################] 100 %  1 rows, 0/s");
        assert_eq!(line(at(0, 0), 0, Some(0), Duration::ZERO), "0 rows, 0/s");
        assert_eq!(line(at(0, 7), 50, Some(200), second), "[....................]   0 %  0 rows, 0/s, 7 more read");
        assert_eq!(
            line(at(1000, 1000), 100, Some(200), second),
            "[#####...............]  25 %  1000 rows, 500/s, 1000 more read"
        );
    }
}
