//! Streams, credentials and signing keys.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cidr::AddressRange;
use crate::hex;
use crate::mail::{ControllerId, CredentialName, Domain, ListName, StreamName};
use crate::message::dkim::SigningKey;
use crate::message::{BodyLink, ExistingUnsubscribe, Expected, Signer, Signing};
use crate::pipeline::{Credential, OnRefusal, OneClickScope, Proof, Receipts, Sharing, Stream};
use crate::policy::{FromDomains, MessageClass, StreamRules};
use crate::seen::WINDOW_MAX;
use crate::smtp::{Fingerprint, Verifier};
use crate::time::parse_span;

use crate::tls::ClientCertificates;

use super::error::Problems;
use super::routes::goes_directly;
use super::value::{domain, parsed, word};
use super::{files, law, v1};

/// Signing keys by the name that streams use.
pub(super) fn signers(spec: &v1::Spec, base: &Path, problems: &mut Problems<'_>) -> HashMap<String, Arc<Signer>> {
    let mut signers = HashMap::new();
    for entry in &spec.dkim {
        let dkim = entry.as_ref();
        let domain = domain(problems, "dkim.domain", &dkim.domain);
        let key = parsed(problems, "dkim.key_file", &dkim.key_file, |text| {
            let path = files::resolve(base, text)?;
            let file = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            SigningKey::parse(&file).map_err(|error| format!("{}: {error}", path.display()))
        });
        let (Some(domain), Some(key)) = (domain, key) else { continue };
        let signer = parsed(problems, "dkim.selector", &dkim.selector, |selector| Signer::new(&domain, selector, key));
        if let Some(signer) = signer
            && signers.insert(dkim.name.as_ref().clone(), Arc::new(signer)).is_some()
        {
            problems.add(dkim.name.span().start, "dkim.name", format!("`{}` is used twice", dkim.name.as_ref()));
        }
    }
    signers
}

/// Every stream of the file.
pub(super) fn streams(
    spec: &v1::Spec,
    hostname: &Domain,
    public_url: &str,
    signers: &HashMap<String, Arc<Signer>>,
    problems: &mut Problems<'_>,
) -> HashMap<StreamName, Arc<Stream>> {
    let mut streams = HashMap::new();
    for entry in &spec.stream {
        let written = entry.as_ref();
        let sharing = if goes_directly(written, spec) { Sharing::ByDomain } else { Sharing::Together };
        if let Some(stream) = stream(written, sharing, hostname, public_url, signers, problems)
            && streams.insert(stream.rules.name.clone(), Arc::new(stream)).is_some()
        {
            problems.add(
                written.name.span().start,
                "stream.name",
                format!("`{}` is used twice", written.name.as_ref()),
            );
        }
    }
    if spec.stream.is_empty() {
        problems.add(0, "stream", "expected at least one [[stream]]");
    }
    streams
}

fn stream(
    written: &v1::Stream,
    sharing: Sharing,
    hostname: &Domain,
    public_url: &str,
    signers: &HashMap<String, Arc<Signer>>,
    problems: &mut Problems<'_>,
) -> Option<Stream> {
    let name = parsed(problems, "stream.name", &written.name, |text| match text.strip_prefix('_') {
        Some(_) => Err("a name that begins with `_` is kept for the gateway's own mail".to_owned()),
        None => StreamName::new(text).map_err(|error| error.to_string()),
    });
    let controller = parsed(problems, "stream.controller", &written.controller, ControllerId::new);
    let classes = [("marketing", MessageClass::Marketing), ("transactional", MessageClass::Transactional)];
    let class = word(problems, "stream.class", &written.class, &classes);
    let list = written.list.as_ref().and_then(|list| parsed(problems, "stream.list", list, ListName::new));
    let also_lists = written
        .also_lists
        .iter()
        .filter_map(|list| parsed(problems, "stream.also_lists", list, ListName::new))
        .collect();
    let from: Vec<_> =
        written.from_domains.iter().filter_map(|from| domain(problems, "stream.from_domains", from)).collect();
    let mail_from: Vec<_> = written
        .mail_from_domains
        .iter()
        .filter_map(|from| domain(problems, "stream.mail_from_domains", from))
        .collect();
    let list_domain = match &written.list_domain {
        Some(text) => domain(problems, "stream.list_domain", text),
        None => Some(hostname.clone()),
    };
    // `LIST.CONTROLLER.DOMAIN` (RFC 2919 section 3): two controllers may both have a list called `news`.
    let list_domain = list_domain.zip(controller.as_ref()).and_then(|(domain, controller)| {
        problems.take(
            written.controller.span().start,
            "stream.controller",
            Domain::parse(&format!("{controller}.{domain}")),
        )
    });
    let choices = stream_choices(written, problems);
    let signing = signing(written, signers, problems);
    let feedback_sender_id = written
        .feedback_sender_id
        .as_ref()
        .and_then(|id| parsed(problems, "stream.feedback_sender_id", id, feedback_sender));
    let law = law::law(written, controller.as_ref(), problems);
    let body_link = body_link(written, class, problems);
    let expected = expected(written, public_url).body_link(body_link.unwrap_or_default());
    let receipts = receipts(written, problems);
    let remembered_for = remembered_for(written, problems);
    let (on_refusal, existing_unsubscribe, one_click_scope) = choices?;
    Some(Stream {
        rules: StreamRules { name: name?, controller: controller?, class: class?, list, law, from_domains: only(from) },
        mail_from: only(mail_from),
        also_lists,
        on_refusal,
        existing_unsubscribe,
        one_click_scope,
        body_link: body_link?,
        list_domain: list_domain?,
        brand: written.brand.as_ref().unwrap_or(&written.controller).as_ref().clone(),
        receipts: receipts?,
        feedback_sender_id,
        expected,
        signing,
        sharing,
        remembered_for,
    })
}

fn remembered_for(written: &v1::Stream, problems: &mut Problems<'_>) -> Option<Duration> {
    let text = written.remember_messages.as_ref()?;
    parsed(problems, "stream.remember_messages", text, |text| match parse_span(text) {
        Ok(window) if window <= WINDOW_MAX => Ok(window),
        Ok(_) => Err(format!("`{text}`: expected at most {} days", WINDOW_MAX.as_secs() / 86_400)),
        Err(error) => Err(error),
    })
}

/// No domain named means any.
fn only(domains: Vec<Domain>) -> FromDomains {
    if domains.is_empty() { FromDomains::Any } else { FromDomains::Only(domains) }
}

/// What messages of the stream should show: the brand or else the controller's name, the postal address, our own links.
fn expected(written: &v1::Stream, public_url: &str) -> Expected {
    let name = written.brand.as_ref().unwrap_or(&written.controller);
    let mut expected = Expected::new().name(name.as_ref()).way_out(&format!("{public_url}/u/"));
    if let Some(address) = &written.postal_address {
        expected = expected.postal_address(address.as_ref());
    }
    expected
}

fn stream_choices(
    written: &v1::Stream,
    problems: &mut Problems<'_>,
) -> Option<(OnRefusal, ExistingUnsubscribe, OneClickScope)> {
    let on_refusal = match &written.on_refusal {
        Some(text) => {
            word(problems, "stream.on_refusal", text, &[("reject", OnRefusal::Reject), ("accept", OnRefusal::Accept)])
        }
        None => Some(OnRefusal::Reject),
    };
    let policies = [
        ("replace", ExistingUnsubscribe::Replace),
        ("keep", ExistingUnsubscribe::Keep),
        ("merge", ExistingUnsubscribe::Merge),
        ("refuse", ExistingUnsubscribe::Refuse),
    ];
    let existing = match &written.existing_unsubscribe {
        Some(text) => word(problems, "stream.existing_unsubscribe", text, &policies),
        None => Some(ExistingUnsubscribe::Replace),
    };
    let scopes = [("list", OneClickScope::List), ("controller", OneClickScope::Controller)];
    let scope = match &written.one_click_scope {
        Some(text) => word(problems, "stream.one_click_scope", text, &scopes),
        None => Some(OneClickScope::List),
    };
    Some((on_refusal?, existing?, scope?))
}

fn receipts(written: &v1::Stream, problems: &mut Problems<'_>) -> Option<Receipts> {
    let words = [("law", Receipts::AsLawAsks), ("always", Receipts::Always), ("never", Receipts::Never)];
    match &written.opt_out_receipts {
        Some(text) => word(problems, "stream.opt_out_receipts", text, &words),
        None => Some(Receipts::default()),
    }
}

/// Transactional mail has no link to put there: nobody unsubscribes from a receipt.
fn body_link(written: &v1::Stream, class: Option<MessageClass>, problems: &mut Problems<'_>) -> Option<BodyLink> {
    let Some(text) = &written.body_link else { return Some(BodyLink::Off) };
    let body_link =
        word(problems, "stream.body_link", text, &[("off", BodyLink::Off), ("replace", BodyLink::Replace)])?;
    match (body_link, class) {
        (BodyLink::Replace, Some(MessageClass::Transactional)) => {
            problems.add(
                text.span().start,
                "stream.body_link",
                "`replace` on a transactional stream; expected `off`: only marketing mail has an unsubscribe link",
            );
            None
        }
        (BodyLink::Off | BodyLink::Replace, _) => Some(body_link),
    }
}

fn signing(written: &v1::Stream, signers: &HashMap<String, Arc<Signer>>, problems: &mut Problems<'_>) -> Signing {
    let mut keys = Vec::new();
    for name in &written.dkim {
        match signers.get(name.as_ref()) {
            Some(signer) => keys.push(Arc::clone(signer)),
            None => problems.add(
                name.span().start,
                "stream.dkim",
                format!("no usable [[dkim]] is named `{}`", name.as_ref()),
            ),
        }
    }
    if keys.is_empty() { Signing::Off } else { Signing::Keys(keys) }
}

/// Gmail's feedback loop asks for 5 to 15 characters.
fn feedback_sender(text: &str) -> Result<String, String> {
    let fits = (5..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits { Ok(text.to_owned()) } else { Err(format!("`{text}`: expected 5 to 15 letters, digits or hyphens")) }
}

/// Whether clients have to be asked for a certificate: when somebody is known by one.
pub(super) fn client_certificates(spec: &v1::Spec) -> ClientCertificates {
    let known = spec.credential.iter().any(|credential| credential.as_ref().client_certificate_sha256.is_some());
    if known { ClientCertificates::Asked } else { ClientCertificates::NotAsked }
}

/// Every credential of the file.
pub(super) fn credentials(
    spec: &v1::Spec,
    streams: &HashMap<StreamName, Arc<Stream>>,
    problems: &mut Problems<'_>,
) -> Vec<Credential> {
    let mut names = HashSet::new();
    let mut credentials = Vec::new();
    for entry in &spec.credential {
        let written = entry.as_ref();
        let name = parsed(problems, "credential.name", &written.name, CredentialName::new);
        let stream = parsed(problems, "credential.stream", &written.stream, |text| match StreamName::new(text) {
            Ok(name) if streams.contains_key(&name) => Ok(name),
            _ => Err(format!("no usable [[stream]] is named `{text}`")),
        });
        let proof = proof(written, entry.span().start, problems);
        if let (Some(name), Some(stream), Some(proof)) = (name, stream, proof) {
            if !names.insert(name.clone()) {
                problems.add(written.name.span().start, "credential.name", format!("`{name}` is used twice"));
            }
            credentials.push(Credential { name, stream, proof });
        }
    }
    if spec.credential.is_empty() {
        problems.add(0, "credential", "expected at least one [[credential]], or nobody can submit");
    }
    credentials
}

fn proof(written: &v1::Credential, at: usize, problems: &mut Problems<'_>) -> Option<Proof> {
    let token = written
        .token_sha256
        .as_ref()
        .map(|token| parsed(problems, "credential.token_sha256", token, sha256_hex).map(Proof::Token));
    let password = written
        .password_hash
        .as_ref()
        .map(|hash| parsed(problems, "credential.password_hash", hash, password_hash).map(Proof::Password));
    let scram = written
        .scram_sha256
        .as_ref()
        .map(|verifier| parsed(problems, "credential.scram_sha256", verifier, Verifier::parse).map(Proof::Scram));
    let certificate = written.client_certificate_sha256.as_ref().map(|digits| {
        let key = "credential.client_certificate_sha256";
        parsed(problems, key, digits, fingerprint).map(Proof::Certificate)
    });
    let addresses = written.addresses.as_ref().filter(|ranges| !ranges.as_ref().is_empty()).map(|ranges| {
        let ranges = ranges.as_ref().iter();
        let read = ranges.filter_map(|range| parsed(problems, "credential.addresses", range, AddressRange::parse));
        Some(Proof::Addresses(read.collect()))
    });
    let mut proofs = [token, password, scram, certificate, addresses].into_iter().flatten();
    if let (Some(only), None) = (proofs.next(), proofs.next()) {
        return only;
    }
    problems.add(at, "credential", format!("expected exactly one of {PROOFS}"));
    None
}

/// How a credential can prove itself.
const PROOFS: &str = "token_sha256, password_hash, scram_sha256, client_certificate_sha256, addresses";

/// As `openssl x509 -fingerprint -sha256` prints it, or without the colons.
fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    sha256_hex(&text.replace(':', "").to_lowercase()).map(Fingerprint)
}

fn sha256_hex(text: &str) -> Result<[u8; 32], &'static str> {
    hex::decode(text).ok_or("expected the 64 hexadecimal digits of a SHA-256")
}

fn password_hash(text: &str) -> Result<String, String> {
    argon2::password_hash::phc::PasswordHash::new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "expected an argon2id hash in PHC form, as `consentry keygen password` prints it".to_owned())
}
