//! Independent judges of DKIM signatures: the mail-auth crate, and dkimpy.

use std::borrow::Borrow;
use std::hash::Hash;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::{DomainKey, VerifySignature as _};
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt};

/// `selector._domainkey.domain` and the text of its record.
#[derive(Clone, Default)]
pub(crate) struct Records(pub(crate) Vec<(String, String)>);

impl Records {
    /// Adds what `consentry keygen dkim` printed: `NAME. IN TXT "..." "..."`.
    pub(crate) fn add(&mut self, printed: &str) {
        let (name, strings) = printed.trim().split_once(". IN TXT ").unwrap();
        let text = strings.split('"').skip(1).step_by(2).collect::<String>();
        self.0.push((name.to_owned(), text));
    }

    /// As the JSON file that the dkimpy script reads.
    pub(crate) fn write(&self, file: &Path) {
        let map: serde_json::Map<_, _> =
            self.0.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
        std::fs::write(file, serde_json::Value::Object(map).to_string()).unwrap();
    }
}

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let found = self.0.iter().find(|(owner, _)| {
            let with_dot: Box<str> = Box::from(format!("{owner}."));
            let plain: Box<str> = Box::from(owner.as_str());
            Borrow::<Q>::borrow(&plain) == name || Borrow::<Q>::borrow(&with_dot) == name
        });
        found.map(|(_, text)| Txt::DomainKey(Arc::new(DomainKey::parse(text.as_bytes()).unwrap())))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// What mail-auth says of the signatures of `domain`.
pub(crate) fn mail_auth_verdicts(message: &[u8], records: &Records, domain: &str) -> Vec<DkimResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap();
    let Some(parsed) = AuthenticatedMessage::parse(message) else { return Vec::new() };
    let outputs = runtime.block_on(resolver.verify_dkim(Parameters::new(&parsed).with_txt_cache(records)));
    let ours =
        |output: &&mail_auth::DkimOutput<'_>| output.signature().is_some_and(|signature| signature.domain() == domain);
    outputs.iter().filter(ours).map(|output| output.result().clone()).collect()
}

/// What dkimpy says of the signatures of `domain`: one verdict for each.
pub(crate) fn dkimpy_verdicts(records: &Path, message: &Path, domain: &str) -> Vec<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/venv/bin/python3");
    let output =
        Command::new(&python).arg(root.join("tests/clients/dkim_verify.py")).arg(records).arg(message).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; `tests/run` installs it", python.display()));
    let lines = String::from_utf8(output.stdout).unwrap();
    let verdicts = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    verdicts.filter(|verdict| verdict["domain"] == domain).map(|verdict| verdict["valid"] == true).collect()
}
