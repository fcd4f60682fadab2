//! SMTP smuggling through the whole house: what a client sends as one message reaches the smarthost as one or not at all.

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const LEFT: [&[u8]; 8] = [b"", b"\r\n", b"\n", b"\r", b"\0\r\n", b"\r\r\n", b"\r\0\n", b"\n\r"];
const RIGHT: [&[u8]; 7] = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0\r\n", b"\r\0\n", b"\n\r"];
const SMUGGLED: &[u8] =
    b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<v@b.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nB\r\n.\r\n";

/// Every vector: 56 with a header section, and four that are nothing but a dot.
fn vectors() -> Vec<Vec<u8>> {
    let start = b"From: a@acme.example\r\nSubject: s\r\n\r\nA";
    let pairs = LEFT.iter().flat_map(|left| RIGHT.iter().map(move |right| (left, right)));
    let mut vectors: Vec<_> =
        pairs.map(|(left, right)| [start.as_slice(), left, b".", right, SMUGGLED].concat()).collect();
    for right in [b"\r\n".as_slice(), b"\n", b"\r", b"\r\r\n"] {
        vectors.push([b".", right, SMUGGLED].concat());
    }
    vectors
}

/// Sends every vector in a session of its own, cut at a place that differs from vector to vector; counts the 250s.
fn send_all(gateway: &Gateway) -> usize {
    let mut taken = 0;
    for (number, octets) in vectors().iter().enumerate() {
        let mut client = Client::connect(gateway.smtp);
        assert!(client.say("MAIL FROM:<a@acme.example>").starts_with("250"));
        assert!(client.say("RCPT TO:<b@customer.example>").starts_with("250"));
        assert!(client.say("DATA").starts_with("354"));
        let (left, right) = octets.split_at(number * 7 % octets.len());
        let _sent = client.send(left).and_then(|()| client.send(right));
        let reply = client.reply();
        assert!(reply.starts_with("250 2.0.0") || reply.starts_with("550 5.6.0"), "{reply}: {}", octets.escape_ascii());
        taken += usize::from(reply.starts_with("250"));
    }
    taken
}

#[test]
fn sm_01_to_64_the_smarthost_sees_what_was_taken_and_nothing_else() {
    // `A.` is text and CRLF, dot, CRLF is the end: the two that are no attack.
    for (mode, expected) in [("strict", 2), ("normalize", 56)] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let mut spec = Spec::new(upstream.address);
        spec.smtp = format!("line_ends = \"{mode}\"");
        let gateway = Gateway::start(folder.path(), &spec);
        let taken = send_all(&gateway);
        assert_eq!(taken, expected, "{mode}");
        eventually("delivery", || (gateway.events("Delivery").len() == taken).then_some(()));
        let received = upstream.received().clone();
        assert_eq!(received.len(), taken, "{mode}");
        for message in received {
            // The upstream itself refuses to read a bare CR, LF or NUL.
            assert_eq!(
                (message.from.as_str(), message.to.join(",").as_str()),
                ("a@acme.example", "b@customer.example")
            );
            assert_eq!(message.fields("Subject"), ["s"], "{mode}");
        }
    }
}
