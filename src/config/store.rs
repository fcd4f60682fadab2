//! The section `[store]`: where the facts live.

use std::path::Path;

use crate::store::{Cleartext, RedisSettings, Settings};

use super::Engine;
use super::error::Problems;
use super::value::{parsed, word};
use super::{files, redis, v1};

/// The engine, and the fleet's servers where a section names them: it may stand there before the engine changes, for
/// `consentry store copy`.
pub(super) fn engine(
    spec: &v1::Store,
    base: &Path,
    problems: &mut Problems<'_>,
) -> Option<(Engine, Option<RedisSettings>)> {
    let engine = match &spec.kind {
        None => Engine::Embedded,
        Some(kind) => word(problems, "store.kind", kind, &[("embedded", Engine::Embedded), ("redis", Engine::Redis)])?,
    };
    let servers = match &spec.redis {
        None => None,
        Some(servers) => Some(redis::settings(servers, base, problems)?),
    };
    if let (Engine::Redis, None) = (engine, &servers) {
        let at = spec.kind.as_ref().map_or(0, |kind| kind.span().start);
        problems.add(at, "store.redis", "kind \"redis\" needs a section [store.redis] with `servers`".to_owned());
        return None;
    }
    Some((engine, servers))
}

pub(super) fn settings(
    spec: &v1::Store,
    base: &Path,
    data_dir: &Path,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
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
