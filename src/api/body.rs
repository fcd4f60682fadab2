//! The body of a request: of a kind that its route takes, with its length, within its bound.

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

/// The kinds that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What programs send.
    Json,
    /// A form in one line.
    Form,
    /// A form in parts (RFC 7578): what `curl -F` and mailgun.js send.
    Multipart,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Json, Self::Form, Self::Multipart];

    /// Its media type.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Multipart => "multipart/form-data",
        }
    }

    /// What the fields of a request say of its body.
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        let named = fields.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
        Self::ALL.into_iter().find(|kind| named.eq_ignore_ascii_case(kind.as_str()))
    }

    /// Those that requests of a dialect come in: forms where there is a schema of one.
    pub(super) const fn taken(dialect: Dialect) -> &'static [Self] {
        if dialect.form().is_some() { &Self::ALL } else { &[Self::Json] }
    }
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
    if !Kind::of(fields).is_some_and(|kind| Kind::taken(dialect).contains(&kind)) {
        return Err(Problem::media_type(Kind::taken(dialect)));
    }
    let whole = timeout(BODY_WITHIN, Limited::new(body, BODY_MAX).collect()).await.map_err(|_| Problem::too_slow())?;
    whole.map(http_body_util::Collected::to_bytes).map_err(|_| Problem::malformed("body: it broke off"))
}
