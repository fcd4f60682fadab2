//! Content from tools too old to write line ends: every bare CR and bare LF becomes a CRLF, every NUL a blank.
//!
//! Where the message ends is not up for mending: that is where [`super::Dots`] sees it, at CRLF, dot, CRLF and nowhere
//! else. What a lenient server would take for the end is a line with one dot here, and goes out with that dot doubled.

use bytes::{Buf, BufMut, BytesMut};
use memchr::memchr3;

use super::dots::{Defect, Piece};
use super::limits::TEXT_LINE_MAX;

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the first octet of a line, behind a genuine CRLF.
    LineStart,
    /// Behind a dot there.
    Dot,
    /// Behind that dot and a carriage return.
    DotCr,
    /// At the first octet of a line, behind a line end that was mended.
    MendedStart,
    /// Behind a dot there.
    MendedDot,
    /// Within a line.
    Text,
    /// Behind a carriage return within a line.
    Cr,
}

/// Decodes and mends content chunk by chunk; every chunking of the same octets gives the same content.
///
/// Clean content comes out as [`super::Dots`] decodes it. Behind a mended line end a dot is taken off only where a
/// second one follows: tools that write such line ends double the dots behind them, or do not look for them at all.
#[derive(Debug)]
pub struct Mender {
    place: Place,
    line: usize,
    defect: Option<Defect>,
}

impl Default for Mender {
    fn default() -> Self {
        Self::new()
    }
}

impl Mender {
    /// A decoder before the first octet behind the 354 reply.
    pub const fn new() -> Self {
        Self { place: Place::LineStart, line: 0, defect: None }
    }

    /// What could not be mended: a line beyond [`TEXT_LINE_MAX`], for no place to break it is known.
    pub const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Takes as much off the front of `input` as can be decoded: all of it, or all up to the end of the content. The
    /// content of one call is at most twice as long as what it took, and three octets.
    pub fn decode(&mut self, input: &mut BytesMut) -> Piece {
        let mut out = BytesMut::with_capacity(input.len() + input.len() / 32);
        let ended = self.scan(input, &mut out);
        if self.defect.is_some() {
            out.clear();
        }
        Piece { content: out.freeze(), ended }
    }

    fn scan(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> bool {
        while let Some(&byte) = input.first() {
            match (self.place, byte) {
                (Place::LineStart, b'.') => self.take(input, Place::Dot),
                (Place::MendedStart, b'.') => self.take(input, Place::MendedDot),
                (Place::Dot, b'\r') => self.take(input, Place::DotCr),
                (Place::DotCr, b'\n') => {
                    input.advance(1);
                    return true;
                }
                (Place::Cr, b'\n') => {
                    self.take(input, Place::LineStart);
                    self.line_end(out, Place::LineStart);
                }
                (Place::Cr, _) => self.line_end(out, Place::MendedStart),
                // The dot was a whole line, and the server that we relay to must not take it for the end.
                (Place::DotCr, _) => {
                    self.text(b".", out);
                    self.line_end(out, Place::MendedStart);
                }
                (Place::Dot, b'\n') => {
                    self.text(b".", out);
                    self.place = Place::Text;
                }
                (Place::MendedDot, b'.') | (Place::LineStart | Place::Dot | Place::MendedStart, _) => {
                    self.place = Place::Text;
                }
                (Place::MendedDot, _) => {
                    self.text(b".", out);
                    self.place = Place::Text;
                }
                (Place::Text, _) => self.run(input, out),
            }
        }
        false
    }

    fn take(&mut self, input: &mut BytesMut, next: Place) {
        input.advance(1);
        self.place = next;
    }

    /// Takes the rest of a line as far as it has come, and the octet that ends it.
    fn run(&mut self, input: &mut BytesMut, out: &mut BytesMut) {
        let hit = memchr3(b'\r', b'\n', 0, input);
        let plain = input.split_to(hit.unwrap_or(input.len()));
        self.text(&plain, out);
        match input.first() {
            Some(b'\r') => self.take(input, Place::Cr),
            Some(b'\n') => {
                input.advance(1);
                self.line_end(out, Place::MendedStart);
            }
            Some(_) => {
                input.advance(1);
                // Leaving it out could join what was apart.
                self.text(b" ", out);
            }
            None => {}
        }
    }

    fn text(&mut self, octets: &[u8], out: &mut BytesMut) {
        self.line = self.line.saturating_add(octets.len());
        if self.line > TEXT_LINE_MAX {
            self.defect.get_or_insert(Defect::LongLine);
        }
        out.put_slice(octets);
    }

    fn line_end(&mut self, out: &mut BytesMut, next: Place) {
        out.put_slice(b"\r\n");
        self.line = 0;
        self.place = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::smtp::wire::Dots;
    use crate::smtp::wire::dots::stuff;

    /// Content, defect, and what was left behind the end (none: not ended).
    fn mended<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Defect>, Option<Vec<u8>>) {
        let (mut mender, mut content, mut input) = (Mender::new(), Vec::new(), BytesMut::new());
        let mut rest: Option<Vec<u8>> = None;
        for chunk in chunks {
            if let Some(rest) = &mut rest {
                rest.extend_from_slice(chunk);
                continue;
            }
            input.extend_from_slice(chunk);
            let piece = mender.decode(&mut input);
            content.extend_from_slice(&piece.content);
            if piece.ended {
                rest = Some(input.to_vec());
            } else {
                assert!(input.is_empty(), "the decoder held octets back");
            }
        }
        if mender.defect().is_some() {
            content.clear();
        }
        (content, mender.defect(), rest)
    }

    #[test]
    fn bare_line_ends_become_whole_ones_and_nothing_but_the_end_ends() {
        for (octets, expected) in [
            (b"a\nb\rc\r\n.\r\n".as_slice(), "a\\r\\nb\\r\\nc\\r\\n"),
            (b"a\0b\r\n.\r\n", "a b\\r\\n"),
            (b"a\r\r\nb\r\n.\r\n", "a\\r\\n\\r\\nb\\r\\n"),
            (b"a\n\rb\r\n.\r\n", "a\\r\\n\\r\\nb\\r\\n"),
            (b"a\n.\nb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\r\n.\nb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\r\n.\rb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\r\n.\r\r\nb\r\n.\r\n", "a\\r\\n.\\r\\n\\r\\nb\\r\\n"),
            (b"a\n.\r\nb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\r.\r\nb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\n..\nb\r\n.\r\n", "a\\r\\n.\\r\\nb\\r\\n"),
            (b"a\n.b\n..c\r\n.d\r\n..e\r\n.\r\n", "a\\r\\n.b\\r\\n.c\\r\\nd\\r\\n.e\\r\\n"),
            (b".\nb\r\n.\r\n", ".\\r\\nb\\r\\n"),
            (b".\r\n", ""),
        ] {
            let (content, defect, rest) = mended([octets]);
            assert_eq!(content.escape_ascii().to_string(), expected, "{}", octets.escape_ascii());
            assert_eq!((defect, rest), (None, Some(Vec::new())), "{}", octets.escape_ascii());
        }
    }

    #[test]
    fn lines_are_measured_as_they_go_out_at_the_limit_and_past_it() {
        let fits = "x".repeat(TEXT_LINE_MAX);
        for (line, expected) in [
            (fits.clone(), None),
            (format!("{fits}\n{fits}\r{fits}"), None),
            (format!("{fits}x"), Some(Defect::LongLine)),
            (format!("{fits}\0"), Some(Defect::LongLine)),
            (format!("a\n.{fits}"), Some(Defect::LongLine)),
        ] {
            let octets = format!("{line}\r\n.\r\n").into_bytes();
            assert_eq!(mended([octets.as_slice()]).1, expected, "{}", line.len());
            assert_eq!(mended(octets.chunks(7)).1, expected, "{}", line.len());
        }
    }

    fn is_clean(content: &[u8]) -> bool {
        let text = String::from_utf8_lossy(content).replace("\r\n", "");
        !text.contains(['\r', '\n', '\0'])
    }

    fn strictly(octets: &[u8]) -> (Vec<u8>, Option<Defect>, Option<Vec<u8>>) {
        let (mut dots, mut input) = (Dots::new(), BytesMut::from(octets));
        let piece = dots.decode(&mut input);
        (piece.content.to_vec(), dots.defect(), piece.ended.then(|| input.to_vec()))
    }

    proptest! {
        #[test]
        fn whatever_comes_in_goes_out_clean_and_as_one_message(
            octets in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0u8), Just(b'a')], 0..60),
            step in 1usize..9,
        ) {
            let whole = [octets.as_slice(), b"\r\n.\r\n"].concat();
            let mended_whole = mended([whole.as_slice()]);
            prop_assert_eq!(&mended(whole.chunks(step)), &mended_whole);
            let (content, _, rest) = mended_whole;
            prop_assert!(is_clean(&content));
            let (by_the_book, defect, strict_rest) = strictly(&whole);
            prop_assert_eq!(&rest, &strict_rest, "both see the end in the same place");
            if defect.is_none() {
                prop_assert_eq!(&content, &by_the_book);
            }
            let mut sent = Vec::new();
            stuff(&content, &mut sent);
            prop_assert_eq!(strictly(&sent), (content, None, Some(Vec::new())));
        }
    }
}
