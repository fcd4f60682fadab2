//! The section `[smtp]`: the intake.

use std::net::SocketAddr;
use std::path::Path;

use crate::cidr::AddressRange;
use crate::mail::Domain;
use crate::smtp::server::{AuthOffer, Settings};
use crate::smtp::wire::LineEnds;
use crate::tls::{ClientCertificates, Protocol};

use super::error::Problems;
use super::value::{number, parsed, socket_address, word};
use super::{tls, v1};

/// RFC 5321 section 4.5.3.1.8 asks for at least this many recipients.
const RECIPIENTS_MIN: u64 = 100;
/// Room for a hundred sessions with a message each: with less, hardly anybody would get in.
const MEMORY_OCTETS_MIN: u64 = 128 * 1024 * 1024;

pub(super) fn listen_addresses(spec: &v1::Smtp, problems: &mut Problems<'_>) -> Option<Vec<SocketAddr>> {
    let Some(listed) = &spec.listen else { return Some(vec![SocketAddr::from(([127, 0, 0, 1], 2525))]) };
    if listed.as_ref().is_empty() {
        problems.add(listed.span().start, "smtp.listen", "expected at least one ADDRESS:PORT");
        return None;
    }
    listed.as_ref().iter().map(|text| parsed(problems, "smtp.listen", text, socket_address)).collect()
}

pub(super) fn tls_addresses(spec: &v1::Smtp, problems: &mut Problems<'_>) -> Option<Vec<SocketAddr>> {
    if let (Some(first), true) = (spec.listen_tls.first(), spec.tls.is_empty()) {
        problems.add(first.span().start, "smtp.listen_tls", "expected a certificate in [[smtp.tls]] to show there");
    }
    spec.listen_tls.iter().map(|text| parsed(problems, "smtp.listen_tls", text, socket_address)).collect()
}

pub(super) fn settings(
    spec: &v1::Smtp,
    hostname: &Domain,
    base: &Path,
    client_certificates: ClientCertificates,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    let mut settings = Settings::new(hostname.as_str()).ok()?;
    settings.tls = tls::certificates("smtp.tls", Protocol::Smtp, &spec.tls, client_certificates, base, problems);
    let ranges = spec.proxy_protocol_from.iter();
    settings.proxies =
        ranges.filter_map(|range| parsed(problems, "smtp.proxy_protocol_from", range, AddressRange::parse)).collect();
    let memory = number(
        problems,
        "smtp.max_memory_octets",
        spec.max_memory_octets.as_ref(),
        MEMORY_OCTETS_MIN..=1_099_511_627_776,
        settings.max_memory_octets as u64,
    );
    let rate = number(
        problems,
        "smtp.min_data_rate",
        spec.min_data_rate.as_ref(),
        0..=1_048_576,
        settings.min_data_rate.into(),
    );
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
    if let Some(choice) = &spec.line_ends {
        let words = [("strict", LineEnds::Strict), ("normalize", LineEnds::Normalize)];
        settings.line_ends = word(problems, "smtp.line_ends", choice, &words)?;
    }
    settings.max_memory_octets = usize::try_from(memory?).ok()?;
    settings.min_data_rate = u32::try_from(rate?).ok()?;
    settings.max_message_octets = octets?;
    settings.max_recipients = usize::try_from(recipients?).ok()?;
    settings.max_connections = usize::try_from(connections?).ok()?;
    settings.max_connections_per_address = usize::try_from(per_address?).ok()?;
    settings.auth = if spec.auth_without_tls == Some(true) { AuthOffer::WithoutTls } else { AuthOffer::Loopback };
    Some(settings)
}
