//! SMTP smuggling (CVE-2023-51764 and its relatives): the whole matrix over whole sessions, at every split.

use std::sync::Arc;

use super::{Client, Next, Played, play, replies};
use crate::smtp::server::Settings;
use crate::smtp::wire::LineEnds;
use crate::smtp::wire::dots::tests::{SMUGGLED, matrix};

pub(super) const ENVELOPE: &[u8] = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";

/// Waits for the greeting and for the 354, then sends the content in pieces and leaves.
struct Sender<'a> {
    pieces: Vec<&'a [u8]>,
    step: usize,
}

impl Client for Sender<'_> {
    fn next(&mut self, said: &str) -> Next {
        if said.is_empty() {
            return Next::Listen;
        }
        // A session answers before it reads on, so each step meets the replies to the one before.
        self.step += 1;
        match self.step {
            1 => Next::Say(b"HELO tool.example\r\n".to_vec()),
            2 => Next::Say(ENVELOPE.to_vec()),
            step => self.pieces.get(step - 3).map_or(Next::Leave, |piece| Next::Say(piece.to_vec())),
        }
    }
}

pub(super) async fn send(settings: &Arc<Settings>, pieces: Vec<&[u8]>) -> Played {
    play(settings, Sender { pieces, step: 0 }).await
}

fn settings(line_ends: LineEnds) -> Arc<Settings> {
    let mut settings = Settings::new("gw.example").unwrap();
    settings.line_ends = line_ends;
    Arc::new(settings)
}

/// The codes after the 354.
fn verdict(played: &Played) -> Vec<&str> {
    let all = replies(&played.said);
    assert_eq!(all[..5].iter().map(|reply| &reply[..3]).collect::<Vec<_>>(), ["220", "250", "250", "250", "354"]);
    all[5..].iter().map(|reply| reply.trim_end()).collect()
}

/// Octets after which the smuggled commands are not content any more, but commands that came too soon: the content
/// behind the second DATA came before its 354.
const TOO_SOON: [&str; 3] = ["250 2.1.0 Ok", "250 2.1.5 Ok", "554 5.5.0 this is SMTP, and you do not seem to speak it"];

fn is_defective(octets: &[u8]) -> bool {
    let text = String::from_utf8(octets.to_vec()).unwrap().replace("\r\n", "");
    text.contains(['\r', '\n', '\0'])
}

#[tokio::test]
async fn sm_01_to_60_no_vector_smuggles_a_message_past_a_strict_listener() {
    let settings = settings(LineEnds::Strict);
    for (octets, ends) in matrix() {
        let played = send(&settings, vec![&octets]).await;
        let shown = octets.escape_ascii();
        let own = &octets[..octets.len() - SMUGGLED.len()];
        let verdict = verdict(&played);
        match (ends, is_defective(own)) {
            (true, false) => {
                assert_eq!((verdict[0], &verdict[1..]), ("250 2.0.0 Ok: taken", TOO_SOON.as_slice()), "{shown}");
                assert_eq!(played.taken.len(), 1, "{shown}");
            }
            // The line goes on: all of it is one message, and it is clean.
            (false, false) => {
                assert_eq!(verdict, ["250 2.0.0 Ok: taken"], "{shown}");
                assert_eq!(played.taken.len(), 1, "{shown}");
            }
            (_, true) => {
                assert!(verdict.len() == 1 && verdict[0].starts_with("550 5.6.0 "), "{shown}: {verdict:?}");
                assert_eq!(played.taken, [], "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn sm_01_to_60_a_normalizing_listener_takes_one_clean_message_and_no_second() {
    let settings = settings(LineEnds::Normalize);
    for (octets, ends) in matrix() {
        let played = send(&settings, vec![&octets]).await;
        let shown = octets.escape_ascii();
        let verdict = verdict(&played);
        let behind: &[&str] = if ends { &TOO_SOON } else { &[] };
        assert_eq!((verdict[0], &verdict[1..]), ("250 2.0.0 Ok: taken", behind), "{shown}");
        assert_eq!(played.taken.len(), 1, "{shown}");
        assert!(!is_defective(&played.taken[0].content), "{shown}");
    }
}

#[tokio::test]
async fn sm_62_a_defect_outweighs_the_size_however_the_octets_come() {
    let mut settings = Settings::new("gw.example").unwrap();
    settings.max_message_octets = 100;
    let settings = Arc::new(settings);
    let long = [b"x".repeat(200).as_slice(), b"\r\n"].concat();
    for behind in [b"a\nb\r\n.\r\n".as_slice(), b".\nNOOP\r\n.\r\n"] {
        for pieces in [vec![long.as_slice(), behind], vec![&[long.as_slice(), behind].concat()]] {
            let played = send(&settings, pieces).await;
            assert_eq!(verdict(&played), ["550 5.6.0 bare LF in message content"]);
            assert_eq!(played.taken, []);
        }
    }
}

#[tokio::test]
async fn sm_61_every_split_of_every_vector_gives_the_same_verdict() {
    for line_ends in [LineEnds::Strict, LineEnds::Normalize] {
        let settings = settings(line_ends);
        for (octets, ends) in matrix() {
            let whole = send(&settings, vec![&octets]).await;
            for at in 1..octets.len() {
                let (left, right) = octets.split_at(at);
                let split = send(&settings, vec![left, right]).await;
                assert_same(&split, &whole, ends, &format!("{} split at {at}", octets.escape_ascii()));
            }
            let single = send(&settings, octets.chunks(1).collect()).await;
            assert_same(&single, &whole, ends, &format!("{} octet by octet", octets.escape_ascii()));
        }
    }
}

/// Behind a genuine end what follows are commands, and whether they wait for their replies depends on the split.
pub(super) fn assert_same(split: &Played, whole: &Played, ends: bool, shown: &str) {
    if ends {
        assert_eq!((verdict(split)[0], split.taken.first()), (verdict(whole)[0], whole.taken.first()), "{shown}");
    } else {
        assert_eq!(split, whole, "{shown}");
    }
}
