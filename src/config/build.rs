//! From the file as written to the settings of each room.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::delivery::Smarthost;
use crate::mail::{Domain, Mailbox};
use crate::pipeline::OneClickScope;

use crate::store::Cleartext;

use super::error::Problems;
use super::law;
use super::streams::{self, domain, parsed, word};
use super::v1::{self, At};
use super::{LogAddresses, Settings, files};

/// RFC 5321 section 4.5.3.1.8 asks for at least this many recipients.
const RECIPIENTS_MIN: u64 = 100;

/// Checks everything; problems are noted and the rest is still checked, so that one run shows all of them.
pub(super) fn settings(spec: &v1::Spec, path: &Path, problems: &mut Problems<'_>) -> Option<Settings> {
    let base = path.parent().unwrap_or_else(|| Path::new("."));
    word(problems, "version", &spec.version, &[("v1", ())]);
    let hostname = domain(problems, "gateway.hostname", &spec.gateway.hostname);
    let data_dir = base.join(spec.gateway.data_dir.as_ref());
    let levels = [("hash", LogAddresses::Hash), ("domain", LogAddresses::Domain), ("full", LogAddresses::Full)];
    let log_addresses = match &spec.gateway.log_addresses {
        Some(level) => word(problems, "gateway.log_addresses", level, &levels),
        None => Some(LogAddresses::Hash),
    };
    let smtp_listen = listen_addresses(&spec.smtp, problems);
    let http_listen = http_listen(&spec.http, problems);
    let hostname = hostname?;
    let signers = streams::signers(spec, base, problems);
    let public_url = parsed(problems, "http.public_url", &spec.http.public_url, public_url);
    let url = public_url.as_deref().unwrap_or_default();
    let streams = streams::streams(spec, &hostname, url, &signers, problems);
    let whole_controller = streams
        .values()
        .filter(|s| s.one_click_scope == OneClickScope::Controller)
        .map(|s| s.rules.controller.clone())
        .collect::<HashSet<_>>();
    let credentials = streams::credentials(spec, &streams, problems);
    let delivery = delivery(spec, &hostname, problems);
    let smtp = smtp(&spec.smtp, &hostname, problems);
    let store = store(&spec.store, base, &data_dir, problems);
    let delivery = delivery?;
    let pipeline = crate::pipeline::Settings {
        upstream: delivery.smarthost.host.clone(),
        public_url: public_url?,
        unsubscribe_mailbox: parsed(problems, "http.mailto", &spec.http.mailto, mailto)?,
        give_up: duration(problems, "retry.give_up", spec.retry.give_up.as_ref(), GIVE_UP)?,
        hostname: hostname.clone(),
        rulebook: law::rulebook(&spec.rules, base, problems)?,
        streams,
        credentials,
    };
    let token_keys = match &spec.token.key_file {
        Some(text) => parsed(problems, "token.key_file", text, |text| files::resolve(base, text))?,
        None => files::default_key("consentry.token.key", &data_dir, "token.keys"),
    };
    let mut spool = crate::spool::Settings::new(data_dir.join("spool"));
    if let Some(octets) = &spec.spool.min_free_octets {
        spool.min_free = *octets.as_ref();
    }
    Some(Settings {
        hostname,
        data_dir,
        log_addresses: log_addresses?,
        smtp_listen: smtp_listen?,
        smtp: smtp?,
        http_listen: http_listen?,
        unsubscribe: crate::unsubscribe::Settings { whole_controller },
        pipeline,
        delivery,
        spool,
        store: store?,
        rules_directory: spec.rules.directory.as_ref().map(|directory| base.join(directory.as_ref())),
        token_keys,
    })
}

/// RFC 5321 section 4.5.4.1 asks for 4 to 5 days.
const GIVE_UP: Duration = Duration::from_hours(4 * 24);
/// First pause; half an hour is what RFC 5321 names, five minutes is what senders expect of a smarthost.
const RETRY_FIRST: Duration = Duration::from_mins(5);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_hours(1);

fn listen_addresses(spec: &v1::Smtp, problems: &mut Problems<'_>) -> Option<Vec<SocketAddr>> {
    let Some(listed) = &spec.listen else { return Some(vec![SocketAddr::from(([127, 0, 0, 1], 2525))]) };
    if listed.as_ref().is_empty() {
        problems.add(listed.span().start, "smtp.listen", "expected at least one ADDRESS:PORT");
        return None;
    }
    listed.as_ref().iter().map(|text| parsed(problems, "smtp.listen", text, socket_address)).collect()
}

/// `Some(None)` when the door is closed with an empty string.
#[expect(clippy::option_option, reason = "outer: was it well formed; inner: is the door open")]
fn http_listen(spec: &v1::Http, problems: &mut Problems<'_>) -> Option<Option<SocketAddr>> {
    match &spec.listen {
        None => Some(Some(SocketAddr::from(([127, 0, 0, 1], 8025)))),
        Some(text) if text.as_ref().is_empty() => Some(None),
        Some(text) => parsed(problems, "http.listen", text, socket_address).map(Some),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}`: expected ADDRESS:PORT such as 127.0.0.1:2525 or [::1]:2525"))
}

fn public_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or_default().trim_end_matches('/');
    let fits = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'/' | b'_'));
    if fits {
        Ok(format!("https://{host}"))
    } else {
        Err(format!("`{text}`: expected https://HOST (RFC 8058 section 3.1 asks for an HTTPS URI), without a query"))
    }
}

fn mailto(text: &str) -> Result<String, String> {
    match Mailbox::parse(text) {
        Ok(mailbox) if !mailbox.needs_smtputf8() && !mailbox.local_part().contains(['"', '?', '&', '%']) => {
            Ok(text.to_owned())
        }
        Ok(_) => Err(format!("`{text}`: expected a plain ASCII mailbox that needs no escaping in a mailto: URI")),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}

/// Reads `90s`, `5m`, `2h`, `4d`.
pub(super) fn duration(
    problems: &mut Problems<'_>,
    key: &str,
    value: Option<&At<String>>,
    default: Duration,
) -> Option<Duration> {
    let Some(value) = value else { return Some(default) };
    parsed(problems, key, value, |text| {
        let expected = || format!("`{text}`: expected a number with s, m, h or d, such as 5m");
        let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(expected)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        match number.checked_mul(unit) {
            Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => Err(expected()),
        }
    })
}

/// A number within bounds, or the default.
fn number(
    problems: &mut Problems<'_>,
    key: &str,
    value: Option<&At<u64>>,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Option<u64> {
    let Some(value) = value else { return Some(default) };
    let number = *value.as_ref();
    if range.contains(&number) {
        return Some(number);
    }
    problems.add(value.span().start, key, format!("{number}: expected {} to {}", range.start(), range.end()));
    None
}

fn smtp(spec: &v1::Smtp, hostname: &Domain, problems: &mut Problems<'_>) -> Option<crate::smtp::server::Settings> {
    let mut settings = crate::smtp::server::Settings::new(hostname.as_str()).ok()?;
    let octets = number(
        problems,
        "smtp.max_message_octets",
        spec.max_message_octets.as_ref(),
        65_536..=1_073_741_824,
        settings.max_message_octets,
    );
    let recipients = number(
        problems,
        "smtp.max_recipients",
        spec.max_recipients.as_ref(),
        RECIPIENTS_MIN..=10_000,
        settings.max_recipients as u64,
    );
    let connections = number(
        problems,
        "smtp.max_connections",
        spec.max_connections.as_ref(),
        1..=100_000,
        settings.max_connections as u64,
    );
    let per_address = number(
        problems,
        "smtp.max_connections_per_address",
        spec.max_connections_per_address.as_ref(),
        1..=100_000,
        settings.max_connections_per_address as u64,
    );
    settings.max_message_octets = octets?;
    settings.max_recipients = usize::try_from(recipients?).ok()?;
    settings.max_connections = usize::try_from(connections?).ok()?;
    settings.max_connections_per_address = usize::try_from(per_address?).ok()?;
    settings.auth = if spec.auth_without_tls == Some(true) {
        crate::smtp::server::AuthOffer::WithoutTls
    } else {
        crate::smtp::server::AuthOffer::Loopback
    };
    Some(settings)
}

fn delivery(spec: &v1::Spec, hostname: &Domain, problems: &mut Problems<'_>) -> Option<crate::delivery::Settings> {
    let host = parsed(problems, "upstream.host", &spec.upstream.host, upstream_host);
    let port = number(problems, "upstream.port", spec.upstream.port.as_ref(), 1..=65_535, 25);
    let first = duration(problems, "retry.first", spec.retry.first.as_ref(), RETRY_FIRST);
    let longest = duration(problems, "retry.longest", spec.retry.longest.as_ref(), RETRY_LONGEST);
    let mut settings = crate::delivery::Settings::new(
        Smarthost { host: host?, port: u16::try_from(port?).ok()? },
        hostname.to_string(),
    );
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

fn store(
    spec: &v1::Store,
    base: &Path,
    data_dir: &Path,
    problems: &mut Problems<'_>,
) -> Option<crate::store::Settings> {
    if let Some(kind) = &spec.kind {
        word(problems, "store.kind", kind, &[("embedded", ())]);
    }
    let key_file = match &spec.key_file {
        Some(text) => parsed(problems, "store.key_file", text, |text| files::resolve(base, text))?,
        None => files::default_key("consentry.store.key", data_dir, "store.key"),
    };
    let kept = [("keep", Cleartext::Keep), ("hash-only", Cleartext::HashOnly)];
    let cleartext = match &spec.addresses {
        Some(text) => word(problems, "store.addresses", text, &kept)?,
        None => Cleartext::Keep,
    };
    Some(crate::store::Settings { path: data_dir.join("store.db"), key_file: Some(key_file), cleartext })
}
