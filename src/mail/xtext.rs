//! xtext: RFC 3461 section 4, widened by RFC 6533 section 3 to characters beyond ASCII.

use std::fmt::Write as _;

/// What `text` stands for: `+` and two upper-case hexadecimal digits for any octet, everything else for itself. `None`
/// when a blank, a control character, `=` or a broken `+` is in it. The octets may be anything: look before use.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => out.push(digit(octets.next()?)? * 16 + digit(octets.next()?)?),
            b'=' => return None,
            other if other.is_ascii_graphic() || !other.is_ascii() => out.push(other),
            _ => return None,
        }
    }
    Some(out)
}

/// Writes `text` so that [`decode`] gives it back and nothing in it can end a parameter or a line.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_graphic() && !matches!(octet, b'+' | b'=') {
            out.push(char::from(octet));
        } else {
            // Writing into memory cannot fail.
            let _written = write!(out, "+{octet:02X}");
        }
    }
    out
}

fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_xtext_is_refused() {
        for bad in ["+", "+4", "+4g", "+2b", "a=b", "a b", "a\r\n", "a\u{7f}"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode("a+0D+0A+FF"), Some(b"a\r\n\xff".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself_and_is_one_word(text in "\\PC{0,40}|[\r\n\0 +=a]{0,9}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && b != b'='));
            prop_assert_eq!(decode(&encoded), Some(text.into_bytes()));
        }
    }
}
