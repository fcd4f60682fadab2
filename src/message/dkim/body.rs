//! Relaxed body canonicalisation and its hash (RFC 6376 sections 3.4.4 and 3.7), in one pass over a stream.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem};

/// Octets of a SHA-256 digest.
const HASH_LEN: usize = 32;
/// Line ends that were held back are fed from here, sixteen at a time.
const LINE_ENDS: &[u8; 32] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

/// SHA-256 over a body in relaxed canonical form. One hash serves every copy and every signature of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash([u8; HASH_LEN]);

impl BodyHash {
    /// The hash of a body that is whole in memory.
    pub fn of(body: &[u8]) -> Self {
        let mut hasher = BodyHasher::new();
        hasher.update(body);
        hasher.finish()
    }

    /// The value of `bh=`.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

/// Hashes a body that arrives in pieces of any size. Everything behind the blank line belongs to the body, line ends
/// are CRLF; a CR or LF alone counts as an ordinary character (the door lets none in).
pub struct BodyHasher {
    digest: digest::Context,
    relaxed: Relaxed,
}

impl BodyHasher {
    /// A hasher that has seen nothing: its result is that of an empty body.
    pub fn new() -> Self {
        Self { digest: digest::Context::new(&digest::SHA256), relaxed: Relaxed::new() }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        let digest = &mut self.digest;
        self.relaxed.update(piece, &mut |octets| digest.update(octets));
    }

    /// The hash of all pieces.
    pub fn finish(mut self) -> BodyHash {
        let digest = &mut self.digest;
        self.relaxed.finish(&mut |octets| digest.update(octets));
        let mut hash = [0; HASH_LEN];
        for (to, from) in hash.iter_mut().zip(self.digest.finish().as_ref()) {
            *to = *from;
        }
        BodyHash(hash)
    }
}

impl Default for BodyHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for BodyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyHasher").finish_non_exhaustive()
    }
}

/// What was read and may still turn out to be nothing: line ends at the end of the body, white space at the end of a
/// line, a CR at the end of a piece. In this order.
struct Relaxed {
    line_ends: usize,
    blank: bool,
    cr: bool,
    has_content: bool,
    double_blank: memmem::Finder<'static>,
}

impl Relaxed {
    fn new() -> Self {
        let double_blank = memmem::Finder::new(b"  ");
        Self { line_ends: 0, blank: false, cr: false, has_content: false, double_blank }
    }

    fn update(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8])) {
        let mut marks = Marks::default();
        let mut at = 0;
        while let Some(&b) = piece.get(at) {
            if self.hold(b, sink) {
                at += 1;
                continue;
            }
            self.release(sink);
            let end = marks.run_end(&self.double_blank, piece, at);
            sink(piece.get(at..end).unwrap_or_default());
            at = end;
        }
    }

    /// Takes an octet that may turn out to be nothing. `false` when it is content.
    fn hold(&mut self, b: u8, sink: &mut impl FnMut(&[u8])) -> bool {
        if self.cr {
            self.cr = false;
            if b == b'\n' {
                // White space at the end of a line goes.
                self.blank = false;
                self.line_ends += 1;
                return true;
            }
            self.release(sink);
            sink(b"\r");
        }
        match b {
            b' ' | b'\t' => self.blank = true,
            b'\r' => self.cr = true,
            _ => return false,
        }
        true
    }

    /// Content follows: what was held back counts.
    fn release(&mut self, sink: &mut impl FnMut(&[u8])) {
        self.has_content = true;
        while self.line_ends > 0 {
            let now = self.line_ends.min(LINE_ENDS.len() / 2);
            sink(LINE_ENDS.get(..now * 2).unwrap_or_default());
            self.line_ends -= now;
        }
        if self.blank {
            sink(b" ");
            self.blank = false;
        }
    }

    /// Empty lines at the end go; a body that is not empty ends with one CRLF.
    fn finish(&mut self, sink: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.release(sink);
            sink(b"\r");
        }
        if self.has_content {
            sink(b"\r\n");
        }
    }
}

/// Where the next tab and double blank of a piece stand. Remembered until passed, so that each octet is searched
/// once: most of a body then goes to the hash in long slices, unread.
#[derive(Default)]
struct Marks {
    tab: Option<usize>,
    double: Option<usize>,
}

impl Marks {
    /// Where the run of octets that stay as they are and begins at `start` ends. `start` is content.
    fn run_end(&mut self, double_blank: &memmem::Finder<'_>, piece: &[u8], start: usize) -> usize {
        let tab = next(&mut self.tab, piece, start, |rest| memchr(b'\t', rest));
        let double = next(&mut self.double, piece, start, |rest| double_blank.find(rest));
        let limit = tab.min(double);
        let mut line = start;
        let end = loop {
            let rest = piece.get(line..limit).unwrap_or_default();
            let Some(cr) = memchr(b'\r', rest).map(|at| line + at) else { break limit };
            // A line end between two octets of content stays as it is, so the run goes on.
            let ends_blank = cr > start && piece.get(cr - 1) == Some(&b' ');
            let goes_on =
                matches!(piece.get(cr + 1..cr + 3), Some([b'\n', after]) if !matches!(after, b' ' | b'\t' | b'\r'));
            if ends_blank || !goes_on {
                break cr;
            }
            line = cr + 2;
        };
        // White space before the mark belongs to what has to be looked at.
        let run = piece.get(start..end).unwrap_or_default();
        let blanks = run.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
        end - blanks
    }
}

fn next(mark: &mut Option<usize>, piece: &[u8], start: usize, find: impl FnOnce(&[u8]) -> Option<usize>) -> usize {
    match *mark {
        Some(at) if at >= start => at,
        Some(_) | None => {
            let at = find(piece.get(start..).unwrap_or_default()).map_or(piece.len(), |at| start + at);
            *mark = Some(at);
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6376 section 3.4.4 word for word, one step after the other.
    fn reference(body: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut line = Vec::new();
        let mut rest = body;
        while let Some((&b, tail)) = rest.split_first() {
            if rest.starts_with(b"\r\n") {
                lines.push(std::mem::take(&mut line));
                rest = &rest[2..];
            } else {
                line.push(b);
                rest = tail;
            }
        }
        lines.push(line);
        for line in &mut lines {
            while line.last().is_some_and(|b| b" \t".contains(b)) {
                line.pop();
            }
            let mut reduced: Vec<u8> = Vec::new();
            for b in line.iter() {
                let blank = b" \t".contains(b);
                if !(blank && reduced.last() == Some(&b' ')) {
                    reduced.push(if blank { b' ' } else { *b });
                }
            }
            *line = reduced;
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect()
    }

    fn canonical(pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut relaxed = Relaxed::new();
        for piece in pieces {
            relaxed.update(piece, &mut |octets| out.extend_from_slice(octets));
        }
        relaxed.finish(&mut |octets| out.extend_from_slice(octets));
        out
    }

    /// RFC 6376 section 3.4.5, example 1, and the empty body of section 3.4.4.
    #[test]
    fn the_published_examples() {
        assert_eq!(canonical(&[b" C \r\nD \t E\r\n\r\n\r\n"]), b" C\r\nD E\r\n");
        assert_eq!(BodyHash::of(b"").to_base64(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    /// RFC 8463 appendix A.3.
    #[test]
    fn the_published_hash() {
        let body = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
        assert_eq!(BodyHash::of(body).to_base64(), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    }

    #[test]
    fn ends_are_treated_as_the_rfc_says() {
        for (body, expected) in [
            (b"".as_slice(), b"".as_slice()),
            (b"\r\n\r\n", b""),
            (b" \t\r\n \r\n", b""),
            (b"  ", b""),
            (b"a", b"a\r\n"),
            (b"a\r\n \r\n\t\r\n", b"a\r\n"),
            (b"a\r\n \r\nb \t", b"a\r\n\r\nb\r\n"),
            (b"a\r", b"a\r\r\n"),
            (b"a \rb\n", b"a \rb\n\r\n"),
        ] {
            assert_eq!(canonical(&[body]), expected, "{body:?}");
        }
    }

    #[test]
    fn many_held_line_ends_all_come_out() {
        for n in [15, 16, 17, 100] {
            let body = format!("a{}b", "\r\n".repeat(n));
            assert_eq!(canonical(&[body.as_bytes()]), format!("{body}\r\n").as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_chunking_gives_what_the_reference_gives(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "bc", " ", " ", "\t", "\r\n", "\r\n", "\r", "\n"]), 0..40),
            cuts in prop::collection::vec(0..60_usize, 0..6),
        ) {
            let body = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let expected = reference(&body);
            prop_assert_eq!(canonical(&pieces), expected.clone());
            prop_assert_eq!(canonical(&[&body]), expected);
        }
    }
}
