//! Files that appear when they are complete.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::cli::suppress::private_file;

/// A file of addresses, readable by its owner only. It is written beside its place and moved there at the end: half a
/// list of recipients looks like a whole one. What is no plain file (a pipe, `/dev/stdout`) is written directly.
#[derive(Debug)]
pub(super) struct Output {
    writer: BufWriter<File>,
    place: PathBuf,
    partial: Option<PathBuf>,
}

impl Output {
    pub(super) fn create(place: &Path) -> io::Result<Self> {
        let is_special = std::fs::metadata(place).is_ok_and(|known| !known.is_file());
        let mut beside = place.as_os_str().to_owned();
        beside.push(".partial");
        let partial = (!is_special).then(|| PathBuf::from(beside));
        let writer = BufWriter::new(private_file(partial.as_deref().unwrap_or(place))?);
        Ok(Self { writer, place: place.to_owned(), partial })
    }

    /// Everything was written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()?;
        if let Some(partial) = &self.partial {
            std::fs::rename(partial, &self.place)?;
        }
        self.partial = None;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.writer.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // What cannot be removed stays under a name that says what it is.
            let _still_there = std::fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete_and_leaves_nothing_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cleaned.csv");
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut output = Output::create(&place).unwrap();
        output.write_all(b"half").unwrap();
        assert!(!place.exists());
        drop(output);
        assert_eq!(count(), 0);
        let mut output = Output::create(&place).unwrap();
        output.write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
        assert_eq!(count(), 1);
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        Output::create(Path::new("/dev/null")).unwrap().finish().unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}
