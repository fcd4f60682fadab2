//! The content of DATA as it comes over a channel.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::channel::{Awaiting, Channel, Halt};
use super::pace::Pace;
use crate::smtp::wire::{Decoder, LineEnds};
use crate::smtp::{Content, ContentError};

/// What is read and dropped of a refused message beyond the size limit before the client is cut off, in octets.
/// A client that is answered at the end of its message does not try the same again; one that never ends is no client.
pub(super) const DRAIN_MAX: u64 = 64 * 1024 * 1024;

/// What is handed out at a time, in octets, but for the end. A client that drips would else make whoever takes the
/// content keep a piece for each octet.
const PIECE_MIN: usize = 4 * 1024;

/// How the content stands after [`super::super::Intake::data`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended, and all of it was handed out.
    Clean,
    /// It ended, but not all of it was asked for.
    Unread,
    /// It was refused by form or size; the bool says whether its end was found.
    Faulty(ContentError, bool),
}

/// Pulls content from a channel through the decoder.
pub(super) struct Incoming<'a, S> {
    channel: &'a mut Channel<S>,
    decoder: Decoder,
    wait: Duration,
    pace: Pace,
    /// Pieces that are too small to be handed out alone.
    gathered: BytesMut,
    limit: u64,
    received: u64,
    ended: bool,
    taken: bool,
    fault: Option<ContentError>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin + Send> Incoming<'a, S> {
    /// Content of at most `limit` octets, each block of it within `wait`, and all of it at its `pace`.
    pub(super) fn new(
        channel: &'a mut Channel<S>,
        line_ends: LineEnds,
        limit: u64,
        wait: Duration,
        pace: Pace,
    ) -> Self {
        Self {
            channel,
            decoder: Decoder::new(line_ends),
            wait,
            pace,
            gathered: BytesMut::new(),
            limit,
            received: 0,
            ended: false,
            taken: false,
            fault: None,
        }
    }

    /// Reads on to the end of the content, within bounds, and says how it went.
    pub(super) async fn finish(mut self) -> Outcome {
        let unread = !self.taken;
        let bound = self.limit.saturating_add(DRAIN_MAX);
        while !self.ended && !self.is_cut_off() && self.received <= bound {
            if let Err(halt) = self.more().await {
                self.fault = Some(halt);
                break;
            }
            drop(self.decode());
        }
        match self.fault {
            Some(fault) => Outcome::Faulty(fault, self.ended),
            None if self.ended && !unread => Outcome::Clean,
            None => Outcome::Unread,
        }
    }

    /// The next piece to hand out, when there is enough for one.
    fn gather(&mut self, content: Bytes) -> Option<Bytes> {
        if self.gathered.is_empty() && (self.ended || content.len() >= PIECE_MIN) {
            return Some(content).filter(|content| !content.is_empty());
        }
        self.gathered.extend_from_slice(&content);
        let enough = !self.gathered.is_empty() && (self.ended || self.gathered.len() >= PIECE_MIN);
        enough.then(|| self.gathered.split().freeze())
    }

    /// Whether nothing more will come.
    fn is_cut_off(&self) -> bool {
        matches!(self.fault, Some(ContentError::Gone | ContentError::TimedOut | ContentError::Stopping))
    }

    /// Makes sure that there is input.
    async fn more(&mut self) -> Result<(), ContentError> {
        if !self.channel.input.is_empty() {
            return Ok(());
        }
        let (since, wait) = (Instant::now(), self.wait.min(self.pace.left()));
        self.channel.fill(Awaiting::Content, wait).await.map_err(|halt| match halt {
            Halt::Gone => ContentError::Gone,
            Halt::TimedOut => ContentError::TimedOut,
            Halt::Expired | Halt::Stopping => ContentError::Stopping,
        })?;
        self.pace.note(self.channel.input.len(), since.elapsed());
        Ok(())
    }

    /// Decodes what is in the input and notes defects and the size.
    fn decode(&mut self) -> Bytes {
        let before = self.channel.input.len();
        let piece = self.decoder.decode(&mut self.channel.input);
        let consumed = before - self.channel.input.len();
        self.ended = piece.ended;
        // Content that is dropped for a defect counts as it was sent, so that draining it stays bounded.
        let octets = if self.decoder.defect().is_some() { consumed } else { piece.content.len() };
        self.received = self.received.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        self.fault = match (self.fault, self.decoder.defect()) {
            // Whichever came first: how the octets were cut into reads must not decide what the client is told.
            (None | Some(ContentError::TooLarge), Some(defect)) => Some(ContentError::Malformed(defect)),
            (None, None) if self.received > self.limit => Some(ContentError::TooLarge),
            (None, None) if self.channel.share.grow(octets).is_err() => Some(ContentError::NoMemory),
            (fault, _) => fault,
        };
        piece.content
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Content for Incoming<'_, S> {
    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        loop {
            if let Some(fault) = self.fault {
                return Err(fault);
            }
            if self.ended {
                self.taken = true;
                return Ok(None);
            }
            if let Err(halt) = self.more().await {
                self.fault = Some(halt);
                continue;
            }
            let content = self.decode();
            if let Some(piece) = self.gather(content).filter(|_| self.fault.is_none()) {
                return Ok(Some(piece));
            }
        }
    }
}
