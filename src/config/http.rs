//! The section `[http]`: the person's door.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cidr::AddressRange;
use crate::crowd::Places;
use crate::mail::{Mailbox, StreamName};
use crate::pipeline::{OneClickScope, Stream};
use crate::tls::{ClientCertificates, Protocol};
use crate::unsubscribe::Settings;

use super::error::Problems;
use super::value::{duration, number, parsed, socket_address};
use super::{sender, tls, v1};

/// A proxy on the same machine is the usual one.
const TRUSTED_PROXIES: [&str; 2] = ["127.0.0.0/8", "::1"];
/// Each connection holds at most some forty kilobytes.
const CONNECTIONS: u64 = 1024;
/// Mailbox providers send the clicks of many people from one address.
const CONNECTIONS_PER_ADDRESS: u64 = 256;
/// A sync of the disk and the longest attempt under way are over by then.
const EFFECT_BOUND: Duration = Duration::from_secs(5);

/// Everything that the door is told.
pub(super) fn settings(
    spec: &v1::Spec,
    base: &Path,
    streams: &HashMap<StreamName, Arc<Stream>>,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    let http = &spec.http;
    let trusted_proxies = trusted_proxies(http, problems);
    let asked = ClientCertificates::NotAsked;
    let certificates = tls::certificates("http.tls", Protocol::Http1, &http.tls, asked, base, problems);
    let (in_all, per_address) = (http.max_connections.as_ref(), http.max_connections_per_address.as_ref());
    let in_all = number(problems, "http.max_connections", in_all, 1..=100_000, CONNECTIONS);
    let key = "http.max_connections_per_address";
    let per_address = number(problems, key, per_address, 1..=100_000, CONNECTIONS_PER_ADDRESS);
    let effect_bound = duration(problems, "http.effect_bound", http.effect_bound.as_ref(), EFFECT_BOUND);
    let senders = sender::senders(spec, streams, problems);
    let whole = streams.values().filter(|stream| stream.one_click_scope == OneClickScope::Controller);
    Some(Settings {
        whole_controller: whole.map(|stream| stream.rules.controller.clone()).collect::<HashSet<_>>(),
        senders,
        trusted_proxies,
        certificates,
        places: Places {
            in_all: usize::try_from(in_all?).unwrap_or(usize::MAX),
            per_address: usize::try_from(per_address?).unwrap_or(usize::MAX),
        },
        effect_bound: effect_bound?,
    })
}

fn trusted_proxies(http: &v1::Http, problems: &mut Problems<'_>) -> Vec<AddressRange> {
    match &http.trusted_proxies {
        None => TRUSTED_PROXIES.iter().filter_map(|text| AddressRange::parse(text).ok()).collect(),
        Some(ranges) => {
            let read = |range| parsed(problems, "http.trusted_proxies", range, AddressRange::parse);
            ranges.as_ref().iter().filter_map(read).collect()
        }
    }
}

/// `Some(None)` when the door is closed with an empty string.
#[expect(clippy::option_option, reason = "outer: was it well formed; inner: is the door open")]
pub(super) fn listen_address(spec: &v1::Http, problems: &mut Problems<'_>) -> Option<Option<SocketAddr>> {
    match &spec.listen {
        None => Some(Some(SocketAddr::from(([127, 0, 0, 1], 8025)))),
        Some(text) if text.as_ref().is_empty() => Some(None),
        Some(text) => parsed(problems, "http.listen", text, socket_address).map(Some),
    }
}

pub(super) fn public_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or_default().trim_end_matches('/');
    let fits = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'/' | b'_'));
    if fits {
        Ok(format!("https://{host}"))
    } else {
        Err(format!("`{text}`: expected https://HOST (RFC 8058 section 3.1 asks for an HTTPS URI), without a query"))
    }
}

pub(super) fn mailto(text: &str) -> Result<String, String> {
    match Mailbox::parse(text) {
        Ok(mailbox) if !mailbox.needs_smtputf8() && !mailbox.local_part().contains(['"', '?', '&', '%']) => {
            Ok(text.to_owned())
        }
        Ok(_) => Err(format!("`{text}`: expected a plain ASCII mailbox that needs no escaping in a mailto: URI")),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}
