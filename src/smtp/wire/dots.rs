//! The content of DATA: RFC 5321 sections 2.3.8, 4.1.1.4 and 4.5.2, without the leniency that made SMTP smuggling
//! possible (CVE-2023-51764 and its relatives).

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr3};

use super::limits::TEXT_LINE_MAX;

/// Why content cannot be taken as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A carriage return that no line feed follows.
    #[error("bare CR in message content")]
    BareCr,
    /// A line feed that follows no carriage return.
    #[error("bare LF in message content")]
    BareLf,
    /// The octet 0: RFC 5322 section 2.3 has no place for it.
    #[error("NUL in message content")]
    Nul,
    /// A line beyond [`TEXT_LINE_MAX`].
    #[error("line longer than 998 octets in message content")]
    LongLine,
}

/// What one call yielded.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Content with stuffed dots removed; empty once there is a defect.
    pub content: Bytes,
    /// Whether the end (`CRLF.CRLF`) was reached. What follows it is left in the input.
    pub ended: bool,
}

/// Where the decoder stands relative to the line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the first octet of a line.
    LineStart,
    /// Behind a dot that was first in its line.
    Dot,
    /// Behind that dot and a carriage return.
    DotCr,
    /// Within a line.
    Text,
    /// Behind a carriage return within a line.
    Cr,
}

/// Decodes content chunk by chunk; every chunking of the same octets gives the same verdict and the same content.
///
/// Only CRLF, dot, CRLF ends it, or a dot alone on the first line. After a defect it reads on to that end, so
/// that the answer meets a client that is listening and no line of the content is taken for a command.
#[derive(Debug)]
pub struct Dots {
    place: Place,
    line: usize,
    defect: Option<Defect>,
}

impl Default for Dots {
    fn default() -> Self {
        Self::new()
    }
}

impl Dots {
    /// A decoder before the first octet behind the 354 reply.
    pub const fn new() -> Self {
        Self { place: Place::LineStart, line: 0, defect: None }
    }

    /// The first defect that was met.
    pub const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Takes as much off the front of `input` as can be decoded: all of it, or all up to the end of the content.
    ///
    /// Content without stuffed dots is handed out as it lies in memory. A stuffed dot is closed over in place, so
    /// that a message full of them still comes in few pieces.
    pub fn decode(&mut self, input: &mut BytesMut) -> Piece {
        let mut scan = Scan { read: 0, written: 0, kept_from: 0 };
        let ended = self.scan(&mut scan, input);
        if !ended {
            scan.keep(input, scan.read);
        }
        if self.defect.is_some() {
            scan.written = 0;
        }
        let content = input.split_to(scan.written).freeze();
        input.advance(scan.read - scan.written);
        Piece { content, ended }
    }

    fn scan(&mut self, scan: &mut Scan, input: &mut BytesMut) -> bool {
        while let Some(&byte) = input.get(scan.read) {
            match self.place {
                Place::LineStart if byte == b'.' => {
                    scan.drop_octet(input);
                    self.place = Place::Dot;
                }
                Place::Dot if byte == b'\r' => {
                    // Either the end or a defect: in neither case content.
                    scan.drop_octet(input);
                    self.place = Place::DotCr;
                }
                Place::DotCr if byte == b'\n' => {
                    scan.read += 1;
                    return true;
                }
                Place::Cr if byte == b'\n' => {
                    scan.read += 1;
                    self.line = 0;
                    self.place = Place::LineStart;
                }
                Place::Cr | Place::DotCr => {
                    self.note(Defect::BareCr);
                    self.place = Place::Text;
                }
                Place::LineStart | Place::Dot => self.place = Place::Text,
                Place::Text => self.text(scan, input),
            }
        }
        false
    }

    /// Reads to the next octet that matters within a line.
    fn text(&mut self, scan: &mut Scan, input: &BytesMut) {
        let rest = input.get(scan.read..).unwrap_or_default();
        let hit = memchr3(b'\r', b'\n', 0, rest);
        let plain = hit.unwrap_or(rest.len());
        self.line = self.line.saturating_add(plain);
        if self.line > TEXT_LINE_MAX {
            self.note(Defect::LongLine);
        }
        scan.read += plain;
        match hit.and_then(|at| rest.get(at)) {
            Some(b'\r') => self.place = Place::Cr,
            Some(b'\n') => self.note(Defect::BareLf),
            Some(_) => self.note(Defect::Nul),
            None => return,
        }
        scan.read += 1;
    }

    fn note(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }
}

/// Where reading and the closing of gaps have got to within one chunk.
struct Scan {
    read: usize,
    written: usize,
    kept_from: usize,
}

impl Scan {
    /// Leaves out the octet at `read`.
    fn drop_octet(&mut self, input: &mut BytesMut) {
        self.keep(input, self.read);
        self.read += 1;
        self.kept_from = self.read;
    }

    /// Keeps what was read since the last gap.
    fn keep(&mut self, input: &mut BytesMut, to: usize) {
        let len = to.saturating_sub(self.kept_from);
        if self.written != self.kept_from && len > 0 {
            input.copy_within(self.kept_from..to, self.written);
        }
        self.written += len;
    }
}

/// Appends `content` to `out` as RFC 5321 section 4.5.2 sends it: a dot before every line that starts with one, and
/// the end. `content` must consist of whole lines.
pub fn stuff(content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while !rest.is_empty() {
        if rest.first() == Some(&b'.') {
            out.push(b'.');
        }
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        out.extend_from_slice(line);
        rest = after;
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
pub(crate) mod tests;
