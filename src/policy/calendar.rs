//! Civil months and business days, to the exact second, in UTC.
//!
//! A law that counts in months means months of the calendar: three years from 29 February 2024 end on 28 February
//! 2027, at the same time of day.

use jiff::civil::{Date, Weekday};
use jiff::{Span, tz::Offset};

use crate::time::Timestamp;

/// The most months that a rule may count: a century, well inside what the calendar can hold.
pub const MONTHS_MAX: u32 = 1200;
/// The most business days that a deadline may have: about a year.
pub const BUSINESS_DAYS_MAX: u32 = 250;

/// The instant `months` calendar months after `start`. A day that the month does not have becomes its last day.
///
/// An instant that the calendar cannot hold gives `start` itself, so that what is counted has ended: the strict
/// reading.
pub fn months_after(start: Timestamp, months: u32) -> Timestamp {
    let later = || {
        let instant = jiff::Timestamp::from_millisecond(start.as_millis()).ok()?;
        let civil = Offset::UTC.to_datetime(instant);
        let span = Span::new().try_months(i64::from(months.min(MONTHS_MAX))).ok()?;
        let moved = Offset::UTC.to_timestamp(civil.checked_add(span).ok()?).ok()?;
        Some(Timestamp::from_millis(moved.as_millisecond()))
    };
    later().unwrap_or(start)
}

/// Whether `now` still lies within `months` calendar months of `start`: strictly before their end, and not before
/// `start`. At the last second it does, at the exact end it does not.
pub fn is_within_months(start: Timestamp, months: u32, now: Timestamp) -> bool {
    if start > now {
        return false;
    }
    // Most answers are clear without the calendar: no month is shorter than 28 days or longer than 31.
    let counted = i64::from(months.min(MONTHS_MAX));
    let age = now.as_millis().saturating_sub(start.as_millis());
    if age >= counted * 31 * MILLIS_PER_DAY {
        return false;
    }
    age < counted * 28 * MILLIS_PER_DAY || now < months_after(start, months)
}

const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

/// The last day of a deadline of `days` business days that begins on `received`: Saturdays, Sundays and `holidays`
/// do not count, and neither does the day of receipt (16 CFR 316.4; CASL section 11(3); Spam Act 2003 schedule 2).
///
/// With no days at all the deadline is the day itself. Past the end of the calendar it is the last day reached.
pub fn business_days_after(received: Date, days: u32, holidays: &[Date]) -> Date {
    let mut day = received;
    let mut left = days.min(BUSINESS_DAYS_MAX);
    while left > 0 {
        let Ok(next) = day.tomorrow() else { return day };
        day = next;
        let is_weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        if !is_weekend && !holidays.contains(&day) {
            left -= 1;
        }
    }
    day
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (start, months, end) in [
            ("2023-11-24T10:00:00Z", 36, "2026-11-24T10:00:00Z"),
            ("2024-02-29T10:00:00Z", 36, "2027-02-28T10:00:00Z"),
            ("2026-01-31T00:00:00Z", 1, "2026-02-28T00:00:00Z"),
            ("2026-08-31T23:59:59Z", 6, "2027-02-28T23:59:59Z"),
            ("2026-01-31T00:00:00Z", 0, "2026-01-31T00:00:00Z"),
        ] {
            assert_eq!(months_after(at(start), months), at(end), "{start} + {months}");
        }
    }

    #[test]
    fn the_last_millisecond_is_within_and_the_end_is_not() {
        let start = at("2023-11-24T10:00:00Z");
        let end = at("2026-11-24T10:00:00Z");
        assert!(is_within_months(start, 36, Timestamp::from_millis(end.as_millis() - 1)));
        assert!(!is_within_months(start, 36, end));
        assert!(is_within_months(start, 36, start));
        assert!(!is_within_months(start, 36, Timestamp::from_millis(start.as_millis() - 1)), "not from the future");
    }

    proptest::proptest! {
        #[test]
        fn the_short_way_agrees_with_the_calendar(days in 0..40_000_i64, months in 0..1300_u32, off in -2..3_i64) {
            let start = Timestamp::from_secs(days * 86_400);
            let end = months_after(start, months);
            for now in [Timestamp::from_millis(end.as_millis() + off), start, Timestamp::from_secs(days * 86_400 * 2)] {
                proptest::prop_assert_eq!(is_within_months(start, months, now), start <= now && now < end);
            }
        }
    }

    #[test]
    fn what_the_calendar_cannot_hold_has_ended() {
        let never = Timestamp::from_millis(i64::MAX);
        assert_eq!(months_after(never, 1), never);
        assert!(!is_within_months(Timestamp::from_secs(0), 1, never));
        let century = months_after(at("2000-01-01"), MONTHS_MAX);
        assert_eq!(months_after(at("2000-01-01"), MONTHS_MAX + 1), century);
        assert_eq!(century, at("2100-01-01"));
    }

    #[test]
    fn business_days_skip_weekends_and_holidays() {
        let friday = date(2026, 11, 20);
        assert_eq!(business_days_after(friday, 0, &[]), friday);
        assert_eq!(business_days_after(friday, 1, &[]), date(2026, 11, 23));
        assert_eq!(business_days_after(friday, 5, &[]), date(2026, 11, 27));
        assert_eq!(business_days_after(friday, 10, &[]), date(2026, 12, 4));
        assert_eq!(business_days_after(friday, 10, &[date(2026, 11, 26)]), date(2026, 12, 7));
        let year = business_days_after(friday, BUSINESS_DAYS_MAX, &[]);
        assert_eq!(business_days_after(friday, BUSINESS_DAYS_MAX + 1, &[]), year);
        assert_eq!(business_days_after(Date::MAX, 3, &[]), Date::MAX);
    }
}
