//! Relaxed header canonicalisation (RFC 6376 section 3.4.2).

/// Appends the canonical form of one field: name in lower case, value on one line, each run of white space one
/// blank, none at either end. The CRLF is left to the caller, since the signature field itself is hashed without.
pub(super) fn header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
    out.push(b':');
    let words = value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(name: &str, value: &str) -> String {
        let mut out = Vec::new();
        header(name, value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 6376 section 3.4.5, example 1.
    #[test]
    fn the_published_example() {
        assert_eq!(canonical("A", " X"), "a:X");
        assert_eq!(canonical("B", " Y\t\r\n\tZ  "), "b:Y Z");
    }

    #[test]
    fn blanks_collapse_and_nothing_else_changes() {
        assert_eq!(canonical("SuBJect", "  a \t b\r\n  c"), "subject:a b c");
        assert_eq!(canonical("X", ""), "x:");
        assert_eq!(canonical("X", " \r\n "), "x:");
        assert_eq!(canonical("X", "\u{a0}é\u{b}x"), "x:\u{a0}é\u{b}x");
    }
}
