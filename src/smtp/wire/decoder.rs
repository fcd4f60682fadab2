//! What a listener makes of content whose line ends are none.

use bytes::BytesMut;

use super::dots::{Defect, Dots, Piece};
use super::mend::Mender;

/// How bare CR, bare LF and NUL in content are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnds {
    /// Refused, and the client is sent away: RFC 5321 section 2.3.8.
    #[default]
    Strict,
    /// Mended before anything else looks at the content: for tools that cannot be repaired.
    Normalize,
}

/// Decodes content either way.
#[derive(Debug)]
pub enum Decoder {
    /// As it stands.
    Strict(Dots),
    /// Mended.
    Mending(Mender),
}

impl Decoder {
    /// A decoder before the first octet behind the 354 reply.
    pub const fn new(line_ends: LineEnds) -> Self {
        match line_ends {
            LineEnds::Strict => Self::Strict(Dots::new()),
            LineEnds::Normalize => Self::Mending(Mender::new()),
        }
    }

    /// The first defect that was met.
    pub const fn defect(&self) -> Option<Defect> {
        match self {
            Self::Strict(dots) => dots.defect(),
            Self::Mending(mender) => mender.defect(),
        }
    }

    /// Takes as much off the front of `input` as can be decoded: all of it, or all up to the end of the content.
    pub fn decode(&mut self, input: &mut BytesMut) -> Piece {
        match self {
            Self::Strict(dots) => dots.decode(input),
            Self::Mending(mender) => mender.decode(input),
        }
    }
}
