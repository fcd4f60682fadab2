//! What an answer of the door means.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE};

use super::Opens;
use super::probe::{Answered, Method, NoAnswer};

/// Beyond this a person wonders, and a mailbox provider may have gone.
const SLOW: Duration = Duration::from_secs(5);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Right,
    /// It works, and something deserves a look.
    Look,
    /// People cannot leave this way.
    Wrong,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Look => "look",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) verdict: Verdict,
    pub(super) why: String,
    pub(super) took: Option<Duration>,
}

impl Check {
    pub(super) fn new(what: impl Into<String>, verdict: Verdict, why: impl Into<String>) -> Self {
        Self { what: what.into(), verdict, why: why.into(), took: None }
    }
}

/// Judges the answer to one request.
pub(super) fn answer(method: Method, opens: Opens, answered: Result<Answered, NoAnswer>) -> Check {
    let link = match opens {
        Opens::Yes => "the doctor's link",
        Opens::No => "a link that nobody has",
    };
    let what = format!("{} {link}", method.as_str());
    match answered {
        Err(error) => Check::new(what, Verdict::Wrong, error.to_string()),
        Ok(answered) => {
            let (verdict, why) = judged(method, opens, &answered);
            Check { what, verdict, why, took: Some(answered.took) }
        }
    }
}

fn judged(method: Method, opens: Opens, answered: &Answered) -> (Verdict, String) {
    let Answered { status, headers, took } = answered;
    if let Some(why) = refusal(*status, opens, headers) {
        return (Verdict::Wrong, why);
    }
    if headers.contains_key(SET_COOKIE) {
        return (Verdict::Wrong, "a cookie was set: something in front of the gateway adds it".to_owned());
    }
    if *took > SLOW {
        return (Verdict::Look, format!("slow: expected an answer within {} s", SLOW.as_secs()));
    }
    if method == Method::Get
        && !(says(headers, CACHE_CONTROL, "no-store") && says(headers, REFERRER_POLICY, "no-referrer"))
    {
        return (Verdict::Look, "not marked no-store and no-referrer: the link could be kept or passed on".to_owned());
    }
    match opens {
        Opens::Yes => (Verdict::Right, String::new()),
        Opens::No => {
            (Verdict::Right, "refused like every link that is not ours; the store was not seen at work".to_owned())
        }
    }
}

/// RFC 8058 section 3.2 and what mailbox providers ask for: 200 or 202, at once, without conditions.
fn refusal(status: StatusCode, opens: Opens, headers: &HeaderMap) -> Option<String> {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
    let why = match (status.as_u16(), opens) {
        (200 | 202, Opens::Yes) | (404, Opens::No) => return None,
        (200 | 202, Opens::No) => "a link that is not ours was taken: this is not the gateway's door".to_owned(),
        (300..=399, _) => format!("{status} to {target}: a redirected POST becomes a GET, and nobody is unsubscribed"),
        (401 | 403 | 407 | 429, _) => {
            format!("{status}: something in front of the gateway asks for more than the link")
        }
        (404, Opens::Yes) => {
            "404: not the gateway's door, or a gateway with other token keys than those of this configuration"
                .to_owned()
        }
        (405, _) => "405: something in front of the gateway does not let this method through".to_owned(),
        (500..=599, _) => format!("{status}: the gateway or what stands in front of it failed"),
        (_, _) => format!("{status}: expected 200"),
    };
    Some(why)
}

fn says(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, opens: Opens) -> Option<String> {
        refusal(StatusCode::from_u16(code).unwrap(), opens, &HeaderMap::new())
    }

    #[test]
    fn only_the_right_status_is_taken() {
        for code in [200, 202] {
            assert_eq!(status(code, Opens::Yes), None);
            assert!(status(code, Opens::No).is_some());
        }
        assert_eq!(status(404, Opens::No), None);
        for code in [201, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 429, 500, 503] {
            assert!(status(code, Opens::Yes).is_some(), "{code}");
        }
    }

    #[test]
    fn slowness_is_seen_past_the_limit_and_not_at_it() {
        let took = |took| {
            let answered = Answered { status: StatusCode::OK, headers: HeaderMap::new(), took };
            judged(Method::Post, Opens::Yes, &answered).0
        };
        assert_eq!(took(SLOW), Verdict::Right);
        assert_eq!(took(SLOW + Duration::from_millis(1)), Verdict::Look);
    }
}
