use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::signature::Ed25519KeyPair;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt};

use super::*;
use crate::mail::{ListName, Mailbox, QueueId};
use crate::message::dkim::key::{Algorithm, TxtRecord};
use crate::message::{BodyFate, ExistingUnsubscribe, FeedbackId, HttpsUri, Links, ListId, MessageId, Plan, rewrite};
use crate::policy::{OneClick, Permit};

const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// A copy for one person, from `head`, with everything that marketing mail owes.
fn copy(head: &[u8]) -> Rewritten {
    let gateway = domain("gw.example");
    let section = HeaderSection::parse(Bytes::copy_from_slice(head)).unwrap();
    let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
    let token = "t".repeat(400);
    let links = Links { https: HttpsUri::parse(format!("https://gw.example/u/{token}")).unwrap(), mailto: None };
    let plan = Plan {
        received: None,
        now: NOW,
        message_id: &MessageId::new(QueueId::from_u64(1), &gateway),
        unsubscribe: Some(&links),
        existing: ExistingUnsubscribe::Replace,
        list_id: Some(&ListId::new(Some("Weekly"), &ListName::new("weekly").unwrap(), &gateway).unwrap()),
        feedback_id: Some(&FeedbackId::parse("c:acme").unwrap()),
        body: BodyFate::Kept,
    };
    rewrite(&section, vec![Permit::for_test(recipient, OneClick::Owed)], &plan).unwrap()
}

/// Answers from memory where a resolver would ask the DNS.
struct Records(Vec<(String, String)>);

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let found = self.0.iter().find(|(owner, _)| {
            let owner: Box<str> = Box::from(owner.as_str());
            Borrow::<Q>::borrow(&owner) == name
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

/// How an independent verifier judges each signature, from the top.
fn judge(message: &[u8], records: &Records) -> Vec<DkimResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let resolver = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).unwrap();
    let parsed = AuthenticatedMessage::parse(message).unwrap();
    let outputs = runtime.block_on(resolver.verify_dkim(Parameters::new(&parsed).with_txt_cache(records)));
    outputs.iter().map(|output| output.result().clone()).collect()
}

fn new_key(algorithm: Algorithm) -> (SigningKey, TxtRecord) {
    let new = SigningKey::generate(algorithm).unwrap();
    (new.key, new.record)
}

const BODY: &[u8] = b"Hello  \r\n\tyou \r\n.\r\n\r\nlast\r\n\r\n\r\n";
const HEAD: &[u8] = b"From: \"Acme\"  <news@acme.example>\r\nTo: a@b.example\r\nSubject: caf\xc3\xa9,\r\n\t folded \r\nReceived: x\r\n\r\n";

fn signed_by_both() -> (Vec<u8>, Vec<u8>, Vec<(String, String)>) {
    let (rsa, rsa_record) = new_key(Algorithm::Rsa);
    let (ed, ed_record) = new_key(Algorithm::Ed25519);
    let acme = domain("acme.example");
    let signers = vec![Signer::new(&acme, "r1", rsa).unwrap(), Signer::new(&acme, "e1", ed).unwrap()];
    let signed = sign(
        copy(HEAD),
        &CopyBody::Shared(Some(BodyHash::of(BODY))),
        &Signing::Keys(signers.into_iter().map(std::sync::Arc::new).collect()),
        NOW,
    )
    .unwrap();
    let records = vec![
        ("r1._domainkey.acme.example.".to_owned(), rsa_record.as_str().to_owned()),
        ("e1._domainkey.acme.example.".to_owned(), ed_record.as_str().to_owned()),
    ];
    (signed.head().to_vec(), BODY.to_vec(), records)
}

#[test]
fn an_independent_verifier_accepts_both_signatures() {
    let (header, body, records) = signed_by_both();
    let message = [header, body].concat();
    assert_eq!(judge(&message, &Records(records)), [DkimResult::Pass, DkimResult::Pass]);
}

#[test]
fn adding_or_changing_what_is_covered_breaks_both() {
    let (header, body, records) = signed_by_both();
    let text = String::from_utf8(header).unwrap();
    let changed = [
        text.replace("Subject: café", "Subject: cafe"),
        text.replace("/u/tttt", "/u/xttt"),
        text.replace("One-Click", "One-click"),
        text.replace("\r\n\r\n", "\r\nFrom: x@evil.example\r\n\r\n"),
        text.replace("\r\n\r\n", "\r\nList-Unsubscribe: <https://evil.example>\r\n\r\n"),
        text.replace("\r\n\r\n", "\r\nList-Unsubscribe-Post: x\r\n\r\n"),
        format!("Subject: earlier\r\n{text}"),
        format!("Cc: absent before\r\n{text}"),
    ];
    for changed in changed {
        assert_ne!(changed, text);
        let message = [changed.as_bytes(), &body].concat();
        let verdicts = judge(&message, &Records(records.clone()));
        assert_eq!(verdicts.len(), 2);
        assert!(verdicts.iter().all(|verdict| *verdict != DkimResult::Pass), "{changed}");
    }
    let other_body = [text.as_bytes(), b"Bye\r\n"].concat();
    assert!(judge(&other_body, &Records(records)).iter().all(|verdict| *verdict != DkimResult::Pass));
}

#[test]
fn trace_fields_may_be_added_on_the_way() {
    let (header, body, records) = signed_by_both();
    let message = [b"Return-Path: <x@y.example>\r\nReceived: by mx\r\n", header.as_slice(), &body].concat();
    assert_eq!(judge(&message, &Records(records)), [DkimResult::Pass, DkimResult::Pass]);
}

#[test]
fn signature_fields_are_folded_within_the_good_length() {
    let (header, _, _) = signed_by_both();
    let section = HeaderSection::parse(Bytes::from(header)).unwrap();
    assert_eq!(section.fields(FIELD).count(), 2);
    for field in section.fields(FIELD) {
        let text = std::str::from_utf8(field.raw()).unwrap();
        assert!(text.lines().all(|line| line.len() <= LINE_GOOD), "{text}");
        assert!(!text.to_ascii_lowercase().contains("received") && !text.contains("l="));
        for name in ["From:From", "List-Unsubscribe:List-Unsubscribe", "Feedback-ID:Feedback-ID", "Cc:"] {
            assert!(text.replace("\r\n ", "").contains(name), "{name} in {text}");
        }
    }
}

/// RFC 8463 appendix A: the published key, message and signature.
#[test]
fn the_published_ed25519_signature_is_made() {
    let seed = STANDARD.decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let key = SigningKey::Ed25519(Box::new(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()));
    assert_eq!(key.record().unwrap().as_str(), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let head = "From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n\
                Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
                Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n";
    let section = HeaderSection::parse(Bytes::from(head)).unwrap();
    let mut hashed = Hashed { names: Vec::new(), data: Vec::new() };
    for name in ["From", "To", "Subject", "Date", "Message-ID"] {
        hashed.add(&section, name);
    }
    let value = " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n \
                 q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n \
                 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    relaxed::header(FIELD, value.as_bytes(), &mut hashed.data);
    let signature = STANDARD.encode(key.sign(&hashed.data).unwrap());
    assert_eq!(signature, "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
}

#[test]
fn without_keys_the_section_stays_as_it_is() {
    let before = copy(HEAD).section().raw().clone();
    for signing in [Signing::Off, Signing::Keys(Vec::new())] {
        assert!(!signing.needs_body_hash());
        let signed = sign(copy(HEAD), &CopyBody::Shared(None), &signing, NOW).unwrap();
        let expected = Signed::for_test(copy(HEAD).recipients().to_vec(), before.clone());
        assert_eq!((signed.head(), signed.recipients()), (expected.head(), expected.recipients()));
    }
}

#[test]
fn keys_without_a_body_hash_sign_nothing() {
    let signer = Signer::new(&domain("acme.example"), "s", new_key(Algorithm::Ed25519).0).unwrap();
    let signing = Signing::Keys(vec![std::sync::Arc::new(signer)]);
    assert!(signing.needs_body_hash());
    assert_eq!(sign(copy(HEAD), &CopyBody::Shared(None), &signing, NOW).err(), Some(SignError::NoBodyHash));
}

#[test]
fn selectors_and_domains_are_checked() {
    let make = |at: &str, selector: &str| Signer::new(&domain(at), selector, new_key(Algorithm::Ed25519).0).err();
    assert_eq!(make("a.example", "s.2026"), None);
    assert_eq!(make("a.example", &"s".repeat(LABEL_MAX)), None);
    for bad in ["", "a..b", "a;b", "a b", "a\r\nb", &"s".repeat(LABEL_MAX + 1), &["s"; SELECTOR_MAX].join(".")] {
        assert_eq!(make("a.example", bad), Some(SignError::Selector), "{bad}");
    }
    assert_eq!(make("[192.0.2.1]", "s"), Some(SignError::Domain));
}

/// RFC 6376 section 5.4.2.
#[test]
fn fields_of_one_name_are_hashed_from_the_bottom_up() {
    let head = "From: a\r\nList-Id: <upper>\r\nX: y\r\nList-Id: <lower>\r\n\r\n";
    let hashed = Hashed::new(&HeaderSection::parse(Bytes::from(head)).unwrap());
    assert_eq!(hashed.data, b"from:a\r\nlist-id:<lower>\r\nlist-id:<upper>\r\n");
    assert_eq!(hashed.names.iter().filter(|name| **name == "List-Id").count(), 3);
}
