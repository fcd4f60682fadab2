//! Certificates that a door shows: `[[smtp.tls]]` and `[[http.tls]]`.

use std::path::Path;

use crate::tls::{Certificates, ClientCertificates, Pair, Protocol, Settings};

use super::error::Problems;
use super::value::parsed;
use super::{files, v1};

/// Reads every pair of the section `key`; `None` when there is none, or one is wrong. The files are read here, so that
/// `check` and a reload find what is wrong with them before it counts.
pub(super) fn certificates(
    key: &str,
    protocol: Protocol,
    written: &[v1::At<v1::Certificate>],
    client_certificates: ClientCertificates,
    base: &Path,
    problems: &mut Problems<'_>,
) -> Option<Certificates> {
    let mut pairs = Vec::with_capacity(written.len());
    for entry in written {
        let pair = entry.as_ref();
        let shown = format!("{key}.certificate");
        let certificate = parsed(problems, &shown, &pair.certificate, |text| files::resolve(base, text));
        let secret = parsed(problems, &format!("{key}.key"), &pair.key, |text| files::resolve(base, text));
        let (Some(certificate), Some(secret)) = (certificate, secret) else { continue };
        let pair = Pair { certificate, key: secret };
        // By itself first, so that a problem is told with its own line.
        let alone = Settings { pairs: vec![pair.clone()], client_certificates };
        if problems.take(entry.span().start, key, Certificates::load(&alone, protocol)).is_some() {
            pairs.push(pair);
        }
    }
    let first = written.first()?;
    if pairs.len() < written.len() {
        return None;
    }
    let all = Settings { pairs, client_certificates };
    problems.take(first.span().start, key, Certificates::load(&all, protocol))
}
