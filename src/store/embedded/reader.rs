//! Questions about recipients: the path that every message takes, several times.
//!
//! Most recipients are in no entry. For them the cost is one `stat`, one look at SQLite's change counter and one
//! HMAC: as long as the counter stands still, a key that the filter does not know is surely absent. Any commit, of any
//! process, moves the counter, and then the filter first learns what was added. So it is never stale.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{Shared, events, find, registers};
use crate::mail::{Domain, Mailbox};
use crate::policy::Suppression;
use crate::store::event::View;
use crate::store::filter::Filter;
use crate::store::key::{AddressKey, StoreKey};
use crate::store::published::published_keys;
use crate::store::{Dossier, Kind};

/// Entries of one kind and family, in the order of `row::COLUMNS`.
pub(super) const FIND: &str = "SELECT seq, kind, exact, family, address, scope_kind, controller, list, cause, origin, \
                               evidence, since, expires, created, sum FROM suppressions \
                               WHERE family = ?1 AND kind = ?2 ORDER BY seq";
/// Domains whose keys are remembered per reader: a campaign has few domains and many recipients. At the bound all are
/// forgotten, which costs some HMACs.
const DOMAINS_MAX: usize = 4096;

/// One connection for questions, with what it saw last.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Connection,
    /// SQLite's change counter (`PRAGMA data_version`) when the filter last knew everything.
    version: Option<i64>,
    domains: HashMap<Domain, Box<[AddressKey]>>,
    buffer: String,
}

/// A key that is perhaps in the store, and whose recipient it is.
struct Wanted {
    recipient: usize,
    kind: Kind,
    key: AddressKey,
}

/// All keys by which something may be known of one recipient.
struct Keys {
    exact: AddressKey,
    family: AddressKey,
    domains: Box<[AddressKey]>,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, version: None, domains: HashMap::new(), buffer: String::new() }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn evidence(
        &mut self,
        shared: &Shared,
        recipients: &[&Mailbox],
    ) -> rusqlite::Result<Vec<Vec<Suppression>>> {
        self.follow(shared)?;
        let mut wanted = Vec::new();
        for (recipient, mailbox) in recipients.iter().enumerate() {
            self.collect(shared, recipient, mailbox, &mut wanted);
        }
        let mut answer = vec![Vec::new(); recipients.len()];
        if wanted.is_empty() {
            return Ok(answer);
        }
        // One snapshot for the whole message: an entry is seen for all its recipients or for none.
        let snapshot = self.connection.unchecked_transaction()?;
        let mut found = Vec::new();
        for Wanted { recipient, kind, key } in wanted {
            find(&snapshot, kind, &key, &mut found)?;
            if let Some(facts) = answer.get_mut(recipient) {
                facts.extend(found.drain(..).map(|entry| entry.fact));
            }
        }
        Ok(answer)
    }

    /// All that is known of each recipient. The filter is brought up to date within the snapshot that is read: what a
    /// consent may lift and the consent itself are seen as they stood at one moment.
    pub(super) fn dossier(&mut self, shared: &Shared, recipients: &[&Mailbox]) -> rusqlite::Result<Vec<Dossier>> {
        let wanted: Vec<_> = recipients.iter().map(|mailbox| self.keys(shared, mailbox)).collect();
        let snapshot = self.connection.unchecked_transaction()?;
        if shared.filter.is_some() {
            let version = data_version(&snapshot)?;
            if self.version != Some(version) {
                shared.catch_up(&snapshot)?;
                self.version = Some(version);
            }
        }
        let perhaps = |key: &AddressKey| shared.filter.as_ref().is_none_or(|filter| filter.may_hold(key));
        let hashes_matter = shared.filter.as_ref().is_none_or(Filter::may_hold_published);
        let registers = registers::all(&snapshot)?;
        let mut buffer = String::new();
        let mut answer = Vec::with_capacity(wanted.len());
        for (keys, mailbox) in wanted.iter().zip(recipients) {
            let mut found = Vec::new();
            if perhaps(&keys.family) {
                find(&snapshot, Kind::Address, &keys.family, &mut found)?;
            }
            for domain in keys.domains.iter().filter(|key| perhaps(key)) {
                find(&snapshot, Kind::Domain, domain, &mut found)?;
            }
            let hashes = if hashes_matter || !registers.is_empty() {
                published_keys(mailbox, &shared.key, &mut buffer)
            } else {
                Vec::new()
            };
            for hash in hashes.iter().filter(|key| hashes_matter && perhaps(key)) {
                find(&snapshot, Kind::Address, hash, &mut found)?;
            }
            let view = if perhaps(&keys.exact) { events::view(&snapshot, &keys.exact)? } else { View::default() };
            answer.push(Dossier {
                suppressions: found.into_iter().map(|entry| entry.fact).collect(),
                contact: view.contact,
                consents: view.consents,
                registers: if registers.is_empty() {
                    Vec::new()
                } else {
                    let mut listed = vec![keys.family];
                    listed.extend(&keys.domains);
                    listed.extend(hashes);
                    registers::look_up(&snapshot, &registers, &listed)?
                },
            });
        }
        Ok(answer)
    }

    fn keys(&mut self, shared: &Shared, mailbox: &Mailbox) -> Keys {
        Keys {
            exact: shared.key.exact(mailbox, &mut self.buffer),
            family: shared.key.family(mailbox, &mut self.buffer),
            domains: self.domain_keys(&shared.key, mailbox.domain()).into(),
        }
    }

    /// Makes sure that the filter knows everything that is committed now.
    fn follow(&mut self, shared: &Shared) -> rusqlite::Result<()> {
        if shared.filter.is_none() || self.version == Some(data_version(&self.connection)?) {
            return Ok(());
        }
        // The counter and the entries must be of one snapshot, else a commit between the two would be missed.
        let snapshot = self.connection.unchecked_transaction()?;
        let version = data_version(&snapshot)?;
        shared.catch_up(&snapshot)?;
        drop(snapshot);
        self.version = Some(version);
        Ok(())
    }

    fn collect(&mut self, shared: &Shared, recipient: usize, mailbox: &Mailbox, wanted: &mut Vec<Wanted>) {
        let perhaps = |key: &AddressKey| shared.filter.as_ref().is_none_or(|filter| filter.may_hold(key));
        let family = shared.key.family(mailbox, &mut self.buffer);
        if perhaps(&family) {
            wanted.push(Wanted { recipient, kind: Kind::Address, key: family });
        }
        let domains = self.domain_keys(&shared.key, mailbox.domain());
        let kept = domains.iter().filter(|key| perhaps(key));
        wanted.extend(kept.map(|key| Wanted { recipient, kind: Kind::Domain, key: *key }));
        if shared.filter.as_ref().is_none_or(Filter::may_hold_published) {
            let hashes = published_keys(mailbox, &shared.key, &mut self.buffer).into_iter().filter(|key| perhaps(key));
            wanted.extend(hashes.map(|key| Wanted { recipient, kind: Kind::Address, key }));
        }
    }

    fn domain_keys(&mut self, key: &StoreKey, domain: &Domain) -> &[AddressKey] {
        if !self.domains.contains_key(domain) {
            if self.domains.len() >= DOMAINS_MAX {
                self.domains.clear();
            }
            let keys = key.domains(domain, &mut self.buffer);
            self.domains.insert(domain.clone(), keys);
        }
        self.domains.get(domain).map_or(&[], |keys| keys)
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
