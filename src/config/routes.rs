//! `[[route]]`: more ways out than the one of `[upstream]`, and which stream takes which.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use crate::delivery::{Assurance, Loopback, Route, Routes, Smarthost, Way};
use crate::mail::{Domain, RouteName, StreamName};
use crate::smtp::client::{self, Source};

use super::error::Problems;
use super::protection::Secured;
use super::value::{domain, number, parsed, word};
use super::{protection, upstream, v1};

/// Hosts of one route. Who needs more has a load balancer.
const HOSTS_MAX: usize = 32;
/// Connections kept unless something else is said: enough for 11,000 messages a second towards a near upstream.
const CONNECTIONS: u64 = 16;

/// All routes, and how many connections they may have together. `[upstream]` is the default, or else the first.
pub(super) fn routes(
    spec: &v1::Spec,
    base: &Path,
    hostname: &Domain,
    problems: &mut Problems<'_>,
) -> Option<(Routes, usize)> {
    let mut found = Vec::new();
    if let Some(written) = &spec.upstream {
        found.push(upstream::route(written.as_ref(), base, hostname, problems));
    }
    found.extend(spec.route.iter().map(|written| route(written, spec, base, hostname, problems)));
    if found.is_empty() {
        problems.add(0, "upstream", "expected [upstream] or at least one [[route]], or nothing can be sent");
    }
    check_names(spec, problems);
    let mut found = found.into_iter().collect::<Option<Vec<Route>>>()?.into_iter();
    let default = found.next()?;
    let mut connections = most_connections(&default);
    let mut routes = Routes::new(default);
    for route in found {
        connections += most_connections(&route);
        let streams = spec.stream.iter().map(v1::At::as_ref);
        let takers =
            streams.filter(|stream| stream.route.as_ref().is_some_and(|name| name.as_ref() == route.name.as_str()));
        let takers: Vec<_> = takers.filter_map(|stream| StreamName::new(stream.name.as_ref()).ok()).collect();
        routes.add(route, takers);
    }
    Some((routes, connections))
}

/// Whether the stream's mail goes to the recipients' domains directly.
pub(super) fn goes_directly(stream: &v1::Stream, spec: &v1::Spec) -> bool {
    let named = |wanted: &str| spec.route.iter().find(|route| route.as_ref().name.as_ref() == wanted);
    let route = match (&stream.route, &spec.upstream) {
        (Some(name), _) => named(name.as_ref()),
        (None, Some(_)) => None,
        (None, None) => spec.route.first(),
    };
    route.is_some_and(|route| route.as_ref().kind.as_ref() == "mx")
}

fn most_connections(route: &Route) -> usize {
    match &route.way {
        Way::Smarthosts(hosts) => route.max_connections.saturating_mul(hosts.len()),
        Way::Exchanges { .. } => route.max_connections,
    }
}

/// Names are there once, and streams name those that are there.
fn check_names(spec: &v1::Spec, problems: &mut Problems<'_>) {
    let mut names: HashSet<&str> = spec.upstream.iter().map(|_| upstream::NAME).collect();
    for route in &spec.route {
        let name = &route.as_ref().name;
        if !names.insert(name.as_ref()) {
            problems.add(name.span().start, "route.name", format!("`{}` is used twice", name.as_ref()));
        }
    }
    for wanted in spec.stream.iter().filter_map(|stream| stream.as_ref().route.as_ref()) {
        if !names.contains(wanted.as_ref().as_str()) {
            problems.add(wanted.span().start, "stream.route", format!("no [[route]] is named `{}`", wanted.as_ref()));
        }
    }
}

fn route(
    entry: &v1::At<v1::Route>,
    spec: &v1::Spec,
    base: &Path,
    hostname: &Domain,
    problems: &mut Problems<'_>,
) -> Option<Route> {
    let written = entry.as_ref();
    let name = parsed(problems, "route.name", &written.name, RouteName::new);
    let secured = protection::protection(&wanted(written, spec), base, problems);
    let (protection, login, assurance) = match secured {
        Some(Secured { protection, login, assurance }) => (Some(protection), login, Some(assurance)),
        None => (None, None, None),
    };
    let way = way(written, assurance, problems);
    let client = client(written, hostname, problems).zip(protection);
    let max_connections = connections("route", written.max_connections.as_ref(), problems);
    let (client, protection) = client?;
    let client = client::Settings { protection, login, ..client };
    Some(Route { name: name?, way: way?, client, max_connections: max_connections? })
}

fn wanted<'a>(written: &'a v1::Route, spec: &'a v1::Spec) -> protection::Wanted<'a> {
    protection::Wanted {
        section: "route",
        at: written.name.span().start,
        tls: written.tls.as_ref(),
        implicit: written.implicit_tls == Some(true),
        ca_file: written.ca_file.as_ref(),
        user: written.user.as_ref(),
        password_file: written.password_file.as_ref(),
        stays_here: written.hosts.iter().all(|host| is_loopback(host.as_ref().host.as_ref())),
        policies: (written.kind.as_ref() == "mx").then_some(&spec.mta_sts),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Smarthost,
    Exchanges,
}

fn way(written: &v1::Route, assurance: Option<Assurance>, problems: &mut Problems<'_>) -> Option<Way> {
    let at = written.kind.span().start;
    match word(problems, "route.kind", &written.kind, &[("smarthost", Kind::Smarthost), ("mx", Kind::Exchanges)])? {
        Kind::Smarthost => {
            if written.port.is_some() || written.deliver_to_loopback.is_some() {
                problems.add(
                    at,
                    "route.kind",
                    "port and deliver_to_loopback belong to kind = \"mx\"; a smarthost's port stands in hosts",
                );
            }
            if written.hosts.is_empty() || written.hosts.len() > HOSTS_MAX {
                problems.add(
                    at,
                    "route.hosts",
                    format!("expected 1 to {HOSTS_MAX} hosts such as {{ host = \"smtp.example.org\", port = 587 }}"),
                );
            }
            written
                .hosts
                .iter()
                .map(|host| smarthost(host.as_ref(), problems))
                .collect::<Option<_>>()
                .map(Way::Smarthosts)
        }
        Kind::Exchanges => {
            if !written.hosts.is_empty() || written.user.is_some() {
                problems.add(at, "route.kind", "hosts, user and password_file belong to kind = \"smarthost\"; with \"mx\" the DNS says where mail goes");
            }
            let port = number(problems, "route.port", written.port.as_ref(), 1..=65_535, 25);
            let loopback = if written.deliver_to_loopback == Some(true) { Loopback::Deliver } else { Loopback::Refuse };
            Some(Way::Exchanges { port: u16::try_from(port?).ok()?, loopback, assurance: assurance? })
        }
    }
}

fn smarthost(written: &v1::Smarthost, problems: &mut Problems<'_>) -> Option<Smarthost> {
    let host = parsed(problems, "route.hosts.host", &written.host, host_name);
    let port = number(problems, "route.hosts.port", written.port.as_ref(), 1..=65_535, 25);
    let weight = number(problems, "route.hosts.weight", written.weight.as_ref(), 1..=1000, 1);
    Some(Smarthost { host: host?, port: u16::try_from(port?).ok()?, weight: u32::try_from(weight?).ok()? })
}

fn client(written: &v1::Route, hostname: &Domain, problems: &mut Problems<'_>) -> Option<client::Settings> {
    let hello = match &written.hello {
        Some(text) => domain(problems, "route.hello", text)?,
        None => hostname.clone(),
    };
    let mut settings = client::Settings::new(hello.to_string());
    for source in &written.sources {
        let address = parsed(problems, "route.sources.address", &source.address, |text| {
            text.parse::<IpAddr>().map_err(|_| format!("`{text}`: expected an address of this machine"))
        });
        let hello = match &source.hello {
            Some(text) => domain(problems, "route.sources.hello", text)?,
            None => hello.clone(),
        };
        settings.sources.push(Source { address: address?, hello: hello.to_string() });
    }
    Some(settings)
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn connections(section: &str, written: Option<&v1::At<u64>>, problems: &mut Problems<'_>) -> Option<usize> {
    let key = format!("{section}.max_connections");
    usize::try_from(number(problems, &key, written, 1..=1000, CONNECTIONS)?).ok()
}

pub(super) fn host_name(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() || Domain::parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}`: expected a host name or an address, without a port"))
    }
}
