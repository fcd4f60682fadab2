//! What copies are about, without their mail: for operators who choose by stream, campaign or domain.

use std::sync::Arc;

use super::batch::Manifest;
use super::index::Source;
use super::queue::PendingCopy;
use super::recipients::RecipientSet;
use super::record::BatchRecord;
use crate::mail::Recipient;

/// What a copy shares with its batch, and whom it is still for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Stream, controller, list, campaign; reverse path; times.
    pub manifest: Arc<Manifest>,
    /// Recipients not settled.
    pub recipients: Vec<Recipient>,
}

/// Reads the frames of the copies found, each once while they follow each other; blocks on the disk.
pub(super) fn read(found: Vec<(PendingCopy, RecipientSet, Option<Source>)>) -> Vec<(PendingCopy, Option<Labels>)> {
    let mut last: Option<(u64, Arc<Manifest>, BatchRecord)> = None;
    let mut labelled = Vec::with_capacity(found.len());
    for (facts, open, source) in found {
        let labels = match source {
            Some(Source::Stored { seq, segment, place }) => {
                if last.as_ref().is_none_or(|(known, ..)| *known != seq) {
                    let record = segment.read_batch(place).ok();
                    last = record.map(|record| (seq, Arc::new(record.manifest.clone()), record));
                }
                last.as_ref().and_then(|(_, manifest, record)| of_copy(&facts, &open, manifest, record))
            }
            Some(Source::Cached(_)) | None => None,
        };
        labelled.push((facts, labels));
    }
    labelled
}

fn of_copy(facts: &PendingCopy, open: &RecipientSet, manifest: &Arc<Manifest>, record: &BatchRecord) -> Option<Labels> {
    let copy = record.copies.iter().find(|copy| copy.id == facts.id.as_u64())?;
    let open = (0..=u16::MAX).zip(&copy.recipients).filter(|(index, _)| open.contains(*index));
    Some(Labels { manifest: Arc::clone(manifest), recipients: open.map(|(_, recipient)| recipient.clone()).collect() })
}
