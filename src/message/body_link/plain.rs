//! Parts that are not encoded: the placeholder alone is replaced.

use std::ops::Range;

use memchr::{memchr, memrchr};

use super::{BodyLinkError, LINE_OCTETS_MAX, LinkText};

/// One line with placeholders.
#[derive(Debug)]
pub(super) struct Line {
    /// From the first placeholder to the end of the last.
    pub(super) range: Range<usize>,
    found: Vec<Range<usize>>,
    /// Octets of the whole line that stay.
    kept: usize,
}

/// The lines of the part at `start` that hold placeholders.
pub(super) fn lines(body: &[u8], start: usize, found: &[Range<usize>]) -> impl Iterator<Item = Line> {
    let mut lines: Vec<Line> = Vec::new();
    for range in found {
        let range = start + range.start..start + range.end;
        let before = body.get(..range.start).unwrap_or_default();
        let begins = memrchr(b'\n', before).map_or(0, |at| at + 1);
        if let Some(line) = lines.last_mut().filter(|line| line.range.end > begins) {
            line.kept = line.kept.saturating_sub(range.len());
            line.range.end = range.end;
            line.found.push(range);
        } else {
            let rest = body.get(begins..).unwrap_or_default();
            let text = rest.get(..memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default();
            let octets = text.strip_suffix(b"\r").unwrap_or(text).len();
            lines.push(Line { range: range.clone(), kept: octets.saturating_sub(range.len()), found: vec![range] });
        }
    }
    lines.into_iter()
}

impl Line {
    pub(super) fn write(&self, body: &[u8], link: LinkText<'_>, out: &mut Vec<u8>) -> Result<(), BodyLinkError> {
        if self.kept + self.found.len() * link.octets().len() > LINE_OCTETS_MAX {
            return Err(BodyLinkError::LineTooLong);
        }
        let mut at = self.range.start;
        for placeholder in &self.found {
            out.extend_from_slice(body.get(at..placeholder.start).unwrap_or_default());
            out.extend_from_slice(link.octets());
            at = placeholder.end;
        }
        Ok(())
    }
}
