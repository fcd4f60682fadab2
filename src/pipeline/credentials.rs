//! Who is this client?

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Mutex;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use aws_lc_rs::{constant_time, digest, hmac, rand};

use crate::mail::Reply;
use crate::smtp::{Fingerprint, Identity, Login};

use super::answer;
use super::settings::{Credential, Proof, Settings};

/// Right passwords that are remembered, so that a tool which logs in for each message does not cost an argon2 each.
const REMEMBERED_MAX: usize = 1000;

/// Remembers which password was right for which hash, as a keyed digest of both that means nothing outside this
/// process. Wrong ones are never remembered.
#[derive(Debug)]
pub(super) struct Verdicts {
    key: hmac::Key,
    right: Mutex<HashSet<[u8; 32]>>,
}

impl Verdicts {
    /// An empty memory under a fresh key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut secret = [0; 32];
        rand::fill(&mut secret)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), right: Mutex::default() })
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

/// The credential for tools that connect from a known address.
pub(super) fn by_address(settings: &Settings, peer: IpAddr) -> Option<Identity> {
    let fits = |credential: &&Credential| match &credential.proof {
        Proof::Addresses(ranges) => ranges.iter().any(|range| range.contains(peer)),
        Proof::Token(_) | Proof::Password(_) | Proof::Certificate(_) => false,
    };
    settings.credentials.iter().find(fits).map(identity)
}

/// The credential for tools that hold the key of a certificate.
pub(super) fn by_certificate(settings: &Settings, shown: &Fingerprint) -> Option<Identity> {
    let fits = |credential: &&Credential| match &credential.proof {
        Proof::Certificate(known) => known == shown,
        Proof::Token(_) | Proof::Password(_) | Proof::Addresses(_) => false,
    };
    settings.credentials.iter().find(fits).map(identity)
}

/// Checks name and password. The reply to a wrong name and to a wrong password is the same, and an unknown name
/// costs what a wrong token costs; argon2 runs off the async threads.
///
/// # Errors
/// 535 when it is wrong, 454 when it could not be checked.
pub(super) async fn authenticate(settings: &Settings, verdicts: &Verdicts, login: &Login) -> Result<Identity, Reply> {
    let given = digest::digest(&digest::SHA256, login.password.expose().as_bytes());
    let named = settings.credentials.iter().find(|credential| credential.name.as_str() == login.name);
    let nobody = [0; 32];
    let expected = match named.map(|credential| &credential.proof) {
        Some(Proof::Token(hash)) => hash,
        Some(Proof::Password(_) | Proof::Addresses(_) | Proof::Certificate(_)) | None => &nobody,
    };
    let token_fits = constant_time::verify_slices_are_equal(given.as_ref(), expected).is_ok();
    match named {
        Some(Credential { proof: Proof::Password(hash), .. }) if password_fits(verdicts, hash, login).await? => named,
        Some(Credential { proof: Proof::Token(_), .. }) if token_fits => named,
        Some(_) | None => None,
    }
    .map(identity)
    .ok_or_else(answer::not_authenticated)
}

async fn password_fits(verdicts: &Verdicts, hash: &str, login: &Login) -> Result<bool, Reply> {
    let digest = verdicts.digest(hash, login.password.expose());
    if verdicts.remembers(&digest) {
        return Ok(true);
    }
    let (hash, password) = (hash.to_owned(), login.password.expose().to_owned());
    let check = move || {
        PasswordHash::new(&hash)
            .is_ok_and(|parsed| argon2::Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
    };
    let fits = tokio::task::spawn_blocking(check).await.map_err(|_| answer::cannot_authenticate())?;
    if fits {
        verdicts.remember(digest);
    }
    Ok(fits)
}

fn identity(credential: &Credential) -> Identity {
    Identity { credential: credential.name.clone(), stream: credential.stream.clone() }
}
