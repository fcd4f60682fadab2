//! Files of one directory: every operation of the spool on the file system goes through here, so that tests can make
//! the n-th one fail.
//!
//! Files are made 0600, directories 0700, whatever the umask; symbolic links are never followed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[cfg(test)]
use super::faults::Faults;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// One directory.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    #[cfg(test)]
    faults: std::sync::Arc<Faults>,
}

/// What is about to be done; a fault plan may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Makes a file or gives it another name.
    Create,
    /// Opens, lists or reads.
    Read,
    /// Writes.
    Write,
    /// Forces to disk.
    Sync,
    /// Cuts or removes.
    Shrink,
}

impl Disk {
    /// Opens the directory `root`, making it if it is absent.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        make_directory(root)?;
        Ok(Self {
            root: root.to_owned(),
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        })
    }

    #[cfg(test)]
    pub(crate) fn with_faults(mut self, faults: std::sync::Arc<Faults>) -> Self {
        self.faults = faults;
        self
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests put faults here")]
    const fn step(&self, _operation: Operation) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self, operation: Operation) -> io::Result<()> {
        self.faults.step(operation)
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory `name` in this one, made if it is absent.
    pub(crate) fn subdirectory(&self, name: &str) -> io::Result<Self> {
        self.step(Operation::Create)?;
        let root = self.path(name);
        make_directory(&root)?;
        Ok(Self {
            root,
            #[cfg(test)]
            faults: std::sync::Arc::clone(&self.faults),
        })
    }

    /// Makes the file `name`, which must not exist, for appending and reading.
    pub(crate) fn create(&self, name: &str) -> io::Result<DiskFile> {
        self.step(Operation::Create)?;
        let file = options()?.append(true).create_new(true).open(self.path(name))?;
        // The umask may have taken our own rights away.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        Ok(DiskFile { file, disk: self.clone() })
    }

    /// Opens the regular file `name` for appending and reading.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        self.step(Operation::Read)?;
        let file = options()?.append(true).open(self.path(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(DiskFile { file, disk: self.clone() })
    }

    /// Opens or makes the file that is locked while the directory is in use.
    pub(crate) fn lock_file(&self, name: &str) -> io::Result<File> {
        options()?.write(true).create(true).truncate(false).open(self.path(name))
    }

    /// Removes the file `name`; one that is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.step(Operation::Shrink)?;
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Moves the file `name` to `to` in another directory of the same file system.
    pub(crate) fn move_to(&self, name: &str, directory: &Self, to: &str) -> io::Result<()> {
        self.step(Operation::Create)?;
        std::fs::rename(self.path(name), directory.path(to))
    }

    /// Names in the directory, sorted; names that are not UTF-8 are not ours and are left out.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        self.step(Operation::Read)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Length of `name` when it is a regular file.
    pub(crate) fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.step(Operation::Read)?;
        match std::fs::symlink_metadata(self.path(name)) {
            Ok(facts) => Ok(facts.is_file().then_some(facts.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forces names made and removed in the directory to disk: without it a new file may vanish with the power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.step(Operation::Sync)?;
        File::open(&self.root)?.sync_all()
    }

    /// Octets that an unprivileged process may still write.
    pub(crate) fn free(&self) -> io::Result<u64> {
        self.step(Operation::Read)?;
        let facts = rustix::fs::statvfs(&self.root)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}

fn options() -> io::Result<OpenOptions> {
    let no_follow = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let no_follow = i32::try_from(no_follow).map_err(io::Error::other)?;
    let mut options = OpenOptions::new();
    options.read(true).mode(FILE_MODE).custom_flags(no_follow);
    Ok(options)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if !std::fs::symlink_metadata(path)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "a directory was expected, not a link or a file"));
    }
    std::fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

/// One open file of a [`Disk`]; writes go to its end.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    disk: Disk,
}

impl DiskFile {
    /// Writes all of `slices` at the end of the file without joining them first.
    pub(crate) fn append(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.step_write(slices)?;
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match (&self.file).write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(not(test))]
    const fn step_write(&self, _slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.disk.step(Operation::Write)
    }

    #[cfg(test)]
    fn step_write(&self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let outcome = self.disk.step(Operation::Write);
        if outcome.is_err() && self.disk.faults.is_short() {
            let whole: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            (&self.file).write_all(whole.get(..whole.len() / 2).unwrap_or_default())?;
        }
        outcome
    }

    /// Forces contents and length to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.step(Operation::Sync)?;
        self.file.sync_data()
    }

    /// Cuts the file to `length` octets.
    pub(crate) fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.step(Operation::Shrink)?;
        self.file.set_len(length)
    }

    /// Octets in the file.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Reads `length` octets from `offset`.
    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.disk.step(Operation::Read)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
