//! The section `[shaping]`, and what streams get beside each other: how fast mail leaves.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use crate::delivery::{Priority, Routes, Share, Streams};
use crate::mail::StreamName;
use crate::shaping::{Book, embedded, load};

use super::error::Problems;
use super::v1;
use super::value::{number, word};

/// The largest part that one stream may have beside another of weight 1.
const WEIGHT_MAX: u64 = 1000;

/// What is shipped, with the operator's own on top; limits only for routes that there are.
pub(super) fn book(spec: &v1::Spec, base: &Path, routes: &Routes, problems: &mut Problems<'_>) -> Option<Arc<Book>> {
    let loaded = match &spec.shaping.file {
        None => embedded(),
        Some(file) => load(&base.join(file.as_ref())),
    };
    let at = spec.shaping.file.as_ref().map_or(0, |file| file.span().start);
    let book = problems.take(at, "shaping.file", loaded)?;
    for route in book.routes().filter(|route| !routes.has(route)) {
        problems.add(
            at,
            "shaping.file",
            format!("it limits a route `{route}`, but there is no [[route]] of this name"),
        );
    }
    Some(Arc::new(book))
}

/// What each stream gets: receipts go first unless something else is said.
pub(super) fn streams(spec: &v1::Spec, problems: &mut Problems<'_>) -> Option<Arc<Streams>> {
    let mut streams = Streams::default();
    let mut complete = true;
    for written in spec.stream.iter().map(v1::At::as_ref) {
        let usual = if written.class.as_ref() == "transactional" { Priority::First } else { Priority::Usual };
        let priority = match &written.priority {
            Some(text) => {
                word(problems, "stream.priority", text, &[("first", Priority::First), ("usual", Priority::Usual)])
            }
            None => Some(usual),
        };
        let weight = number(problems, "stream.weight", written.weight.as_ref(), 1..=WEIGHT_MAX, 1);
        let weight = weight.and_then(|weight| NonZeroU32::new(u32::try_from(weight).ok()?));
        // A name that is none is told where streams are read.
        match (StreamName::new(written.name.as_ref()), priority, weight) {
            (Ok(name), Some(priority), Some(weight)) => streams.add(name, Share { priority, weight }),
            (Ok(_) | Err(_), _, _) => complete = false,
        }
    }
    complete.then(|| Arc::new(streams))
}
