//! Replies of an upstream: every chunking gives the same ones, and none of them holds more than a line.
#![no_main]

use consentry::mail::Reply;
use consentry::smtp::wire::reply::{Capabilities, ReplyError, ReplyReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    let whole = replies(octets.chunks(octets.len().max(1)));
    let in_pieces = replies(octets.chunks(usize::from(step % 32).max(1)));
    assert_eq!(whole.0, in_pieces.0, "the chunking makes a difference");
    assert_eq!(whole.1.is_some(), in_pieces.1.is_some(), "the chunking makes an error or unmakes it");
    for (reply, _) in &whole.0 {
        assert!((200..600).contains(&reply.code().as_u16()));
        assert!(!reply.to_string().chars().any(char::is_control), "a control character in a reply");
    }
});

type Read = (Vec<(Reply, Capabilities)>, Option<ReplyError>);

fn replies<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut reader, mut found) = (ReplyReader::new(), Vec::new());
    for chunk in chunks {
        reader.space().extend_from_slice(chunk);
        loop {
            match reader.next_reply() {
                Ok(Some(received)) => found.push((received.reply(), Capabilities::parse(&received))),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}
