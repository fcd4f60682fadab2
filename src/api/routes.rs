//! From a request to its handler and back: who asks, whether they may, what they are answered.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::call::{Call, Caller, Query, REQUEST_ID, Reply, request_id};
use super::problem::Problem;
use super::table::{Dialect, Needs, Parameter, Route, Verb};
use super::token::{TOKENS_MAX, TokenName, Tokens};
use super::{Desk, body, compat, consents, decisions, events, openapi, queue, rules, suppressions};

/// Requests with tokens that nobody has, from everybody together: a program with an old token asks again and again, and is told so
/// as often; a flood of them costs no more than this.
const FOREIGN: Quota = Quota::per_second(NonZeroU32::new(50).unwrap());

/// Where Postmark's clients put their key.
const POSTMARK_TOKEN: HeaderName = HeaderName::from_static("x-postmark-server-token");

/// Everything that requests are answered with. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    pub(super) desk: Desk,
    limits: Arc<Limits>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("api::Door").finish_non_exhaustive()
    }
}

struct Limits {
    foreign: DefaultDirectRateLimiter,
    /// About as many as there are tokens.
    tokens: DefaultKeyedRateLimiter<TokenName>,
}

impl Door {
    /// A door to `desk`, where one token may make `rate` requests a second, and twice as many at once.
    pub fn new(desk: Desk, rate: NonZeroU32) -> Self {
        let quota = Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
        let limits = Limits { foreign: RateLimiter::direct(FOREIGN), tokens: RateLimiter::keyed(quota) };
        Self { desk, limits: Arc::new(limits) }
    }

    /// Who it is that shows these fields.
    fn caller(&self, came_as: Caller, fields: &HeaderMap) -> Result<Caller, Problem> {
        let Caller::Anybody = came_as else { return Ok(came_as) };
        let Some(shown) = secret(fields) else { return Ok(came_as) };
        let tokens = Tokens::read(&self.desk.tokens).map_err(|error| {
            tracing::error!(%error, "tokens cannot be read");
            Problem::unavailable("tokens cannot be read now".to_owned())
        })?;
        match tokens.find(&shown) {
            Some(token) => {
                let name = token.name.clone();
                if self.limits.tokens.len() > TOKENS_MAX {
                    // Names of tokens that were revoked long ago.
                    self.limits.tokens.retain_recent();
                }
                self.limits.tokens.check_key(&name).map_err(|_| Problem::too_often())?;
                Ok(Caller::Token { name, reach: token.reach.clone(), rights: token.rights.clone() })
            }
            None if self.limits.foreign.check().is_err() => Err(Problem::too_often()),
            None => Err(Problem::unknown_caller()),
        }
    }

    async fn answer(&self, route: &Route, path: HashMap<String, String>, request: Request, id: &str) -> Response {
        let answered = match self.call(route, path, request, id).await {
            Ok(call) => (route.handler)(call).await,
            Err(problem) => Err(problem),
        };
        answered.map_or_else(|problem| problem.response(route.dialect), Reply::into_response)
    }

    async fn call(
        &self,
        route: &Route,
        path: HashMap<String, String>,
        request: Request,
        id: &str,
    ) -> Result<Call, Problem> {
        let (head, octets) = request.into_parts();
        let came_as = head.extensions.get::<Caller>().cloned().unwrap_or(Caller::Anybody);
        let caller = self.caller(came_as, &head.headers)?;
        caller.may(route.needs)?;
        let query = Query::read(head.uri.query().unwrap_or_default(), route.query)?;
        let body = match route.body {
            Some(_) => body::read(&head.headers, octets, route.dialect).await?,
            None => none(&head.headers, &octets)?,
        };
        let (id, desk) = (id.to_owned(), self.desk.clone());
        Ok(Call { desk, caller, id, path, query, fields: head.headers, body })
    }
}

/// A request that has nothing to say must not say anything either: what follows it on the connection is the next one.
fn none(fields: &HeaderMap, octets: &Body) -> Result<bytes::Bytes, Problem> {
    use hyper::body::Body as _;
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::length_required());
    }
    if octets.is_end_stream() {
        Ok(bytes::Bytes::new())
    } else {
        Err(Problem::malformed("body: none is expected here"))
    }
}

/// `Bearer TOKEN` (RFC 6750 section 2.1), or as clients of other services give their keys: the password of whatever name
/// (RFC 7617), or a field of its own.
fn secret(fields: &HeaderMap) -> Option<String> {
    if let Some(token) = fields.get(POSTMARK_TOKEN) {
        return token.to_str().ok().map(str::to_owned);
    }
    let value = fields.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let basic = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok()).flatten()?;
    let text = String::from_utf8(basic).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Every route of the door.
pub(super) fn all() -> impl Iterator<Item = &'static Route> {
    [
        OPENAPI.as_slice(),
        suppressions::ROUTES,
        consents::ROUTES,
        decisions::ROUTES,
        rules::ROUTES,
        events::ROUTES,
        queue::ROUTES,
        compat::sendgrid::ROUTES,
        compat::postmark::ROUTES,
        compat::mailgun::ROUTES,
    ]
    .into_iter()
    .flatten()
}

const OPENAPI: [Route; 1] = [Route {
    verb: Verb::Get,
    path: "/v1/openapi.json",
    needs: Needs::Nothing,
    about: "This description.",
    query: &[] as &[Parameter],
    body: None,
    answers: &[(200, "Any")],
    dialect: Dialect::Ours,
    handler: |_| Box::pin(async { Ok(super::call::Reply::ok(openapi::document())) }),
}];

/// The router over all of them.
pub(super) fn router(door: Door) -> Router {
    let mut paths: Vec<(&str, MethodRouter<Door>)> = Vec::new();
    for route in all() {
        let filter = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Put => MethodFilter::PUT,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        };
        let handle = move |State(door): State<Door>, path: RawPathParams, request: Request| async move {
            let id = request_id(request.headers().get(REQUEST_ID));
            let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let response = door.answer(route, path, request, &id).await;
            harden(response, &id)
        };
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, methods)) => *methods = std::mem::take(methods).on(filter, handle),
            None => paths.push((route.path, on(filter, handle))),
        }
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    let absent = || async { harden(Problem::absent("no such path; see /v1/openapi.json").response(Dialect::Ours), "") };
    let method = || async { harden(Problem::method().response(Dialect::Ours), "") };
    router.fallback(absent).method_not_allowed_fallback(method).with_state(door)
}

fn harden(mut response: Response, id: &str) -> Response {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(id) = HeaderValue::from_str(id).ok().filter(|id| !id.is_empty()) {
        fields.insert(REQUEST_ID, id);
    }
    response
}
