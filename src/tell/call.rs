//! One POST to one tool: RFC 8058 section 3.2, as a mailbox provider would send it.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;

use crate::cidr::AddressRange;
use crate::https::{self, Caller, Post, Target};

/// How long a call may take in all: mailbox providers wait about as long.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// RFC 8058 section 3.2: this and nothing else.
const BODY: &str = "List-Unsubscribe=One-Click";

/// How a call went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The tool has taken it: 2xx.
    Told(StatusCode),
    /// The tool has answered, and will say the same again. A redirect is such an answer: RFC 8058 forbids it, and following
    /// it would lead to a host that nobody allowed.
    Refused(StatusCode),
    /// Not now.
    Later(Hindrance),
}

/// Why a tool could not be told for now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Its host is not within the stream's `tell_hosts` any more. The operator may change that.
    NotAllowed,
    /// There was no answer.
    NoAnswer(https::Hindrance),
    /// 5xx, or a word that asks for patience.
    Asked(StatusCode),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("not within tell_hosts; not connected"),
            Self::NoAnswer(why) => write!(f, "{why}"),
            Self::Asked(status) => write!(f, "HTTP {}", status.as_u16()),
        }
    }
}

/// Makes the call, within [`CALL_TIMEOUT`].
pub(super) async fn call(caller: &Caller, target: &Target, networks: &[AddressRange]) -> Outcome {
    let post = Post {
        content_type: "application/x-www-form-urlencoded",
        fields: Vec::new(),
        body: Bytes::from_static(BODY.as_bytes()),
    };
    match caller.post(target, networks, post, CALL_TIMEOUT).await {
        Ok(status) => judge(status),
        Err(hindrance) => Outcome::Later(Hindrance::NoAnswer(hindrance)),
    }
}

/// RFC 9110 section 15: what an answer means for trying again.
fn judge(status: StatusCode) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Told(status),
        // Request timeout, misdirected, too early, too many requests, and whatever is wrong with the server.
        408 | 421 | 425 | 429 | 500.. => Outcome::Later(Hindrance::Asked(status)),
        _ => Outcome::Refused(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_final_or_ask_for_patience() {
        for (status, expected) in
            [(200, "told"), (202, "told"), (204, "told"), (301, "no"), (302, "no"), (307, "no")].into_iter().chain([
                (400, "no"),
                (404, "no"),
                (410, "no"),
                (408, "later"),
                (429, "later"),
                (500, "later"),
                (503, "later"),
            ])
        {
            let found = match judge(StatusCode::from_u16(status).unwrap()) {
                Outcome::Told(_) => "told",
                Outcome::Refused(_) => "no",
                Outcome::Later(_) => "later",
            };
            assert_eq!(found, expected, "{status}");
        }
    }
}
