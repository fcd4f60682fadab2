//! The content of DATA: every chunking agrees, the two modes see the end in the same place, and what comes out is clean.
#![no_main]

use bytes::BytesMut;
use consentry::smtp::wire::dots::stuff;
use consentry::smtp::wire::{Decoder, Defect, LineEnds};
use libfuzzer_sys::fuzz_target;

type Verdict = (Vec<u8>, Option<Defect>, Option<Vec<u8>>);

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    let pieces = usize::from(step % 64).max(1);
    let strict = verdict(LineEnds::Strict, octets.chunks(octets.len().max(1)));
    let mended = verdict(LineEnds::Normalize, octets.chunks(octets.len().max(1)));
    assert_eq!(verdict(LineEnds::Strict, octets.chunks(pieces)), strict, "the chunking makes a difference");
    assert_eq!(verdict(LineEnds::Normalize, octets.chunks(pieces)), mended, "the chunking makes a difference");
    assert_eq!(strict.2, mended.2, "the end is in two places");
    assert_eq!(by_the_book(octets).as_deref(), strict.2.as_deref(), "the end is not where the book has it");
    for (content, defect, rest) in [&strict, &mended] {
        assert!(is_clean(content), "something bare is let through");
        if defect.is_none() && rest.is_some() {
            let mut sent = Vec::new();
            stuff(content, &mut sent);
            let again = verdict(LineEnds::Strict, [sent.as_slice()].into_iter());
            assert_eq!((&again.0, again.1, again.2), (content, None, Some(Vec::new())), "it is relayed as another");
        }
    }
    if strict.1.is_none() && strict.2.is_some() {
        assert_eq!(strict.0, mended.0, "clean content is changed");
    }
});

/// Content, defect, and what was left behind the end (none: not ended).
fn verdict<'a>(line_ends: LineEnds, chunks: impl Iterator<Item = &'a [u8]>) -> Verdict {
    let (mut decoder, mut content, mut input) = (Decoder::new(line_ends), Vec::new(), BytesMut::new());
    let mut rest: Option<Vec<u8>> = None;
    for chunk in chunks {
        if let Some(rest) = &mut rest {
            rest.extend_from_slice(chunk);
            continue;
        }
        input.extend_from_slice(chunk);
        let piece = decoder.decode(&mut input);
        content.extend_from_slice(&piece.content);
        if piece.ended {
            rest = Some(input.to_vec());
        } else {
            assert!(input.is_empty(), "the decoder holds octets back");
        }
    }
    if decoder.defect().is_some() {
        content.clear();
    }
    (content, decoder.defect(), rest)
}

/// What follows the first CRLF.CRLF; the CRLF of the DATA command counts as its first half.
fn by_the_book(octets: &[u8]) -> Option<Vec<u8>> {
    let whole = [b"\r\n", octets].concat();
    let at = whole.windows(5).position(|window| window == b"\r\n.\r\n")?;
    Some(whole[at + 5..].to_vec())
}

/// An unfinished line end is all that may be missing.
fn is_clean(content: &[u8]) -> bool {
    let mut before = 0;
    for (at, &octet) in content.iter().enumerate() {
        let fits = match octet {
            b'\n' => before == b'\r',
            b'\r' => content.get(at + 1).is_none_or(|next| *next == b'\n'),
            0 => false,
            _ => true,
        };
        if !fits {
            return false;
        }
        before = octet;
    }
    true
}
