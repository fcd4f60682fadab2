//! Framing of command lines: RFC 5321 section 2.3.8, "CR and LF only as the pair CRLF".

use bytes::{Buf, BytesMut};
use memchr::memchr;

use super::limits::UNTERMINATED_MAX;

/// What the front of the input holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// One line without its CRLF. It may still hold bare carriage returns; [`super::Command::parse`] refuses them.
    Complete(BytesMut),
    /// A line feed without a carriage return. The rest up to the next CRLF belongs to the same line and is never
    /// read as a command, so that a line feed smuggled into an address cannot start one.
    BareLf,
    /// More octets are needed.
    Incomplete,
    /// More than [`UNTERMINATED_MAX`] octets without a line end: nothing sensible will follow.
    Endless,
}

/// Cuts lines from the input, in any chunking of it the same ones.
#[derive(Debug, Default)]
pub struct Lines {
    skipping: bool,
    skipped: usize,
}

impl Lines {
    /// Takes the next line off the front of `input`.
    pub fn next(&mut self, input: &mut BytesMut) -> Line {
        if self.skipping && !self.skip(input) {
            return if self.skipped > UNTERMINATED_MAX { Line::Endless } else { Line::Incomplete };
        }
        let Some(lf) = memchr(b'\n', input) else {
            return if input.len() > UNTERMINATED_MAX { Line::Endless } else { Line::Incomplete };
        };
        let with_cr = lf.checked_sub(1).filter(|before| input.get(*before) == Some(&b'\r'));
        let Some(end) = with_cr else {
            input.advance(lf + 1);
            self.skipping = true;
            self.skipped = 0;
            return Line::BareLf;
        };
        let line = input.split_to(end);
        input.advance(2);
        Line::Complete(line)
    }

    /// Drops the rest of a broken line; true when its CRLF was found.
    fn skip(&mut self, input: &mut BytesMut) -> bool {
        while let Some(lf) = memchr(b'\n', input) {
            let ended = lf.checked_sub(1).is_some_and(|before| input.get(before) == Some(&b'\r'));
            input.advance(lf + 1);
            self.skipped = self.skipped.saturating_add(lf + 1);
            if ended {
                self.skipping = false;
                return true;
            }
        }
        // A carriage return at the very end may be the first half of the line end.
        let kept = usize::from(input.last() == Some(&b'\r'));
        let dropped = input.len() - kept;
        input.advance(dropped);
        self.skipped = self.skipped.saturating_add(dropped);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut input, mut seen) = (Lines::default(), BytesMut::new(), Vec::new());
        for chunk in chunks {
            input.extend_from_slice(chunk);
            loop {
                match lines.next(&mut input) {
                    Line::Complete(line) => seen.push(String::from_utf8_lossy(&line).into_owned()),
                    Line::BareLf => seen.push("<bare>".to_owned()),
                    Line::Endless => {
                        seen.push("<endless>".to_owned());
                        return seen;
                    }
                    Line::Incomplete => break,
                }
            }
        }
        seen
    }

    #[test]
    fn a_bare_line_feed_never_starts_a_command_however_it_is_split() {
        let octets = b"NOOP\r\nRCPT TO:<a@b\nQUIT\nHELP\r\nRSET\r\n\r\nNO\rOP\r\n\nVRFY x\r\r\nHELP\r\n";
        let expected = ["NOOP", "<bare>", "RSET", "", "NO\rOP", "<bare>", "HELP"];
        assert_eq!(lines_of(&[octets]), expected);
        for at in 0..octets.len() {
            let (left, right) = octets.split_at(at);
            assert_eq!(lines_of(&[left, right]), expected, "split at {at}");
        }
        let single: Vec<&[u8]> = octets.chunks(1).collect();
        assert_eq!(lines_of(&single), expected);
    }

    #[test]
    fn what_never_ends_is_cut_off_at_the_limit() {
        let full = vec![b'x'; UNTERMINATED_MAX];
        assert!(lines_of(&[&full]).is_empty());
        assert_eq!(lines_of(&[&full, b"x"]), ["<endless>"]);
        assert_eq!(lines_of(&[b"\n", &full]), ["<bare>"]);
        assert_eq!(lines_of(&[b"\n", &full, b"x"]), ["<bare>", "<endless>"]);
    }
}
