//! The section `[store.redis]`: the fleet's servers.

use std::path::Path;

use crate::store::{RedisSettings, Security, Server, Topology};

use super::error::Problems;
use super::value::{number, parsed, word};
use super::{files, v1};

/// What every key begins with unless something else is said.
const PREFIX: &str = "consentry:";
/// Longest prefix: it is part of every key.
const PREFIX_MAX: usize = 32;
/// Redis has 16 databases unless it is told otherwise; more than this nobody has.
const DATABASE_MAX: u64 = 65_535;

/// How the servers are arranged.
#[derive(Clone, Copy)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

pub(super) fn settings(spec: &v1::At<v1::Redis>, base: &Path, problems: &mut Problems<'_>) -> Option<RedisSettings> {
    let redis = spec.as_ref();
    let topology = topology(spec, problems);
    let security = security(spec, base, problems);
    let password_file = match &redis.password_file {
        None => Some(None),
        Some(text) => parsed(problems, "store.redis.password_file", text, |text| files::resolve(base, text)).map(Some),
    };
    let database = number(problems, "store.redis.database", redis.database.as_ref(), 0..=DATABASE_MAX, 0);
    let prefix = match &redis.prefix {
        None => Some(PREFIX.to_owned()),
        Some(text) => parsed(problems, "store.redis.prefix", text, prefix),
    };
    let (topology, database) = (topology?, database?);
    if let (Topology::Cluster(_), Some(given)) = (&topology, redis.database.as_ref().filter(|_| database != 0)) {
        problems.add(given.span().start, "store.redis.database", "a cluster has only database 0".to_owned());
    }
    Some(RedisSettings {
        topology,
        security: security?,
        user: redis.user.as_ref().map(|user| user.as_ref().clone()),
        password_file: password_file?,
        database: u16::try_from(database).ok()?,
        prefix: prefix?,
    })
}

fn topology(spec: &v1::At<v1::Redis>, problems: &mut Problems<'_>) -> Option<Topology> {
    let redis = spec.as_ref();
    let kinds = [("single", Kind::Single), ("sentinel", Kind::Sentinel), ("cluster", Kind::Cluster)];
    let kind = match &redis.topology {
        None => Some(Kind::Single),
        Some(text) => word(problems, "store.redis.topology", text, &kinds),
    };
    let parse = |text| parsed(problems, "store.redis.servers", text, Server::parse);
    let all: Vec<_> = redis.servers.as_ref().iter().map(parse).collect();
    let servers: Option<Vec<_>> = all.into_iter().collect();
    let at = redis.servers.span().start;
    let (kind, servers) = (kind?, servers?);
    if servers.is_empty() {
        problems.add(at, "store.redis.servers", "expected at least one HOST:PORT".to_owned());
        return None;
    }
    let master = match (kind, &redis.master) {
        (Kind::Sentinel, None) => {
            let expected = "expected the name by which the Sentinels know the server, such as \"mymaster\"";
            problems.add(spec.span().start, "store.redis.master", expected.to_owned());
            return None;
        }
        (Kind::Single | Kind::Cluster, Some(master)) => {
            problems.add(master.span().start, "store.redis.master", "only Sentinels name a master".to_owned());
            return None;
        }
        (Kind::Sentinel, Some(master)) => master.as_ref().clone(),
        (Kind::Single | Kind::Cluster, None) => String::new(),
    };
    match (kind, servers.as_slice()) {
        (Kind::Single, [server]) => Some(Topology::Single(server.clone())),
        (Kind::Single, _) => {
            let expected = "expected one server; several are `sentinel` or `cluster`";
            problems.add(at, "store.redis.servers", expected.to_owned());
            None
        }
        (Kind::Sentinel, _) => Some(Topology::Sentinel { sentinels: servers, master }),
        (Kind::Cluster, _) => Some(Topology::Cluster(servers)),
    }
}

fn security(spec: &v1::At<v1::Redis>, base: &Path, problems: &mut Problems<'_>) -> Option<Security> {
    let redis = spec.as_ref();
    let roots = match &redis.ca_file {
        None => None,
        Some(text) => Some(parsed(problems, "store.redis.ca_file", text, |text| files::resolve(base, text))?),
    };
    match (redis.tls.unwrap_or(false), &redis.ca_file) {
        (true, _) => Some(Security::Tls { roots }),
        (false, None) => Some(Security::Plain),
        (false, Some(file)) => {
            problems.add(file.span().start, "store.redis.ca_file", "has no meaning without tls = true".to_owned());
            None
        }
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= PREFIX_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    // A brace would be read as a hash tag and put everything on one node of a cluster.
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}`: expected 1 to 32 letters, digits, `.`, `-`, `_` or `:`"))
    }
}
