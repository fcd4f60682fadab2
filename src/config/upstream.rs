//! The sections `[upstream]` and `[retry]`: the way to the smarthost.

use std::path::Path;
use std::time::Duration;

use crate::delivery::{Grouping, Settings, Smarthost};
use crate::mail::Domain;
use crate::time::parse_span;

use super::error::Problems;
use super::value::{duration, number, parsed, word};
use super::{replies, v1};

/// First pause; half an hour is what RFC 5321 names, five minutes is what senders expect of a smarthost.
const RETRY_FIRST: Duration = Duration::from_mins(5);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_hours(1);

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
    let host = parsed(problems, "upstream.host", &spec.upstream.host, upstream_host);
    let port = number(problems, "upstream.port", spec.upstream.port.as_ref(), 1..=65_535, 25);
    let first = duration(problems, "retry.first", spec.retry.first.as_ref(), RETRY_FIRST);
    let longest = duration(problems, "retry.longest", spec.retry.longest.as_ref(), RETRY_LONGEST);
    let smarthost = Smarthost { host: host?, port: u16::try_from(port?).ok()? };
    let mut settings = Settings::new(smarthost, hostname.to_string(), replies?);
    settings.grouping = grouping?;
    settings.breaker = breaker?;
    let connections = number(
        problems,
        "upstream.max_connections",
        spec.upstream.max_connections.as_ref(),
        1..=1000,
        settings.max_connections as u64,
    );
    settings.max_connections = usize::try_from(connections?).ok()?;
    // As many as can be under way at once: one whose reply is awaited on each connection, one whose settlement is being written.
    settings.max_unsettled = settings.max_connections.saturating_mul(2);
    if let Some(text) = &spec.retry.warn_after {
        settings.warn_after = Some(parsed(problems, "retry.warn_after", text, parse_span)?);
    }
    settings.retry.first = first?;
    settings.retry.cap = longest?;
    settings.rest.first = settings.rest.first.min(settings.retry.first);
    settings.rest.cap = settings.rest.cap.min(settings.retry.cap);
    if settings.retry.cap < settings.retry.first {
        problems.add(0, "retry.longest", "expected to be at least retry.first");
    }
    Some(settings)
}

fn upstream_host(text: &str) -> Result<String, String> {
    if text.parse::<std::net::IpAddr>().is_ok() || Domain::parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}`: expected a host name or an address, without a port"))
    }
}
