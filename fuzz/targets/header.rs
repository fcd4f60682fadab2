//! The header section: where it ends, its fields, and what rewriting it for a recipient may change.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use consentry::mail::{ControllerId, Domain, ListName, Mailbox, QueueId, Recipient, StreamName};
use consentry::message::{
    BodyFate, ExistingUnsubscribe, HeaderSection, HttpsUri, Links, ListId, MessageId, Plan, SplitAt, author_domain,
    controls, rewrite, split, split_from,
};
use consentry::policy::{Case, FromDomains, Law, MessageClass, Permit, Rulebook, StreamRules, Verdict, decide};
use consentry::time::Timestamp;
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<Domain> = LazyLock::new(|| Domain::parse("gate.example").expect("a domain"));
static RECIPIENT: LazyLock<Recipient> =
    LazyLock::new(|| Recipient::new(Mailbox::parse("person@b.example").expect("a mailbox")));
static STREAM: LazyLock<StreamRules> = LazyLock::new(|| StreamRules {
    name: StreamName::new("news").expect("a name"),
    controller: ControllerId::new("acme").expect("a name"),
    class: MessageClass::Marketing,
    list: ListName::new("weekly").ok(),
    from_domains: FromDomains::Any,
    law: Law::NotApplied,
});

const REMOVED: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];
const MODES: [ExistingUnsubscribe; 4] =
    [ExistingUnsubscribe::Replace, ExistingUnsubscribe::Keep, ExistingUnsubscribe::Merge, ExistingUnsubscribe::Refuse];

fuzz_target!(|input: &[u8]| {
    let Some((&how, octets)) = input.split_first() else { return };
    check_split(octets, usize::from(how));
    let Ok(section) = HeaderSection::parse(Bytes::copy_from_slice(octets)) else { return };
    let fields: usize = section.iter().map(|field| field.name().len()).sum();
    assert!(fields <= octets.len());
    let _ = author_domain(&section);
    let _ = controls(&section);
    rewritten(&section, MODES[usize::from(how) % MODES.len()]);
});

/// A growing buffer is split where the whole is.
fn check_split(octets: &[u8], at: usize) {
    let first = at.min(octets.len());
    if split(&octets[..first]) == SplitAt::Open {
        assert_eq!(split_from(octets, first), split(octets));
    }
}

fn permit() -> Permit {
    let case = Case::new(&RECIPIENT, &STREAM, Timestamp::from_secs(1_800_000_000));
    match decide(&case, &Rulebook::built_in()).verdict {
        Verdict::Permit(permit) => permit,
        Verdict::Refuse(_) => panic!("nothing speaks against this recipient"),
    }
}

fn rewritten(section: &HeaderSection, existing: ExistingUnsubscribe) {
    let links = Links { https: HttpsUri::parse("https://u.example/u/token").expect("a URI"), mailto: None };
    let list_id = ListId::new(None, &ListName::new("weekly").expect("a name"), &HOST).expect("a list id");
    let message_id = MessageId::new(QueueId::from_u64(1), &HOST);
    let plan = Plan {
        received: None,
        now: Timestamp::from_secs(1_800_000_000),
        message_id: &message_id,
        unsubscribe: Some(&links),
        existing,
        list_id: Some(&list_id),
        feedback_id: None,
        body: BodyFate::Kept,
    };
    let Ok(rewritten) = rewrite(section, vec![permit()], &plan) else { return };
    let new = rewritten.section();
    // What goes out is a header section to every reader, and to us the same one.
    let raw = new.raw();
    assert_eq!(split(raw), SplitAt::Body(raw.len()), "the section ends early, or not at all");
    let again = HeaderSection::parse(raw.clone()).expect("what is written can be read");
    assert_eq!(again.iter().count(), new.iter().count());
    for name in REMOVED {
        assert!(!new.has(name), "{name} goes out");
    }
    assert!(!new.iter().any(|field| field.name().to_ascii_lowercase().starts_with("consentry-")));
    for name in ["Date", "Message-ID", "List-ID"] {
        assert_eq!(new.fields(name).count(), 1, "{name}");
    }
    if existing == ExistingUnsubscribe::Replace {
        for name in ["List-Unsubscribe", "List-Unsubscribe-Post"] {
            assert_eq!(new.fields(name).count(), 1, "{name}");
        }
    }
    // Everything that is not ours keeps its octets.
    for field in section.iter().filter(|field| field.is("Subject") || field.is("From") || field.is("X-Mailer")) {
        assert!(new.fields(field.name()).any(|kept| kept.value() == field.value()), "{} was changed", field.name());
    }
}
