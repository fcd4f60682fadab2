//! What an answer means. Pure.

use hyper::StatusCode;

use crate::https::Hindrance;

/// What a hook said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 2xx.
    Taken,
    /// Not this, whether for now or for ever: receivers seldom tell one from the other.
    Refused(String),
    /// Nothing that is about an event: nobody answers, or it asks for patience, or points elsewhere.
    Down(String),
    /// RFC 9110 section 15.5.11: it is not there any more, and says so itself.
    Gone,
}

impl Answer {
    /// What was answered, or why nothing was.
    pub(super) fn of(said: Result<StatusCode, Hindrance>) -> Self {
        match said {
            Ok(status) => match status.as_u16() {
                200..=299 => Self::Taken,
                410 => Self::Gone,
                // A redirect is not followed: it would lead to a host that nobody allowed.
                300..=399 | 429 | 503 => Self::Down(format!("HTTP {}", status.as_u16())),
                _ => Self::Refused(format!("HTTP {}", status.as_u16())),
            },
            // A receiver may break down over one event.
            Err(why @ (Hindrance::TimedOut | Hindrance::BrokenOff(_))) => Self::Refused(why.to_string()),
            Err(
                why @ (Hindrance::NoTrust(_)
                | Hindrance::Forbidden(_)
                | Hindrance::NoAddress(_)
                | Hindrance::NotConnected(_)
                | Hindrance::NotTrusted(_)),
            ) => Self::Down(why.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_the_event_or_about_the_hook() {
        for (status, expected) in [
            (200, "taken"),
            (204, "taken"),
            (301, "down"),
            (307, "down"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (410, "gone"),
            (429, "down"),
            (500, "refused"),
            (502, "refused"),
            (503, "down"),
        ] {
            let found = match Answer::of(Ok(StatusCode::from_u16(status).unwrap())) {
                Answer::Taken => "taken",
                Answer::Refused(_) => "refused",
                Answer::Down(_) => "down",
                Answer::Gone => "gone",
            };
            assert_eq!(found, expected, "{status}");
        }
        let is_refused = |why| matches!(Answer::of(Err(why)), Answer::Refused(_));
        assert!(is_refused(Hindrance::TimedOut) && is_refused(Hindrance::BrokenOff(String::new())));
        assert!(!is_refused(Hindrance::NotConnected(String::new())));
    }
}
