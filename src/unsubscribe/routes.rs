//! What each request comes to: who asks, in which language, with which token, for what.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::net::IpAddr;
use std::time::Duration;

use super::answer::{harden, page};
use super::form::{Form, FormError};
use super::head::BODY_MAX;
use super::page::{Notice, notice};
use super::server::Arrival;
use super::wish::Wish;
use super::{Door, acts, client, confirmation};
use crate::crowd::Pass;
use crate::locale::Language;
use crate::token::confirmation::Asked;
use crate::token::{self, Subject};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What stands before the token.
const PREFIX: &str = "/u/";
/// What stands before the token of a confirmation letter.
const CONFIRM: &str = "/c/";

/// Whoever asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor {
    /// From where: behind a trusted proxy, as that says.
    pub(super) from: IpAddr,
    /// Since when.
    pub(super) arrival: Arrival,
    /// Which language was asked for, by a link of the page or else by the browser.
    pub(super) asked: Option<Language>,
}

pub(super) fn routes(door: Door) -> Router {
    Router::new()
        .route("/u/{token}", get(show).post(act))
        .route("/c/{token}", get(question).post(confirm))
        .route("/healthz", get(async || "ok\n"))
        .fallback(stray)
        .layer(map_response(harden))
        .with_state(door)
}

/// GET and HEAD: link scanners come this way, so nothing is written.
async fn show(State(door): State<Door>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match enter(&door, &parts, arrival) {
        Ok((visitor, subject)) => acts::overview(&door, &visitor, &subject, StatusCode::OK).await,
        Err(refused) => *refused,
    }
}

/// POST: the token names the person and the list; nothing in the body does (RFC 8058 section 3.2).
async fn act(State(door): State<Door>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (visitor, subject) = match enter(&door, &parts, arrival) {
        Ok(entered) => entered,
        Err(refused) => return *refused,
    };
    match wish(&parts.headers, body).await {
        Ok(wish) => acts::fulfil(&door, &visitor, &subject, wish).await,
        Err(status) => page(status, notice(Notice::Unclear, visitor.language())),
    }
}

/// The page behind a confirmation letter. GET and HEAD change nothing.
async fn question(State(door): State<Door>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match invited(&door, &parts, arrival) {
        Ok((visitor, asked)) => confirmation::ask(&door, &visitor, &asked).await,
        Err(refused) => *refused,
    }
}

/// Its button: the token names the person and what they agree to; the body says that it was pressed.
async fn confirm(State(door): State<Door>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (visitor, asked) = match invited(&door, &parts, arrival) {
        Ok(invited) => invited,
        Err(refused) => return *refused,
    };
    match wish(&parts.headers, body).await {
        Ok(Wish::Confirm) => confirmation::confirm(&door, &visitor, &asked).await,
        Ok(Wish::OneClick | Wish::Leave(_) | Wish::ComeBack(_) | Wish::Choose(_)) => {
            page(StatusCode::BAD_REQUEST, notice(Notice::Unclear, visitor.language()))
        }
        Err(status) => page(status, notice(Notice::Unclear, visitor.language())),
    }
}

/// A visitor with a request to confirm, made here.
fn invited(door: &Door, parts: &Parts, arrival: Arrival) -> Result<(Visitor, Asked), Box<Response>> {
    let visitor = visitor(door, parts, arrival);
    let text = parts.uri.path().strip_prefix(CONFIRM).unwrap_or_default();
    match token::confirmation::redeem(&door.keyring, text) {
        Ok(asked) if door.limits.invited(&asked) == Pass::No => Err(Box::new(too_often(&visitor))),
        Ok(asked) => Ok((visitor, asked)),
        Err(_) => Err(Box::new(unknown(door, &visitor))),
    }
}

/// Everything else is as unknown as a foreign token.
async fn stray(State(door): State<Door>, Extension(arrival): Extension<Arrival>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    unknown(&door, &visitor(&door, &parts, arrival))
}

/// A visitor with a token of ours, who has not come too often. Whatever is wrong with a token, the answer is the same.
fn enter(door: &Door, parts: &Parts, arrival: Arrival) -> Result<(Visitor, Subject), Box<Response>> {
    let visitor = visitor(door, parts, arrival);
    // The path as it was sent: a token has nothing to unescape.
    let text = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let Ok(subject) = token::redeem(&door.keyring, text) else { return Err(Box::new(unknown(door, &visitor))) };
    match door.limits.person(&subject) {
        Pass::Yes => Ok((visitor, subject)),
        Pass::No => Err(Box::new(too_often(&visitor))),
    }
}

fn unknown(door: &Door, visitor: &Visitor) -> Response {
    match door.limits.foreign(visitor.from) {
        Pass::Yes => page(StatusCode::NOT_FOUND, notice(Notice::Unknown, visitor.language())),
        Pass::No => too_often(visitor),
    }
}

pub(super) fn too_often(visitor: &Visitor) -> Response {
    page(StatusCode::TOO_MANY_REQUESTS, notice(Notice::Often, visitor.language()))
}

fn visitor(door: &Door, parts: &Parts, arrival: Arrival) -> Visitor {
    let forwarded = parts.headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or_default());
    let lines: Vec<_> = forwarded.collect();
    let from = client::address(arrival.peer, lines.into_iter(), &door.settings.load().trusted_proxies);
    let chosen = parts.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("lang=")));
    let accepted = || text(&parts.headers, &header::ACCEPT_LANGUAGE).and_then(Language::accepted);
    Visitor { from, arrival, asked: chosen.and_then(Language::from_tag).or_else(accepted) }
}

impl Visitor {
    /// How to speak to somebody of whom nothing more is known.
    pub(super) fn language(&self) -> Language {
        self.asked.unwrap_or(Language::English)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Reads the body; the error is the status of the answer.
async fn wish(headers: &HeaderMap, body: Body) -> Result<Wish, StatusCode> {
    let octets = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => return Err(StatusCode::BAD_REQUEST),
        Err(_elapsed) => return Err(StatusCode::REQUEST_TIMEOUT),
    };
    read(headers, &octets)
}

fn read(headers: &HeaderMap, octets: &Bytes) -> Result<Wish, StatusCode> {
    let form = Form::read(text(headers, &header::CONTENT_TYPE), octets).map_err(|error| match error {
        FormError::Kind => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        FormError::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
        FormError::Malformed => StatusCode::BAD_REQUEST,
    })?;
    Wish::read(&form).ok_or(StatusCode::BAD_REQUEST)
}
