//! The section `[api]`: the programs' door.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;

use crate::api::Settings;
use crate::tls::{ClientCertificates, Protocol};

use super::error::Problems;
use super::value::{number, parsed, socket_address};
use super::{tls, v1};

/// A shop that hands in every sign-up stays far below; one that loops does not take a core.
const REQUESTS_PER_SECOND: u64 = 500;

/// Where it is and what is shown there.
pub(super) fn settings(api: &v1::Api, base: &Path, problems: &mut Problems<'_>) -> Option<Settings> {
    let asked = ClientCertificates::NotAsked;
    let certificates = tls::certificates("api.tls", Protocol::Http1, &api.tls, asked, base, problems);
    let listen = match &api.listen {
        None => Some(None),
        Some(text) => parsed(problems, "api.listen", text, |text| address(text, api.tls.is_empty())).map(Some),
    };
    let key = "api.requests_per_second";
    let rate = number(problems, key, api.requests_per_second.as_ref(), 1..=100_000, REQUESTS_PER_SECOND)?;
    let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new)?;
    Some(Settings { listen: listen?, certificates, rate })
}

/// Tokens do not travel in clear beyond this machine.
fn address(text: &str, in_clear: bool) -> Result<SocketAddr, String> {
    let address = socket_address(text)?;
    if in_clear && !address.ip().is_loopback() {
        return Err(format!(
            "`{text}`: tokens would travel in clear; expected an [[api.tls]], or an address of this machine"
        ));
    }
    Ok(address)
}
