//! The body of a request: JSON, with its length, within its bound.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};

use tokio::time::timeout;

use super::problem::Problem;
use super::table::Dialect;

/// Longest body: a thousand entries of a bulk request at a kilobyte each.
pub(super) const BODY_MAX: usize = 1024 * 1024;
/// Most things in one bulk request: one transaction of the store.
pub(super) const ITEMS_MAX: usize = crate::store::CHUNK_MAX;

/// How long one may take to arrive, on a slow line too: a hundred kilobytes a second.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What programs send.
const JSON: &str = "application/json";
/// What clients of Mailgun send.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// Which of the kinds that are known a body is of.
pub(super) fn kind(fields: &HeaderMap) -> Option<&'static str> {
    let named = fields.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    [JSON, FORM].into_iter().find(|known| named.eq_ignore_ascii_case(known))
}

/// Reads it.
///
/// # Errors
/// 408, 411, 413, 415, and 400 for one that breaks off.
pub(super) async fn read(fields: &HeaderMap, body: Body, dialect: Dialect) -> Result<Bytes, Problem> {
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::length_required());
    }
    let length = fields.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX) {
        return Err(Problem::too_large(BODY_MAX));
    }
    let is_form = dialect == Dialect::Mailgun && kind(fields) == Some(FORM);
    if !is_form && kind(fields) != Some(JSON) {
        return Err(Problem::media_type());
    }
    let whole = timeout(BODY_WITHIN, Limited::new(body, BODY_MAX).collect()).await.map_err(|_| Problem::too_slow())?;
    whole.map(http_body_util::Collected::to_bytes).map_err(|_| Problem::malformed("body: it broke off"))
}
