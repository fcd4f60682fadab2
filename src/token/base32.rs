//! RFC 4648 section 6 in lower case, without padding: survives systems that change case, and has nothing to escape in
//! a URL or a local part.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(super) fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(digit(bits >> held));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(digit(bits << (5 - held)));
    }
    text
}

fn digit(value: u32) -> char {
    let index = usize::try_from(value & 31).unwrap_or(0);
    char::from(ALPHABET.get(index).copied().unwrap_or(b'a'))
}

/// `None` for anything that [`encode`] would not write, except for upper case.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'a'..=b'z' => byte - b'a',
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            octets.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // A whole digit too many, or bits that say nothing: another spelling of the same octets.
    if held >= 5 || bits != 0 { None } else { Some(octets) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn the_published_examples() {
        for (plain, text) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(&text.to_uppercase()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for bad in ["mz", "m", "mzx", "mzxw6ytbo", "my======", "m1", "m0", "m8", "m-", "é", "my "] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip_and_one_spelling(octets in prop::collection::vec(any::<u8>(), 0..60), text in "[a-z2-7]{0,40}") {
            prop_assert_eq!(decode(&encode(&octets)), Some(octets));
            if let Some(octets) = decode(&text) {
                prop_assert_eq!(encode(&octets), text);
            }
        }
    }
}
