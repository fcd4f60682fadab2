//! A copy for several domains on a route to the domains themselves: one domain in each attempt.
//!
//! The intake makes a copy for each domain when a stream goes directly. A copy for several is left over from before
//! the stream's route was changed.

use super::{Leased, RecipientIndex};
use crate::mail::{Domain, Recipient};

/// Domains in the order of their first recipients, each once.
fn domains(pending: &[(RecipientIndex, Recipient)]) -> Vec<&Domain> {
    let mut found: Vec<&Domain> = Vec::new();
    for (_, recipient) in pending {
        let domain = recipient.mailbox.domain();
        if found.last() != Some(&domain) && !found.contains(&domain) {
            found.push(domain);
        }
    }
    found
}

/// Whose turn it is. They take turns from attempt to attempt.
pub(super) fn domain_of(lease: &impl Leased) -> Option<Domain> {
    let domains = domains(lease.pending());
    let turn = usize::try_from(lease.entry().attempts).unwrap_or(0).checked_rem(domains.len())?;
    domains.get(turn).map(|domain| Domain::clone(domain))
}

/// Whether every domain has had its turn with this attempt: until then the next one follows at once.
pub(super) fn was_last(lease: &impl Leased) -> bool {
    let attempts = usize::try_from(lease.entry().attempts).unwrap_or(usize::MAX);
    attempts.saturating_add(1) >= domains(lease.pending()).len()
}
