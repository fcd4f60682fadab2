//! `consentry keygen`: keys and credentials.

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordHasher;
use aws_lc_rs::{digest, rand};

use crate::hex;
use crate::mail::Domain;
use crate::message::dkim::{Algorithm, SigningKey};
use crate::smtp::Verifier;

use crate::config::write_secret;
use crate::exit::{Exit, Failure};

/// Octets of a random token: it cannot be guessed.
const TOKEN_OCTETS: usize = 32;
/// Octets of a salt: two passwords never share one.
const SALT_OCTETS: usize = 16;
/// How often a password is hashed for SCRAM. A tool does it at each login: some 20 ms, where RFC 7677 asks for 4096 at
/// least.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(65_535);
/// A password longer than this is a mistake, such as a file piped in.
const PASSWORD_MAX: u64 = 1024;

/// What to make.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// A DKIM key: writes the private key (mode 0600) and prints the DNS record to publish.
    Dkim {
        /// The signing domain, aligned with From.
        #[arg(long)]
        domain: String,
        /// The selector; a new one for each key.
        #[arg(long)]
        selector: String,
        /// Kind of key.
        #[arg(long, value_enum, default_value_t = Kind::Rsa)]
        kind: Kind,
        /// Where the private key goes; never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// A random token for a credential, with the hash that goes into the configuration.
    Token,
    /// The hash of a password read from standard input, for a credential.
    Password {
        /// Make a SCRAM-SHA-256 verifier (RFC 7677) instead of an argon2id hash: tools that know SCRAM then never send
        /// the password.
        #[arg(long)]
        scram: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// RSA 2048: what every receiver verifies.
    Rsa,
    /// Ed25519 (RFC 8463): beside RSA, not instead of it.
    Ed25519,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        Command::Dkim { domain, selector, kind, out: file } => dkim(domain, selector, *kind, file, out),
        Command::Token => token(out),
        Command::Password { scram } => {
            let password = read_password()?;
            if *scram { scram_verifier(&password, out) } else { password_hash(&password, out) }
        }
    }
}

fn dkim(domain: &str, selector: &str, kind: Kind, file: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let usage = |what: &str, error: crate::mail::AddressError| Failure::new(Exit::Usage, format!("--{what}: {error}"));
    let domain = Domain::parse(domain).map_err(|error| usage("domain", error))?;
    Domain::parse(selector).map_err(|error| usage("selector", error))?;
    let kind = match kind {
        Kind::Rsa => Algorithm::Rsa,
        Kind::Ed25519 => Algorithm::Ed25519,
    };
    let key = SigningKey::generate(kind).map_err(|error| Failure::new(Exit::Software, error))?;
    write_secret(file, &key.pem).map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))?;
    writeln!(out, "{selector}._domainkey.{domain}. IN TXT {}", key.record.zone_text())?;
    Ok(Exit::Done)
}

fn token(out: &mut dyn Write) -> Result<Exit, Failure> {
    let mut secret = [0; TOKEN_OCTETS];
    rand::fill(&mut secret).map_err(|_| Failure::new(Exit::Software, "the system has no randomness"))?;
    let token = hex::encode(&secret);
    writeln!(out, "password for the tool:   {token}")?;
    writeln!(
        out,
        "line in [[credential]]:  token_sha256 = \"{}\"",
        hex::encode(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
    )?;
    Ok(Exit::Done)
}

fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_MAX + 1).read_to_string(&mut text)?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() || text.len() as u64 > PASSWORD_MAX {
        return Err(Failure::new(
            Exit::Data,
            format!("expected a password of 1 to {PASSWORD_MAX} octets on standard input"),
        ));
    }
    Ok(password)
}

/// RFC 5802 wants SASLprep (RFC 4013), which leaves printable ASCII as it is; beyond it, implementations differ.
fn scram_verifier(password: &str, out: &mut dyn Write) -> Result<Exit, Failure> {
    if !password.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Failure::new(
            Exit::Data,
            "expected a password of printable ASCII: others differ between implementations",
        ));
    }
    let mut salt = [0; SALT_OCTETS];
    rand::fill(&mut salt).map_err(|_| Failure::new(Exit::Software, "the system has no randomness"))?;
    writeln!(out, "scram_sha256 = \"{}\"", Verifier::derive(password, &salt, ITERATIONS))?;
    Ok(Exit::Done)
}

fn password_hash(password: &str, out: &mut dyn Write) -> Result<Exit, Failure> {
    let hash = argon2::Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Failure::new(Exit::Software, error))?;
    writeln!(out, "password_hash = \"{hash}\"")?;
    Ok(Exit::Done)
}
