//! Clocks and instants.
//!
//! **Promise:** pure rooms never read the wall clock; they are handed a [`Timestamp`]. Whoever needs the time
//! asks a [`Clock`], which tests replace with a [`ManualClock`].
//!
//! **Never knows:** anything else of the house.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// An instant in UTC, in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// An instant from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// An instant from seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved later; saturates at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this instant; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, as logs and audit records carry it: `2026-11-24T01:02:03.004Z`.
    pub fn rfc3339(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.3fZ")
    }

    /// RFC 5322 section 3.3 in UTC, as header fields carry it: `Tue, 24 Nov 2026 01:02:03 +0000`.
    pub fn rfc5322(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S +0000")
    }

    /// Reads an RFC 3339 instant or a plain date (`2026-11-24`, midnight UTC).
    ///
    /// # Errors
    /// A sentence naming what was expected, when `text` is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(instant.as_millisecond()));
        }
        let midnight = format!("{text}T00:00:00Z");
        midnight.parse::<jiff::Timestamp>().map(|instant| Self(instant.as_millisecond())).map_err(|_| {
            format!("`{text}` is not an instant; expected RFC 3339 (2026-11-24T01:02:03Z) or a date (2026-11-24)")
        })
    }

    fn format(self, pattern: &str) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| String::from("out-of-range"), |instant| instant.strftime(pattern).to_string())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// Reads `90s`, `5m`, `2h`, `4d`: a span of time as people write it, longer than nothing.
///
/// # Errors
/// A sentence naming what was expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}`: expected a number with s, m, h or d, such as 5m");
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(expected)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    match number.checked_mul(unit) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(expected()),
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_rfcs() {
        let instant = Timestamp::from_millis(1_795_482_123_004);
        assert_eq!(instant.rfc3339(), "2026-11-24T01:02:03.004Z");
        assert_eq!(instant.rfc5322(), "Tue, 24 Nov 2026 01:02:03 +0000");
    }

    #[test]
    fn dates_and_instants_are_read_and_rubbish_is_named() {
        assert_eq!(Timestamp::parse("2026-11-24"), Ok(Timestamp::from_secs(1_795_478_400)));
        assert_eq!(Timestamp::parse("2026-11-24T01:02:03.004Z"), Ok(Timestamp::from_millis(1_795_482_123_004)));
        assert!(Timestamp::parse("yesterday").unwrap_err().contains("expected RFC 3339"));
    }
}
