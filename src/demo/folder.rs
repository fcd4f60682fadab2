//! The demo's folder: configuration, keys, event log, captured messages.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::write_secret;
use crate::daemon::{self, Gateway};
use crate::exit::{Exit, Failure};
use crate::hex;
use crate::mail::Domain;
use crate::message::dkim::{Algorithm, SigningKey};

use super::france::STREAMS;
use super::{Arguments, Dkim};

/// First pause before another attempt: a newcomer does not wait five minutes.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(2);
/// The signing domain of the demo; `.example` is nobody's (RFC 2606).
const DKIM_DOMAIN: &str = "consentry.example";

/// A folder that lives as long as the demo, or one that the caller named and keeps.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    pub(super) fn open(named: Option<PathBuf>) -> Result<Self, Failure> {
        let temporary = named.is_none();
        let path = named.unwrap_or_else(|| std::env::temp_dir().join(format!("consentry-demo-{}", std::process::id())));
        daemon::private_folder(&path)?;
        let path = path.canonicalize()?;
        Ok(Self { path, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn events(&self) -> PathBuf {
        self.path.join("events.ndjson")
    }

    pub(super) fn captured(&self) -> PathBuf {
        self.path.join("captured")
    }

    pub(super) fn event_log(&self) -> Result<File, Failure> {
        Ok(File::options().append(true).create(true).open(self.events())?)
    }

    /// Makes the keys that are asked for and missing; gives the DNS records to publish.
    pub(super) fn signing_key(&self, dkim: Dkim) -> Result<Option<String>, Failure> {
        let mut records = Vec::new();
        for (kind, name) in kinds(dkim) {
            let record = self.path.join(format!("dkim-{name}.dns"));
            if !record.exists() {
                let software = |error| Failure::new(Exit::Software, error);
                let key = SigningKey::generate(*kind).map_err(software)?;
                write_secret(&self.path.join(format!("dkim-{name}.pem")), &key.pem)?;
                let domain = Domain::parse(DKIM_DOMAIN).map_err(|error| Failure::new(Exit::Software, error))?;
                write_secret(&record, &format!("{name}._domainkey.{domain}. IN TXT {}\n", key.record.zone_text()))?;
            }
            records.push(std::fs::read_to_string(&record)?);
        }
        Ok((!records.is_empty()).then(|| records.concat()))
    }

    /// Writes the configuration, the same file that a daemon of your own would read.
    pub(super) fn configure(&self, arguments: &Arguments, upstream: &(String, u16)) -> Result<PathBuf, Failure> {
        let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        self.write(arguments, upstream, &[arguments.submission.unwrap_or(anywhere)], arguments.http.unwrap_or(anywhere))
    }

    /// Writes the addresses that were really bound, so that other commands and a second start find them.
    pub(super) fn note_addresses(
        &self,
        gateway: &Gateway,
        arguments: &Arguments,
        upstream: &(String, u16),
    ) -> Result<(), Failure> {
        let http = gateway.http.ok_or_else(|| Failure::new(Exit::Software, "the unsubscribe door is not open"))?;
        self.write(arguments, upstream, &gateway.submission, http).map(drop)
    }

    fn write(
        &self,
        arguments: &Arguments,
        (host, port): &(String, u16),
        submission: &[std::net::SocketAddr],
        http: std::net::SocketAddr,
    ) -> Result<PathBuf, Failure> {
        let listen: Vec<_> = submission.iter().map(|address| format!("\"{address}\"")).collect();
        let mut text = format!(
            "# Written by `consentry demo` at each start.\nversion = \"v1\"\n\n[gateway]\nhostname = \"gate.consentry.example\"\ndata_dir = \".\"\n\
             log_addresses = \"full\"\n\n[smtp]\nlisten = [{}]\n\n[http]\nlisten = \"{http}\"\npublic_url = \"https://unsubscribe.consentry.example\"\n\
             mailto = \"unsubscribe@unsubscribe.consentry.example\"\n\n[upstream]\nhost = \"{host}\"\nport = {port}\n\n\
             [retry]\nfirst = \"2s\"\nlongest = \"30s\"\n\n[spool]\nmin_free_octets = 67108864\n",
            listen.join(", ")
        );
        let mut names = Vec::new();
        for (_, name) in kinds(arguments.dkim) {
            let _infallible = write!(
                text,
                "\n[[dkim]]\nname = \"{name}\"\ndomain = \"{DKIM_DOMAIN}\"\nselector = \"{name}\"\nkey_file = \"dkim-{name}.pem\"\n"
            );
            names.push(format!("\"{name}\""));
        }
        let dkim = names.join(", ");
        let _infallible = write!(
            text,
            "\n[[stream]]\nname = \"newsletter\"\ncontroller = \"demo\"\nclass = \"marketing\"\nlist = \"weekly\"\ndkim = [{dkim}]\n\
             \n[[stream]]\nname = \"receipts\"\ncontroller = \"demo\"\nclass = \"transactional\"\ndkim = [{dkim}]\n\
             \n[[credential]]\nname = \"loopback\"\nstream = \"newsletter\"\naddresses = [\"127.0.0.0/8\", \"::1/128\"]\n\
             \n# AUTH as `receipts` with the password `receipts`.\n[[credential]]\nname = \"receipts\"\nstream = \"receipts\"\ntoken_sha256 = \"{}\"\n",
            public_hash("receipts")
        );
        for (stream, topic) in STREAMS {
            let _infallible = write!(
                text,
                "\n[[stream]]\nname = \"{stream}\"\ncontroller = \"acier\"\nclass = \"marketing\"\nestablishment = \"FR\"\n\
                 default_country = \"FR\"\ntopics = [\"{topic}\"]\nbrand = \"Acier SA\"\ndkim = [{dkim}]\n\
                 \n[[credential]]\nname = \"{stream}\"\nstream = \"{stream}\"\ntoken_sha256 = \"{}\"\n",
                public_hash(stream)
            );
        }
        let file = self.path.join("consentry.toml");
        let fresh = self.path.join("consentry.toml.new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(&fresh, &file)?;
        Ok(file)
    }
}

/// The demo's passwords are public: each is the name of its credential, and the demo listens on loopback.
fn public_hash(name: &str) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes()).as_ref())
}

const fn kinds(dkim: Dkim) -> &'static [(Algorithm, &'static str)] {
    match dkim {
        Dkim::None => &[],
        Dkim::Ed25519 => &[(Algorithm::Ed25519, "ed25519")],
        Dkim::Rsa => &[(Algorithm::Rsa, "rsa")],
        Dkim::Both => &[(Algorithm::Rsa, "rsa"), (Algorithm::Ed25519, "ed25519")],
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing depends on it: the system clears its temporary folder.
            let _left_behind = std::fs::remove_dir_all(&self.path);
        }
    }
}
