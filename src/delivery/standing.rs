//! Small files that outlive the process: one JSON object with a version, replaced as a whole.
//!
//! Each is written beside and renamed, file and folder fsynced, so that it is either the old one or the new one; its
//! closing brace is its end mark. What cannot be read is an error: mail that somebody stopped must not go out because
//! a file was lost.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::suspension::Suspension;

/// The file of suspensions in the data folder.
pub(super) const NAME: &str = "suspensions.json";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The largest file that is read, in octets: a thousand suspensions with long reasons.
const OCTETS_MAX: u64 = 4 * 1024 * 1024;
/// What to do about suspensions that cannot be read.
const REMEDY: &str = "restore it from a backup, or remove it to send again what was suspended";

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It does not hold what this release writes.
    #[error("{path}: {what}; {remedy}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What can be done.
        remedy: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing<S> {
    v: u32,
    suspensions: S,
}

/// What is suspended; nothing when there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Suspension>, StandingError> {
    let Some(standing) = read_as::<Standing<Vec<Suspension>>>(path, REMEDY)? else { return Ok(Vec::new()) };
    if standing.v == VERSION {
        return Ok(standing.suspensions);
    }
    let what = format!("version {}, this release knows {VERSION}", standing.v);
    Err(StandingError::Unreadable { path: path.to_owned(), what, remedy: REMEDY })
}

/// Replaces what is suspended; on disk when this returns.
pub(super) fn write(path: &Path, suspensions: &[Suspension]) -> Result<(), StandingError> {
    write_as(path, &Standing { v: VERSION, suspensions })
}

/// What a file holds; nothing when there is none. `remedy` is told when it cannot be read.
pub(super) fn read_as<T: DeserializeOwned>(path: &Path, remedy: &'static str) -> Result<Option<T>, StandingError> {
    let failed = |source| StandingError::Io { path: path.to_owned(), source };
    let unreadable = |what: String| StandingError::Unreadable { path: path.to_owned(), what, remedy };
    let octets = match std::fs::metadata(path) {
        Ok(facts) => facts.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if octets > OCTETS_MAX {
        return Err(unreadable(format!("larger than {OCTETS_MAX} octets")));
    }
    let text = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(format!("not what it should be ({error})")))
}

/// Replaces what a file holds; on disk when this returns.
pub(super) fn write_as(path: &Path, content: &impl Serialize) -> Result<(), StandingError> {
    replace(path, content).map_err(|source| StandingError::Io { path: path.to_owned(), source })
}

fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    let mut text = serde_json::to_vec(content)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suspensions/v1.json")
    }

    #[test]
    fn what_version_1_wrote_is_read_and_written_the_same() {
        let known = read(&frozen()).unwrap();
        assert_eq!(known.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(read(&path).unwrap().is_empty(), "no file is no suspension");
        write(&path, &known).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(frozen()).unwrap());
        assert_eq!(read(&path).unwrap(), known);
    }

    #[test]
    fn a_torn_foreign_or_newer_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let whole = std::fs::read(frozen()).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 2] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(read(&path), Err(StandingError::Unreadable { .. })), "{cut}");
        }
        std::fs::write(&path, "{\"v\":2,\"suspensions\":[]}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("version 2"));
        let limit = usize::try_from(OCTETS_MAX).unwrap();
        let padded = |octets: usize| format!("{{\"v\":1,\"suspensions\":[]{}}}", " ".repeat(octets - 24));
        std::fs::write(&path, padded(limit)).unwrap();
        assert!(read(&path).is_ok());
        std::fs::write(&path, padded(limit + 1)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger than"));
    }
}
