//! One line of the trail.

/// Puts `seq` in front of the fields of `note` and appends the line to `out`. A note that is not a plain JSON object on
/// one line is kept as text: nothing that was decided is left out because of its form.
pub(super) fn put(out: &mut Vec<u8>, seq: u64, note: &[u8]) {
    out.extend_from_slice(b"{\"seq\":");
    out.extend_from_slice(seq.to_string().as_bytes());
    let fields = note.strip_prefix(b"{").filter(|rest| rest.ends_with(b"}") && !rest.iter().any(u8::is_ascii_control));
    match fields {
        Some(b"}") => out.push(b'}'),
        Some(fields) => {
            out.push(b',');
            out.extend_from_slice(fields);
        }
        None => {
            out.extend_from_slice(b",\"text\":");
            out.extend_from_slice(serde_json::Value::from(String::from_utf8_lossy(note)).to_string().as_bytes());
            out.push(b'}');
        }
    }
    out.push(b'\n');
}

/// The sequence number of a whole line, without its line end.
pub(super) fn seq(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":").filter(|rest| rest.ends_with(b"}"))?;
    let end = rest.iter().position(|octet| !octet.is_ascii_digit())?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(note: &[u8]) -> String {
        let mut out = Vec::new();
        put(&mut out, 7, note);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_number_comes_first_whatever_the_note() {
        assert_eq!(line(b"{\"a\":1}"), "{\"seq\":7,\"a\":1}\n");
        assert_eq!(line(b"{}"), "{\"seq\":7}\n");
        assert_eq!(line(b"plain"), "{\"seq\":7,\"text\":\"plain\"}\n");
        assert_eq!(line(b""), "{\"seq\":7,\"text\":\"\"}\n");
        assert_eq!(line(b"{\"a\":1\n}"), "{\"seq\":7,\"text\":\"{\\\"a\\\":1\\n}\"}\n");
        for note in [&b"{\"a\":1}"[..], b"{}", b"x\ny", b"\xff{\0", b"{\"b\":\"}\"}"] {
            let text = line(note);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["seq"], 7);
            assert_eq!(seq(text.trim_end().as_bytes()), Some(7));
        }
    }

    #[test]
    fn a_part_of_a_line_has_no_number() {
        let whole = line(b"{\"a\":1}");
        let whole = whole.trim_end().as_bytes();
        for cut in 0..whole.len() {
            assert_eq!(seq(&whole[..cut]), None, "cut {cut}");
        }
        assert_eq!(seq(b"\0\0\0\0"), None);
        assert_eq!(seq(b"{\"seq\":99999999999999999999,\"a\":1}"), None);
    }
}
