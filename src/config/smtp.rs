//! The section `[smtp]`: the intake.

use std::net::SocketAddr;

use crate::mail::Domain;
use crate::smtp::server::{AuthOffer, Settings};
use crate::smtp::wire::LineEnds;

use super::error::Problems;
use super::v1;
use super::value::{number, parsed, socket_address, word};

/// RFC 5321 section 4.5.3.1.8 asks for at least this many recipients.
const RECIPIENTS_MIN: u64 = 100;

pub(super) fn listen_addresses(spec: &v1::Smtp, problems: &mut Problems<'_>) -> Option<Vec<SocketAddr>> {
    let Some(listed) = &spec.listen else { return Some(vec![SocketAddr::from(([127, 0, 0, 1], 2525))]) };
    if listed.as_ref().is_empty() {
        problems.add(listed.span().start, "smtp.listen", "expected at least one ADDRESS:PORT");
        return None;
    }
    listed.as_ref().iter().map(|text| parsed(problems, "smtp.listen", text, socket_address)).collect()
}

pub(super) fn settings(spec: &v1::Smtp, hostname: &Domain, problems: &mut Problems<'_>) -> Option<Settings> {
    let mut settings = Settings::new(hostname.as_str()).ok()?;
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
    settings.max_message_octets = octets?;
    settings.max_recipients = usize::try_from(recipients?).ok()?;
    settings.max_connections = usize::try_from(connections?).ok()?;
    settings.max_connections_per_address = usize::try_from(per_address?).ok()?;
    settings.auth = if spec.auth_without_tls == Some(true) { AuthOffer::WithoutTls } else { AuthOffer::Loopback };
    Some(settings)
}
