//! The configuration file: read, checked as a whole, and turned into the settings of each room.
//!
//! **Promise:** either every key is understood and every file it names is readable, or all that is wrong is reported at
//! once with file, line, key and what was expected. Nothing is guessed.
//!
//! **Owns:** the file's shape (version 1, `v1.rs`) and its defaults.
//!
//! **Never knows:** running state. Nobody but the command line, the daemon and the demo asks it.

mod api;
mod build;
mod canary;
mod confirming;
mod error;
mod files;
mod fleet;
mod http;
mod inbound;
mod law;
mod mta_sts;
mod protection;
mod rates;
mod redis;
mod replies;
mod routes;
mod sender;
mod shaping;
mod smtp;
mod store;
mod streams;
mod tell;
mod tls;
mod upstream;
mod v1;
mod value;
mod warmup;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::mail::Domain;

pub use error::{ConfigError, Problem};
pub use files::{keyring, write_secret};

/// Everything that a configuration file says, checked, by room.
#[derive(Debug)]
pub struct Settings {
    /// EHLO name, Received, reports.
    pub hostname: Domain,
    /// Spool, store, audit trail, generated keys.
    pub data_dir: PathBuf,
    /// How addresses are written down.
    pub log_addresses: LogAddresses,
    /// Where campaign tools submit.
    pub smtp_listen: Vec<SocketAddr>,
    /// Where they do so under TLS from the first octet.
    pub smtp_listen_tls: Vec<SocketAddr>,
    /// The intake.
    pub smtp: crate::smtp::server::Settings,
    /// The person's door, when it is open.
    pub http_listen: Option<SocketAddr>,
    /// What the person's door does.
    pub unsubscribe: crate::unsubscribe::Settings,
    /// The programs' door.
    pub api: crate::api::Settings,
    /// Where mail to our own mailboxes comes in; nowhere unless it is asked for.
    pub inbound_listen: Vec<SocketAddr>,
    /// The server for it.
    pub inbound: crate::smtp::server::Settings,
    /// What the unsubscribe mailbox does.
    pub feedback: crate::feedback::Settings,
    /// Campaign tools that are told of opt-outs.
    pub tell: crate::tell::Settings,
    /// Whom those tools' certificates have to be signed by.
    pub tell_trust: crate::tls::Trust,
    /// Programs outside that are told of events.
    pub webhooks: crate::webhook::Settings,
    /// Streams and credentials.
    pub pipeline: crate::pipeline::Settings,
    /// The ways out.
    pub delivery: crate::delivery::Settings,
    /// Who knows where the mail servers of domains are.
    pub dns: crate::dns::Settings,
    /// How what domains ask of those who send to them is fetched.
    pub mta_sts: crate::sts::Settings,
    /// The durable queue.
    pub spool: crate::spool::Settings,
    /// The facts.
    pub store: crate::store::Settings,
    /// Which engine holds them.
    pub engine: Engine,
    /// The fleet's servers, where they are named; always with [`Engine::Redis`].
    pub redis: Option<crate::store::RedisSettings>,
    /// Keys of unsubscribe tokens.
    pub token_keys: PathBuf,
    /// Rule files of the operator, on top of the shipped packs.
    pub rules_directory: Option<PathBuf>,
}

/// Which engine holds the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite in the data folder.
    Embedded,
    /// Redis or Valkey, shared by a fleet of gateways.
    Redis,
}

/// How addresses appear in log and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAddresses {
    /// Keyed hash of the local part; the domain in clear.
    Hash,
    /// The domain alone.
    Domain,
    /// As they are.
    Full,
}

/// Reads and checks one file.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot be read: {error}; expected a configuration file in TOML");
        ConfigError::new(path, vec![Problem { line: 0, key: String::new(), message }])
    })?;
    parse(path, &text)
}

/// Checks a text that was read from `path`; files that it names are looked for beside it.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let mut problems = error::Problems::new(text);
    let spec = match toml::from_str::<v1::Spec>(text) {
        Ok(spec) => spec,
        Err(error) => {
            problems.add(error.span().map_or(0, |span| span.start), "", error.message());
            return Err(ConfigError::new(path, problems.finish()));
        }
    };
    let settings = build::settings(&spec, path, &mut problems);
    let found = problems.finish();
    match settings {
        Some(settings) if found.is_empty() => Ok(settings),
        _ => Err(ConfigError::new(path, found)),
    }
}
