//! The files beside the database: their names, the lock between processes, and the mark that notices loss.
//!
//! The mark is what makes a lost store different from an empty one: it names the store and the last change that was
//! acknowledged to anybody. A database that is gone, or older than its mark, is refused at opening (promise P4).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StoreError;

/// How long a change waits for another process: long enough for an import's chunk with a slow disk, short enough
/// for the SMTP or HTTP client that waits behind it.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the lock is tried within [`BUSY_TIMEOUT`].
const LOCK_RETRY: Duration = Duration::from_millis(2);
/// First line of a mark file.
const MARK_HEAD: &str = "consentry store mark v1";
/// Last line: a mark without it was cut short.
const MARK_END: &str = "end";

/// Where the files of a store lie.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) database: PathBuf,
    pub(super) key: PathBuf,
    pub(super) mark: PathBuf,
    lock: PathBuf,
}

impl Files {
    pub(super) fn new(database: &Path, key_file: Option<&Path>) -> Self {
        Self {
            database: database.to_owned(),
            key: key_file.map_or_else(|| database.with_extension("key"), Path::to_owned),
            mark: database.with_extension("mark"),
            lock: database.with_extension("lock"),
        }
    }

    /// Where SQLite keeps what is not yet in the database file.
    pub(super) fn log(&self) -> PathBuf {
        let mut name = self.database.clone().into_os_string();
        name.push("-wal");
        PathBuf::from(name)
    }

    /// Holds every other process off creating the store or raising its mark, until the answer is dropped.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let file = options.open(&self.lock).map_err(StoreError::io("open the lock file", &self.lock))?;
        hand_over(&self.lock);
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::Io { action: "lock", path: self.lock.clone(), source });
                }
                Err(TryLockError::WouldBlock) if start.elapsed() > BUSY_TIMEOUT => return Err(StoreError::Busy),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            }
        }
    }

    /// What the mark remembers; `None` when there is no mark.
    pub(super) fn read_mark(&self) -> Result<Option<Mark>, StoreError> {
        let text = match std::fs::read_to_string(&self.mark) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { action: "read the mark", path: self.mark.clone(), source }),
        };
        let damaged =
            || StoreError::Damaged { path: self.mark.clone(), what: "expected a store name and a change".to_owned() };
        Mark::parse(&text).map(Some).ok_or_else(damaged)
    }

    /// Raises the mark to `mark.seq`; a mark that is already higher stays. On disk when this returns.
    pub(super) fn raise_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        let lock = self.lock()?;
        if self.read_mark()?.is_none_or(|known| known.store != mark.store || known.seq < mark.seq) {
            self.write_mark(mark)?;
        }
        drop(lock);
        Ok(())
    }

    /// Replaces the mark as a whole: a reader, or a crash, sees the old one or the new one. The caller holds the lock.
    pub(super) fn write_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        let next = self.mark.with_extension("mark-new");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut file = options.open(&next).map_err(StoreError::io("write the mark", &next))?;
        file.write_all(mark.text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&next, &self.mark))
            .map_err(StoreError::io("write the mark", &self.mark))?;
        hand_over(&self.mark);
        sync_folder(&self.mark)
    }
}

/// Gives a file to the owner of its folder. An operator's command that runs as root must not leave a file that the
/// daemon, under its own user, cannot read. SQLite does the same for its log.
pub(super) fn hand_over(path: &Path) {
    let Some(Ok(folder)) = path.parent().map(std::fs::metadata) else { return };
    let owned = std::fs::metadata(path).is_ok_and(|file| (file.uid(), file.gid()) == (folder.uid(), folder.gid()));
    if !owned {
        // Only root may; for everybody else the file is their own already.
        let _not_root = std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()));
    }
}

/// Which store belongs here, and the last change of it that somebody was told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) store: String,
    pub(super) seq: i64,
}

impl Mark {
    fn text(&self) -> String {
        format!("{MARK_HEAD}\nstore {}\nseq {}\n{MARK_END}\n", self.store, self.seq)
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MARK_HEAD)?.strip_prefix("\nstore ")?;
        let (store, rest) = rest.split_once("\nseq ")?;
        let (seq, end) = rest.split_once('\n')?;
        (end.trim_end() == MARK_END).then_some(())?;
        Some(Self { store: store.to_owned(), seq: seq.parse().ok()? })
    }
}

/// Makes the names in the folder of `path` durable (a created or renamed file survives a power cut only then).
pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync the folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&folder.path().join("store.db"), None);
        (folder, files)
    }

    fn mark(seq: i64) -> Mark {
        Mark { store: "0a".to_owned(), seq }
    }

    #[test]
    fn a_mark_only_rises() {
        let (_folder, files) = files();
        assert_eq!(files.read_mark().unwrap(), None);
        for (given, kept) in [(3, 3), (2, 3), (4, 4)] {
            files.raise_mark(&mark(given)).unwrap();
            assert_eq!(files.read_mark().unwrap(), Some(mark(kept)));
        }
    }

    #[test]
    fn a_mark_cut_anywhere_is_damage_not_absence() {
        let (_folder, files) = files();
        let text = mark(12).text();
        for end in 0..text.trim_end().len() {
            std::fs::write(&files.mark, text.get(..end).unwrap()).unwrap();
            assert!(matches!(files.read_mark(), Err(StoreError::Damaged { .. })), "{end}");
        }
    }

    #[test]
    fn names_follow_the_database() {
        let files = Files::new(Path::new("/x/people.db"), Some(Path::new("/run/key")));
        assert_eq!(files.mark, Path::new("/x/people.mark"));
        assert_eq!(files.log(), Path::new("/x/people.db-wal"));
        assert_eq!(files.key, Path::new("/run/key"));
    }
}
