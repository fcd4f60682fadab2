//! Certificates that a door shows: `[[smtp.tls]]`.

use std::path::Path;

use crate::tls::{Certificates, ClientCertificates, Pair, Protocol, Settings};

use super::error::Problems;
use super::value::parsed;
use super::{files, v1};

/// Reads every pair; `None` when there is none, or one is wrong.
pub(super) fn certificates(
    written: &[v1::At<v1::Certificate>],
    client_certificates: ClientCertificates,
    base: &Path,
    problems: &mut Problems<'_>,
) -> Option<Certificates> {
    let mut pairs = Vec::with_capacity(written.len());
    for entry in written {
        let pair = entry.as_ref();
        let certificate =
            parsed(problems, "smtp.tls.certificate", &pair.certificate, |text| files::resolve(base, text));
        let key = parsed(problems, "smtp.tls.key", &pair.key, |text| files::resolve(base, text));
        let (Some(certificate), Some(key)) = (certificate, key) else { continue };
        let pair = Pair { certificate, key };
        // By itself first, so that a problem is told with its own line.
        let alone = Settings { pairs: vec![pair.clone()], client_certificates };
        if problems.take(entry.span().start, "smtp.tls", Certificates::load(&alone, Protocol::Smtp)).is_some() {
            pairs.push(pair);
        }
    }
    let first = written.first()?;
    if pairs.len() < written.len() {
        return None;
    }
    let all = Settings { pairs, client_certificates };
    problems.take(first.span().start, "smtp.tls", Certificates::load(&all, Protocol::Smtp))
}
