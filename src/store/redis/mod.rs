//! The fleet's store: the same facts for many gateways, in Redis or Valkey.
//!
//! Three things keep "nothing found" from ever meaning "Redis lost it". Every answer comes with counts that prove an
//! absence ([`look`]). Every gateway remembers the last change that it saw of each partition, and misses what is gone.
//! And every gateway writes down on its own disk what it tells the store ([`journal`]), first, so that what Redis loses is
//! told again ([`keeper`]). ADR 0016 says why.

mod admin;
mod bulk;
mod change;
mod codec;
mod conditional;
mod counts;
mod fact;
mod journal;
mod keeper;
mod layout;
mod link;
mod listing;
mod look;
mod registers;
mod rotate;
mod settings;
mod standing;
mod stream;
mod tellers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::runtime::Runtime;

pub use admin::{Census, Rebuilt, Status};
pub(super) use codec::{entry_octets, entry_of, octets_of};
#[cfg(test)]
pub(super) use rotate::half_a_rotation;
pub use settings::{Security, Server, Settings as RedisSettings, Topology};

use self::change::Telling;
use self::fact::{Fact, Line};
use self::journal::Journal;
use self::link::Link;
use self::look::{Doubt, Ground, Want, look};
use self::registers::{Hashes, Registers};
use self::standing::{Closed, Standing};
use super::copy::Copied;
use super::entry::{Cursor, lookup_key};
use super::event::{Event, View};
use super::key::{self, AddressKey, StoreKey};
use super::published::published_keys;
use super::{Added, AddedMany, Cleartext, Dossier, Entry, Kind, Match, Removal, Settings, StoreError, Subject};
use crate::mail::Mailbox;
use crate::policy::Suppression;

/// Facts that are written down and sent together: enough to fill the way, few enough to be held in memory while under way.
const CHUNK: usize = 2000;
/// Threads for the network: they only pass octets on.
const THREADS: usize = 1;

/// The fleet's store; clones share it.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Owner>);

/// Ends the threads when the last clone goes.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    journal: Journal,
    /// What the facts are hashed with, here and in the fleet's store.
    key: StoreKey,
    /// The key with all secrets of its file: a rotation that another gateway began may have added some.
    newest: StoreKey,
    key_file: PathBuf,
    cleartext: Cleartext,
    standing: RwLock<Standing>,
    /// The last ground that was stood on: its marks outlive its closing.
    last: Mutex<Option<Arc<Ground>>>,
    settling: tokio::sync::Mutex<()>,
    registers: Mutex<Arc<Registers>>,
    /// Whether the log was told what makes a loss likelier.
    warned: AtomicBool,
    /// The generation in which damage was found, and which.
    damaged_in: AtomicI64,
    damage: Mutex<String>,
}

fn key_file(settings: &Settings) -> PathBuf {
    settings.key_file.clone().unwrap_or_else(|| settings.path.with_extension("key"))
}

fn journal_path(settings: &Settings) -> PathBuf {
    settings.path.with_file_name("journal.db")
}

impl Redis {
    /// Opens the gateway's journal and meets the fleet's store. A server that does not answer is no error: opt-outs are
    /// taken all the same, and everything else waits.
    pub(super) fn open(redis: &RedisSettings, settings: &Settings) -> Result<Self, StoreError> {
        let store = match Self::unmet(redis, settings)?.follow(settings)? {
            Some(store) => store,
            None => Self::unmet(redis, settings)?,
        };
        match store.blocking(|shared| async move { keeper::settle(&shared).await }) {
            Err(error) if !error.is_transient() => Err(error),
            Ok(()) | Err(_) => Ok(store),
        }
    }

    /// Opens the journal alone.
    pub(super) fn unmet(redis: &RedisSettings, settings: &Settings) -> Result<Self, StoreError> {
        let key_file = key_file(settings);
        let newest = key::read(&key_file)?;
        let (journal, key) = Journal::open(&journal_path(settings), &newest)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("redis")
            .enable_all()
            .build()
            .map_err(StoreError::io("start a thread for", &settings.path))?;
        let shared = Shared {
            link: Link::new(redis.clone())?,
            journal,
            key,
            newest,
            key_file,
            cleartext: settings.cleartext,
            standing: RwLock::new(Standing::Closed(Closed::Away("not met yet".to_owned()))),
            last: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
            registers: Mutex::default(),
            warned: AtomicBool::new(false),
            damaged_in: AtomicI64::new(-1),
            damage: Mutex::default(),
        };
        Ok(Self(Arc::new(Owner { shared: Arc::new(shared), runtime: Some(runtime) })))
    }

    /// Runs `work` on the network's threads and waits for it on this one.
    fn blocking<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let runtime = self.0.runtime.as_ref().ok_or(StoreError::Stopping)?;
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let task = work(Arc::clone(&self.0.shared));
        runtime.spawn(async move {
            let _nobody_waits = tell.send(task.await);
        });
        told.recv().map_err(|_| StoreError::Stopping)?
    }

    /// Runs `work` on the network's threads and waits for it without holding a thread.
    async fn waiting<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let runtime = self.0.runtime.as_ref().ok_or(StoreError::Stopping)?;
        runtime.spawn(work(Arc::clone(&self.0.shared))).await.map_err(|_| StoreError::Stopping)?
    }

    /// All that is asked of one recipient.
    fn asked(&self, recipients: &[&Mailbox]) -> Vec<Asked> {
        let key = &self.0.shared.key;
        let mut buffer = String::new();
        recipients.iter().map(|mailbox| Asked::of(mailbox, key, &mut buffer)).collect()
    }

    pub(super) async fn evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        let asked = self.asked(recipients);
        self.waiting(|shared| async move { shared.evidence(&asked).await }).await
    }

    pub(super) fn blocking_evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        let asked = self.asked(recipients);
        self.blocking(|shared| async move { shared.evidence(&asked).await })
    }

    pub(super) async fn dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        let asked = self.asked(recipients);
        self.waiting(|shared| async move { shared.dossier(&asked).await }).await
    }

    pub(super) fn blocking_dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        let asked = self.asked(recipients);
        self.blocking(|shared| async move { shared.dossier(&asked).await })
    }

    pub(super) fn matching(&self, subject: &Subject) -> Result<Vec<(Match, Entry)>, StoreError> {
        let mut buffer = String::new();
        let key = &self.0.shared.key;
        let (kind, first) = lookup_key(subject, key, &mut buffer);
        let (domain, exact) = match subject {
            Subject::Address(mailbox) => (Some(mailbox.domain()), key.exact(mailbox, &mut buffer)),
            Subject::Domain(domain) => (Some(domain), first),
            Subject::Published(_) => (None, first),
            Subject::Hashed { exact, .. } => (None, *exact),
        };
        let published = match subject {
            Subject::Address(mailbox) => published_keys(mailbox, key, &mut buffer),
            Subject::Domain(_) | Subject::Published(_) | Subject::Hashed { .. } => Vec::new(),
        };
        let domains = domain.map(|domain| key.domains(domain, &mut buffer)).unwrap_or_default();
        let mut wanted = vec![(kind, first)];
        wanted.extend(domains.iter().map(|key| (Kind::Domain, *key)).filter(|other| *other != (kind, first)));
        wanted.extend(published.into_iter().map(|key| (Kind::Address, key)));
        let found = self.blocking(|shared| async move { shared.entries(&wanted).await })?;
        Ok(found.into_iter().map(|entry| (entry.matched(&exact), entry)).collect())
    }

    pub(super) fn history(&self, mailbox: &Mailbox) -> Result<Vec<Event>, StoreError> {
        let exact = self.0.shared.key.exact(mailbox, &mut String::new());
        Ok(self.histories(&[exact])?.pop().unwrap_or_default())
    }

    pub(super) fn key(&self) -> &StoreKey {
        &self.0.shared.key
    }

    pub(super) fn cleartext(&self) -> Cleartext {
        self.0.shared.cleartext
    }

    pub(super) fn probe(&self) -> Result<(), StoreError> {
        self.blocking(|shared| async move {
            keeper::settle(&shared).await?;
            let ground = shared.ground()?;
            shared.journal.raise_marks(ground.generation, &ground.marks())
        })
    }

    /// Writes facts down, then tells them. Once they are on our own disk they count, whatever becomes of the telling.
    fn tell_chunk(&self, facts: &[Fact], telling: Telling) -> Result<Vec<Added>, StoreError> {
        let journal = &self.0.shared.journal;
        let joined = journal.tellers().join()?;
        let lines = Arc::<[Line]>::from(journal.append(facts)?);
        let told = Arc::clone(&lines);
        let added = self.blocking(|shared| async move { Ok(shared.tell(&told, telling).await) });
        journal.release(&lines);
        drop(joined);
        added
    }

    fn tell_all(&self, mut facts: &mut dyn Iterator<Item = Fact>, telling: Telling) -> Result<AddedMany, StoreError> {
        let mut counts = AddedMany::default();
        loop {
            let chunk: Vec<Fact> = (&mut facts).take(CHUNK).collect();
            if chunk.is_empty() {
                return Ok(counts);
            }
            for added in self.tell_chunk(&chunk, telling)? {
                match added {
                    Added::New => counts.new += 1,
                    Added::Renewed | Added::Existing => counts.existing += 1,
                }
            }
        }
    }

    /// See [`super::copy`].
    pub(super) fn take(&self, copied: Vec<Copied>) -> Result<AddedMany, StoreError> {
        let keep = |copied| match copied {
            Copied::Entry(entry) => Fact::Suppression(entry),
            Copied::Event(event) => Fact::Event(Event { cursor: Cursor(0), ..event }),
        };
        self.tell_all(&mut copied.into_iter().map(keep), Telling::Again)
    }

    pub(super) fn remove(&self, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
        let (kind, key) = lookup_key(&removal.subject, &self.0.shared.key, &mut String::new());
        let removal = removal.clone();
        self.blocking(|shared| async move {
            let covers = |entry: &Entry| entry.kind == kind && removal.covers(&entry.fact);
            shared.remove(&BTreeSet::from([key]), &removal, covers).await
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which is not allowed on the threads of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The keys by which something may be known of one recipient.
#[derive(Debug)]
struct Asked {
    exact: AddressKey,
    family: AddressKey,
    domains: Box<[AddressKey]>,
    published: Vec<AddressKey>,
}

impl Asked {
    fn of(mailbox: &Mailbox, key: &StoreKey, buffer: &mut String) -> Self {
        Self {
            exact: key.exact(mailbox, buffer),
            family: key.family(mailbox, buffer),
            domains: key.domains(mailbox.domain(), buffer),
            published: published_keys(mailbox, key, buffer),
        }
    }

    /// Under what somebody may have said no. Published hashes double the question, so they are asked only where there are any.
    fn suppressions(&self, hashes: Hashes) -> impl Iterator<Item = (Kind, AddressKey)> {
        let domains = self.domains.iter().map(|key| (Kind::Domain, *key));
        let published: &[AddressKey] = match hashes {
            Hashes::None => &[],
            Hashes::Some => &self.published,
        };
        let published = published.iter().map(|key| (Kind::Address, *key));
        std::iter::once((Kind::Address, self.family)).chain(domains).chain(published)
    }
}

const fn suppression(key: AddressKey) -> Want {
    Want { shelf: layout::Shelf::Suppressions, key }
}

const fn event(key: AddressKey) -> Want {
    Want { shelf: layout::Shelf::Events, key }
}

impl Shared {
    fn ground(&self) -> Result<Arc<Ground>, StoreError> {
        match &*self.standing.read().unwrap_or_else(PoisonError::into_inner) {
            Standing::Ready(ground) => Ok(Arc::clone(ground)),
            Standing::Closed(closed) => Err(closed.error()),
        }
    }

    fn close(&self, error: &StoreError) {
        let closed = Standing::Closed(Closed::over(error));
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = closed;
    }

    /// Turns a doubt into an error, and closes the store where the doubt is about the store.
    fn doubted(&self, doubt: Doubt) -> StoreError {
        let error = match doubt {
            Doubt::Unsettled(because) => StoreError::Settling { because },
            Doubt::Damaged(because) | Doubt::Away(StoreError::Latched { because }) => {
                if let Ok(ground) = self.ground() {
                    self.damaged_in.fetch_max(ground.generation, Ordering::AcqRel);
                    self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&because);
                }
                StoreError::Latched { because }
            }
            Doubt::Away(error) => error,
        };
        if matches!(error, StoreError::Away { .. }) {
            // Its next answers may be those of earlier questions.
            self.link.drop_connection();
        }
        if matches!(error, StoreError::Away { .. } | StoreError::Settling { .. } | StoreError::Latched { .. }) {
            self.close(&error);
        }
        error
    }

    async fn look(&self, ground: &Ground, wants: &[Want]) -> Result<look::Answer, StoreError> {
        look(&self.link, ground, wants).await.map_err(|doubt| self.doubted(doubt))
    }

    async fn evidence(&self, asked: &[Asked]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        let ground = self.ground()?;
        // Read first: a fact on its way is then met here or there.
        let waiting = self.journal.waiting(ground.generation)?;
        let wants = |registers: &Registers| {
            let keys = asked.iter().flat_map(|one| one.suppressions(registers.hashes));
            let wants: BTreeSet<Want> = keys.map(|(_, key)| suppression(key)).collect();
            wants.into_iter().collect()
        };
        let (answer, _) = self.look_with_registers(&ground, wants).await?;
        asked.iter().map(|one| self.suppressions(&answer, &waiting, one)).collect()
    }

    /// What the store and the journal know against one recipient.
    fn suppressions(
        &self,
        answer: &look::Answer,
        waiting: &journal::Waiting,
        asked: &Asked,
    ) -> Result<Vec<Suppression>, StoreError> {
        let mut found: Vec<Entry> = Vec::new();
        // What was not asked for is not in the answer, but may be waiting here.
        for (kind, key) in asked.suppressions(Hashes::Some) {
            let known = change::entries_of(&key, answer.get(&suppression(key))).map_err(|doubt| self.doubted(doubt))?;
            found.extend(known.into_iter().filter(|entry| entry.kind == kind));
            let here = waiting.get(&key).into_iter().flatten().filter_map(|fact| match fact {
                Fact::Suppression(entry) if entry.kind == kind => Some(entry),
                Fact::Suppression(_) | Fact::Event(_) => None,
            });
            for entry in here {
                let same = |known: &Entry| {
                    (known.exact, &known.fact.scope, known.fact.cause)
                        == (entry.exact, &entry.fact.scope, entry.fact.cause)
                };
                if !found.iter().any(same) {
                    found.push(entry.clone());
                }
            }
        }
        Ok(found.into_iter().map(|entry| entry.fact).collect())
    }

    async fn dossier(&self, asked: &[Asked]) -> Result<Vec<Dossier>, StoreError> {
        let ground = self.ground()?;
        let waiting = self.journal.waiting(ground.generation)?;
        let on_its_way =
            |one: &Asked| waiting.get(&one.exact).into_iter().flatten().any(|f| matches!(f, Fact::Event(_)));
        if asked.iter().any(on_its_way) {
            return Err(StoreError::Settling { because: "what this recipient said is still on its way".to_owned() });
        }
        let wants = |registers: &Registers| registers.wants(asked);
        let (answer, registers) = self.look_with_registers(&ground, wants).await?;
        let one = |one: &Asked| {
            let events = change::events_of(&one.exact, answer.get(&event(one.exact))).map_err(|d| self.doubted(d))?;
            let view = View::of(&events);
            Ok(Dossier {
                suppressions: self.suppressions(&answer, &waiting, one)?,
                contact: view.contact,
                consents: view.consents,
                registers: registers.checks(&answer, one),
            })
        };
        asked.iter().map(one).collect()
    }

    async fn entries(&self, wanted: &[(Kind, AddressKey)]) -> Result<Vec<Entry>, StoreError> {
        let ground = self.ground()?;
        let wants: Vec<Want> = wanted.iter().map(|(_, key)| suppression(*key)).collect();
        let answer = self.look(&ground, &wants).await?;
        let mut found = Vec::new();
        for ((kind, key), want) in wanted.iter().zip(&wants) {
            let bucket = ground.layout.bucket(want.shelf, key);
            let known = change::entries_of(key, answer.get(want)).map_err(|doubt| self.doubted(doubt))?;
            found.extend(
                known.into_iter().filter(|entry| entry.kind == *kind).map(|entry| listing::placed(&bucket, entry)),
            );
        }
        Ok(found)
    }

    async fn histories(&self, keys: &[AddressKey]) -> Result<Vec<Vec<Event>>, StoreError> {
        let ground = self.ground()?;
        let wants: Vec<Want> = keys.iter().map(|key| event(*key)).collect();
        let answer = self.look(&ground, &wants).await?;
        let events = |want: &Want| change::events_of(&want.key, answer.get(want)).map_err(|doubt| self.doubted(doubt));
        wants.iter().map(events).collect()
    }

    /// Tells facts that are written down. When the store cannot be told they stay pending, and count as new.
    async fn tell(&self, lines: &[Line], telling: Telling) -> Vec<Added> {
        let pending = vec![Added::New; lines.len()];
        let Ok(ground) = self.ground() else { return pending };
        let facts: Vec<_> = lines.iter().map(|line| line.fact.clone()).collect();
        match change::tell(&self.link, &ground, &facts, telling).await {
            Ok(added) => {
                // A mark that fails leaves the fact to be sent once more, which changes nothing.
                if let Err(error) = self.journal.done(lines, ground.generation, &ground.marks()) {
                    tracing::warn!(%error, "facts that were sent will be sent again");
                }
                added
            }
            Err(doubt) => {
                let error = self.doubted(doubt);
                tracing::warn!(%error, facts = lines.len(), "kept in the journal until the fleet store can be told");
                pending
            }
        }
    }

    async fn remove(
        &self,
        keys: &BTreeSet<AddressKey>,
        removal: &Removal,
        covers: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>, StoreError> {
        let ground = self.ground()?;
        let gone = change::remove(&self.link, &ground, keys, removal, covers).await.map_err(|d| self.doubted(d))?;
        self.journal.forget(&gone, ground.generation)?;
        Ok(gone)
    }
}
