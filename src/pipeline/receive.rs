//! Reads the content of DATA once: the header section into memory, the body into memory or, when it is large, into a
//! file of its own; hashing it on the way when it will be signed.

use bytes::{Bytes, BytesMut};

use crate::mail::Reply;
use crate::message::{BodyHash, BodyHasher, HEADER_MAX, SplitAt, split, split_from};
use crate::smtp::{Content, ContentError};
use crate::spool::{BODY_MEMORY_MAX, Body, BodyWriter, Spool, SpoolError};

use super::answer;

/// A message as it arrived.
#[derive(Debug)]
pub(super) struct Received {
    /// Header section up to and including the blank line.
    pub(super) header: Bytes,
    /// Everything behind it.
    pub(super) body: Body,
    /// Hash of the body, when it was asked for.
    pub(super) hash: Option<BodyHash>,
    /// Octets in all.
    pub(super) octets: u64,
    /// Whether header section or body holds octets beyond ASCII, whatever the client declared.
    pub(super) eight_bit: bool,
}

/// Whether the body is hashed while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hashing {
    /// It will be signed.
    Wanted,
    /// It will not.
    NotWanted,
}

/// Reads to the true end of the content.
///
/// # Errors
/// The reply to give: the content broke off, the header section is endless, or a large body cannot be kept.
pub(super) async fn read<C: Content>(content: &mut C, spool: &Spool, hashing: Hashing) -> Result<Received, Reply> {
    let (header, rest) = read_header(content).await?;
    let mut reader = BodyReader::new(hashing);
    reader.push(rest, spool)?;
    while let Some(chunk) = content.next().await.map_err(ContentError::reply)? {
        reader.push(chunk, spool)?;
    }
    reader.finish(header).await
}

async fn read_header<C: Content>(content: &mut C) -> Result<(Bytes, Bytes), Reply> {
    let mut head = BytesMut::new();
    while let Some(chunk) = content.next().await.map_err(ContentError::reply)? {
        if head.is_empty()
            && let SplitAt::Body(end) = split(&chunk)
        {
            let mut header = chunk;
            let rest = header.split_off(end);
            return Ok((header, rest));
        }
        let searched = head.len();
        head.extend_from_slice(&chunk);
        if let SplitAt::Body(end) = split_from(&head, searched) {
            let rest = head.split_off(end);
            return Ok((head.freeze(), rest.freeze()));
        }
        if head.len() > HEADER_MAX {
            return Err(answer::endless_header());
        }
    }
    Ok((head.freeze(), Bytes::new()))
}

struct BodyReader {
    hasher: Option<BodyHasher>,
    held: Vec<Bytes>,
    octets: u64,
    eight_bit: bool,
    file: Option<BodyWriter>,
}

impl BodyReader {
    fn new(hashing: Hashing) -> Self {
        let hasher = (hashing == Hashing::Wanted).then(BodyHasher::new);
        Self { hasher, held: Vec::new(), octets: 0, eight_bit: false, file: None }
    }

    fn push(&mut self, chunk: Bytes, spool: &Spool) -> Result<(), Reply> {
        if chunk.is_empty() {
            return Ok(());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.octets = self.octets.saturating_add(chunk.len() as u64);
        self.eight_bit = self.eight_bit || !chunk.is_ascii();
        self.keep(chunk, spool).map_err(|error| answer::not_kept(&error))
    }

    fn keep(&mut self, chunk: Bytes, spool: &Spool) -> Result<(), SpoolError> {
        if let Some(file) = &mut self.file {
            return file.write(&chunk);
        }
        self.held.push(chunk);
        if self.octets > BODY_MEMORY_MAX as u64 {
            let mut file = spool.body_writer()?;
            for part in self.held.drain(..) {
                file.write(&part)?;
            }
            self.file = Some(file);
        }
        Ok(())
    }

    async fn finish(self, header: Bytes) -> Result<Received, Reply> {
        let octets = self.octets.saturating_add(header.len() as u64);
        let body = match self.file {
            Some(file) => file.finish().await.map_err(|error| answer::not_kept(&error))?,
            None => Body::Memory(joined(self.held)),
        };
        let eight_bit = self.eight_bit || !header.is_ascii();
        Ok(Received { header, body, hash: self.hasher.map(BodyHasher::finish), octets, eight_bit })
    }
}

fn joined(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in &parts {
        whole.extend_from_slice(part);
    }
    whole.freeze()
}
