use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const PLACEHOLDER: &str = "{{unsubscribe_url}}";

fn link(length: usize) -> HttpsUri {
    let start = "https://u.example/u/";
    HttpsUri::parse(format!("{start}{}", "abcdefg234567".repeat(80).get(..length - start.len()).unwrap())).unwrap()
}

fn section(head: &str) -> HeaderSection {
    HeaderSection::parse(Bytes::from(format!("From: a@b.example\r\n{head}\r\n"))).unwrap()
}

/// The whole body with its links.
fn replaced(head: &str, body: &str, uri: &HttpsUri) -> Result<Vec<u8>, BodyLinkError> {
    let plan = BodyPlan::read(&section(head), Bytes::from(body.to_owned()))?;
    let OwnBody { start, shared } = plan.own(LinkText::new(uri)?)?;
    assert_eq!(shared, plan.shared());
    Ok([start, shared].concat())
}

fn text(head: &str, body: &str, uri: &HttpsUri) -> String {
    String::from_utf8(replaced(head, body, uri).unwrap()).unwrap()
}

const QUOTED: &str = "Content-Transfer-Encoding: quoted-printable\r\n";
const BASE64: &str = "Content-Transfer-Encoding: base64\r\n";

#[test]
fn plain_text_changes_in_its_placeholders_alone() {
    let uri = link(40);
    let body = format!("caf\u{e9} {PLACEHOLDER}, {PLACEHOLDER}\r\n\r\nend <%asm_group_unsubscribe_raw_url%>.\r\n");
    let expected = body.replace(PLACEHOLDER, uri.as_str()).replace("<%asm_group_unsubscribe_raw_url%>", uri.as_str());
    assert_eq!(text("", &body, &uri), expected);
}

#[test]
fn a_line_may_come_to_998_octets_and_no_further() {
    let uri = link(100);
    let line = |n: usize| format!("first\r\n{PLACEHOLDER}{}{PLACEHOLDER}\r\nlast\r\n", "x".repeat(n - 200));
    assert!(replaced("", &line(LINE_OCTETS_MAX), &uri).unwrap().len() > 998);
    assert_eq!(replaced("", &line(LINE_OCTETS_MAX + 1), &uri), Err(BodyLinkError::LineTooLong));
}

#[test]
fn placeholders_are_counted_at_and_past_the_limit() {
    let uri = link(40);
    let body = |n: usize| format!("{PLACEHOLDER}\r\n").repeat(n);
    assert!(replaced("", &body(PLACEHOLDERS_MAX), &uri).is_ok());
    assert_eq!(replaced("", &body(PLACEHOLDERS_MAX + 1), &uri), Err(BodyLinkError::TooMany));
}

#[test]
fn a_broken_and_partly_encoded_placeholder_is_replaced_and_its_lines_are_wrapped_again() {
    let uri = link(80);
    let body = "before =C3=A9\r\n<a href=3D\"=7B{unsub=\r\nscribe_url=7D=\r\n}\">leave</a> =\r\nsoft\r\nlast=20\r\n";
    let expected = format!(
        "before =C3=A9\r\n<a href=3D\"{}=\r\n{}\">leave</a> =\r\nsoft\r\nlast=20\r\n",
        &uri.as_str()[..64],
        &uri.as_str()[64..]
    );
    assert_eq!(text(QUOTED, body, &uri), expected);
}

#[test]
fn the_last_character_may_stand_where_others_leave_room() {
    // 76 octets before a hard line end, 75 before a `=`.
    let uri = link(40);
    let line = |n: usize, end: &str| text(QUOTED, &format!("{}{PLACEHOLDER}{end}", "x".repeat(n)), &uri);
    let whole = |n: usize, end: &str| format!("{}{}{end}", "x".repeat(n), uri.as_str());
    assert_eq!(line(36, "\r\n"), whole(36, "\r\n"));
    assert!(line(37, "\r\n").contains("=\r\n"));
    assert_eq!(line(35, "=\r\nmore\r\n"), whole(35, "=\r\nmore\r\n"));
    assert_eq!(line(36, "=\r\nmore\r\n").matches("=\r\n").count(), 2);
}

#[test]
fn no_wrapped_line_looks_like_the_end_of_a_part() {
    let uri = link(75);
    assert!(text(QUOTED, &format!("{PLACEHOLDER}--b--\r\n"), &uri).ends_with("=\r\n=2D-b--\r\n"));
}

#[test]
fn base64_changes_from_the_placeholder_on_and_keeps_the_length_of_its_lines() {
    let uri = link(61);
    let content = format!("{}{PLACEHOLDER}{}", "a".repeat(100), "z".repeat(100));
    let encoded = |text: &str, width: usize| {
        let encoded = STANDARD.encode(text);
        let lines: Vec<_> = encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
        lines.join("\r\n")
    };
    for width in [60, 64, 76] {
        let body = format!("{}\r\n", encoded(&content, width));
        let after = text(BASE64, &body, &uri);
        assert_eq!(after, format!("{}\r\n", encoded(&content.replace(PLACEHOLDER, uri.as_str()), width)), "{width}");
        assert_eq!(after[..130], body[..130], "{width}");
    }
    let one_line = format!("{}\r\n", STANDARD.encode(PLACEHOLDER));
    assert_eq!(text(BASE64, &one_line, &link(300)), format!("{}\r\n", encoded(link(300).as_str(), 76)));
}

fn part(head: &str, body: &str) -> String {
    format!("--b\r\n{head}\r\n{body}\r\n")
}

#[test]
fn attachments_messages_and_whatever_is_signed_stay_as_they_are() {
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n";
    for kept in [
        part("Content-Disposition: attachment\r\n", PLACEHOLDER),
        part("Content-Type: message/rfc822\r\n", &format!("From: x\r\n\r\n{PLACEHOLDER}")),
        part("Content-Type: text/calendar\r\n", PLACEHOLDER),
        part("Content-Type: text/plain; charset=utf-16\r\n", PLACEHOLDER),
        part("Content-Type: text/plain; charset=iso-2022-jp\r\n", PLACEHOLDER),
        part("Content-Transfer-Encoding: x-uuencode\r\n", PLACEHOLDER),
    ] {
        let plan = BodyPlan::read(&section(mixed), Bytes::from(format!("{kept}--b--\r\n"))).unwrap();
        assert!(plan.is_empty() && plan.sealed() == 0, "{kept}");
    }
    let inner = "Content-Type: multipart/signed; boundary=s\r\n";
    let sealed = [
        part(
            inner,
            &format!("--s\r\n\r\n{PLACEHOLDER}\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--"),
        ),
        part("", &format!("-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n{PLACEHOLDER}")),
    ];
    for kept in sealed {
        let plan = BodyPlan::read(&section(mixed), Bytes::from(format!("{kept}--b--\r\n"))).unwrap();
        assert!(plan.is_empty() && plan.sealed() == 1, "{kept}");
    }
}

#[test]
fn only_links_that_stand_for_themselves_are_written() {
    for good in ["https://u.example/u/abc", "https://u.example:8443/x_y/u/a-b~c"] {
        assert!(LinkText::new(&HttpsUri::parse(good).unwrap()).is_ok(), "{good}");
    }
    for bad in ["https://u.example/?a=b", "https://u.example/a&b", "https://u.example/a'b", "https://u.example/%41"] {
        assert_eq!(LinkText::new(&HttpsUri::parse(bad).unwrap()).err(), Some(BodyLinkError::Link), "{bad}");
    }
}

//----------- Properties ---

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Eight,
    Quoted,
    Base64,
}

/// Encodes as an arbitrary but lawful encoder would: `choices` says where lines break and what is encoded.
fn quoted(text: &str, choices: &[u8]) -> String {
    let (mut out, mut column) = (String::new(), 0);
    let mut choices = choices.iter().cycle();
    for line in text.split_inclusive("\r\n") {
        let (content, end) = line.strip_suffix("\r\n").map_or((line, ""), |content| (content, "\r\n"));
        for (index, b) in content.bytes().enumerate() {
            let choice = *choices.next().unwrap();
            let last = index + 1 == content.len();
            let literal = (33..=126).contains(&b) && b != b'=' || b == b' ' && !last;
            let atom =
                if literal && !choice.is_multiple_of(5) { char::from(b).to_string() } else { format!("={b:02X}") };
            if column + atom.len() > 75 || column > 0 && choice.is_multiple_of(23) {
                out.push_str("=\r\n");
                column = 0;
            }
            column += atom.len();
            out.push_str(&atom);
        }
        out.push_str(end);
        column = 0;
    }
    out
}

fn packed(text: &str, width: usize) -> String {
    let encoded = STANDARD.encode(text);
    let lines: Vec<_> = encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\r\n")
}

fn any_text(with: bool) -> impl Strategy<Value = String> {
    let aliases = [PLACEHOLDER, "%unsubscribe_url%", "<%asm_group_unsubscribe_raw_url%>", "{{{ pm:unsubscribe }}}"];
    let filler = ["a", "é ", " ", "\r\n", "=", "-", "--b", ".", "nsubscribe", "<a href=\"", "long words without end "];
    let piece = if with {
        prop_oneof![1 => prop::sample::select(aliases.to_vec()), 4 => prop::sample::select(filler.to_vec())].boxed()
    } else {
        prop::sample::select(filler.to_vec()).boxed()
    };
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().replace("\r\n--b", "\r\n"))
}

fn any_how() -> impl Strategy<Value = How> {
    prop::sample::select(vec![How::Eight, How::Quoted, How::Base64])
}

fn message(parts: &[(How, String)], choices: &[u8], width: usize) -> (HeaderSection, Bytes) {
    let mut body = String::from("preamble\r\n");
    for (how, content) in parts {
        let (name, encoded) = match how {
            How::Eight => ("8bit", content.clone()),
            How::Quoted => ("quoted-printable", quoted(content, choices)),
            How::Base64 => ("base64", packed(content, width)),
        };
        let head = format!("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {name}\r\n");
        body.extend(["--part\r\n", &head, "\r\n", &encoded, "\r\n"]);
    }
    body.push_str("--part--\r\nepilogue {{unsubscribe_url}}\r\n");
    (section("Content-Type: multipart/alternative; boundary=part\r\n"), Bytes::from(body))
}

/// The parts decoded, and everything around them.
fn taken_apart(section: &HeaderSection, body: &Bytes) -> (Vec<String>, Vec<Vec<u8>>) {
    let outline = outline(section, body);
    let (mut texts, mut around, mut at) = (Vec::new(), Vec::new(), 0);
    for part in &outline.texts {
        texts.push(String::from_utf8(octets(part, usize::MAX).unwrap().into_owned()).unwrap());
        around.push(body[at..part.start].to_vec());
        at = part.start + part.octets.len();
    }
    around.push(body[at..].to_vec());
    (texts, around)
}

fn expected(text: &str, uri: &str) -> String {
    let aliases = [PLACEHOLDER, "%unsubscribe_url%", "<%asm_group_unsubscribe_raw_url%>", "{{{ pm:unsubscribe }}}"];
    aliases.iter().fold(text.to_owned(), |text, alias| text.replace(alias, uri))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn decoding_what_was_replaced_gives_the_decoded_text_with_its_placeholders_replaced(
        parts in prop::collection::vec((any_how(), any_text(true)), 1..4),
        choices in prop::collection::vec(any::<u8>(), 1..50),
        width in prop::sample::select(vec![4_usize, 60, 64, 76]),
        length in 30..200_usize,
    ) {
        let (section, body) = message(&parts, &choices, width);
        let uri = link(length);
        let plan = BodyPlan::read(&section, body.clone());
        prop_assume!(plan.is_ok());
        let own = plan.unwrap().own(LinkText::new(&uri).unwrap());
        prop_assume!(own.is_ok());
        let OwnBody { start, shared } = own.unwrap();
        let after = Bytes::from([start, shared].concat());
        let ((before_texts, before_around), (texts, around)) = (taken_apart(&section, &body), taken_apart(&section, &after));
        prop_assert_eq!(before_around, around);
        prop_assert_eq!(before_texts.iter().map(|text| expected(text, uri.as_str())).collect::<Vec<_>>(), texts);
        if parts.iter().all(|(how, _)| *how != How::Eight) {
            let lines = String::from_utf8(after.to_vec()).unwrap();
            prop_assert!(lines.split("\r\n").all(|line| line.len() <= 76));
        }
    }

    #[test]
    fn a_body_without_placeholders_is_shared_whole(
        parts in prop::collection::vec((any_how(), any_text(false)), 1..4),
        choices in prop::collection::vec(any::<u8>(), 1..50),
    ) {
        let (section, body) = message(&parts, &choices, 76);
        let plan = BodyPlan::read(&section, body.clone()).unwrap();
        prop_assert!(plan.is_empty());
        prop_assert_eq!(plan.shared(), body);
    }

    #[test]
    fn any_octets_are_read_without_harm(
        octets in prop::collection::vec(prop::sample::select(b"{{unsubscribe_url}}=7B\r\n =eyB1bnN1YnNjcmliZV91cmx9fQ".to_vec()), 0..300),
        ends in 0..3_usize,
        encoding in prop::sample::select(vec![QUOTED, BASE64, ""]),
    ) {
        let mut body = octets;
        for _ in 0..ends {
            body.extend_from_slice(match encoding { QUOTED => b"=7b{unsub=\nscribe_url=7d}= \r\n".as_slice(), BASE64 => b"e3t1bnN1YnNjcmli\r\nZV91cmx9fQ", _ => b"{{unsubscribe_url}}" });
        }
        let body = Bytes::from(body);
        let section = section(encoding);
        let before = outline(&section, &body);
        let text = octets_of(&before);
        let uri = link(90);
        let own = BodyPlan::read(&section, body.clone()).unwrap().own(LinkText::new(&uri).unwrap());
        prop_assume!(own.is_ok());
        let OwnBody { start, shared } = own.unwrap();
        let after = Bytes::from([start, shared].concat());
        let after = octets_of(&outline(&section, &after));
        // Whatever else is in it, exactly the placeholders are gone and links stand there.
        let mut wanted = text.clone();
        for range in placeholder::find(&text).into_iter().rev() {
            wanted.splice(range, uri.as_str().bytes());
        }
        prop_assert_eq!(after, wanted);
    }
}

fn octets_of(outline: &super::super::duties::parts::Outline<'_>) -> Vec<u8> {
    outline.texts.iter().flat_map(|part| octets(part, usize::MAX).unwrap().into_owned()).collect()
}
