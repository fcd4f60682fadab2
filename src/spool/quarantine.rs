//! Where damaged octets are kept for a person to look at, each with a file that says why.

use std::io::{self, IoSlice};

use super::disk::Disk;

/// Something that could not be read, and where a copy of it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The file it was in.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// How many octets.
    pub octets: u64,
    /// Why.
    pub reason: String,
    /// Name of the copy in the directory `quarantine`; the reason is in a file beside it.
    pub kept_as: String,
}

/// The directory `quarantine`.
#[derive(Debug)]
pub(super) struct Quarantine {
    spool: Disk,
    disk: Disk,
    pub(super) found: Vec<Quarantined>,
}

impl Quarantine {
    pub(super) fn open(spool: &Disk) -> io::Result<Self> {
        Ok(Self { spool: spool.clone(), disk: spool.subdirectory("quarantine")?, found: Vec::new() })
    }

    /// Keeps a copy of `octets` of `file`. The same damage met at a later start is reported again but kept once.
    pub(super) fn keep(&mut self, file: &str, offset: usize, octets: &[u8], reason: &str) -> io::Result<()> {
        let kept_as = format!("{file}-{offset:08x}.bin");
        self.explain(&kept_as, reason)?;
        if self.disk.length(&kept_as)?.is_none() {
            let copy = self.disk.create(&kept_as)?;
            copy.append(&mut [IoSlice::new(octets)])?;
            copy.sync()?;
            self.disk.sync()?;
        }
        self.report(file, offset, octets.len(), reason, kept_as);
        Ok(())
    }

    /// Moves the whole `file` here.
    pub(super) fn take(&mut self, file: &str, length: u64, reason: &str) -> io::Result<()> {
        let mut kept_as = format!("{file}.whole");
        for attempt in 1..u16::MAX {
            if self.disk.length(&kept_as)?.is_none() {
                break;
            }
            kept_as = format!("{file}.whole-{attempt}");
        }
        self.explain(&kept_as, reason)?;
        self.spool.move_to(file, &self.disk, &kept_as)?;
        self.disk.sync()?;
        self.spool.sync()?;
        let octets = usize::try_from(length).unwrap_or(usize::MAX);
        self.report(file, 0, octets, reason, kept_as);
        Ok(())
    }

    fn explain(&self, kept_as: &str, reason: &str) -> io::Result<()> {
        let name = format!("{kept_as}.reason");
        if self.disk.length(&name)?.is_none() {
            self.disk.create(&name)?.append(&mut [IoSlice::new(reason.as_bytes()), IoSlice::new(b"\n")])?;
        }
        Ok(())
    }

    fn report(&mut self, file: &str, offset: usize, octets: usize, reason: &str, kept_as: String) {
        tracing::error!(file, offset, octets, reason, kept_as, "damage in the spool was put aside");
        self.found.push(Quarantined {
            file: file.to_owned(),
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            octets: u64::try_from(octets).unwrap_or(u64::MAX),
            reason: reason.to_owned(),
            kept_as,
        });
    }
}
