//! Checks of passwords that cost time on purpose: off the async threads, few at once, and the same for everybody who is
//! wrong.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use aws_lc_rs::{hmac, rand};
use tokio::sync::Semaphore;

use crate::mail::Reply;
use crate::smtp::{Secret, Verifier};

use super::answer;

/// Right passwords that are remembered, so that a tool which logs in for each message does not cost an argon2 each.
const REMEMBERED_MAX: usize = 1000;
/// Checks at once. Each takes a core and 19 MiB for some 20 ms; more of them would take the cores from the mail.
const CHECKS_AT_ONCE: usize = 2;
/// How long one may wait for its turn. Longer means that somebody floods us with logins, and the client may come again.
const TURN_MAX: Duration = Duration::from_secs(10);

/// The checks that one login asks for. All are made, and only the owner's counts: so a wrong login takes as long whether
/// its name exists or not, and whatever kind of secret it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    /// The argon2id hash of the name, or somebody's.
    pub(super) argon2: Option<(String, Counts)>,
    /// The verifier of the name, or a decoy.
    pub(super) scram: Option<(Verifier, Counts)>,
}

/// Whether the outcome of a check means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// It is the check of the name that the client gave.
    Yes,
    /// It is made for the time that it takes.
    No,
}

impl Checks {
    /// The written form of the secret that counts.
    fn counting(&self) -> Option<String> {
        let argon2 = self.argon2.iter().filter(|(_, counts)| *counts == Counts::Yes).map(|(hash, _)| hash.clone());
        let scram = self.scram.iter().filter(|(_, counts)| *counts == Counts::Yes).map(|(known, _)| known.to_string());
        argon2.chain(scram).next()
    }

    /// Makes all of them.
    pub(super) fn run(&self, password: &str) -> bool {
        let mut right = false;
        if let Some((hash, counts)) = &self.argon2 {
            let fits = PasswordHash::new(hash)
                .is_ok_and(|hash| argon2::Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            right |= fits && *counts == Counts::Yes;
        }
        if let Some((verifier, counts)) = &self.scram {
            right |= verifier.fits(password) && *counts == Counts::Yes;
        }
        right
    }
}

/// Remembers which password was right for which hash, as a keyed digest of both that means nothing outside this
/// process. Wrong ones are never remembered.
#[derive(Debug)]
pub(super) struct Passwords {
    key: hmac::Key,
    right: Mutex<HashSet<[u8; 32]>>,
    turns: Semaphore,
}

impl Passwords {
    /// An empty memory under a fresh key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut secret = [0; 32];
        rand::fill(&mut secret)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { key, right: Mutex::default(), turns: Semaphore::new(CHECKS_AT_ONCE) })
    }

    /// Whether the check that counts says yes.
    ///
    /// # Errors
    /// 454 when it could not be made now.
    pub(super) async fn fits(&self, checks: Checks, password: &Secret) -> Result<bool, Reply> {
        let digest = checks.counting().map(|hash| self.digest(&hash, password.expose()));
        if digest.is_some_and(|digest| self.remembers(&digest)) {
            return Ok(true);
        }
        let turn = tokio::time::timeout(TURN_MAX, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else { return Err(answer::cannot_authenticate()) };
        let password = password.clone();
        let fits = tokio::task::spawn_blocking(move || checks.run(password.expose())).await;
        drop(turn);
        let fits = fits.map_err(|_| answer::cannot_authenticate())?;
        if let (true, Some(digest)) = (fits, digest) {
            self.remember(digest);
        }
        Ok(fits)
    }

    fn digest(&self, hash: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(password.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        self.right.lock().is_ok_and(|right| right.contains(digest))
    }

    fn remember(&self, digest: [u8; 32]) {
        if let Ok(mut right) = self.right.lock() {
            if right.len() >= REMEMBERED_MAX {
                right.clear();
            }
            right.insert(digest);
        }
    }
}
