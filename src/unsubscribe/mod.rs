//! The person's HTTP door: RFC 8058 one-click, and a page with one button for people.
//!
//! **Promise:** a POST that carries a token of ours is answered 200 once the opt-out is durable, and not before. GET and
//! HEAD change nothing. Whatever is wrong with a token, the answer is the same. No cookie, no redirect, no script.
//!
//! **Owns:** the route `/u/{token}`, the page.
//!
//! **Never knows:** the spool, delivery, how decisions are made, header syntax.
//!
//! **Standards:** RFC 8058 section 3.2; CPCE article L34-5 (leaving must be simple and free of charge).

mod page;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::mail::ControllerId;
use crate::optout::{OptOut, OptOuts};
use crate::policy::{Cause, Origin, Scope};
use crate::store::StoreError;
use crate::token::{self, Keyring, Subject};

/// A one-click body is 26 octets; a multipart one a few hundred.
const BODY_MAX: usize = 8 * 1024;
/// When the store cannot record, mailbox providers are asked to come back after this.
const RETRY_AFTER_SECONDS: &str = "120";
/// How long answering may take in all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the door needs to know; replaced as a whole at a reload.
#[derive(Debug, Default)]
pub struct Settings {
    /// Controllers whose one-click ends all their marketing instead of one list.
    pub whole_controller: HashSet<ControllerId>,
}

/// What the door is built from.
#[derive(Clone)]
pub struct Door {
    /// Takes the opt-outs.
    pub opt_outs: OptOuts,
    /// Keys of the tokens.
    pub keyring: Arc<Keyring>,
    /// Scope of one click, by controller.
    pub settings: Arc<ArcSwap<Settings>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// Serves the door until `stop` resolves; requests under way are finished.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: tokio::net::TcpListener,
    door: Door,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, routes(door)).with_graceful_shutdown(stop).await
}

fn routes(door: Door) -> Router {
    Router::new()
        .route("/u/{token}", get(show).post(opt_out))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || answer(StatusCode::NOT_FOUND, page::unknown()))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(door)
}

/// GET: a page with one button. Link scanners come this way, so nothing is written.
async fn show(State(door): State<Door>, Path(token): Path<String>) -> Response {
    match token::redeem(&door.keyring, &token) {
        Ok(subject) => answer(StatusCode::OK, page::confirm(&subject)),
        Err(_) => answer(StatusCode::NOT_FOUND, page::unknown()),
    }
}

/// POST: the opt-out. The token names the person; nothing in the body does (RFC 8058 section 3.2).
async fn opt_out(State(door): State<Door>, Path(token): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(subject) = token::redeem(&door.keyring, &token) else {
        return answer(StatusCode::NOT_FOUND, page::unknown());
    };
    if !is_one_click(&body) {
        return answer(StatusCode::BAD_REQUEST, page::confirm(&subject));
    }
    match tokio::time::timeout(ANSWER_TIMEOUT, record(&door, subject.clone(), origin(&headers))).await {
        Ok(Ok(())) => answer(StatusCode::OK, page::done(&subject)),
        Ok(Err(error)) => {
            tracing::error!(%error, "an opt-out could not be recorded");
            later()
        }
        Err(_elapsed) => later(),
    }
}

/// `List-Unsubscribe=One-Click` as a form field, urlencoded or multipart, whatever else stands around it.
fn is_one_click(body: &[u8]) -> bool {
    let urlencoded = body.split(|byte| *byte == b'&').any(|pair| pair.trim_ascii() == b"List-Unsubscribe=One-Click");
    let multipart = memchr::memmem::find(body, b"name=\"List-Unsubscribe\"")
        .and_then(|at| body.get(at..))
        .and_then(|rest| memchr::memmem::find(rest, b"\r\n\r\n").and_then(|end| rest.get(end + 4..)))
        .is_some_and(|value| value.starts_with(b"One-Click"));
    urlencoded || multipart
}

/// Browsers name the page they come from in Origin or Referer; mailbox providers have none.
fn origin(headers: &HeaderMap) -> Origin {
    if headers.contains_key(header::ORIGIN) { Origin::Page } else { Origin::OneClick }
}

async fn record(door: &Door, subject: Subject, origin: Origin) -> Result<(), StoreError> {
    let controller = subject.controller.clone();
    let whole = door.settings.load().whole_controller.contains(&controller);
    let scope = match subject.list.clone().filter(|_| !whole) {
        Some(list) => Scope::List(controller, list),
        None => Scope::Controller(controller),
    };
    door.opt_outs.record(&OptOut { subject, scope, cause: Cause::Unsubscribe, origin }).await.map(drop)
}

fn later() -> Response {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, page::later());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    response
}

fn answer(status: StatusCode, page: String) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
        ),
    ];
    (status, HEADERS, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_click_is_known_in_both_forms_and_nothing_else_is() {
        assert!(is_one_click(b"List-Unsubscribe=One-Click"));
        assert!(is_one_click(b"List-Unsubscribe=One-Click\r\n"));
        assert!(is_one_click(b"a=b&List-Unsubscribe=One-Click"));
        assert!(is_one_click(
            b"--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n"
        ));
        for other in [
            &b""[..],
            b"List-Unsubscribe",
            b"List-Unsubscribe=Two-Click",
            b"xList-Unsubscribe=One-Click",
            b"name=\"List-Unsubscribe\"",
        ] {
            assert!(!is_one_click(other), "{}", String::from_utf8_lossy(other));
        }
    }
}
