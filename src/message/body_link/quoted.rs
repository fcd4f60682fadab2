//! Quoted-printable parts (RFC 2045 section 6.7): the lines that held a placeholder are written anew.

use std::ops::Range;

use memchr::memrchr;

use crate::message::duties::decode::digit;
use crate::message::duties::parts::TextPart;

use super::LinkText;

/// RFC 2045 section 6.7, rule 5: the longest line, a soft line break's `=` included.
const LINE_MAX: usize = 76;
const SOFT_BREAK: &[u8] = b"=\r\n";

/// The smallest piece that means something.
#[derive(Clone, Copy, Debug)]
struct Token {
    start: usize,
    end: usize,
    /// Nothing for a soft line break.
    octet: Option<u8>,
}

impl Token {
    /// Whether the line goes on behind it: an encoded CR or LF is a character like others.
    const fn stays_on_line(&self) -> bool {
        match self.octet {
            None => false,
            Some(b'\r' | b'\n') => self.end - self.start > 1,
            Some(_) => true,
        }
    }
}

/// Reads encoded octets as the reader of duties does, piece by piece.
struct Tokens<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = self.octets.get(self.at..)?;
        let (octet, length) = match rest {
            [] => return None,
            [b'=', b'\n', ..] => (None, 2),
            [b'=', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (Some(digit(*high) << 4 | digit(*low)), 3)
            }
            [b'=', rest @ ..] => {
                // White space that a relay added behind a soft line break (rule 3).
                let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
                if rest.get(blank) == Some(&b'\n') { (None, blank + 2) } else { (Some(b'='), 1) }
            }
            [octet, ..] => (Some(*octet), 1),
        };
        let start = self.at;
        self.at += length;
        Some(Token { start, end: self.at, octet })
    }
}

/// What a run is made of. Neither kind holds a line break.
#[derive(Debug)]
enum Piece {
    Link,
    Kept(Range<usize>),
}

/// How the last line of a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With a soft line break that stays, and whose `=` needs room.
    Soft,
    /// With the line or the part.
    Hard,
}

/// The lines that one or more placeholders touch, from the first placeholder to the end of the last line.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) range: Range<usize>,
    /// Octets that stand before it on its line.
    column: usize,
    pieces: Vec<Piece>,
    ending: Ending,
}

/// The runs of a part; `found` are the placeholders in its decoded octets.
pub(super) fn runs(body: &[u8], part: &TextPart<'_>, found: &[Range<usize>]) -> impl Iterator<Item = Run> {
    let mut tokens = Tokens { octets: part.octets, at: 0 }.peekable();
    let (mut runs, mut decoded) = (Vec::new(), 0);
    let mut found = found.iter().peekable();
    while let Some(token) = tokens.next() {
        let begins = found.peek().is_some_and(|next| next.start == decoded && token.octet.is_some());
        decoded += usize::from(token.octet.is_some());
        if !begins {
            continue;
        }
        let start = part.start + token.start;
        let column = start - memrchr(b'\n', body.get(..start).unwrap_or_default()).map_or(0, |at| at + 1);
        let mut run = Run { range: start..start, column, pieces: Vec::new(), ending: Ending::Hard };
        let mut last = token;
        while let Some(placeholder) = found.next() {
            run.pieces.push(Piece::Link);
            while decoded < placeholder.end {
                let Some(token) = tokens.next() else { break };
                decoded += usize::from(token.octet.is_some());
                last = token;
            }
            // What follows on the same line, up to the next placeholder.
            let kept_from = last.end;
            let next = found.peek().map(|next| next.start);
            while next != Some(decoded)
                && let Some(token) = tokens.next_if(Token::stays_on_line)
            {
                decoded += 1;
                last = token;
            }
            run.pieces.push(Piece::Kept(part.start + kept_from..part.start + last.end));
            let goes_on = next == Some(decoded) && tokens.peek().is_some_and(Token::stays_on_line);
            if !goes_on {
                break;
            }
            if let Some(token) = tokens.next() {
                decoded += 1;
                last = token;
            }
        }
        run.range.end = part.start + last.end;
        run.ending = if tokens.peek().is_some_and(|token| token.octet.is_none()) { Ending::Soft } else { Ending::Hard };
        runs.push(run);
    }
    runs.into_iter()
}

impl Run {
    pub(super) fn write(&self, body: &[u8], link: LinkText<'_>, out: &mut Vec<u8>) {
        let mut atoms: Vec<&[u8]> = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Link => atoms.extend(link.octets().chunks(1)),
                Piece::Kept(range) => {
                    let kept = body.get(range.clone()).unwrap_or_default();
                    let tokens = Tokens { octets: kept, at: 0 };
                    atoms.extend(tokens.map(|token| kept.get(token.start..token.end).unwrap_or_default()));
                }
            }
        }
        let (mut column, last) = (self.column, atoms.len().saturating_sub(1));
        for (index, atom) in atoms.into_iter().enumerate() {
            // The last one may stand where all others leave room for a `=`.
            let room = if index == last && self.ending == Ending::Hard { LINE_MAX } else { LINE_MAX - 1 };
            if column + atom.len() > room {
                out.extend_from_slice(SOFT_BREAK);
                column = 0;
            }
            // A line that begins with dashes could be taken for the end of the part (RFC 2046 section 5.1.1).
            let atom = if column == 0 && atom == b"-" { b"=2D" } else { atom };
            out.extend_from_slice(atom);
            column += atom.len();
        }
    }
}
