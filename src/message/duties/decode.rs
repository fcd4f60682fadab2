//! A text part as characters: transfer encoding (RFC 2045 section 6) and charset, within a bound.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::{memchr, memchr2};
use unicode_normalization::UnicodeNormalization as _;

use super::parts::{Encoding, TextPart};

/// The most decoded octets of text that are looked at in one message. Gmail cuts off what it shows at 102 KB; five
/// times that is a campaign nobody reads to the end.
pub(super) const TEXT_MAX: usize = 512 * 1024;

/// The characters of a part, composed (NFC); `left` is what the message may still spend of [`TEXT_MAX`]. `None` past
/// it, and for an encoding that nobody knows.
///
/// A charset that mail-parser does not know is read as UTF-8 with the rest replaced.
pub(super) fn text<'a>(part: &TextPart<'a>, left: &mut usize) -> Option<Cow<'a, str>> {
    let octets = octets(part, *left)?;
    *left = left.saturating_sub(octets.len());
    Some(composed(characters(octets, part.charset.as_deref())))
}

/// The octets that a part stands for. `None` when they are more than `max`, and for an encoding that nobody knows.
pub(in crate::message) fn octets<'a>(part: &TextPart<'a>, max: usize) -> Option<Cow<'a, [u8]>> {
    match part.encoding {
        Encoding::Plain => (part.octets.len() <= max).then_some(Cow::Borrowed(part.octets)),
        Encoding::Quoted => quoted_printable(part.octets, max).map(Cow::Owned),
        Encoding::Base64 => base64(part.octets, max).map(Cow::Owned),
        Encoding::Unknown => None,
    }
}

fn characters<'a>(octets: Cow<'a, [u8]>, charset: Option<&str>) -> Cow<'a, str> {
    let unicode = charset.is_none_or(|name| {
        ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| name.trim().eq_ignore_ascii_case(known))
    });
    if !unicode && let Some(decode) = charset.and_then(|name| charset_decoder(name.trim().as_bytes())) {
        return Cow::Owned(decode(&octets));
    }
    match octets {
        Cow::Borrowed(octets) => String::from_utf8_lossy(octets),
        Cow::Owned(octets) => Cow::Owned(
            String::from_utf8(octets).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

/// Letters with a combining mark become one character where there is one, so that both spellings meet. Latin and
/// Greek marks are U+0300 to U+036F, whose first octet in UTF-8 nothing else has but its neighbours.
pub(super) fn composed(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr2(0xcc, 0xcd, text.as_bytes()).is_some() { Cow::Owned(text.nfc().collect()) } else { text }
}

/// RFC 2045 section 6.7. What is not an escape stays as it is, as mail programs have it.
fn quoted_printable(mut octets: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(octets.len().min(max));
    loop {
        let at = memchr(b'=', octets).unwrap_or(octets.len());
        let (plain, rest) = octets.split_at(at);
        decoded.extend_from_slice(plain);
        octets = match rest {
            [] => return (decoded.len() <= max).then_some(decoded),
            [b'=', b'\r', b'\n', rest @ ..] | [b'=', b'\n', rest @ ..] => rest,
            [b'=', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(digit(*high) << 4 | digit(*low));
                rest
            }
            [b'=', rest @ ..] => {
                // White space that a relay added behind a soft line break (rule 3).
                let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
                let behind = rest.get(blank..).and_then(|rest| rest.strip_prefix(b"\n"));
                if behind.is_none() {
                    decoded.push(b'=');
                }
                behind.unwrap_or(rest)
            }
            [_, rest @ ..] => rest,
        };
        if decoded.len() > max {
            return None;
        }
    }
}

/// The value of a hexadecimal digit.
pub(in crate::message) const fn digit(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        b'a'..=b'f' => b - b'a' + 10,
        b'A'..=b'F' => b - b'A' + 10,
        _ => 0,
    }
}

/// RFC 2045 section 6.8: what is outside of the alphabet is skipped; `=` ends the text.
fn base64(octets: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity((octets.len() / 4 * 3).min(max));
    let (mut bits, mut held) = (0_u32, 0_u32);
    for b in octets {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xf_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let [.., octet] = (bits >> held).to_be_bytes();
            decoded.push(octet);
            if decoded.len() > max {
                return None;
            }
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn part<'a>(encoding: Encoding, charset: Option<&str>, octets: &'a [u8]) -> TextPart<'a> {
        TextPart { html: false, signed: false, encoding, charset: charset.map(str::to_owned), start: 0, octets }
    }

    fn read(encoding: Encoding, charset: &str, octets: &[u8]) -> Option<String> {
        text(&part(encoding, Some(charset), octets), &mut TEXT_MAX.clone()).map(Cow::into_owned)
    }

    #[test]
    fn quoted_printable_is_read_as_mail_programs_do() {
        for (raw, expected) in [
            ("caf=C3=A9", "café"),
            ("caf=c3=a9=", "café="),
            ("a=\r\nb=\nc= \t\r\nd", "abcd"),
            ("a=zz=4", "a=zz=4"),
            ("==41", "=A"),
            ("", ""),
        ] {
            assert_eq!(read(Encoding::Quoted, "utf-8", raw.as_bytes()).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn base64_skips_what_is_not_its_own() {
        for (raw, expected) in [("Y2Fmw6k=", "café"), ("Y2\r\nFm w6k", "café"), ("YWI=YWI=", "ab"), ("", ""), ("!", "")]
        {
            assert_eq!(read(Encoding::Base64, "utf-8", raw.as_bytes()).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn charsets_meet_and_unknown_encodings_do_not_count() {
        assert_eq!(read(Encoding::Plain, "ISO-8859-1", b"caf\xe9").as_deref(), Some("café"));
        assert_eq!(read(Encoding::Plain, "utf-8", b"caf\xe9").as_deref(), Some("caf\u{fffd}"));
        assert_eq!(read(Encoding::Plain, "no-such", b"abc").as_deref(), Some("abc"));
        assert_eq!(read(Encoding::Plain, "utf-8", "cafe\u{301}".as_bytes()).as_deref(), Some("café"));
        assert_eq!(read(Encoding::Unknown, "utf-8", b"abc"), None);
    }

    #[test]
    fn the_bound_is_checked_at_and_past_the_limit_in_every_encoding() {
        let fits = "a".repeat(9);
        let quoted = fits.replace('a', "=61");
        let encoded = STANDARD.encode(&fits);
        let raws = [(Encoding::Plain, &fits), (Encoding::Quoted, &quoted), (Encoding::Base64, &encoded)];
        for (encoding, raw) in raws {
            let mut left = 9;
            assert!(text(&part(encoding, None, raw.as_bytes()), &mut left).is_some(), "{encoding:?}");
            assert_eq!(left, 0, "{encoding:?}");
            assert!(text(&part(encoding, None, raw.as_bytes()), &mut 8).is_none(), "{encoding:?}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_harm(octets in prop::collection::vec(any::<u8>(), 0..200),
            charset in prop::sample::select(vec!["utf-8", "utf-16", "utf-7", "latin1", "koi8-r", "x"])) {
            for encoding in [Encoding::Plain, Encoding::Quoted, Encoding::Base64] {
                prop_assert!(read(encoding, charset, &octets).is_some());
            }
        }

        #[test]
        fn base64_of_anything_comes_back(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(base64(STANDARD.encode(&octets).as_bytes(), 200), Some(octets));
        }
    }
}
