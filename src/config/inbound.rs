//! The section `[inbound]`: mail from anybody to our own mailboxes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::feedback;
use crate::mail::{ControllerId, Domain, Mailbox};
use crate::smtp::server::{AuthOffer, Settings};

use super::error::Problems;
use super::v1;
use super::value::{number, parsed, socket_address};

/// Larger messages get 552. People write a line, and of what they write the header section alone is kept; reports that come
/// back carry the message that they are about.
const MESSAGE_OCTETS: u64 = 10 * 1024 * 1024;
/// Few: a mail server delivers with some twenty connections, and what comes straight from the Internet is rare.
const CONNECTIONS: u64 = 200;
/// A mail server in front of us opens about twenty.
const CONNECTIONS_PER_ADDRESS: u64 = 50;
/// Anybody may connect, so nobody may stay for long: enough for one message at the slowest that RFC 5321 section 4.5.3.2 allows.
const SESSION: Duration = Duration::from_mins(15);
/// RFC 5321 section 4.5.3.1.8 asks for at least this many recipients, and no message has more for one mailbox.
const RECIPIENTS: usize = 100;

/// Nothing listens unless it is asked for.
pub(super) fn listen_addresses(spec: &v1::Inbound, problems: &mut Problems<'_>) -> Option<Vec<SocketAddr>> {
    spec.listen.iter().map(|text| parsed(problems, "inbound.listen", text, socket_address)).collect()
}

/// The server: nobody authenticates here.
pub(super) fn server(spec: &v1::Inbound, hostname: &Domain, problems: &mut Problems<'_>) -> Option<Settings> {
    let mut settings = Settings::new(hostname.as_str()).ok()?;
    let octets = &spec.max_message_octets;
    let octets =
        number(problems, "inbound.max_message_octets", octets.as_ref(), 65_536..=1_073_741_824, MESSAGE_OCTETS);
    let connections = &spec.max_connections;
    let connections = number(problems, "inbound.max_connections", connections.as_ref(), 1..=100_000, CONNECTIONS);
    let per_address = number(
        problems,
        "inbound.max_connections_per_address",
        spec.max_connections_per_address.as_ref(),
        1..=100_000,
        CONNECTIONS_PER_ADDRESS,
    );
    settings.max_message_octets = octets?;
    settings.max_recipients = RECIPIENTS;
    settings.max_connections = usize::try_from(connections?).ok()?;
    settings.max_connections_per_address = usize::try_from(per_address?).ok()?;
    settings.session_timeout = SESSION;
    settings.auth = AuthOffer::Never;
    Some(settings)
}

/// What the unsubscribe mailbox needs to know. `mailto` was checked where it was read.
pub(super) fn mailbox(
    spec: &v1::Inbound,
    mailto: &str,
    whole_controller: HashSet<ControllerId>,
    problems: &mut Problems<'_>,
) -> feedback::Settings {
    let older = spec.also_mailboxes.iter();
    let older = older.filter_map(|text| parsed(problems, "inbound.also_mailboxes", text, Mailbox::parse));
    let mailboxes = Mailbox::parse(mailto).into_iter().chain(older).collect();
    feedback::Settings { mailboxes, canaries: None, whole_controller }
}
