//! A copy for several destinations: one of them in each attempt.
//!
//! The intake makes a copy for each domain when a stream goes directly. A copy for several is left over from before
//! the stream's route was changed, or goes to a smarthost whose mail is told apart by destination, or has more
//! recipients than a transaction there may have.

use super::gate::{Gates, Who};
use super::{Leased, RecipientIndex, Route, Way};
use crate::mail::{Domain, Recipient};
use crate::time::Timestamp;

/// How recipients are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// They go together, whoever they are.
    Any,
    Domain(Domain),
    Group(Who),
}

/// The recipients whose turn it is, and where they are.
pub(super) struct Part {
    pub(super) to: Vec<(RecipientIndex, Recipient)>,
    /// Those whose turn comes later.
    pub(super) others: Vec<RecipientIndex>,
    /// Whether everybody has had their turn with this attempt, as far as attempts tell.
    pub(super) is_last: bool,
}

fn key(route: &Route, gates: &Gates, domain: &Domain) -> Key {
    match &route.way {
        Way::Exchanges { .. } => Key::Domain(domain.clone()),
        Way::Smarthosts(_) if gates.shapes(&route.name) => Key::Group(gates.who(domain)),
        Way::Smarthosts(_) => Key::Any,
    }
}

/// Recipients that go together, in the order of the first of each; no more than a transaction there may have.
fn parts(lease: &impl Leased, route: &Route, gates: &Gates, now: Timestamp) -> Vec<Vec<(RecipientIndex, Recipient)>> {
    let mut found: Vec<(Key, Vec<(RecipientIndex, Recipient)>)> = Vec::new();
    for pending in lease.pending() {
        let key = key(route, gates, pending.1.mailbox.domain());
        match found.iter_mut().rev().find(|(known, _)| *known == key) {
            Some((_, part)) => part.push(pending.clone()),
            None => found.push((key, vec![pending.clone()])),
        }
    }
    let mut parts = Vec::with_capacity(found.len());
    for (key, part) in found {
        let most = match key {
            Key::Any => None,
            Key::Domain(domain) => gates.gate(&route.name, gates.who(&domain), now).limits.recipients,
            Key::Group(who) => gates.gate(&route.name, who, now).limits.recipients,
        };
        let most = most.and_then(|most| usize::try_from(most.get()).ok()).unwrap_or(usize::MAX);
        parts.extend(part.chunks(most).map(<[_]>::to_vec));
    }
    parts
}

/// Whose turn it is. They take turns from attempt to attempt.
pub(super) fn part(lease: &impl Leased, route: &Route, gates: &Gates, now: Timestamp) -> Part {
    if let [only] = lease.pending() {
        return Part { to: vec![only.clone()], others: Vec::new(), is_last: true };
    }
    let parts = parts(lease, route, gates, now);
    let attempts = usize::try_from(lease.entry().attempts).unwrap_or(usize::MAX);
    let turn = attempts.checked_rem(parts.len()).unwrap_or(0);
    let is_last = attempts.saturating_add(1) >= parts.len();
    let (mut to, mut others) = (Vec::new(), Vec::new());
    for (place, part) in parts.into_iter().enumerate() {
        if place == turn {
            to = part;
        } else {
            others.extend(part.into_iter().map(|(index, _)| index));
        }
    }
    Part { to, others, is_last }
}

/// The domain of those whose turn it is.
pub(super) fn domain_of(lease: &impl Leased, route: &Route, gates: &Gates, now: Timestamp) -> Option<Domain> {
    part(lease, route, gates, now).to.first().map(|(_, recipient)| recipient.mailbox.domain().clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::fake::{NOW, entry};
    use crate::delivery::routes::Routes;
    use crate::mail::{Mailbox, RouteName};
    use crate::shaping::with_operator;
    use crate::spool::{Entry, Settlements, SpoolError};

    struct Held(Entry, Vec<(RecipientIndex, Recipient)>);

    impl Leased for Held {
        fn entry(&self) -> &Entry {
            &self.0
        }
        fn pending(&self) -> &[(RecipientIndex, Recipient)] {
            &self.1
        }
        async fn settle(self, _: Settlements) -> Result<(), SpoolError> {
            Ok(())
        }
        fn put_back(self, _: Timestamp) {}
    }

    /// Whom each of the first attempts is for when nothing becomes of any, on a route to a smarthost with `limits`.
    fn turns(limits: &str, attempts: u32) -> Vec<(Vec<u16>, bool)> {
        let route = Route::smarthost(RouteName::new("up").unwrap(), "x".to_owned(), 25, "g".to_owned());
        let book = Arc::new(with_operator("own.toml", limits).unwrap());
        let gates = Gates::new(&Routes::new(route.clone()), &book, None);
        let to = ["a@orange.fr", "b@x.example", "c@wanadoo.fr", "d@orange.fr", "e@y.example"];
        let to = to.map(|text| Recipient::new(Mailbox::parse(text).unwrap()));
        let turn = |attempts| {
            let held = Held(Entry { attempts, ..entry(1, "") }, (0..).map(RecipientIndex).zip(to.clone()).collect());
            let part = part(&held, &route, &gates, NOW);
            assert_eq!(part.to.len() + part.others.len(), to.len(), "nobody is forgotten");
            (part.to.iter().map(|(index, _)| index.0).collect(), part.is_last)
        };
        (0..attempts).map(turn).collect()
    }

    #[test]
    fn groups_take_turns_from_attempt_to_attempt_and_a_transaction_has_no_more_than_it_may() {
        assert_eq!(turns("", 2), [(vec![0, 1, 2, 3, 4], true), (vec![0, 1, 2, 3, 4], true)], "no limit: all together");
        let limits = "[[limit]]\nroute = \"up\"\ngroup = \"orange\"\nrecipients = 2\n";
        let expected = [(vec![0, 2], false), (vec![3], false), (vec![1], false), (vec![4], true), (vec![0, 2], true)];
        assert_eq!(turns(limits, 5), expected);
    }
}
