//! The smuggling matrix, the round trip, the limits.

use proptest::prelude::*;

use super::*;

/// The verdict on `octets`, given in `chunks`: content, defect, and what was left behind the end (none: not ended).
fn verdict<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Defect>, Option<Vec<u8>>) {
    let (mut dots, mut content, mut input) = (Dots::new(), Vec::new(), BytesMut::new());
    let mut rest: Option<Vec<u8>> = None;
    for chunk in chunks {
        if let Some(rest) = &mut rest {
            rest.extend_from_slice(chunk);
            continue;
        }
        input.extend_from_slice(chunk);
        let piece = dots.decode(&mut input);
        content.extend_from_slice(&piece.content);
        if piece.ended {
            rest = Some(input.to_vec());
        } else {
            assert!(input.is_empty(), "the decoder held octets back");
        }
    }
    if dots.defect().is_some() {
        content.clear();
    }
    (content, dots.defect(), rest)
}

const LEFT: [&[u8]; 8] = [b"", b"\r\n", b"\n", b"\r", b"\0\r\n", b"\r\r\n", b"\r\0\n", b"\n\r"];
const RIGHT: [&[u8]; 7] = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0\r\n", b"\r\0\n", b"\n\r"];
pub(crate) const SMUGGLED: &[u8] =
    b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<v@b.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nB\r\n.\r\n";

/// Every vector with whether it holds the genuine end in its first line or two.
pub(crate) fn matrix() -> Vec<(Vec<u8>, bool)> {
    let mut vectors = Vec::new();
    for left in LEFT {
        for right in RIGHT {
            let octets = [b"Subject: s\r\n\r\nA".as_slice(), left, b".", right, SMUGGLED].concat();
            vectors.push((octets, left.ends_with(b"\r\n") && right == b"\r\n"));
        }
    }
    for right in [b"\r\n".as_slice(), b"\n", b"\r", b"\r\r\n"] {
        vectors.push(([b".".as_slice(), right, SMUGGLED].concat(), right == b"\r\n"));
    }
    vectors
}

#[test]
fn only_four_of_the_sixty_vectors_hold_the_end_and_the_rest_smuggle_nothing() {
    let vectors = matrix();
    assert_eq!(vectors.len(), 60);
    assert_eq!(vectors.iter().filter(|(_, ends)| *ends).count(), 4);
    for (octets, ends_early) in &vectors {
        let shown = octets.escape_ascii();
        let (_, defect, rest) = verdict([octets.as_slice()]);
        let expected: &[u8] = if *ends_early { SMUGGLED } else { b"" };
        assert_eq!(rest.as_deref(), Some(expected), "{shown}");
        // `A.` within a line and a genuine end are the only vectors without a defect.
        let clean = *octets == [b"Subject: s\r\n\r\nA.\r\n", SMUGGLED].concat()
            || *octets == [b"Subject: s\r\n\r\nA\r\n.\r\n", SMUGGLED].concat()
            || *octets == [b".\r\n", SMUGGLED].concat();
        assert_eq!(defect.is_none(), clean, "{shown}");
    }
}

#[test]
fn every_split_of_every_vector_gives_the_same_verdict() {
    for (octets, _) in matrix() {
        let whole = verdict([octets.as_slice()]);
        for at in 1..octets.len() {
            let (left, right) = octets.split_at(at);
            assert_eq!(verdict([left, right]), whole, "{} split at {at}", octets.escape_ascii());
        }
        assert_eq!(verdict(octets.chunks(1)), whole, "{} octet by octet", octets.escape_ascii());
    }
}

#[test]
fn each_defect_has_its_name() {
    for (octets, expected) in [
        (b"a\rb\r\n.\r\n".as_slice(), Defect::BareCr),
        (b"a\nb\r\n.\r\n", Defect::BareLf),
        (b"a\0b\r\n.\r\n", Defect::Nul),
        (b"a\r\n.\r\r\n.\r\n", Defect::BareCr),
        (b"a\r\n.\nb\r\n.\r\n", Defect::BareLf),
    ] {
        let (content, defect, rest) = verdict([octets]);
        assert_eq!((defect, rest), (Some(expected), Some(Vec::new())), "{}", octets.escape_ascii());
        assert!(content.is_empty());
    }
}

#[test]
fn leading_dots_are_taken_off_once_and_an_empty_message_ends_at_once() {
    let (content, defect, rest) = verdict([b"..a\r\n.b\r\n...\r\n. \r\n.\r\nQUIT\r\n".as_slice()]);
    assert_eq!(content.escape_ascii().to_string(), ".a\\r\\nb\\r\\n..\\r\\n \\r\\n");
    assert_eq!((defect, rest), (None, Some(b"QUIT\r\n".to_vec())));
    assert_eq!(verdict([b".\r\n".as_slice()]), (Vec::new(), None, Some(Vec::new())));
}

#[test]
fn lines_are_measured_without_the_stuffed_dot_at_the_limit_and_past_it() {
    let fits = "x".repeat(TEXT_LINE_MAX);
    let dotted = format!(".{}", "x".repeat(TEXT_LINE_MAX - 1));
    for (line, expected) in [
        (fits.clone(), None),
        (format!(".{dotted}"), None),
        (format!("{fits}x"), Some(Defect::LongLine)),
        (format!(".{dotted}x"), Some(Defect::LongLine)),
    ] {
        let octets = format!("{line}\r\n.\r\n").into_bytes();
        assert_eq!(verdict([octets.as_slice()]).1, expected, "{}", line.len());
        assert_eq!(verdict(octets.chunks(7)).1, expected, "{}", line.len());
    }
    let (_, defect, rest) = verdict([format!("{fits}x").as_bytes()]);
    assert_eq!((defect, rest), (Some(Defect::LongLine), None), "a line without end is noticed before its end");
}

#[test]
fn content_without_stuffed_dots_is_not_copied() {
    let mut input = BytesMut::from(b"one\r\ntwo\r\n.\r\nQUIT\r\n".as_slice());
    let before = input.as_ptr();
    let piece = Dots::new().decode(&mut input);
    assert_eq!(piece, Piece { content: Bytes::from_static(b"one\r\ntwo\r\n"), ended: true });
    assert_eq!(piece.content.as_ptr(), before);
    assert_eq!(input, b"QUIT\r\n".as_slice());
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::collection::vec(prop_oneof![3 => Just(b'.'), 5 => 1u8..=9, 5 => 14u8..=255], 0..40);
    prop::collection::vec(line, 0..20)
        .prop_map(|lines| lines.into_iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect::<Vec<u8>>())
}

proptest! {
    #[test]
    fn what_is_stuffed_decodes_to_itself_in_any_chunking(content in lines(), step in 1usize..60, behind in "[a-z\r\n.]{0,9}") {
        let mut wire = Vec::new();
        stuff(&content, &mut wire);
        wire.extend_from_slice(behind.as_bytes());
        prop_assert_eq!(verdict(wire.chunks(step)), (content, None, Some(behind.into_bytes())));
    }

    #[test]
    fn no_octets_panic_and_every_chunking_agrees(octets in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(0u8), Just(b'a')], 0..60), step in 1usize..9) {
        prop_assert_eq!(verdict([octets.as_slice()]), verdict(octets.chunks(step)));
    }
}
