//! The section `[store]`: where the facts live.

use std::path::Path;

use crate::store::{Cleartext, Settings};

use super::error::Problems;
use super::value::{parsed, word};
use super::{files, v1};

pub(super) fn settings(
    spec: &v1::Store,
    base: &Path,
    data_dir: &Path,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    if let Some(kind) = &spec.kind {
        word(problems, "store.kind", kind, &[("embedded", ())]);
    }
    let key_file = match &spec.key_file {
        Some(text) => parsed(problems, "store.key_file", text, |text| files::resolve(base, text))?,
        None => files::default_key("consentry.store.key", data_dir, "store.key"),
    };
    let kept = [("keep", Cleartext::Keep), ("hash-only", Cleartext::HashOnly)];
    let cleartext = match &spec.addresses {
        Some(text) => word(problems, "store.addresses", text, &kept)?,
        None => Cleartext::Keep,
    };
    Some(Settings { path: data_dir.join("store.db"), key_file: Some(key_file), cleartext })
}
