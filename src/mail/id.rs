//! Identifiers: short, ordered by time, printable, unique on one gateway.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Timestamp;

/// Bits of an identifier that count within one millisecond; the rest is the time.
const COUNTER_BITS: u32 = 20;
/// Crockford's base 32, without the letters that people misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 64 bits in base 32.
const TEXT_LEN: usize = 13;

fn encode(value: u64) -> String {
    (0..TEXT_LEN)
        .rev()
        .map(|place| {
            let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or(0);
            char::from(ALPHABET.get(digit).copied().unwrap_or(b'0'))
        })
        .collect()
}

fn decode(text: &str) -> Option<u64> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut value: u64 = 0;
    for (index, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|c| *c == byte.to_ascii_uppercase())?;
        if index == 0 && digit > 15 {
            return None;
        }
        value = (value << 5) | u64::try_from(digit).ok()?;
    }
    Some(value)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The identifier with this number, as it was stored.
            pub const fn from_u64(value: u64) -> Self {
                Self(value)
            }

            /// The number behind the text.
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// Reads the 13 characters that `Display` writes, in either case.
            pub fn parse(text: &str) -> Option<Self> {
                decode(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(self.0))
            }
        }
    )*};
}

ids! {
    /// Names one queued copy of a message: the `id` of log records and of the 250 reply.
    QueueId;
    /// Names one decision: the `ref=` of a refusal, and the record to look up in the audit trail.
    DecisionRef;
}

/// Hands out identifiers that never repeat, also when the clock steps back while the process runs.
#[derive(Debug, Default)]
pub struct IdSource(AtomicU64);

impl IdSource {
    /// A source whose first identifier is above `last`, the highest one known from an earlier run.
    pub const fn after(last: u64) -> Self {
        Self(AtomicU64::new(last))
    }

    fn next(&self, now: Timestamp) -> u64 {
        let floor = u64::try_from(now.as_millis()).unwrap_or(0) << COUNTER_BITS;
        let step = |last: u64| Some(floor.max(last.saturating_add(1)));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(last) | Err(last) => floor.max(last.saturating_add(1)),
        }
    }

    /// The next queue identifier.
    pub fn queue_id(&self, now: Timestamp) -> QueueId {
        QueueId(self.next(now))
    }

    /// The next decision reference.
    pub fn decision_ref(&self, now: Timestamp) -> DecisionRef {
        DecisionRef(self.next(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_in_either_case() {
        for value in [0, 1, 31, 32, u64::MAX, 0x0123_4567_89AB_CDEF] {
            let id = QueueId::from_u64(value);
            assert_eq!(QueueId::parse(&id.to_string()), Some(id));
            assert_eq!(QueueId::parse(&id.to_string().to_lowercase()), Some(id));
        }
        assert_eq!(QueueId::parse("ZZZZZZZZZZZZZ"), None);
        assert_eq!(QueueId::parse("0"), None);
    }

    #[test]
    fn identifiers_only_grow_even_when_the_clock_steps_back() {
        let source = IdSource::default();
        let first = source.queue_id(Timestamp::from_secs(2000));
        let second = source.queue_id(Timestamp::from_secs(1000));
        let third = source.queue_id(Timestamp::from_secs(2000));
        assert!(first < second && second < third);
        assert!(IdSource::after(third.as_u64()).queue_id(Timestamp::from_secs(0)) > third);
    }
}
