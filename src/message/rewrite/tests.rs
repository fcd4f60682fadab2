use proptest::prelude::*;

use super::*;
use crate::mail::{Domain, Mailbox, QueueId};
use crate::message::fields::Transport;
use crate::message::unsubscribe::{HttpsUri, MailtoUri};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn section(text: &str) -> HeaderSection {
    HeaderSection::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn permit(to: &str, one_click: OneClick) -> Permit {
    Permit::for_test(Recipient::new(Mailbox::parse(to).unwrap()), one_click)
}

fn links() -> Links {
    let mailto = MailtoUri::parse("mailto:u@gw.example?subject=t").unwrap();
    Links { https: HttpsUri::parse("https://gw.example/u/t").unwrap(), mailto: Some(mailto) }
}

struct Parts {
    received: ReceivedLine,
    message_id: MessageId,
    links: Links,
    list_id: ListId,
    feedback_id: FeedbackId,
}

impl Parts {
    fn new() -> Self {
        let gateway = domain("gw.example");
        let id = QueueId::from_u64(1);
        let peer = "192.0.2.1".parse().unwrap();
        Self {
            message_id: MessageId::new(id, &gateway),
            received: ReceivedLine::new(
                "tool",
                peer,
                gateway.clone(),
                Transport::default(),
                id,
                Timestamp::from_secs(0),
            ),
            links: links(),
            list_id: ListId::new(None, &ListName::new("weekly").unwrap(), &gateway).unwrap(),
            feedback_id: FeedbackId::parse("c:acme").unwrap(),
        }
    }

    const fn bare(&self) -> Plan<'_> {
        Plan {
            received: None,
            now: Timestamp::from_secs(0),
            message_id: &self.message_id,
            unsubscribe: None,
            existing: ExistingUnsubscribe::Replace,
            list_id: None,
            feedback_id: None,
            body: BodyFate::Kept,
        }
    }

    const fn full(&self) -> Plan<'_> {
        Plan {
            received: Some(&self.received),
            unsubscribe: Some(&self.links),
            list_id: Some(&self.list_id),
            feedback_id: Some(&self.feedback_id),
            ..self.bare()
        }
    }
}

fn text(rewritten: &Rewritten) -> String {
    String::from_utf8_lossy(rewritten.section().raw()).into_owned()
}

fn run(head: &str, plan: &Plan<'_>) -> String {
    text(&rewrite(&section(head), vec![permit("a@b.example", OneClick::NotOwed)], plan).unwrap())
}

const COMPLETE: &str = "From: x@acme.example\r\nDate: today\r\nMessage-ID: <1@acme.example>\r\n";

#[test]
fn a_marketing_copy_has_everything_once() {
    let parts = Parts::new();
    let head = "Return-Path: <x@y>\r\nFrom: x@acme.example\r\nBcc: v@c.example\r\nlist-id: <old>\r\nLIST-ID: <older>\r\n\
                Feedback-ID: a:b:c:d\r\nConsentry-List: weekly\r\nCONSENTRY-Other: x\r\n y\r\nSubject:  two  blanks\r\n\r\n";
    let rewritten = rewrite(&section(head), vec![permit("a@b.example", OneClick::Owed)], &parts.full()).unwrap();
    assert_eq!(rewritten.recipients().len(), 1);
    assert_eq!(
        text(&rewritten),
        "Received: from tool ([192.0.2.1]) by gw.example with SMTP id 0000000000001\r\n \
         for <a@b.example>; Thu, 01 Jan 1970 00:00:00 +0000\r\n\
         From: x@acme.example\r\nSubject:  two  blanks\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <0000000000001@gw.example>\r\n\
         List-Id: <weekly.gw.example>\r\nFeedback-ID: c:acme\r\n\
         List-Unsubscribe: <https://gw.example/u/t>,\r\n <mailto:u@gw.example?subject=t>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n"
    );
}

#[test]
fn what_has_everything_leaves_unchanged() {
    let head = format!("{COMPLETE}List-Unsubscribe: <https://t.example>\r\n\r\n");
    assert_eq!(run(&head, &Parts::new().bare()), head);
    assert_eq!(run(COMPLETE, &Parts::new().bare()), format!("{COMPLETE}\r\n"));
}

#[test]
fn duties_are_held() {
    let parts = Parts::new();
    let head = section(COMPLETE);
    let owed = |to| permit(to, OneClick::Owed);
    let free = |to| permit(to, OneClick::NotOwed);
    let error = |permits, plan: &Plan<'_>| rewrite(&head, permits, plan).err();
    assert_eq!(error(vec![], &parts.full()), Some(RewriteError::Nobody));
    assert_eq!(error(vec![owed("a@b.example")], &parts.bare()), Some(RewriteError::MissingLinks));
    assert_eq!(error(vec![owed("a@b.example"), free("c@d.example")], &parts.full()), Some(RewriteError::SharedLinks));
    assert_eq!(error(vec![free("a@b.example"), free("c@d.example")], &parts.full()), Some(RewriteError::SharedLinks));
    let plan = Plan { received: Some(&parts.received), ..parts.bare() };
    let both = rewrite(&head, vec![free("a@b.example"), free("c@d.example")], &plan).unwrap();
    assert_eq!(both.recipients().len(), 2);
    assert!(!text(&both).contains("for <"));
}

#[test]
fn faults_are_told_apart() {
    let parts = Parts::new();
    let plan = Plan { existing: ExistingUnsubscribe::Refuse, ..parts.full() };
    let head = section("From: a\r\nList-Unsubscribe: <https://t.example>\r\n\r\n");
    let error = rewrite(&head, vec![permit("a@b.example", OneClick::Owed)], &plan).unwrap_err();
    assert_eq!(error, RewriteError::UnsubscribePresent);
    assert!(error.is_permanent());
    assert!(!RewriteError::MissingLinks.is_permanent());
}

#[test]
fn the_displaced_one_click_uri_is_reported() {
    let parts = Parts::new();
    let head = "From: a\r\nList-Unsubscribe: <https://t.example/1>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n";
    let rewritten = rewrite(&section(head), vec![permit("a@b.example", OneClick::Owed)], &parts.full()).unwrap();
    assert_eq!(rewritten.displaced_one_click(), Some("https://t.example/1"));
}

#[test]
fn only_broken_signatures_are_removed() {
    let parts = Parts::new();
    let kept = "DKIM-Signature: v=1; bh=x; h=From:\r\n\t Subject; b=y\r\n";
    let broken = "DKIM-Signature: v=1; h = From : list-UNSUBSCRIBE; b=y\r\n";
    let unreadable = "DKIM-Signature: v=1; b=y\r\n";
    let head = format!("{broken}{kept}{unreadable}{COMPLETE}\r\n");
    let out = run(&head, &parts.full());
    assert!(out.contains(kept) && !out.contains(broken) && !out.contains(unreadable), "{out}");
    let untouched = run(&head, &parts.bare());
    assert!(untouched.contains(broken));
}

#[test]
fn what_grows_past_a_limit_is_refused() {
    let head = format!("From: a\r\n{}\r\n", "X: y\r\n".repeat(super::super::section::FIELDS_MAX - 1));
    let error = rewrite(&section(&head), vec![permit("a@b.example", OneClick::NotOwed)], &Parts::new().bare());
    assert!(matches!(error, Err(RewriteError::Section(SectionError::TooManyFields { .. }))));
}

#[test]
fn controls_are_read_or_named() {
    let read = |head: &str| controls(&section(&format!("From: a\r\n{head}\r\n")));
    let found = read("consentry-list: weekly\r\nConsentry-Campaign:\r\n 42\r\n").unwrap();
    assert_eq!(found.list, Some(ListName::new("weekly").unwrap()));
    assert_eq!(found.campaign, Some(CampaignId::new("42").unwrap()));
    assert_eq!(read(""), Ok(Controls::default()));
    let repeated = read("Consentry-List: a\r\nConsentry-List: a\r\n");
    assert_eq!(repeated, Err(ControlError::Repeated { field: CONTROL_LIST }));
    for bad in ["", "a b", "a>\r\n Bcc: v", "\u{e9}"] {
        let error = read(&format!("Consentry-Campaign: {bad}\r\n")).unwrap_err();
        assert!(error.to_string().starts_with("Consentry-Campaign: "), "{error}");
    }
}

fn any_head() -> impl Strategy<Value = Vec<u8>> {
    let fields: Vec<&'static [u8]> = vec![
        b"Subject: caf\xe9  x \r\n",
        b"X-A:\r\n folded\r\n\t twice\r\n",
        b"Received: x\r\n",
        b"bcc: v@x.example\r\n",
        b"List-Unsubscribe: <https://t.example/1>, <mailto:x@t.example>\r\n",
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        b"List-Id: <l.t.example>\r\n",
        b"DKIM-Signature: v=1; h=From; b=x\r\n",
        b"X-A: twice\r\n",
    ];
    prop::sample::subsequence(fields.clone(), 0..=fields.len())
        .prop_shuffle()
        .prop_map(|fields| [b"From: x@acme.example\r\n".as_slice(), &fields.concat(), b"\r\n"].concat())
}

proptest! {
    #[test]
    fn kept_fields_keep_every_octet_and_their_order(head in any_head(), rule in 0..3_u8) {
        let parts = Parts::new();
        let existing = [ExistingUnsubscribe::Replace, ExistingUnsubscribe::Keep, ExistingUnsubscribe::Merge][usize::from(rule)];
        let before = HeaderSection::parse(Bytes::from(head)).unwrap();
        let plan = Plan { existing, ..parts.full() };
        let after = rewrite(&before, vec![permit("a@b.example", OneClick::Owed)], &plan).unwrap();
        let kept = |s: &HeaderSection| -> Vec<Vec<u8>> {
            let free = ["From", "Subject", "X-A"];
            s.iter().filter(|f| free.iter().any(|name| f.is(name))).map(|f| f.raw().to_vec()).collect()
        };
        prop_assert_eq!(kept(&before), kept(after.section()));
        for once in ["List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "Feedback-ID", "Date", "Message-ID"] {
            prop_assert_eq!(after.section().fields(once).count(), 1, "{}", once);
        }
        prop_assert_eq!(after.section().fields("Bcc").count(), 0);
        prop_assert_eq!(after.section().hops(), before.hops() + 1);
    }

    #[test]
    fn rewriting_again_changes_nothing(head in any_head(), keep: bool) {
        let parts = Parts::new();
        let existing = if keep { ExistingUnsubscribe::Keep } else { ExistingUnsubscribe::Replace };
        let plan = Plan { received: None, existing, ..parts.full() };
        let go = |s: &HeaderSection| rewrite(s, vec![permit("a@b.example", OneClick::Owed)], &plan).unwrap();
        let first = go(&HeaderSection::parse(Bytes::from(head)).unwrap());
        // The first pass fixes the order in which our own fields stand; from then on it is stable.
        let second = go(first.section());
        let third = go(second.section());
        prop_assert_eq!(second.section().raw(), third.section().raw());
    }
}
