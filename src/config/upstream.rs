//! The sections `[upstream]`, `[retry]` and `[dns]`: the simple way out, when it is tried again, who knows the way.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::delivery::{Grouping, Route, Settings};
use crate::dns::{self, Anchors};
use crate::mail::{Domain, RouteName};
use crate::time::parse_span;

use super::error::Problems;
use super::protection::Secured;
use super::routes::{self, host_name};
use super::value::{duration, number, parsed, word};
use super::{files, protection, replies, shaping, v1, warmup};

/// First pause; half an hour is what RFC 5321 names, five minutes is what senders expect of a smarthost.
const RETRY_FIRST: Duration = Duration::from_mins(5);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_hours(1);
/// The name of the route that `[upstream]` makes.
pub(super) const NAME: &str = "upstream";

pub(super) fn settings(
    spec: &v1::Spec,
    base: &Path,
    hostname: &Domain,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    let replies = replies::book(spec, base, problems);
    let breaker = replies::breaker(&spec.bounces, problems);
    let groupings = [("upstream", Grouping::Upstream), ("domain", Grouping::Domain)];
    let grouping = match &spec.replies.groups {
        Some(text) => word(problems, "replies.groups", text, &groupings),
        None => Some(Grouping::Upstream),
    };
    let first = duration(problems, "retry.first", spec.retry.first.as_ref(), RETRY_FIRST);
    let longest = duration(problems, "retry.longest", spec.retry.longest.as_ref(), RETRY_LONGEST);
    let (routes, connections) = routes::routes(spec, base, hostname, problems)?;
    let shaping = shaping::book(spec, base, &routes, problems);
    let streams = shaping::streams(spec, problems);
    let plans = warmup::plans(spec, &routes, problems);
    let mut settings = Settings::new(routes, replies?);
    settings.shaping = shaping?;
    settings.streams = streams?;
    settings.warmup = plans?;
    settings.grouping = grouping?;
    settings.breaker = breaker?;
    // As many as can be under way at once: one whose reply is awaited on each connection, one whose settlement is being written.
    settings.max_unsettled = connections.saturating_mul(2);
    if let Some(text) = &spec.retry.warn_after {
        settings.warn_after = Some(parsed(problems, "retry.warn_after", text, parse_span)?);
    }
    settings.retry.first = first?;
    settings.retry.cap = longest?;
    for rest in [&mut settings.rest, &mut settings.domain_rest] {
        rest.first = rest.first.min(settings.retry.first);
        rest.cap = rest.cap.min(settings.retry.cap);
    }
    if settings.retry.cap < settings.retry.first {
        problems.add(0, "retry.longest", "expected to be at least retry.first");
    }
    Some(settings)
}

/// The one smarthost of `[upstream]`.
pub(super) fn route(
    written: &v1::Upstream,
    base: &Path,
    hostname: &Domain,
    problems: &mut Problems<'_>,
) -> Option<Route> {
    let host = parsed(problems, "upstream.host", &written.host, host_name);
    let port = number(problems, "upstream.port", written.port.as_ref(), 1..=65_535, 25);
    let connections = routes::connections("upstream", written.max_connections.as_ref(), problems);
    let host = host?;
    let wanted = protection::Wanted {
        section: "upstream",
        at: written.host.span().start,
        tls: written.tls.as_ref(),
        implicit: written.implicit_tls == Some(true),
        ca_file: written.ca_file.as_ref(),
        user: written.user.as_ref(),
        password_file: written.password_file.as_ref(),
        stays_here: host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        policies: None,
    };
    let Secured { protection, login, .. } = protection::protection(&wanted, base, problems)?;
    let mut route =
        Route::smarthost(RouteName::new(NAME).ok()?, host, u16::try_from(port?).ok()?, hostname.to_string());
    route.client.protection = protection;
    route.client.login = login;
    route.max_connections = connections?;
    Some(route)
}

/// `[dns]`.
pub(super) fn dns(spec: &v1::Spec, base: &Path, problems: &mut Problems<'_>) -> Option<dns::Settings> {
    let servers: Vec<_> =
        spec.dns.servers.iter().filter_map(|text| parsed(problems, "dns.servers", text, name_server)).collect();
    let anchors = match &spec.dns.trust_anchors {
        Some(text) => {
            let read = |text: &str| {
                let anchors = Anchors::File(files::resolve(base, text)?);
                anchors.check().map(|()| anchors)
            };
            parsed(problems, "dns.trust_anchors", text, read)?
        }
        None => Anchors::Root,
    };
    // Validating costs questions; nobody but DANE needs it.
    let needed = spec.route.iter().filter_map(|route| route.as_ref().tls.as_ref());
    let needed = needed.into_iter().any(|tls| matches!(tls.as_ref().as_str(), "dane" | "dane-only"));
    Some(dns::Settings { servers, dnssec: needed.then_some(anchors) })
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>();
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    with_port.or_else(|_| alone()).map_err(|_| format!("`{text}`: expected ADDRESS or ADDRESS:PORT such as 127.0.0.1"))
}
