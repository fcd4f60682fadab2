//! SCRAM-SHA-256 as the server speaks it: RFC 5802 with the hash of RFC 7677. Messages in, messages out; nonces and
//! verifiers are arguments.
//!
//! Channel binding (`-PLUS`) is not offered, and a client that asks for it is refused (RFC 5802 section 6).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets of SHA-256.
const HASH: usize = 32;
/// The fewest iterations that are accepted: RFC 7677 section 4.
pub const ITERATIONS_MIN: u32 = 4096;
/// The most. Ours: a client has to do them all at each login, and half a second of that is enough.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Octets of a salt, at least: RFC 5802 asks for a random one; below this it may repeat.
pub const SALT_MIN: usize = 8;
/// And at most.
pub const SALT_MAX: usize = 64;
/// The longest message of a client that is looked at. A name, two nonces and a proof take a tenth of it.
pub const MESSAGE_MAX: usize = 2048;

/// What the server keeps of a password. It proves a client right, and does not let its reader log in with SCRAM.
///
/// Written as `SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY` with base64 in capitals' places, as RFC 5803 has it and
/// databases write it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; HASH],
    server_key: [u8; HASH],
}

/// Why a text is no [`Verifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER, as `consentry keygen password --scram` prints it")]
pub struct VerifierError;

impl Verifier {
    /// Derives the keys of RFC 5802 section 3 from a password.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = [0; HASH];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        let stored_key = hash(&mac(&salted, b"Client Key"));
        Self { iterations, salt: salt.to_vec(), stored_key, server_key: mac(&salted, b"Server Key") }
    }

    /// One that nobody's password fits, for a name that does not exist: RFC 5802 section 9 has the server go on, so that
    /// names cannot be found out. Salt and keys follow from the name, so that they are the same at each try.
    pub fn decoy(name: &str, secret: &[u8], iterations: NonZeroU32) -> Self {
        let derive = |purpose: &[u8]| mac(secret, &[purpose, name.as_bytes()].concat());
        let salt = derive(b"salt ").first_chunk::<16>().map(|salt| salt.to_vec()).unwrap_or_default();
        Self { iterations, salt, stored_key: derive(b"stored "), server_key: derive(b"server ") }
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// [`VerifierError`], which does not show the text.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let octets = |text: &str| STANDARD.decode(text).map_err(|_| VerifierError);
        let key = |text: &str| octets(text)?.try_into().map_err(|_| VerifierError);
        let mut parts = text.split('$');
        let (Some("SCRAM-SHA-256"), Some(first), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifierError);
        };
        let (iterations, salt) = first.split_once(':').ok_or(VerifierError)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError)?;
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| VerifierError)?;
        let salt = octets(salt)?;
        let fits = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations.get())
            && (SALT_MIN..=SALT_MAX).contains(&salt.len());
        if !fits {
            return Err(VerifierError);
        }
        Ok(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }

    /// How often the password is hashed.
    pub const fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether a password that came in clear is the right one. As dear as the iterations are.
    pub fn fits(&self, password: &str) -> bool {
        let given = Self::derive(password, &self.salt, self.iterations);
        constant_time::verify_slices_are_equal(&given.stored_key, &self.stored_key).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |octets: &[u8]| STANDARD.encode(octets);
        let (salt, stored, server) = (text(&self.salt), text(&self.stored_key), text(&self.server_key));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Shows nothing of the keys.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Why an exchange ends. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message that RFC 5802 section 7 does not have, or an extension that is mandatory and unknown.
    Malformed,
    /// It wants to act for somebody else, or asks for channel binding.
    Unsupported,
}

/// The client's first message (RFC 5802 section 7, `client-first-message`).
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who it says it is.
    pub name: String,
    nonce: String,
    /// The header of channel binding, which comes again in its last message.
    header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn parse(message: &str) -> Result<Self, ScramError> {
        if message.len() > MESSAGE_MAX {
            return Err(ScramError::Malformed);
        }
        let (binding, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        let (acting_as, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        match binding {
            // `y`: it could bind, and thinks that we cannot, which is true.
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::Unsupported),
            _ => return Err(ScramError::Malformed),
        }
        let mut parts = bare.split(',');
        let name = parts.next().and_then(|part| part.strip_prefix("n=")).and_then(unescaped);
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).filter(|nonce| is_nonce(nonce));
        let (Some(name), Some(nonce)) = (name, nonce) else { return Err(ScramError::Malformed) };
        match acting_as.strip_prefix("a=").map(unescaped) {
            None if acting_as.is_empty() => {}
            None | Some(None) => return Err(ScramError::Malformed),
            Some(Some(other)) if other == name => {}
            Some(Some(_)) => return Err(ScramError::Unsupported),
        }
        let header = format!("{binding},{acting_as},");
        Ok(Self { name, nonce: nonce.to_owned(), header, bare: bare.to_owned() })
    }

    /// The server's answer to it, with `nonce` as its part of the common one.
    pub fn challenge(self, verifier: Verifier, nonce: &[u8]) -> Exchange {
        let nonce = format!("{}{}", self.nonce, STANDARD.encode(nonce));
        let message = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        Exchange { first: self, verifier, nonce, message }
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Exchange {
    first: ClientFirst,
    verifier: Verifier,
    nonce: String,
    message: String,
}

/// How the proof came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// The client knows the password.
    Yes,
    /// It does not.
    No,
}

impl Exchange {
    /// The server's first message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Who the client says it is.
    pub fn name(&self) -> &str {
        &self.first.name
    }

    /// Checks the client's last message. Gives the outcome, and the message that proves to the client that the server
    /// knows its password too; it is for those alone who have proven theirs.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn finish(&self, message: &str) -> Result<(Proven, String), ScramError> {
        if message.len() > MESSAGE_MAX {
            return Err(ScramError::Malformed);
        }
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(ScramError::Malformed)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        if STANDARD.decode(binding).ok().as_deref() != Some(self.first.header.as_bytes()) || nonce != self.nonce {
            return Err(ScramError::Malformed);
        }
        let proof: [u8; HASH] =
            STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or(ScramError::Malformed)?;
        let said = format!("{},{},{without_proof}", self.first.bare, self.message);
        let signature = mac(&self.verifier.stored_key, said.as_bytes());
        let mut client_key = proof;
        for (octet, mask) in client_key.iter_mut().zip(signature) {
            *octet ^= mask;
        }
        let right = constant_time::verify_slices_are_equal(&hash(&client_key), &self.verifier.stored_key).is_ok();
        let answer = format!("v={}", STANDARD.encode(mac(&self.verifier.server_key, said.as_bytes())));
        Ok((if right { Proven::Yes } else { Proven::No }, answer))
    }
}

/// A `saslname` of RFC 5802 section 7: `,` and `=` are written `=2C` and `=3D`.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        out.push_str(before);
        (out, rest) = match (after.strip_prefix("2C"), after.strip_prefix("3D")) {
            (Some(after), _) => (out + ",", after),
            (None, Some(after)) => (out + "=", after),
            (None, None) => return None,
        };
    }
    out.push_str(rest);
    let sound = !out.is_empty() && !out.contains(char::is_control);
    sound.then_some(out)
}

/// Printable ASCII but the comma.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn mac(key: &[u8], message: &[u8]) -> [u8; HASH] {
    let mut out = [0; HASH];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    out
}

fn hash(octets: &[u8]) -> [u8; HASH] {
    let mut out = [0; HASH];
    out.copy_from_slice(digest::digest(&digest::SHA256, octets).as_ref());
    out
}

#[cfg(test)]
mod tests;
