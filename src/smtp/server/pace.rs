//! How slow a client may be.

use std::time::Duration;

use tokio::time::Instant;

/// How long has been waited for the octets of one content.
#[derive(Debug)]
pub(super) struct Pace {
    least: u32,
    grace: Duration,
    received: u64,
    waited: Duration,
}

impl Pace {
    /// Content that has to come at `least` octets a second, once it has been waited for as long as `grace`.
    pub(super) const fn new(least: u32, grace: Duration) -> Self {
        Self { least, grace, received: 0, waited: Duration::ZERO }
    }

    /// How long the next octets may take. Time that we spend ourselves does not count.
    pub(super) fn left(&self) -> Duration {
        let seconds = self.received.checked_div(u64::from(self.least)).map(Duration::from_secs);
        // Without a least rate there is no such limit.
        seconds.map_or(Duration::MAX, |earned| self.grace.saturating_add(earned).saturating_sub(self.waited))
    }

    /// Notes that `octets` came after this time.
    pub(super) fn note(&mut self, octets: usize, after: Duration) {
        self.received = self.received.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        self.waited = self.waited.saturating_add(after);
    }
}

/// How long one line may take as a whole, however many pieces it comes in.
#[derive(Debug)]
pub(super) struct Patience {
    whole: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// Patience for lines that take `whole`.
    pub(super) const fn new(whole: Duration) -> Self {
        Self { whole, since: None }
    }

    /// What is left of it at `now`, which is when the waiting began if it has not yet.
    pub(super) fn left(&mut self, now: Instant) -> Duration {
        self.whole.saturating_sub(now - *self.since.get_or_insert(now))
    }

    /// The line is there; the next one has the whole time again.
    pub(super) const fn renew(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_mins(1);

    #[test]
    fn content_at_the_least_rate_goes_on_for_ever_and_slower_content_does_not() {
        let mut steady = Pace::new(100, GRACE);
        for _ in 0..10_000 {
            steady.note(100, SECOND);
        }
        assert_eq!(steady.left(), GRACE);
        let mut dripping = Pace::new(100, GRACE);
        let mut seconds = 0;
        while !dripping.left().is_zero() {
            dripping.note(10, SECOND);
            seconds += 1;
        }
        assert_eq!(seconds, 66, "a minute, and a second for each hundred octets");
        let mut free = Pace::new(0, GRACE);
        free.note(1, Duration::from_hours(1));
        assert_eq!(free.left(), Duration::MAX);
    }

    #[test]
    fn pieces_of_a_line_share_its_time() {
        let start = Instant::now();
        let mut patience = Patience::new(10 * SECOND);
        assert_eq!(patience.left(start), 10 * SECOND);
        assert_eq!(patience.left(start + 9 * SECOND), SECOND);
        assert_eq!(patience.left(start + 11 * SECOND), Duration::ZERO);
        patience.renew();
        assert_eq!(patience.left(start + 11 * SECOND), 10 * SECOND);
    }
}
