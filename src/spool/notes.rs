//! Where audit notes go after they are safe in the spool.

use std::io;

use bytes::Bytes;

/// A projection of the notes in the spool, in the order of their sequence numbers. The spool's own frames are the
/// durable copy: a sink need not force anything to disk before [`NoteSink::sync`], and what it lost in a crash is
/// handed to it again when the spool is opened.
pub trait NoteSink: Send {
    /// The highest sequence number that is whole in the sink; 0 when it is empty.
    fn last(&self) -> u64;

    /// From which number on every note is handed over that is not there yet; said once, before the first.
    fn begin(&mut self, _lowest: u64) {}

    /// Takes one note; `seq` is higher than every one before.
    fn append(&mut self, seq: u64, line: &Bytes);

    /// Writes what was taken, without forcing it to disk.
    ///
    /// # Errors
    /// The system's. The sink keeps what it could not write, or refuses to [`NoteSink::sync`] from then on.
    fn write(&mut self) -> io::Result<()>;

    /// Writes and forces to disk what was taken. The spool gives up its own copy only after this succeeded.
    ///
    /// # Errors
    /// The system's, and also when anything taken earlier is missing.
    fn sync(&mut self) -> io::Result<()>;
}

/// Keeps no notes: for tools and tests that want the queue alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl NoteSink for Discard {
    fn last(&self) -> u64 {
        0
    }

    fn append(&mut self, _seq: u64, _line: &Bytes) {}

    fn write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
