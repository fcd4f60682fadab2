//! Who is this client?

use std::net::IpAddr;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest};

use crate::mail::Reply;
use crate::smtp::wire::scram::ITERATIONS_MIN;
use crate::smtp::{Evidence, Fingerprint, Identity, Login, Mechanism, Proven, Secret, Verifier};

use super::answer;
use super::passwords::{Checks, Counts, Passwords};
use super::settings::{Credential, Proof, Settings};

/// The credential for tools that connect from a known address.
pub(super) fn by_address(settings: &Settings, peer: IpAddr) -> Option<Identity> {
    let fits = |credential: &&Credential| match &credential.proof {
        Proof::Addresses(ranges) => ranges.iter().any(|range| range.contains(peer)),
        Proof::Token(_) | Proof::Password(_) | Proof::Scram(_) | Proof::Certificate(_) => false,
    };
    settings.credentials.iter().find(fits).map(identity)
}

/// The credential for tools that hold the key of a certificate.
pub(super) fn by_certificate(settings: &Settings, shown: &Fingerprint) -> Option<Identity> {
    let fits = |credential: &&Credential| match &credential.proof {
        Proof::Certificate(known) => known == shown,
        Proof::Token(_) | Proof::Password(_) | Proof::Scram(_) | Proof::Addresses(_) => false,
    };
    settings.credentials.iter().find(fits).map(identity)
}

/// What is offered to clients. A client takes the strongest mechanism that is offered and does not fall back to another, so
/// SCRAM is offered only when everybody who has a password can use it.
pub(super) fn mechanisms(settings: &Settings) -> &'static [Mechanism] {
    let mut passwords = settings.credentials.iter().filter_map(|credential| match &credential.proof {
        Proof::Token(_) | Proof::Password(_) => Some(false),
        Proof::Scram(_) => Some(true),
        Proof::Certificate(_) | Proof::Addresses(_) => None,
    });
    match passwords.next() {
        Some(true) if passwords.all(|scram| scram) => &[Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256],
        Some(_) | None => &[Mechanism::Plain, Mechanism::Login],
    }
}

/// The verifier of `name`; when it has none, one that looks like it and that nobody's password fits.
pub(super) fn verifier(settings: &Settings, name: &str) -> Verifier {
    let decoy = decoy(&settings.credentials, name);
    match named(settings, name).map(|credential| &credential.proof) {
        Some(Proof::Scram(verifier)) => verifier.clone(),
        Some(Proof::Token(_) | Proof::Password(_) | Proof::Certificate(_) | Proof::Addresses(_)) | None => decoy,
    }
}

/// The secret of decoys follows from the verifiers, which nobody outside knows: a decoy looks the same after a restart,
/// as a true verifier does.
fn decoy(credentials: &[Credential], name: &str) -> Verifier {
    let mut secret = digest::Context::new(&digest::SHA256);
    let mut iterations = None;
    for credential in credentials {
        if let Proof::Scram(verifier) = &credential.proof {
            secret.update(verifier.to_string().as_bytes());
            iterations.get_or_insert(verifier.iterations());
        }
    }
    let iterations = iterations.unwrap_or(NonZeroU32::MIN.saturating_add(ITERATIONS_MIN - 1));
    Verifier::decoy(name, secret.finish().as_ref(), iterations)
}

fn named<'a>(settings: &'a Settings, name: &str) -> Option<&'a Credential> {
    settings.credentials.iter().find(|credential| credential.name.as_str() == name)
}

/// Checks a login. The reply to a wrong name and to a wrong password is the same, and both cost the same.
///
/// # Errors
/// 535 when it is wrong, 454 when it could not be checked.
pub(super) async fn authenticate(settings: &Settings, passwords: &Passwords, login: &Login) -> Result<Identity, Reply> {
    let named = named(settings, &login.name);
    let right = match &login.evidence {
        Evidence::Password(password) => password_fits(settings, named, passwords, &login.name, password).await?,
        Evidence::Scram(proven) => *proven == Proven::Yes && named.is_some_and(has_verifier),
    };
    named.filter(|_| right).map(identity).ok_or_else(answer::not_authenticated)
}

const fn has_verifier(credential: &Credential) -> bool {
    matches!(credential.proof, Proof::Scram(_))
}

async fn password_fits(
    settings: &Settings,
    named: Option<&Credential>,
    passwords: &Passwords,
    name: &str,
    password: &Secret,
) -> Result<bool, Reply> {
    let given = digest::digest(&digest::SHA256, password.expose().as_bytes());
    let nobody = [0; 32];
    let expected = match named.map(|credential| &credential.proof) {
        Some(Proof::Token(hash)) => hash,
        Some(Proof::Password(_) | Proof::Scram(_) | Proof::Addresses(_) | Proof::Certificate(_)) | None => &nobody,
    };
    if constant_time::verify_slices_are_equal(given.as_ref(), expected).is_ok() {
        return Ok(true);
    }
    let checks = checks(&settings.credentials, named, name);
    if checks.argon2.is_none() && checks.scram.is_none() {
        return Ok(false);
    }
    passwords.fits(checks, password).await
}

/// One check of each kind that the configuration has: that of `named`, or another that takes as long.
fn checks(credentials: &[Credential], named: Option<&Credential>, name: &str) -> Checks {
    let mut checks = Checks::default();
    for credential in credentials {
        match &credential.proof {
            Proof::Password(hash) => checks.argon2 = checks.argon2.or_else(|| Some((hash.clone(), Counts::No))),
            Proof::Scram(_) => checks.scram = checks.scram.or_else(|| Some((decoy(credentials, name), Counts::No))),
            Proof::Token(_) | Proof::Certificate(_) | Proof::Addresses(_) => {}
        }
    }
    match named.map(|credential| &credential.proof) {
        Some(Proof::Password(hash)) => checks.argon2 = Some((hash.clone(), Counts::Yes)),
        Some(Proof::Scram(verifier)) => checks.scram = Some((verifier.clone(), Counts::Yes)),
        Some(Proof::Token(_) | Proof::Certificate(_) | Proof::Addresses(_)) | None => {}
    }
    checks
}

/// Whether an identity that was taken some time ago still is one: the configuration may have changed since.
pub(super) fn still_holds(settings: &Settings, identity: &Identity) -> bool {
    settings.credentials.iter().any(|known| known.name == identity.credential && known.stream == identity.stream)
}

fn identity(credential: &Credential) -> Identity {
    Identity { credential: credential.name.clone(), stream: credential.stream.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$";

    fn credential(name: &str, proof: Proof) -> Credential {
        Credential { name: name.parse().unwrap(), stream: "news".parse().unwrap(), proof }
    }

    fn verifier_of(password: &str) -> Verifier {
        Verifier::derive(password, b"saltsaltsalt", NonZeroU32::MIN.saturating_add(4095))
    }

    /// What the checks cost: the parameters of the hash, the iterations of the verifier.
    fn work(checks: &Checks) -> (Option<String>, Option<NonZeroU32>) {
        let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        (
            checks.argon2.as_ref().map(|(hash, _)| parameters(hash)),
            checks.scram.as_ref().map(|(verifier, _)| verifier.iterations()),
        )
    }

    /// A clock would tell less: what takes the time is counted.
    #[test]
    fn au_05_a_wrong_login_costs_the_same_checks_whoever_it_names() {
        let proofs = [
            ("token", Proof::Token([1; 32])),
            ("password", Proof::Password(format!("{HASH}b25l"))),
            ("other", Proof::Password(format!("{HASH}dHdv"))),
            ("scram", Proof::Scram(verifier_of("right"))),
            ("address", Proof::Addresses(Vec::new())),
        ];
        let all: Vec<_> = proofs.map(|(name, proof)| credential(name, proof)).into();
        // Every set of credentials that a configuration may have.
        for set in 0_u32..1 << all.len() {
            let some: Vec<_> = (0..all.len()).filter(|at| set >> at & 1 == 1).map(|at| all[at].clone()).collect();
            let nobody = checks(&some, None, "nobody");
            let [has_hash, has_verifier] = [
                |credential: &Credential| matches!(credential.proof, Proof::Password(_)),
                |credential: &Credential| matches!(credential.proof, Proof::Scram(_)),
            ]
            .map(|kind| some.iter().any(kind));
            assert_eq!((nobody.argon2.is_some(), nobody.scram.is_some()), (has_hash, has_verifier));
            for named in &some {
                let theirs = checks(&some, Some(named), named.name.as_str());
                assert_eq!(work(&theirs), work(&nobody), "{} among {set:b}", named.name);
            }
        }
    }

    #[test]
    fn au_05_only_the_check_of_the_name_counts() {
        let all = [credential("scram", Proof::Scram(verifier_of("right"))), credential("token", Proof::Token([1; 32]))];
        assert!(checks(&all, Some(&all[0]), "scram").run("right"));
        assert!(!checks(&all, Some(&all[0]), "scram").run("wrong"));
        for (named, name) in [(Some(&all[1]), "token"), (None, "nobody")] {
            assert!(!checks(&all, named, name).run("right"), "{name}");
        }
    }
}
