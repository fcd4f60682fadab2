//! Content on its way out: the guard against bare line ends, the dots to double, and gathered writes.

use std::io::{self, IoSlice};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::channel::Channel;

/// Pieces handed to the system in one call; its own limit (IOV_MAX) is 1024 on Linux and lower elsewhere.
const PIECES_MAX: usize = 64;

/// The content holds a carriage return, line feed or NUL on its own. Two servers could see different messages in it
/// (RFC 5321 section 2.3.8), so it is not sent. The intake refuses such content; meeting one here is our own defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message holds a bare carriage return, bare line feed or NUL")]
pub struct Unclean;

/// Looks through content in blocks of any size.
#[derive(Debug)]
pub(super) struct Scanner {
    /// The last block ended in a CR whose LF is still to come.
    half_line_end: bool,
    /// The next octet begins a line.
    line_start: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { half_line_end: false, line_start: true }
    }
}

impl Scanner {
    /// Adds to `dots` the offsets within `block` before which another dot must be sent.
    pub(super) fn scan(&mut self, block: &[u8], dots: &mut Vec<usize>) -> Result<(), Unclean> {
        let Some(last) = block.len().checked_sub(1) else { return Ok(()) };
        if self.line_start && block.first() == Some(&b'.') {
            dots.push(0);
        }
        // Where a line feed must stand, because a carriage return stands before it.
        let mut due = self.half_line_end.then_some(0);
        for at in memchr::memchr3_iter(b'\r', b'\n', 0, block) {
            match (block.get(at), due) {
                (Some(b'\r'), None) => due = Some(at + 1),
                (Some(b'\n'), Some(expected)) if expected == at => {
                    due = None;
                    if block.get(at + 1) == Some(&b'.') {
                        dots.push(at + 1);
                    }
                }
                _ => return Err(Unclean),
            }
        }
        if due.is_some_and(|expected| expected <= last) {
            return Err(Unclean);
        }
        self.half_line_end = due.is_some();
        self.line_start = block.last() == Some(&b'\n');
        Ok(())
    }

    /// At the end of the content.
    pub(super) const fn finish(&self) -> Result<(), Unclean> {
        if self.half_line_end { Err(Unclean) } else { Ok(()) }
    }

    /// Whether what was looked through so far ends in CRLF, or is nothing at all.
    pub(super) const fn at_line_start(&self) -> bool {
        self.line_start
    }
}

/// Adds `block` to `pieces` with its dots doubled, without copying it.
pub(super) fn stuff<'a>(block: &'a [u8], dots: &[usize], pieces: &mut Vec<&'a [u8]>) {
    let mut done = 0;
    for dot in dots {
        pieces.push(block.get(done..*dot).unwrap_or_default());
        pieces.push(b".");
        done = *dot;
    }
    pieces.push(block.get(done..).unwrap_or_default());
}

/// Why a write did not complete.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The network took nothing for too long.
    Timeout,
    /// The connection broke.
    Io(io::Error),
}

/// Writes all pieces; `written` counts the octets that the system took (or TLS, on their way there), also when it fails.
pub(super) async fn write_pieces(
    channel: &mut Channel,
    pieces: &[&[u8]],
    patience: Duration,
    written: &mut usize,
) -> Result<(), WriteError> {
    for group in pieces.chunks(PIECES_MAX) {
        let mut slices: Vec<IoSlice<'_>> =
            group.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
        let mut left: &mut [IoSlice<'_>] = &mut slices;
        while !left.is_empty() {
            let taken = match timeout(patience, channel.write_vectored(left)).await {
                Err(_) => return Err(WriteError::Timeout),
                Ok(Err(error)) => return Err(WriteError::Io(error)),
                Ok(Ok(0)) => return Err(WriteError::Io(io::ErrorKind::WriteZero.into())),
                Ok(Ok(taken)) => taken,
            };
            *written += taken;
            IoSlice::advance_slices(&mut left, taken);
        }
    }
    if !channel.buffers() {
        return Ok(());
    }
    match timeout(patience, channel.flush()).await {
        Err(_) => Err(WriteError::Timeout),
        Ok(flushed) => flushed.map_err(WriteError::Io),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(blocks: &[&[u8]]) -> Result<(Vec<u8>, bool), Unclean> {
        let mut scanner = Scanner::default();
        let mut out = Vec::new();
        for block in blocks {
            let (mut dots, mut pieces) = (Vec::new(), Vec::new());
            scanner.scan(block, &mut dots)?;
            stuff(block, &dots, &mut pieces);
            out.extend(pieces.concat());
        }
        scanner.finish()?;
        Ok((out, scanner.at_line_start()))
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_no_others() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b".", b".."),
            (b"a.\r\n..\r\n", b"a.\r\n...\r\n"),
            (b"a\r\n.\r\n.\r\nb", b"a\r\n..\r\n..\r\nb"),
            (b"a\r\n\r\n.b", b"a\r\n\r\n..b"),
            (b"a.b\r\nc.", b"a.b\r\nc."),
        ];
        for (given, expected) in cases {
            assert_eq!(scan(&[given]).unwrap().0, expected, "{given:?}");
        }
    }

    #[test]
    fn bare_line_ends_and_nul_never_pass() {
        let cases: [&[u8]; 8] =
            [b"a\nb", b"a\rb", b"a\r", b"a\0b", b"\n", b"a\r\r\n", b"a\r\n\n.\r\n", b"a\r\n\r.\r\n"];
        for bad in cases {
            assert_eq!(scan(&[bad]), Err(Unclean), "{bad:?}");
            let single: Vec<&[u8]> = bad.chunks(1).collect();
            assert_eq!(scan(&single), Err(Unclean), "{bad:?} in single octets");
        }
    }

    /// The same by the book, octet by octet.
    fn by_the_book(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out
    }

    proptest! {
        #[test]
        fn blocks_make_no_difference(content in "(\\.|a|\r\n){0,40}", cut in 0_usize..80) {
            let content = content.into_bytes();
            let (front, back) = content.split_at(cut.min(content.len()));
            let (stuffed, at_line_start) = scan(&[front, back]).unwrap();
            prop_assert_eq!(&stuffed, &by_the_book(&content));
            prop_assert_eq!(at_line_start, content.is_empty() || content.ends_with(b"\r\n"));
        }

        #[test]
        fn whatever_is_bare_is_found(content in "[a.\r\n\0]{0,20}", cut in 0_usize..20) {
            let clean = !content.replace("\r\n", "").contains(['\r', '\n', '\0']);
            let (front, back) = content.as_bytes().split_at(cut.min(content.len()));
            prop_assert_eq!(scan(&[front, back]).is_ok(), clean);
        }
    }
}
