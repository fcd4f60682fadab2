//! Whole messages and what is read in them.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::message::{SplitAt, split};

const TEXT: &str = "Acme SARL, publicité\r\n12 rue de la Paix, 75002 Paris\r\nSe désabonner : https://a.example/u\r\n";

fn expect() -> Expected {
    Expected::new().name("Acme SARL").name("Brand").postal_address("12, rue de la Paix\n75002 PARIS")
}

fn facts(message: &[u8]) -> MessageFacts {
    let at = match split(message) {
        SplitAt::Body(at) => at,
        SplitAt::Open => message.len(),
    };
    let section = HeaderSection::parse(Bytes::copy_from_slice(&message[..at])).unwrap();
    read_duties(&section, &message[at..], &expect())
}

fn read(message: &str) -> MessageFacts {
    facts(message.as_bytes())
}

fn header(fields: &str) -> MessageFacts {
    read(&format!("{fields}\r\n\r\nhello\r\n"))
}

/// A message with this header field for its type and this body.
fn typed(kind: &str, body: &str) -> MessageFacts {
    read(&format!("From: News <news@a.example>\r\nSubject: x\r\nContent-Type: {kind}\r\n\r\n{body}"))
}

/// The delimiter has a capital letter, which no generated content has: content must not hold it (RFC 2046 section 5.1.1).
fn mixed(parts: &[&str]) -> MessageFacts {
    let body = parts.iter().map(|part| format!("--B\r\n{part}\r\n")).collect::<Vec<_>>().concat();
    typed("multipart/mixed; boundary=B", &format!("{body}--B--\r\n"))
}

fn html(text: &str) -> String {
    format!("Content-Type: text/html; charset=utf-8\r\n\r\n{text}")
}

fn plain(text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}")
}

#[test]
fn one_from_is_one_field_with_one_mailbox() {
    assert!(header("From: Acme <a@b.example>").fulfils(Duty::OneFrom));
    for from in ["From: a@b.example, c@d.example", "From: g: a@b.example;", "From:"] {
        assert!(!header(from).fulfils(Duty::OneFrom), "{from}");
    }
}

#[test]
fn a_subject_says_something() {
    let subject = |value: &str| header(&format!("From: a@b.example\r\nSubject:{value}")).fulfils(Duty::Subject);
    assert!(subject(" News") && subject(" =?utf-8?q?caf=C3=A9?=") && subject("\r\n News"));
    assert!(!subject("") && !subject(" ") && !subject(" =?utf-8?q?_=C2=A0?="));
    assert!(!header("From: a@b.example").fulfils(Duty::Subject));
}

#[test]
fn an_answer_says_what_it_answers() {
    let honest = |fields: &str| header(&format!("From: a@b.example\r\n{fields}")).fulfils(Duty::HonestPrefix);
    assert!(honest("Subject: News") && honest("X: y"));
    assert!(!honest("Subject: Re: News"));
    assert!(!honest("Subject: =?utf-8?B?UmU6IE5ld3M=?="));
    assert!(!honest("Subject: =?utf-8?q?R?=\r\n =?utf-8?q?e=3A_News?="));
    assert!(!honest("Subject: Re: News\r\nIn-Reply-To: "));
    assert!(honest("Subject: Re: News\r\nIn-Reply-To: <a@b>"));
    assert!(honest("Subject: Re: News\r\nReferences:\r\n <a@b>"));
}

#[test]
fn the_sender_is_named_in_from_or_body() {
    let named = |message: &str| read(message).fulfils(Duty::SenderIdentity);
    assert!(named("From: \"ACME, Sarl\" <a@b.example>\r\n\r\nx"));
    assert!(named("From: =?utf-8?q?Your_Brand?= <a@b.example>\r\n\r\nx"));
    assert!(named("From: a@b.example\r\n\r\nGreetings from Brand."));
    assert!(!named("From: Brandy <acme-sarl@b.example>\r\n\r\nAcme"));
    let section = HeaderSection::parse(Bytes::from_static(b"From: Brand <a@b.example>\r\n\r\n")).unwrap();
    assert!(!read_duties(&section, b"Brand", &Expected::new().name("-")).fulfils(Duty::SenderIdentity));
}

#[test]
fn every_part_names_the_advertiser_and_shows_a_way_out() {
    let both = |facts: MessageFacts| (facts.fulfils(Duty::AdvertiserNamed), facts.fulfils(Duty::VisibleUnsubscribe));
    let way = "<a href='https://a.example/u'>Se désabonner</a>";
    assert_eq!(both(mixed(&[&plain(TEXT), &html(&format!("<p>Brand {way}"))])), (true, true));
    assert_eq!(both(mixed(&[&plain("hello"), &html(&format!("<p>Brand {way}"))])), (false, false));
    assert_eq!(both(mixed(&[&plain(TEXT), &html("<p>Brand")])), (true, false));
    assert_eq!(both(mixed(&[&plain(TEXT), &html(way)])), (false, true));
    assert_eq!(both(mixed(&[&plain(" \r\n"), &html(&format!("<p>Brand {way}"))])), (true, true));
    assert_eq!(both(mixed(&[&plain(TEXT), &html("<img src='https://a.example/offer.png'>")])), (false, false));
    assert_eq!(both(mixed(&["Content-Type: image/png\r\n\r\nx"])), (false, false));
    assert_eq!(both(typed("text/plain", "")), (false, false));
}

#[test]
fn hidden_text_fulfils_nothing() {
    let duties = [Duty::AdvertiserNamed, Duty::VisibleUnsubscribe, Duty::PostalAddress, Duty::AdvertisingLabel];
    let shown = typed("text/html; charset=utf-8", &format!("<div>{TEXT}</div>x"));
    let hidden = typed("text/html; charset=utf-8", &format!("<div style='display:none'>{TEXT}</div>x"));
    for duty in duties {
        assert!(shown.fulfils(duty) && !hidden.fulfils(duty), "{duty:?}");
    }
}

#[test]
fn the_postal_address_may_break_lines_anywhere_but_not_words() {
    let postal = |text: &str| typed("text/html; charset=utf-8", text).fulfils(Duty::PostalAddress);
    assert!(postal("<td>12 rue de<br>la&nbsp;Paix</td><td>75002 Paris</td>"));
    assert!(!postal("112 rue de la Paix, 75002 Paris"));
    assert!(!postal("12 rue de la Paix, 75003 Paris"));
    let without = Expected::new();
    let section = HeaderSection::parse(Bytes::from_static(b"From: a@b.example\r\n\r\n")).unwrap();
    assert!(!read_duties(&section, TEXT.as_bytes(), &without).fulfils(Duty::PostalAddress));
}

#[test]
fn advertising_is_labelled_in_subject_or_body() {
    let label = |message: &str| read(message).fulfils(Duty::AdvertisingLabel);
    assert!(label("From: a@b.example\r\nSubject: [Werbung] Neues\r\n\r\nx"));
    assert!(label("From: a@b.example\r\nSubject: x\r\n\r\nThis is an advertisement."));
    assert!(!label("From: a@b.example\r\nSubject: News\r\n\r\nHello."));
}

#[test]
fn the_source_and_the_right_to_object_are_told() {
    let told = |text: &str| typed("text/plain; charset=utf-8", text).fulfils(Duty::SourceNotice);
    assert!(told("We obtained your address from X. You have the right to object."));
    assert!(!told("We obtained your address from X.") && !told("You have the right to object."));
    let section = HeaderSection::parse(Bytes::from_static(b"From: a@b.example\r\n\r\n")).unwrap();
    let expect = Expected::new().source_notice("Adresse de la CCI; refus possible");
    assert!(read_duties(&section, b"(adresse de la CCI, refus possible)", &expect).fulfils(Duty::SourceNotice));
}

#[test]
fn a_pixel_in_any_part_is_individual_tracking() {
    let pixel = "<img width=1 height=1 src='https://t.example/o/62f0c0b5a1b34567890c23.gif'>";
    assert_eq!(mixed(&[&plain(TEXT), &html(pixel)]).open_tracking(), OpenTracking::Individual);
    assert_eq!(mixed(&[&plain(TEXT), &plain(pixel)]).open_tracking(), OpenTracking::Absent);
}

#[test]
fn past_the_bound_of_text_nothing_is_taken_for_granted() {
    let long = |n: usize| typed("text/plain; charset=utf-8", &format!("{TEXT}{}", "x".repeat(n - TEXT.len())));
    let (at, past) = (long(TEXT_MAX), long(TEXT_MAX + 1));
    assert!(at.fulfils(Duty::VisibleUnsubscribe) && at.fulfils(Duty::PostalAddress));
    assert!(!past.fulfils(Duty::VisibleUnsubscribe) && !past.fulfils(Duty::PostalAddress));
    assert_eq!((at.open_tracking(), past.open_tracking()), (OpenTracking::Absent, OpenTracking::Individual));
    let deep = html(&format!("{TEXT}{}", "<div>".repeat(html::ELEMENTS_MAX + 1)));
    assert!(!mixed(&[&deep]).fulfils(Duty::VisibleUnsubscribe));
}

#[test]
fn an_encoding_that_nobody_knows_is_not_read() {
    let part = format!("Content-Transfer-Encoding: x-uuencode\r\n{}", plain(TEXT));
    assert!(mixed(&[&plain(TEXT)]).fulfils(Duty::VisibleUnsubscribe));
    assert!(!mixed(&[&plain(TEXT), &part]).fulfils(Duty::VisibleUnsubscribe));
}

fn quoted(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("={b:02X}=\r\n")).collect::<Vec<_>>().concat()
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

proptest! {
    #[test]
    fn the_encoding_and_the_charset_of_a_text_change_nothing(lines in prop::collection::vec(prop::sample::select(vec![
        "Acme SARL\r\n", "é à\r\n", "12 rue de la Paix, 75002 Paris\r\n", "se désinscrire\r\n", "https://a.example/\r\n",
        "Werbung für Brand\r\n", "= =3D =\r\n", "droit d'opposition\r\n", "origine des données\r\n",
    ]), 0..8)) {
        let text = lines.concat();
        let message = |charset: &str, encoding: &str, body: &[u8]| {
            let fields = format!("Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}");
            let mut message = format!("From: a@b.example\r\n{fields}\r\n\r\n").into_bytes();
            message.extend_from_slice(body);
            facts(&message)
        };
        let expected = message("utf-8", "8bit", text.as_bytes());
        for (charset, octets) in [("UTF-8", text.clone().into_bytes()), ("iso-8859-1", latin(&text))] {
            prop_assert_eq!(message(charset, "8bit", &octets), expected);
            prop_assert_eq!(message(charset, "Quoted-Printable", quoted(&octets).as_bytes()), expected);
            prop_assert_eq!(message(charset, "BASE64", STANDARD.encode(&octets).as_bytes()), expected);
        }
    }

    #[test]
    fn a_part_that_is_not_shown_changes_nothing(filling in "[a-z <>=&\r\n-]{0,60}", at in 0..3_usize,
        kind in prop::sample::select(vec!["image/png", "application/pdf", "text/calendar", "message/rfc822"]),
        attached in any::<bool>()) {
        let hidden = if attached {
            format!("Content-Disposition: attachment; filename=x\r\n{}", html(&filling))
        } else {
            format!("Content-Type: {kind}\r\n\r\n{filling}")
        };
        let way = html("<p>Brand <a href='https://a.example/u'>Se désabonner</a>");
        let text = plain(TEXT);
        let mut parts = vec![text.as_str(), way.as_str()];
        let expected = mixed(&parts);
        parts.insert(at, &hidden);
        prop_assert_eq!(mixed(&parts), expected);
    }

    #[test]
    fn any_octets_are_read_without_harm(octets in prop::collection::vec(any::<u8>(), 0..300),
        kind in prop::sample::select(vec!["text/html", "text/plain; charset=utf-16", "multipart/mixed; boundary=a", "/"])) {
        let mut message = format!("From: a@b.example\r\nContent-Type: {kind}\r\n\r\n--a\r\n").into_bytes();
        message.extend(octets);
        prop_assert!(facts(&message).fulfils(Duty::OneFrom));
    }
}

#[test]
fn a_placeholder_is_a_way_out_only_where_it_will_be_replaced() {
    let shows = |link: BodyLink, head: &str, text: &str| {
        let section = HeaderSection::parse(Bytes::from(format!("From: a@a.example\r\n{head}\r\n"))).unwrap();
        read_duties(&section, text.as_bytes(), &Expected::new().body_link(link)).fulfils(Duty::VisibleUnsubscribe)
    };
    let out = "hello {{unsubscribe_url}}\r\n";
    assert!(shows(BodyLink::Replace, "", out));
    assert!(!shows(BodyLink::Off, "", out));
    assert!(!shows(BodyLink::Replace, "Content-Type: text/plain; charset=iso-2022-jp\r\n", out));
    let signed = "Content-Type: multipart/signed; boundary=s\r\n";
    assert!(!shows(BodyLink::Replace, signed, &format!("--s\r\n\r\n{out}--s--\r\n")));
    assert!(!shows(BodyLink::Replace, "", &format!("-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n{out}")));
}
