//! `[mta_sts]`: how the policies of domains are fetched.

use std::path::Path;

use crate::sts::Settings;
use crate::tls::Trust;

use super::error::Problems;
use super::value::{number, parsed};
use super::{files, v1};

pub(super) fn settings(written: &v1::MtaSts, base: &Path, problems: &mut Problems<'_>) -> Option<Settings> {
    let trust = trust(written, base, problems);
    let port = number(problems, "mta_sts.port", written.port.as_ref(), 1..=65_535, 443);
    Some(Settings { trust: trust?, port: u16::try_from(port?).ok()? })
}

/// Whose word counts for a policy server, and for a mail server that a policy is enforced on.
pub(super) fn trust(written: &v1::MtaSts, base: &Path, problems: &mut Problems<'_>) -> Option<Trust> {
    match &written.ca_file {
        Some(text) => parsed(problems, "mta_sts.ca_file", text, |text| files::resolve(base, text)).map(Trust::File),
        None => Some(Trust::System),
    }
}
