//! How long it took from asking to effect: counts by time, and whether a bound was kept.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets; what took longer than the last one is counted behind it. An opt-out usually takes one
/// sync of the disk and the longest attempt under way.
const ENDS: [Duration; 8] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
];

/// Counts by time taken. Adding is one atomic operation.
#[derive(Debug, Default)]
pub struct Effects {
    buckets: [AtomicU64; ENDS.len() + 1],
    late: AtomicU64,
    failed: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many were in effect within each of the ends, and behind the last one; not cumulative.
    pub buckets: [u64; ENDS.len() + 1],
    /// How many were not in effect within the bound that applied to them.
    pub late: u64,
    /// How many could not be acknowledged at all.
    pub failed: u64,
}

impl Effects {
    /// One is in effect after `taken`.
    pub fn done(&self, taken: Duration) {
        let at = ENDS.iter().position(|end| taken <= *end).unwrap_or(ENDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One is not in effect although its bound has passed; to be called once for it.
    pub fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// One was not acknowledged.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn histogram(&self) -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|at| self.buckets.get(at).map_or(0, |bucket| bucket.load(Ordering::Relaxed))),
            late: self.late.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// `5ms:12 20ms:3 ... more:0`, the form of the log.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (end, count) in ENDS.iter().zip(&self.buckets) {
            write!(f, "{}ms:{count} ", end.as_millis())?;
        }
        write!(f, "more:{}", self.buckets.last().copied().unwrap_or(0))
    }
}

impl Histogram {
    /// How many were counted in all.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_into_the_bucket_that_ends_at_or_after_it() {
        let effects = Effects::default();
        for end in ENDS {
            effects.done(end);
            effects.done(end + Duration::from_nanos(1));
        }
        effects.late();
        effects.failed();
        effects.failed();
        let seen = effects.histogram();
        assert_eq!(seen.buckets, [1, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!((seen.total(), seen.late, seen.failed), (16, 1, 2));
        assert_eq!(seen.to_string(), "5ms:1 20ms:2 100ms:2 500ms:2 1000ms:2 5000ms:2 15000ms:2 60000ms:2 more:1");
    }
}
