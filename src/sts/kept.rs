//! The file that policies outlive the process in: one JSON object with a version, replaced as a whole (written beside,
//! fsynced, renamed). Its closing brace is its end mark.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::{Mode, Pattern, Policy, PolicyId};
use crate::mail::Domain;
use crate::time::Timestamp;

/// Its name in the data folder.
pub(super) const NAME: &str = "mta-sts.json";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The largest file that is read, in octets: what is kept at most, with the words around it.
const OCTETS_MAX: u64 = 8 * super::KEPT_OCTETS_MAX as u64;

/// A policy and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: PolicyId,
    pub(super) policy: Arc<Policy>,
    pub(super) fetched: Timestamp,
    /// When mail last went there.
    pub(super) used: Timestamp,
}

impl Kept {
    pub(super) fn expires(&self) -> Timestamp {
        self.fetched.plus(self.policy.max_age)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u32,
    policies: Vec<Line>,
}

/// Instants are milliseconds since 1970, `max_age` seconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    domain: String,
    id: PolicyId,
    mode: Mode,
    mx: Vec<Pattern>,
    max_age: u64,
    fetched: i64,
    used: i64,
}

/// What the file holds; nothing when there is none.
///
/// # Errors
/// In words, when it cannot be read or is not what this release writes.
pub(super) fn read(path: &Path) -> Result<Vec<(Domain, Kept)>, String> {
    let octets = match std::fs::metadata(path) {
        Ok(facts) => facts.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    if octets > OCTETS_MAX {
        return Err(format!("larger than {OCTETS_MAX} octets"));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let document: Document = serde_json::from_slice(&text).map_err(|error| format!("no list of policies ({error})"))?;
    if document.v != VERSION {
        return Err(format!("version {}, this release knows {VERSION}", document.v));
    }
    document.policies.into_iter().map(Line::kept).collect()
}

impl Line {
    fn kept(self) -> Result<(Domain, Kept), String> {
        let domain = Domain::parse(&self.domain).map_err(|error| format!("`{}`: {error}", self.domain))?;
        let (fetched, used) = (Timestamp::from_millis(self.fetched), Timestamp::from_millis(self.used));
        let max_age = Duration::from_secs(self.max_age);
        let policy = Arc::new(Policy { mode: self.mode, mx: self.mx, max_age });
        Ok((domain, Kept { id: self.id, policy, fetched, used }))
    }
}

/// Replaces what the file holds; on disk when this returns.
pub(super) fn write(path: &Path, policies: Vec<(Domain, Kept)>) -> io::Result<()> {
    let line = |(domain, kept): (Domain, Kept)| Line {
        domain: domain.to_string(),
        id: kept.id,
        mode: kept.policy.mode,
        mx: kept.policy.mx.clone(),
        max_age: kept.policy.max_age.as_secs(),
        fetched: kept.fetched.as_millis(),
        used: kept.used.as_millis(),
    };
    let mut text = serde_json::to_vec(&Document { v: VERSION, policies: policies.into_iter().map(line).collect() })?;
    text.push(b'\n');
    let beside = path.with_extension("new");
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_1_wrote_is_read_and_written_the_same() {
        let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mta-sts/v1.json");
        let known = read(&frozen).unwrap();
        assert_eq!(known.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(read(&path).unwrap().is_empty(), "no file is no policy");
        write(&path, known.clone()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(frozen).unwrap());
        assert_eq!(read(&path).unwrap(), known);
    }

    #[test]
    fn a_torn_foreign_newer_or_too_large_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for (text, expected) in [
            ("", "no list of policies"),
            ("{\"v\":1,\"policies\":[", "no list of policies"),
            ("{\"v\":2,\"policies\":[]}", "version 2"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&path).unwrap_err().contains(expected), "{text}");
        }
        File::create(&path).unwrap().set_len(OCTETS_MAX + 1).unwrap();
        assert!(read(&path).unwrap_err().contains("larger than"));
    }
}
