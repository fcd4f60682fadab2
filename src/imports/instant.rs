//! Instants as exports write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// Seconds below this are seconds since 1970; above, milliseconds: it lies in the year 5138.
const SECONDS_MAX: i64 = 99_999_999_999;
/// Forms without a zone, read as UTC: Mailchimp, listmonk, Mautic; Brevo; MailUp; dates with a slash are left out, since
/// they mean two days.
const CIVIL: [&str; 6] =
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%Y%m%dT%H%M%S", "%d-%m-%Y"];

/// Reads an instant: RFC 3339, a date, seconds or milliseconds since 1970, RFC 5322, or one of the forms above.
///
/// # Errors
/// A sentence naming what was expected.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Ok(if number > SECONDS_MAX { Timestamp::from_millis(number) } else { Timestamp::from_secs(number) });
    }
    let civil = |form: &&str| TimeZone::UTC.to_timestamp(DateTime::strptime(form, text).ok()?).ok();
    if let Some(at) = CIVIL.iter().find_map(civil) {
        return Ok(Timestamp::from_millis(at.as_millisecond()));
    }
    // SparkPost, SendGrid and others write a blank where RFC 3339 has a T, with a zone behind.
    if let Ok(zoned) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(zoned.as_millisecond()));
    }
    let mailed = text.strip_suffix(" UTC").map_or_else(|| text.to_owned(), |stem| format!("{stem} +0000"));
    match jiff::fmt::rfc2822::parse(&mailed) {
        Ok(zoned) => Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond())),
        Err(_) => Timestamp::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_same_instant() {
        for text in [
            "2026-11-24T01:02:03Z",
            "2026-11-24T02:02:03+01:00",
            "2026-11-24 01:02:03",
            "2026-11-24 01:02:03+00:00",
            "24-11-2026 01:02:03",
            "20261124T010203",
            "1795482123",
            "1795482123000",
            "Tue, 24 Nov 2026 01:02:03 UTC",
            "Tue, 24 Nov 2026 01:02:03 +0000",
            " 2026-11-24 01:02:03 ",
        ] {
            assert_eq!(instant(text), Ok(Timestamp::from_secs(1_795_482_123)), "{text}");
        }
        assert_eq!(instant("2026-11-24"), Ok(Timestamp::parse("2026-11-24").unwrap()));
        assert_eq!(instant("24-11-2026 01:02"), Ok(Timestamp::from_secs(1_795_482_120)));
    }

    #[test]
    fn a_day_that_could_be_two_is_refused() {
        for text in ["11/12/2026", "yesterday", "", "2026-13-01"] {
            assert!(instant(text).unwrap_err().contains("expected RFC 3339"), "{text}");
        }
    }
}
