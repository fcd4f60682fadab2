//! What the generator sends: one campaign issue, addressed to one person at a time.

use std::io::Write;

/// Author domain of every message; the gateway signs for it.
pub(crate) const AUTHOR_DOMAIN: &str = "campaign.example";
/// How many suppressed addresses the store is given; refused messages take turns among them.
pub(crate) const SUPPRESSED: u32 = 1000;
/// What stands before the number of a message in its header section. It is how the sink knows the message again.
pub(crate) const ID_PREFIX: &[u8] = b"\nMessage-ID: <";
/// A body line with its line end: 76 octets of text, as mail programs fold them, and never a leading dot.
const LINE: &[u8] = b"All work and no play makes a dull message, said the tool, and sent it again.\r\n";

/// One message out of one run. Every line of a round and its warm-up is a run of its own, so that a straggler of an
/// earlier run is never counted for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Which run.
    pub(crate) run: u32,
    /// Which message of it, from 0.
    pub(crate) at: u32,
}

impl Number {
    /// Reads the number back from the octets after [`ID_PREFIX`].
    pub(crate) fn parse(after_prefix: &[u8]) -> Option<Self> {
        let mut parts = after_prefix.splitn(2, |octet| *octet == b'.');
        let run = decimal(parts.next()?)?;
        let rest = parts.next()?;
        let end = rest.iter().position(|octet| *octet == b'@')?;
        Some(Self { run, at: decimal(rest.get(..end)?)? })
    }
}

/// At most ten digits are looked at, so a foreign Message-ID costs nothing.
fn decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok().filter(|text| text.len() <= 10)?.parse().ok()
}

/// Where a message goes, and whether the gateway has to refuse it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipients {
    /// How many of a hundred messages go to a suppressed address.
    pub(crate) suppressed_percent: u32,
}

impl Recipients {
    /// Whether message `at` goes to a suppressed address. They are spread evenly, without randomness, so that two runs
    /// ask the same of the store.
    pub(crate) fn is_suppressed(self, at: u32) -> bool {
        (at % 100 * self.suppressed_percent) % 100 < self.suppressed_percent
    }

    /// The address of message `at`. Everybody else has an address of their own: no cache may help.
    pub(crate) fn address(self, at: u32) -> String {
        if self.is_suppressed(at) { suppressed_address(at % SUPPRESSED) } else { format!("r{at}@customer.example") }
    }
}

/// The `index`-th address that must not be written to.
pub(crate) fn suppressed_address(index: u32) -> String {
    format!("no{index}@customer.example")
}

/// A body of `octets` octets, rounded up to whole lines.
pub(crate) fn body(octets: usize) -> Vec<u8> {
    LINE.iter().copied().cycle().take(octets.div_ceil(LINE.len()) * LINE.len()).collect()
}

/// Writes the content of one message, with the dot that ends it, into `into`.
///
/// # Errors
/// None in practice: memory takes everything.
pub(crate) fn compose(into: &mut Vec<u8>, number: Number, to: &str, body: &[u8]) -> std::io::Result<()> {
    into.clear();
    let Number { run, at } = number;
    write!(
        into,
        "From: Campaign <news@{AUTHOR_DOMAIN}>\r\nTo: <{to}>\r\nSubject: Issue {at}\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\
         Message-ID: <{run}.{at}@bench.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )?;
    into.extend_from_slice(body);
    into.extend_from_slice(b".\r\n");
    Ok(())
}
