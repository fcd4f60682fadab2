//! What is answered when the answer is no: problem details (RFC 9457), in one shape for everything.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::body::Kind;
use super::call::etag;
use super::table::Dialect;
use crate::compat::{postmark, sendgrid};
use crate::store::{Revision, StoreError, Tried};

/// Seconds after which what was away may be back, and a connection may have become free.
const LATER: &str = "10";

/// Why a request was not done. Its status says whose fault it is: 4xx the caller's, 503 nobody's here and worth another try.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// A word for programs, the end of the problem's type.
    kind: &'static str,
    title: &'static str,
    /// What was expected, for people.
    detail: String,
    /// The present state, where another one was named.
    revision: Option<Revision>,
}

/// What came of a change that named a state.
///
/// # Errors
/// 412 when that was not the present one.
pub(super) fn done<T>(tried: Tried<T>) -> Result<T, Problem> {
    match tried {
        Tried::Done(done) => Ok(done),
        Tried::Meanwhile(present) => Err(Problem::changed(present)),
    }
}

impl Problem {
    const fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Self { status, kind, title, detail, revision: None }
    }

    /// Something in the request is not what was expected.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request is not as expected", detail.into())
    }

    /// Nobody is known by what was shown.
    pub(super) fn unknown_caller() -> Self {
        let detail = "expected `Authorization: Bearer TOKEN` with a token of this gateway that is not revoked";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed", detail.to_owned())
    }

    /// The token is known and does not allow this.
    pub(super) fn forbidden(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail)
    }

    /// The token is for other facts.
    pub(super) fn outside(what: &str) -> Self {
        Self::forbidden(format!("{what} is outside what this token is for"))
    }

    /// There is no such thing, or none that the caller may know of.
    pub(super) fn absent(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail.into())
    }

    /// The path is there, the method is not.
    pub(super) fn method() -> Self {
        let detail = "this path has other methods; see the OpenAPI description".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", detail)
    }

    /// Someone has changed it since the caller looked.
    fn changed(present: Revision) -> Self {
        let detail = "If-Match names another state than the present one; read it again".to_owned();
        let changed = Self::new(StatusCode::PRECONDITION_FAILED, "changed", "It has changed since it was read", detail);
        Self { revision: Some(present), ..changed }
    }

    /// Events that the caller has not read are not kept any more.
    pub(super) fn gone(detail: String) -> Self {
        Self::new(StatusCode::GONE, "gone", "It is no longer kept", detail)
    }

    /// The body is longer than its bound.
    pub(super) fn too_large(max: usize) -> Self {
        let detail = format!("expected at most {max} octets");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// The body comes without its length.
    pub(super) fn length_required() -> Self {
        let detail = "expected Content-Length instead of Transfer-Encoding".to_owned();
        Self::new(StatusCode::LENGTH_REQUIRED, "length-required", "The length must be known", detail)
    }

    /// The body is of none of the kinds that are taken.
    pub(super) fn media_type(taken: &[Kind]) -> Self {
        let taken: Vec<_> = taken.iter().map(|kind| kind.as_str()).collect();
        let detail = format!("expected Content-Type: {}", taken.join(" or "));
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The kind of body is not taken here", detail)
    }

    /// A change that a stated reason alone allows, or that nothing does.
    pub(super) fn refused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", "What is on record stands against it", detail.into())
    }

    /// Too often.
    pub(super) fn too_often() -> Self {
        let detail = "more requests than this caller may make; wait as Retry-After says".to_owned();
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "Too many requests", detail)
    }

    /// An address has as many connections as it may.
    pub(super) fn crowded(max: usize) -> Self {
        let detail = format!("this address has {max} connections already; expected that they are used again or closed");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "crowded", "Too many connections", detail)
    }

    /// The facts cannot be had or changed now.
    pub(super) fn unavailable(detail: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now", detail)
    }

    /// The body did not arrive in time.
    pub(super) fn too_slow() -> Self {
        let detail = "the body did not arrive in time".to_owned();
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The request is too slow", detail)
    }

    /// The status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What was expected.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ReasonNeeded { .. } => Self::refused(error.to_string()),
            StoreError::OptOutExpires { .. } | StoreError::TooLong { .. } | StoreError::Unfit { .. } => {
                Self::malformed(error.to_string())
            }
            // Whatever it is: no answer about a person. An operator finds the words in the log, callers only that it is ours.
            StoreError::Missing { .. }
            | StoreError::Older { .. }
            | StoreError::Foreign { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::KeyMissing { .. }
            | StoreError::KeyWrong { .. }
            | StoreError::KeyUnfit { .. }
            | StoreError::Io { .. }
            | StoreError::Busy
            | StoreError::Sql { .. }
            | StoreError::Latched { .. }
            | StoreError::Away { .. }
            | StoreError::Settling { .. }
            | StoreError::Refused { .. }
            | StoreError::Stopping => {
                tracing::error!(%error, "the store did not answer the API");
                Self::unavailable("the store does not answer now".to_owned())
            }
        }
    }
}

impl Problem {
    fn body(&self) -> Value {
        json!({
            "type": format!("urn:consentry:problem:{}", self.kind), "title": self.title,
            "status": self.status.as_u16(), "detail": self.detail,
        })
    }

    /// As all that is said on a connection, before anything was asked.
    pub(super) fn unasked(&self) -> Vec<u8> {
        let (status, body) = (self.status, self.body().to_string());
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nRetry-After: {LATER}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// As an answer in the words of `dialect`.
    pub(super) fn response(self, dialect: Dialect) -> Response {
        let body = match dialect {
            Dialect::Ours => self.body(),
            Dialect::Mailgun => json!({ "message": self.detail }),
            Dialect::SendGrid => json!(sendgrid::Errors::new(self.detail)),
            Dialect::Postmark => json!(postmark::Fault::new(postmark_code(self.status), self.detail)),
        };
        let mut response = (self.status, body.to_string()).into_response();
        let fields = response.headers_mut();
        fields.insert(
            header::CONTENT_TYPE,
            match dialect {
                Dialect::Ours => HeaderValue::from_static("application/problem+json"),
                Dialect::Mailgun | Dialect::SendGrid | Dialect::Postmark => {
                    HeaderValue::from_static("application/json")
                }
            },
        );
        fields.extend(self.revision.and_then(etag));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"consentry\""));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                fields.insert(header::RETRY_AFTER, HeaderValue::from_static(LATER));
            }
            _ => {}
        }
        response
    }
}

/// Postmark's number for it: a bad token, an unknown stream, or a request that is not as expected.
const fn postmark_code(status: StatusCode) -> u16 {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 10,
        StatusCode::NOT_FOUND => 1226,
        _ => 300,
    }
}
