//! Plans for warming up: how much may leave in a day from an address, or for a domain, that receivers do not know yet. Pure.

use std::fmt;
use std::net::IpAddr;

use crate::mail::{Domain, RouteName};
use crate::time::Timestamp;

/// Milliseconds of a day. Days are those of UTC.
const DAY: i64 = 86_400_000;
/// Days that a plan may name one by one: a year.
pub const CAPS_MAX: usize = 366;
/// The largest growth from day to day behind the named days, in thousandths: tenfold.
pub const FACTOR_MAX: u32 = 10_000;

/// A day of UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day that `at` lies in.
    pub const fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(DAY))
    }

    /// When the day after it begins.
    pub const fn end(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(1).saturating_mul(DAY))
    }

    /// When it begins.
    pub const fn begin(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(DAY))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.begin().rfc3339().get(..10).unwrap_or_default())
    }
}

/// What is warmed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An address of ours that connections come from.
    Source(IpAddr),
    /// The domain of the reverse path.
    Domain(Domain),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(address) => address.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

/// How much is allowed on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many messages; nothing before the plan begins.
    Messages(u64),
    /// The plan is over.
    NoLimit,
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name, under which is counted.
    pub name: String,
    /// Whom it is for.
    pub subject: Subject,
    /// Its first day.
    pub start: Day,
    /// Messages of the first days, at least one.
    pub caps: Vec<u64>,
    /// What each day behind those may have of the one before it, in thousandths, at least 1000; when nothing is said the
    /// plan is over.
    pub factor: Option<u32>,
    /// The route that what is over takes instead of waiting.
    pub instead: Option<RouteName>,
}

impl Plan {
    /// The number of a day within the plan, from 1; zero before it.
    pub fn number(&self, day: Day) -> u64 {
        u64::try_from(day.0.saturating_sub(self.start.0).saturating_add(1)).unwrap_or(0)
    }

    /// How much is allowed on `day`.
    pub fn allowance(&self, day: Day) -> Allowance {
        let Some(place) = self.number(day).checked_sub(1) else { return Allowance::Messages(0) };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(cap) = self.caps.get(place) {
            return Allowance::Messages(*cap);
        }
        let (Some(factor), Some(last)) = (self.factor, self.caps.last()) else { return Allowance::NoLimit };
        let mut cap = *last;
        for _ in self.caps.len()..=place {
            let next = (u128::from(cap) * u128::from(factor) / 1000).try_into().unwrap_or(u64::MAX);
            if next == u64::MAX {
                return Allowance::NoLimit;
            }
            // A factor of one, or a cap too small to grow by it, stays for good.
            if next <= cap {
                break;
            }
            cap = next;
        }
        Allowance::Messages(cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(caps: &[u64], factor: Option<u32>) -> Plan {
        let start = Day::of(Timestamp::parse("2026-11-26").unwrap());
        let subject = Subject::Domain(Domain::parse("a.example").unwrap());
        Plan { name: "p".to_owned(), subject, start, caps: caps.to_vec(), factor, instead: None }
    }

    fn on(date: &str) -> Day {
        Day::of(Timestamp::parse(date).unwrap())
    }

    #[test]
    fn the_named_days_then_growth_then_no_end_or_no_limit() {
        let growing = plan(&[50, 100], Some(1500));
        let of = |date| growing.allowance(on(date));
        assert_eq!(of("2026-11-25T23:59:59Z"), Allowance::Messages(0), "not begun");
        assert_eq!(of("2026-11-26"), Allowance::Messages(50));
        assert_eq!(of("2026-11-27T23:59:59Z"), Allowance::Messages(100));
        assert_eq!((of("2026-11-28"), of("2026-11-29")), (Allowance::Messages(150), Allowance::Messages(225)));
        assert_eq!(growing.number(on("2026-11-29")), 4);
        assert_eq!(of("2030-01-01"), Allowance::NoLimit, "beyond every count");
        assert_eq!(plan(&[50], None).allowance(on("2026-11-27")), Allowance::NoLimit);
        assert_eq!(plan(&[50], Some(1000)).allowance(on("2099-01-01")), Allowance::Messages(50));
        assert_eq!(plan(&[1], Some(1500)).allowance(on("2026-12-26")), Allowance::Messages(1));
    }

    #[test]
    fn a_day_is_one_of_utc() {
        let day = on("2026-11-26T13:00:00Z");
        assert_eq!((day.begin(), day.end()), (on("2026-11-26").begin(), Timestamp::parse("2026-11-27").unwrap()));
    }

    proptest! {
        #[test]
        fn no_day_allows_less_than_the_one_before_behind_the_named_ones(
            cap in 1_u64..1_000_000, factor in 1000_u32..=FACTOR_MAX, days in 1_i64..3000
        ) {
            let plan = plan(&[cap], Some(factor));
            let of = |days| plan.allowance(Day(plan.start.0 + days));
            match (of(days - 1), of(days)) {
                (Allowance::Messages(before), Allowance::Messages(now)) => prop_assert!(now >= before),
                (Allowance::Messages(_) | Allowance::NoLimit, Allowance::NoLimit) => {}
                (Allowance::NoLimit, Allowance::Messages(_)) => prop_assert!(false, "a limit came back"),
            }
        }
    }
}
