//! Octets as hexadecimal digits, for keys, hashes and their files.
//!
//! **Promise:** [`decode`] reads what [`encode`] wrote, in either case, and nothing else.
//!
//! **Never knows:** anything else of the house.

/// Lower-case digits, two for each octet.
pub fn encode(octets: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

/// Exactly `N` octets; `None` for anything but `2 * N` digits.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut octets = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *octet = value(high)? << 4 | value(low)?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        assert_eq!(encode(&[0, 15, 255]), "000fff");
        assert_eq!(decode::<3>("000FfF"), Some([0, 15, 255]));
        for bad in ["", "000ff", "000fff0", "00 fff", "+00fff", "é0fff"] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }
}
