//! Which recipients are ours: the unsubscribe mailbox, alone or with a token behind a `+`.

use crate::mail::Mailbox;

/// What separates the mailbox from what is added to it (RFC 5233 calls it subaddressing).
const SEPARATOR: char = '+';

/// Whether `to` is one of our mailboxes, with or without something added. They are compared without case, for some mail
/// systems change it.
pub fn is_ours(own: &[Mailbox], to: &Mailbox) -> bool {
    own.iter().filter_map(|own| rest(own, to)).any(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
}

/// What is added to the mailbox in `to`.
pub(super) fn tag(own: &[Mailbox], to: &Mailbox) -> Option<String> {
    own.iter().filter_map(|own| rest(own, to)).find_map(|rest| rest.strip_prefix(SEPARATOR).map(str::to_owned))
}

fn rest(mailbox: &Mailbox, to: &Mailbox) -> Option<String> {
    if mailbox.domain() != to.domain() {
        return None;
    }
    let (own, local) = (mailbox.local_part(), to.unquoted_local_part());
    let (start, rest) = local.split_at_checked(own.len())?;
    start.eq_ignore_ascii_case(own).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    #[test]
    fn the_mailbox_is_ours_in_every_spelling_and_no_other_is() {
        let own = [mailbox("unsub@u.example"), mailbox("old@u.example")];
        for ours in [
            "unsub@u.example",
            "UNSUB@U.example",
            "\"unsub\"@u.example",
            "old+x@u.example",
            "unsub+abc@u.example",
            "Unsub+@u.example",
        ] {
            assert!(is_ours(&own, &mailbox(ours)), "{ours}");
        }
        for other in [
            "unsu@u.example",
            "unsubs@u.example",
            "unsub-abc@u.example",
            "x.unsub@u.example",
            "unsub@example",
            "unsub@x.u.example",
            "postmaster@u.example",
            "ünsub@u.example",
        ] {
            assert!(!is_ours(&own, &mailbox(other)), "{other}");
        }
        assert_eq!(tag(&own, &mailbox("unsub+AbC@u.example")).as_deref(), Some("AbC"));
        assert_eq!(tag(&own, &own[0]), None);
    }
}
