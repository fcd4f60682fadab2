//! The sections `[replies]` and `[bounces]`: what refusals mean, and when too many are not believed.

use std::path::Path;
use std::sync::Arc;

use crate::delivery::breaker;
use crate::replies::{Book, embedded, load};

use super::error::Problems;
use super::v1;
use super::value::{duration, number};

/// The shipped entries with the operator's own on top.
pub(super) fn book(spec: &v1::Spec, base: &Path, problems: &mut Problems<'_>) -> Option<Arc<Book>> {
    let loaded = match &spec.replies.file {
        None => embedded(),
        Some(file) => load(&base.join(file.as_ref())),
    };
    let at = spec.replies.file.as_ref().map_or(0, |file| file.span().start);
    problems.take(at, "replies.file", loaded).map(Arc::new)
}

/// When a group trips.
pub(super) fn breaker(spec: &v1::Bounces, problems: &mut Problems<'_>) -> Option<breaker::Settings> {
    let usual = breaker::Settings::default();
    let window = duration(problems, "bounces.window", spec.window.as_ref(), usual.window);
    let minimum = number(problems, "bounces.minimum", spec.minimum.as_ref(), 1..=1_000_000, usual.minimum.into());
    let share = number(problems, "bounces.share", spec.share.as_ref(), 1..=100, usual.share.into());
    Some(breaker::Settings {
        window: window?,
        minimum: u32::try_from(minimum?).ok()?,
        share: u32::try_from(share?).ok()?,
    })
}
