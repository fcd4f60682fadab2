//! The section `[http]`: the person's door.

use std::net::SocketAddr;

use crate::mail::Mailbox;

use super::error::Problems;
use super::v1;
use super::value::{parsed, socket_address};

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
