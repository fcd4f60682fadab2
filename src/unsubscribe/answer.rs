//! Answers: a page with the header fields that every page of this door has.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::page::Page;

/// When the store cannot record, mailbox providers are asked to come back after this.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("120");
/// When somebody asks too often.
const RETRY_OFTEN: HeaderValue = HeaderValue::from_static("60");

/// Fields of every answer: nothing is kept, nothing leaks, nothing is framed, indexed or guessed.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow")),
    (header::VARY, HeaderValue::from_static("Accept-Language")),
];

/// A page as an answer.
pub(super) fn page(status: StatusCode, page: Page) -> Response {
    let Page { html, language, policy } = page;
    let mut response = (status, html).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    fields.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    // Made of base 64 and fixed words: always a fit value.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        fields.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let retry = match status {
        StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_LATER),
        StatusCode::TOO_MANY_REQUESTS => Some(RETRY_OFTEN),
        _ => None,
    };
    if let Some(retry) = retry {
        fields.insert(header::RETRY_AFTER, retry);
    }
    response
}

/// Adds the fields that every answer has.
pub(super) async fn harden(mut response: Response) -> Response {
    response.headers_mut().extend(HEADERS);
    response
}
