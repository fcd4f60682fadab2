//! One request, with who makes it; and what it is answered with.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Desk;
use super::problem::Problem;
use super::reach::{Reach, Right};
use super::table::Needs;
use super::token::TokenName;
use crate::store::{Revision, Seen};
use crate::telemetry::{Event, EventType};

/// Longest request id that is taken over from the caller.
const REQUEST_ID_MAX: usize = 64;
/// The header that it comes and goes in.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Whoever may open the socket in the data folder: an operator, by the number that the kernel vouches for.
    Operator {
        /// The user.
        uid: u32,
    },
    /// Whoever shows a token.
    Token {
        /// What it is called.
        name: TokenName,
        /// Whose facts.
        reach: Reach,
        /// What it allows.
        rights: Vec<Right>,
    },
    /// Anybody: for what everybody may read.
    Anybody,
}

impl Caller {
    /// Whether it may use a route.
    ///
    /// # Errors
    /// 401 or 403.
    pub(super) fn may(&self, needs: Needs) -> Result<(), Problem> {
        match (self, needs) {
            (Self::Operator { .. }, _) | (_, Needs::Nothing) => Ok(()),
            (Self::Token { rights, .. }, Needs::Right(right)) if rights.contains(&right) => Ok(()),
            (Self::Token { .. }, Needs::Right(right)) => Err(Problem::forbidden(format!("it has no `{right}`"))),
            (Self::Token { .. }, Needs::Operator) => {
                Err(Problem::forbidden("this is for operators at the socket in the data folder".to_owned()))
            }
            (Self::Anybody, Needs::Right(_) | Needs::Operator) => Err(Problem::unknown_caller()),
        }
    }

    /// Whose facts it may see and change.
    pub(super) const fn reach(&self) -> &Reach {
        match self {
            Self::Operator { .. } | Self::Anybody => &Reach::Gateway,
            Self::Token { reach, .. } => reach,
        }
    }
}

/// For records: `uid:0`, `token:shop`.
impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator { uid } => write!(f, "uid:{uid}"),
            Self::Token { name, .. } => write!(f, "token:{name}"),
            Self::Anybody => f.write_str("nobody"),
        }
    }
}

/// The id of a request: the caller's, when it is one word, or ours.
pub(super) fn request_id(given: Option<&HeaderValue>) -> String {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
    let given = given.and_then(|value| value.to_str().ok());
    let fit = given.filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(fits));
    fit.map_or_else(own_id, str::to_owned)
}

fn own_id() -> String {
    let mut octets = [0; 8];
    // Without randomness the id is the same twice; nothing rests on it.
    let _zeros = aws_lc_rs::rand::fill(&mut octets);
    crate::hex::encode(&octets)
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) desk: Desk,
    pub(super) caller: Caller,
    /// Its id.
    pub(super) id: String,
    /// Named parts of the path.
    pub(super) path: HashMap<String, String>,
    pub(super) query: Query,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// The body, as the shape that a route takes.
    ///
    /// # Errors
    /// 400 with the place and what was expected.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::malformed(format!("body: {error}")))
    }

    /// What the caller saw of what is to be changed, when they say so (RFC 9110 section 13.1.1). `*` says nothing: whatever is
    /// known of somebody has a state. What is none of our tags, or a weak one, is a state that never was.
    pub(super) fn seen(&self) -> Option<Seen> {
        let mut lines = self.fields.get_all(header::IF_MATCH).iter().peekable();
        lines.peek()?;
        let texts: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        if texts.iter().any(|text| text.trim() == "*") {
            return None;
        }
        let tags = texts.iter().flat_map(|text| text.split(','));
        let revision = |tag: &str| Revision::parse(tag.trim().strip_prefix('"')?.strip_suffix('"')?);
        Some(Seen { reach: self.caller.reach().clone(), any_of: tags.filter_map(revision).collect() })
    }

    /// Who is written down as the one who did it. An operator may say their name; a token has its own.
    pub(super) fn by(&self, said: Option<String>) -> String {
        match (&self.caller, said) {
            (Caller::Operator { .. }, Some(said)) => said,
            (caller, _) => caller.to_string(),
        }
    }

    /// What stands in front of a path in an address of ours that the caller can follow.
    pub(super) fn origin(&self) -> String {
        let host = self.fields.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let proto = self.fields.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
        let scheme = if proto == Some("https") || self.desk.speaks_tls { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    /// An event of this request.
    pub(super) fn event(&self, kind: EventType) -> Event {
        let mut event = Event::new(kind, self.desk.control.clock.now());
        event.credential = Some(self.caller.to_string());
        event.session_id = Some(self.id.clone());
        event
    }

    /// Runs what waits for the disk.
    ///
    /// # Errors
    /// What `work` answers, and 503 while the process ends.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Desk) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let desk = self.desk.clone();
        let done = tokio::task::spawn_blocking(move || work(&desk)).await;
        done.map_err(|_| Problem::unavailable("the gateway is stopping".to_owned()))?
    }
}

/// `a=b&c=d`, read back.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((unescape(name)?, unescape(value)?))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// What stands behind the `?`, each name with its value.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d` with percent escapes, and refuses names that the route does not have.
    ///
    /// # Errors
    /// 400 naming what is expected.
    pub(super) fn read(text: &str, known: &[super::table::Parameter]) -> Result<Self, Problem> {
        let read = pairs(text).ok_or_else(|| Problem::malformed("query: expected UTF-8 in percent escapes"))?;
        let mut pairs = Vec::new();
        for (name, value) in read {
            if !known.iter().any(|known| known.name == name) {
                let known: Vec<_> = known.iter().map(|known| known.name).collect();
                return Err(Problem::malformed(format!(
                    "query: `{name}` is not known here; known: {}",
                    known.join(", ")
                )));
            }
            match pairs.iter().find(|(earlier, _): &&(String, String)| *earlier == name) {
                None => pairs.push((name, value)),
                // mailgun.js says the limit again behind the address of a page, which has it already.
                Some((_, earlier)) if *earlier == value => {}
                Some(_) => {
                    return Err(Problem::malformed(format!("query: `{name}` stands there twice and not the same")));
                }
            }
        }
        Ok(Self(pairs))
    }

    /// A value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value as what it has to be.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let read = |text: &str| text.parse().map_err(|error| Problem::malformed(format!("{name}: {error}")));
        self.get(name).map(read).transpose()
    }

    /// How many: from 1 to `max`, which also stands for none given.
    ///
    /// # Errors
    /// 400 naming the bounds.
    pub(super) fn limit(&self, max: usize) -> Result<usize, Problem> {
        let wrong = || Problem::malformed(format!("limit: expected a number from 1 to {max}"));
        let Some(text) = self.get("limit") else { return Ok(max) };
        text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(wrong)
    }

    /// A number of seconds up to `max`; nothing given is none.
    ///
    /// # Errors
    /// 400 naming the bounds.
    pub(super) fn seconds(&self, name: &str, max: Duration) -> Result<Duration, Problem> {
        let max = max.as_secs();
        let wrong = || Problem::malformed(format!("{name}: expected a number of seconds from 0 to {max}"));
        let Some(text) = self.get(name) else { return Ok(Duration::ZERO) };
        text.parse().ok().filter(|seconds| *seconds <= max).map(Duration::from_secs).ok_or_else(wrong)
    }
}

/// Percent escapes and `+` back into text.
fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok().filter(|d| !d.starts_with('+'))?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

/// What was done, or is known.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    body: Option<Value>,
    revision: Option<Revision>,
}

impl Reply {
    pub(super) const fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), revision: None }
    }

    /// With nothing to say.
    pub(super) const fn empty(status: StatusCode) -> Self {
        Self { status, body: None, revision: None }
    }

    pub(super) const fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// With the state that If-Match can name.
    pub(super) fn tagged(self, revision: Revision) -> Self {
        Self { revision: Some(revision), ..self }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Some(body) = self.body else { return self.status.into_response() };
        let mut response = (self.status, body.to_string()).into_response();
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.extend(self.revision.and_then(etag));
        response
    }
}

/// The strong entity tag of a state (RFC 9110 section 8.8.3).
pub(super) fn etag(revision: Revision) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(&format!("\"{revision}\"")).ok().map(|tag| (header::ETAG, tag))
}

#[cfg(test)]
mod tests {
    use super::super::table::Parameter;
    use super::*;

    const KNOWN: &[Parameter] = &[Parameter::text("after", "x"), Parameter::text("limit", "x")];

    #[test]
    fn queries_are_read_strictly() {
        let query = Query::read("after=a%2Bb+c&limit=7", KNOWN).unwrap();
        assert_eq!((query.get("after"), query.limit(7).unwrap()), (Some("a+b c"), 7));
        assert_eq!(Query::read("limit=7&after=x&limit=7", KNOWN).unwrap().limit(7).unwrap(), 7, "twice the same");
        assert!(query.limit(6).is_err(), "past its bound");
        for bad in ["x=1", "after=1&after=2", "after=%", "after=%4", "after=%+4", "after=%ff", "limit"] {
            let wrong = Query::read(bad, KNOWN).and_then(|query| query.limit(10));
            assert!(wrong.is_err(), "{bad}");
        }
        assert!(Query::read("", KNOWN).unwrap().get("after").is_none());
    }

    #[test]
    fn a_request_id_is_one_short_word_or_ours() {
        let id = |text: &str| request_id(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(id("job-7.a_B"), "job-7.a_B");
        assert_eq!(id(&"x".repeat(REQUEST_ID_MAX)).len(), REQUEST_ID_MAX);
        for bad in ["", "a b", "a\"b", &"x".repeat(REQUEST_ID_MAX + 1)] {
            assert_eq!(id(bad).len(), 16, "{bad}");
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
