//! Changes that hold only against what their writer saw.
//!
//! All that such a change reads and writes lies under one key and so in one partition. What was seen is compared with what lies
//! there, and the script writes only if the partition has not changed since: comparison and change are one step for every
//! gateway. It goes to Redis first and into the journal afterwards, unlike other facts: what the journal holds is told whatever
//! else was said meanwhile. So it is refused where Redis does not answer, and acknowledged when it is in both.

use super::change::{TRIES_MAX, Telling, Writes, entries_of, events_of, merge, take_out, want, wants, write};
use super::fact::{Fact, Line};
use super::journal::WAITING_MAX;
use super::layout::{Partition, Shelf};
use super::link::Link;
use super::listing::placed;
use super::look::{Answer, Doubt, Ground, Want, look};
use super::registers::expect_hashes;
use super::{Redis, Shared};
use crate::store::entry::{Entry, lookup_key};
use crate::store::key::AddressKey;
use crate::store::{Added, Event, Kind, NewSuppression, Reach, Removal, Revision, Seen, StoreError, Tried};

/// Octets of a change's name, which is twice as many digits. The library for clusters sends a script again when the connection ends before
/// its answer, and a change that was made then must not look like somebody else's: a partition keeps the names of the last four.
pub(super) const NAME_LEN: usize = 8;

impl Redis {
    pub(in crate::store) fn add_if(&self, new: &NewSuppression, seen: &Seen) -> Result<Tried<Added>, StoreError> {
        let fact = Fact::Suppression(self.entry(new, &mut String::new()));
        let tried = self.tell_if(vec![fact], seen)?;
        Ok(tried.map(|added| added.first().copied().unwrap_or(Added::Existing)))
    }

    /// The events are about one address.
    pub(in crate::store) fn record_if(&self, events: Vec<Event>, seen: &Seen) -> Result<Tried<Vec<Added>>, StoreError> {
        self.tell_if(events.into_iter().map(Fact::Event).collect(), seen)
    }

    pub(in crate::store) fn remove_if(&self, removal: &Removal, seen: &Seen) -> Result<Tried<Vec<Entry>>, StoreError> {
        let (kind, key) = lookup_key(&removal.subject, &self.0.shared.key, &mut String::new());
        let (removal, seen) = (removal.clone(), seen.clone());
        self.blocking(|shared| async move {
            let ground = shared.ground()?;
            shared.nothing_left_behind(&ground, &key)?;
            let tried = remove_if(&shared.link, &ground, kind, key, &removal, &seen).await;
            let tried = tried.map_err(|doubt| shared.doubted(doubt))?;
            if let Tried::Done(gone) = &tried {
                shared.journal.forget(gone, ground.generation)?;
            }
            Ok(tried)
        })
    }

    /// Tells facts that lie under one key, then writes them down.
    fn tell_if(&self, facts: Vec<Fact>, seen: &Seen) -> Result<Tried<Vec<Added>>, StoreError> {
        let joined = self.0.shared.journal.tellers().join()?;
        let seen = seen.clone();
        let tried = self.blocking(|shared| async move {
            let ground = shared.ground()?;
            if let Some(first) = facts.first() {
                shared.nothing_left_behind(&ground, first.key())?;
            }
            let tried = tell_if(&shared.link, &ground, &facts, &seen).await.map_err(|doubt| shared.doubted(doubt))?;
            if let Tried::Done(_) = &tried {
                shared.write_down(&ground, &facts)?;
            }
            Ok(tried)
        });
        drop(joined);
        tried
    }
}

impl Shared {
    /// A fact that was acknowledged from the journal and never reached Redis is on neither side of a comparison. What is being told this
    /// moment is, as soon as it is there.
    ///
    /// # Errors
    /// [`StoreError::Settling`] while there is one under `key`.
    fn nothing_left_behind(&self, ground: &Ground, key: &AddressKey) -> Result<(), StoreError> {
        if !self.journal.waiting(ground.generation)?.contains_key(key) {
            return Ok(());
        }
        let pending = self.journal.pending(ground.generation, WAITING_MAX)?;
        if pending.iter().any(|line| line.fact.key() == key) {
            return Err(StoreError::Settling {
                because: "facts about this recipient are still on their way".to_owned(),
            });
        }
        Ok(())
    }

    /// Keeps in the journal what Redis has.
    fn write_down(&self, ground: &Ground, facts: &[Fact]) -> Result<(), StoreError> {
        let lines = self.journal.append(facts)?;
        // One that says more in the journal than was told, a later expiry, is told by the keeper.
        let told: Vec<Line> = lines.iter().filter(|line| facts.contains(&line.fact)).cloned().collect();
        if let Err(error) = self.journal.done(&told, ground.generation, &ground.marks()) {
            tracing::warn!(%error, "facts that were sent will be sent again");
        }
        self.journal.release(&lines);
        Ok(())
    }
}

fn name() -> Result<String, Doubt> {
    let mut octets = [0; NAME_LEN];
    let because = "the operating system gave no random octets to name a change".to_owned();
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Doubt::Away(StoreError::Refused { because }))?;
    Ok(crate::hex::encode(&octets))
}

/// The revision of what lies under one key.
fn present(ground: &Ground, want: &Want, answer: &Answer, kind: Kind, reach: &Reach) -> Result<Revision, Doubt> {
    if want.shelf == Shelf::Events {
        return Ok(Revision::of_events(&want.key, reach, &events_of(&want.key, answer.get(want))?));
    }
    let bucket = ground.layout.bucket(want.shelf, &want.key);
    let entries = entries_of(&want.key, answer.get(want))?;
    let entries: Vec<Entry> = entries.into_iter().map(|entry| placed(&bucket, entry)).collect();
    Ok(Revision::of_entries(kind, &want.key, reach, &entries))
}

/// Tells facts that lie under one key, if what lies there is still as it was seen.
async fn tell_if(link: &Link, ground: &Ground, facts: &[Fact], seen: &Seen) -> Result<Tried<Vec<Added>>, Doubt> {
    let Some(first) = facts.first() else { return Ok(Tried::Done(Vec::new())) };
    let kind = match first {
        Fact::Suppression(entry) => entry.kind,
        Fact::Event(_) => Kind::Address,
    };
    if matches!(first, Fact::Suppression(entry) if entry.is_published()) {
        expect_hashes(link).await?;
    }
    let (want, partition, name) = (want(first), Partition::of(first.key()), name()?);
    let wants: Vec<Want> = facts.iter().flat_map(wants).collect();
    for _ in 0..TRIES_MAX {
        let answer = look(link, ground, &wants).await?;
        let present = present(ground, &want, &answer, kind, &seen.reach)?;
        if !seen.is(&present) {
            return Ok(Tried::Meanwhile(present));
        }
        let before = answer.changes.get(&partition).copied().unwrap_or(0);
        let mut writes = Writes::new(partition, before).named(&name);
        let mut added = vec![Added::Existing; facts.len()];
        merge(ground, &answer, facts.iter().enumerate(), Telling::First, &mut writes, &mut added)?;
        if writes.after == writes.before || write(link, ground, &[writes]).await?.is_empty() {
            return Ok(Tried::Done(added));
        }
    }
    Err(Doubt::Away(StoreError::Busy))
}

/// Takes out what `removal` covers of the entries under one key, if they are still as they were seen.
async fn remove_if(
    link: &Link,
    ground: &Ground,
    kind: Kind,
    key: AddressKey,
    removal: &Removal,
    seen: &Seen,
) -> Result<Tried<Vec<Entry>>, Doubt> {
    let want = Want { shelf: Shelf::Suppressions, key };
    let (partition, name) = (Partition::of(&key), name()?);
    for _ in 0..TRIES_MAX {
        let answer = look(link, ground, &[want]).await?;
        let present = present(ground, &want, &answer, kind, &seen.reach)?;
        if !seen.is(&present) {
            return Ok(Tried::Meanwhile(present));
        }
        let covers = |entry: &Entry| entry.kind == kind && removal.covers(&entry.fact);
        let (mut gone, kept): (Vec<_>, Vec<_>) = entries_of(&key, answer.get(&want))?.into_iter().partition(covers);
        removal.check(&gone)?;
        if gone.is_empty() {
            return Ok(Tried::Done(gone));
        }
        let before = answer.changes.get(&partition).copied().unwrap_or(0);
        let mut writes = Writes::new(partition, before).named(&name);
        take_out(ground, &want, &mut gone, &kept, removal, &mut writes);
        if write(link, ground, &[writes]).await?.is_empty() {
            return Ok(Tried::Done(gone));
        }
    }
    Err(Doubt::Away(StoreError::Busy))
}

#[cfg(test)]
mod tests {
    use super::super::change::wants;
    use super::*;
    use crate::policy::{Cause, Origin, Scope};
    use crate::store::tests::one_gateway;
    use crate::store::{Store, Subject};
    use crate::time::Timestamp;

    /// Names that a partition keeps, as the script has it.
    const NAMES_KEPT: usize = 4;

    #[test]
    fn a_script_that_is_sent_again_is_known_by_its_name_and_another_one_is_not() {
        let (_server, _folder, store) = one_gateway();
        let Store::Redis(redis) = store else { panic!("not in Redis") };
        let fact = |at: i64| {
            let (scope, at) = (format!("list:acme/l{at}").parse::<Scope>().unwrap(), Timestamp::from_secs(at));
            let Ok(Subject::Address(mailbox)) = Subject::parse("v@x.example") else { panic!("no address") };
            let new = NewSuppression::lasting(mailbox, scope, Cause::Unsubscribe, Origin::Api, None, at);
            Fact::Suppression(redis.entry(&new, &mut String::new()))
        };
        let facts: Vec<Fact> = (0..).take(NAMES_KEPT + 1).map(fact).collect();
        let conflicts = redis.blocking(|shared| async move {
            let (ground, link) = (shared.ground()?, &shared.link);
            let mut conflicts = Vec::new();
            let mut all = Vec::new();
            for fact in &facts {
                let answer = look(link, &ground, &wants(fact).collect::<Vec<_>>()).await.unwrap();
                let partition = Partition::of(fact.key());
                let mut writes = Writes::new(partition, answer.changes[&partition]).named(&name().unwrap());
                merge(&ground, &answer, [(0, fact)].into_iter(), Telling::First, &mut writes, &mut [Added::New])
                    .unwrap();
                all.push(writes);
                let last = std::slice::from_ref(all.last().unwrap());
                for _ in 0..2 {
                    conflicts.push(write(link, &ground, last).await.unwrap().len());
                }
            }
            // Nameless, or with a name of its own, the same change came too late.
            for name in [String::new(), name().unwrap()] {
                let other = all.pop().unwrap().named(&name);
                conflicts.push(write(link, &ground, std::slice::from_ref(&other)).await.unwrap().len());
            }
            // The oldest is forgotten, those before the last two are known still.
            for early in all {
                conflicts.push(write(link, &ground, &[early]).await.unwrap().len());
            }
            Ok(conflicts)
        });
        let expected = [vec![0; 2 * (NAMES_KEPT + 1)], vec![1, 1], vec![1, 0, 0]].concat();
        assert_eq!(conflicts.unwrap(), expected);
        let subject = Subject::parse("v@x.example").unwrap();
        assert_eq!(redis.matching(&subject).unwrap().len(), NAMES_KEPT + 1, "each was written once");
    }
}
