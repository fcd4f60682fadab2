//! When to try again. Pure: time and randomness are arguments.

use std::time::Duration;

use crate::time::Timestamp;

/// No delay is shorter, whatever the settings say: an attempt per tenth of a second is no hot loop yet.
pub const DELAY_MIN: Duration = Duration::from_millis(100);

/// The schedule of retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// After the first failed attempt. RFC 5321 section 4.5.4.1 suggests 30 minutes towards arbitrary hosts; a
    /// smarthost is our own partner, and a transient refusal of it usually ends sooner.
    pub first: Duration,
    /// Each delay doubles the one before, up to this.
    pub cap: Duration,
    /// By how much a delay may be shorter or longer, as a share of it (0 to 1), so that what failed together is not
    /// tried again together.
    pub spread: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { first: Duration::from_mins(5), cap: Duration::from_hours(1), spread: 0.2 }
    }
}

/// What becomes of a recipient after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Try again then.
    At(Timestamp),
    /// Its time is over.
    Expired,
}

/// The delay after `attempts` attempts; `jitter` from 0 to 1 chooses within the spread. Used for routes as well.
pub fn delay(attempts: u32, jitter: f64, settings: &Settings) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let plain = settings.first.saturating_mul(1 << doublings).min(settings.cap);
    let share = |value: f64, otherwise: f64| if value.is_nan() { otherwise } else { value.clamp(0.0, 1.0) };
    let factor = 1.0 + share(settings.spread, 0.0) * (2.0 * share(jitter, 0.5) - 1.0);
    Duration::try_from_secs_f64(plain.as_secs_f64() * factor).unwrap_or(settings.cap).max(DELAY_MIN)
}

/// The next attempt after `attempts` attempts of which the last has just failed. The very last attempt is made at
/// `expires`, so that no copy is given up while its last failure is old.
pub fn next(attempts: u32, now: Timestamp, expires: Timestamp, jitter: f64, settings: &Settings) -> Retry {
    if now >= expires { Retry::Expired } else { Retry::At(now.plus(delay(attempts, jitter, settings)).min(expires)) }
}

/// Whether the failed attempt at `now` is the one at which a sender is warned: the warning falls due before the next
/// attempt at `next`. So a copy is warned of once, and nothing has to be remembered; an operator who hurries a copy in
/// between may cause a second warning.
pub fn is_warned_now(received: Timestamp, now: Timestamp, next: Timestamp, warn_after: Option<Duration>) -> bool {
    warn_after.map(|after| received.plus(after)).is_some_and(|due| now < due && due <= next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(attempts: u32, jitter: f64) -> Retry {
        next(attempts, NOW, NOW.plus(Duration::from_hours(240)), jitter, &Settings::default())
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let expected = [5, 10, 20, 40, 60, 60];
        for (attempts, minutes) in (1..).zip(expected) {
            assert_eq!(at(attempts, 0.5), Retry::At(NOW.plus(Duration::from_mins(minutes))), "{attempts}");
        }
        assert_eq!(at(1, 0.0), Retry::At(NOW.plus(Duration::from_mins(4))));
        assert_eq!(at(1, 1.0), Retry::At(NOW.plus(Duration::from_mins(6))));
        assert_eq!(at(u32::MAX, 0.5), Retry::At(NOW.plus(Duration::from_hours(1))));
    }

    #[test]
    fn the_last_attempt_is_at_expiry_and_none_is_after_it() {
        let settings = Settings::default();
        let expires = NOW.plus(Duration::from_secs(10));
        assert_eq!(next(1, NOW, expires, 0.5, &settings), Retry::At(expires));
        assert_eq!(next(1, expires, expires, 0.5, &settings), Retry::Expired);
        assert_eq!(next(1, expires.plus(Duration::from_millis(1)), expires, 0.5, &settings), Retry::Expired);
    }

    #[test]
    fn settings_of_zero_make_no_hot_loop() {
        let zero = Settings { first: Duration::ZERO, cap: Duration::ZERO, spread: 1.0 };
        assert_eq!(delay(1, 0.0, &zero), DELAY_MIN);
    }

    #[test]
    fn a_copy_is_warned_of_once() {
        let after = Some(Duration::from_hours(4));
        let settings = Settings::default();
        let (mut now, mut warnings) = (NOW, 0);
        for attempts in 1..40 {
            let Retry::At(at) = next(attempts, now, NOW.plus(Duration::from_hours(96)), 0.5, &settings) else { break };
            warnings += u32::from(is_warned_now(NOW, now, at, after));
            assert!(!is_warned_now(NOW, now, at, None));
            now = at;
        }
        assert_eq!(warnings, 1);
        let due = NOW.plus(Duration::from_hours(4));
        let before = Timestamp::from_millis(due.as_millis() - 1);
        assert!(is_warned_now(NOW, before, due, after) && !is_warned_now(NOW, due, due, after));
        assert!(!is_warned_now(NOW, NOW, before, after));
    }

    proptest! {
        #[test]
        fn delays_are_monotone_and_bounded(
            attempts in 0_u32..40,
            jitter in prop_oneof![0.0..=1.0, Just(f64::NAN), Just(f64::INFINITY), any::<f64>()],
            first in 0_u64..10_000_000,
            cap in 0_u64..10_000_000,
            spread in prop_oneof![0.0..=1.0, any::<f64>()],
        ) {
            let settings =
                Settings { first: Duration::from_millis(first), cap: Duration::from_millis(cap), spread };
            let here = delay(attempts, jitter, &settings);
            prop_assert!(here <= delay(attempts + 1, jitter, &settings));
            prop_assert!(here >= DELAY_MIN);
            prop_assert!(here <= (2 * settings.cap).max(DELAY_MIN));
        }
    }
}
