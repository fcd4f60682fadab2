//! Base64 parts (RFC 2045 section 6.8): from the placeholder on, every character moves.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memrchr};

use crate::message::duties::parts::TextPart;

use super::{Found, LinkText};

/// RFC 2045 section 6.8: the longest line.
const LINE_MAX: usize = 76;
/// Characters that stand for three octets.
const GROUP: usize = 4;

const fn is_data(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')
}

/// The end of a part, from the group of four characters in which the first placeholder begins.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) range: Range<usize>,
    /// What stood there.
    decoded: Vec<u8>,
    /// Placeholders in it.
    found: Vec<Range<usize>>,
    /// Characters that stand before it on its line.
    column: usize,
    /// Characters of a whole line.
    width: usize,
}

/// What of a part has to be written anew.
pub(super) fn rest(part: &TextPart<'_>, found: &Found<'_>) -> Option<Rest> {
    let groups = found.ranges.first()?.start / 3;
    let (skipped, decoded) = (groups * 3, found.decoded.get(groups * 3..)?.to_vec());
    let end = memchr(b'=', part.octets).unwrap_or(part.octets.len());
    let mut data = part.octets.iter().take(end).enumerate().filter(|(_, b)| is_data(**b)).map(|(at, _)| at);
    let start = data.nth(groups * GROUP)?;
    let last = data.next_back()?;
    let padding = part.octets.get(end..).unwrap_or_default().iter().take_while(|b| **b == b'=').count();
    let stop = if padding > 0 { end + padding } else { last + 1 };
    let before = part.octets.get(..start).unwrap_or_default();
    let column = start - memrchr(b'\n', before).map_or(0, |at| at + 1);
    let shifted = found.ranges.iter().map(|range| range.start - skipped..range.end - skipped).collect();
    let range = part.start + start..part.start + stop;
    Some(Rest { range, decoded, found: shifted, column, width: width(part.octets) })
}

/// The length of the part's lines: that of the first one when another follows, within what the RFC allows.
fn width(octets: &[u8]) -> usize {
    let first = octets.trim_ascii_start();
    let Some(end) = memchr(b'\n', first) else { return LINE_MAX };
    let (line, more) = first.split_at_checked(end).unwrap_or((first, &[]));
    let length = line.trim_ascii_end().len();
    if more.iter().any(|b| is_data(*b)) && (GROUP..=LINE_MAX).contains(&length) { length } else { LINE_MAX }
}

impl Rest {
    pub(super) fn write(&self, link: LinkText<'_>, out: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(self.decoded.len() + self.found.len() * link.octets().len());
        let mut at = 0;
        for placeholder in &self.found {
            text.extend_from_slice(self.decoded.get(at..placeholder.start).unwrap_or_default());
            text.extend_from_slice(link.octets());
            at = placeholder.end;
        }
        text.extend_from_slice(self.decoded.get(at..).unwrap_or_default());
        let encoded = STANDARD.encode(&text);
        let mut rest = encoded.as_bytes();
        let mut room = self.width.saturating_sub(self.column);
        while !rest.is_empty() {
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            out.extend_from_slice(now);
            if !later.is_empty() {
                out.extend_from_slice(b"\r\n");
            }
            (rest, room) = (later, self.width);
        }
    }
}
