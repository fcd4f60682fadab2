//! Signing keys and their DNS records.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RFC 1035 section 3.3: one string of a TXT record has at most 255 octets.
pub const TXT_STRING_MAX: usize = 255;
/// Key files are a few KiB; nothing longer is looked at.
const KEY_FILE_MAX: usize = 64 * 1024;
/// RFC 8301 section 3.2: signers should use at least 2048 bits.
const RSA_MODULUS_MIN: usize = 2048 / 8;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
const PEM_LINE: usize = 64;

/// Why a key was not accepted. The fault is the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor DER of a PKCS#8 private key.
    #[error("expected an unencrypted PKCS#8 private key (`{PEM_BEGIN}`), RSA or Ed25519")]
    Format,
    /// RFC 8301.
    #[error("RSA key too short; expected at least 2048 bits")]
    TooShort,
    /// The cryptographic library failed. Ours.
    #[error("the key could not be made")]
    Generate,
}

/// The two algorithms of DKIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `rsa-sha256`, understood everywhere.
    Rsa,
    /// `ed25519-sha256` (RFC 8463), smaller and faster, not understood everywhere yet.
    Ed25519,
}

impl Algorithm {
    /// The value of `a=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-sha256",
            Self::Ed25519 => "ed25519-sha256",
        }
    }
}

/// A private key.
pub enum SigningKey {
    /// For `rsa-sha256`, 2048 bits or more.
    Rsa(Box<RsaKeyPair>),
    /// For `ed25519-sha256`.
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 private key, PEM or DER.
    ///
    /// # Errors
    /// [`KeyError`] with what was expected; it never shows the key.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        if file.len() > KEY_FILE_MAX {
            return Err(KeyError::Format);
        }
        match pem_to_der(file) {
            Some(der) => Self::from_der(&der?),
            None => Self::from_der(file),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
            let is_long = pair.public_modulus_len() >= RSA_MODULUS_MIN;
            return if is_long { Ok(Self::Rsa(Box::new(pair))) } else { Err(KeyError::TooShort) };
        }
        // OpenSSL writes Ed25519 keys without their public half, which the stricter reader asks for.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Format)?;
        Ok(Self::Ed25519(Box::new(pair)))
    }

    /// Makes a new key: RSA with 2048 bits (longer ones do not fit into every DNS answer), or Ed25519.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<GeneratedKey, KeyError> {
        let (key, der) = match algorithm {
            Algorithm::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generate)?;
                let der = der.as_ref().to_vec();
                (Self::Rsa(Box::new(pair)), der)
            }
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
                let der = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?.as_ref().to_vec();
                (Self::Ed25519(Box::new(pair)), der)
            }
        };
        Ok(GeneratedKey { record: key.record()?, pem: der_to_pem(&der), key })
    }

    /// Which algorithm it is for.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::Rsa,
            Self::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The DNS record with the public half (RFC 6376 section 3.6.1, RFC 8463 section 4.2).
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the cryptographic library fails.
    pub fn record(&self) -> Result<TxtRecord, KeyError> {
        let (kind, public) = match self {
            Self::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyError::Generate)?;
                ("rsa", STANDARD.encode(der.as_ref()))
            }
            Self::Ed25519(pair) => ("ed25519", STANDARD.encode(pair.public_key().as_ref())),
        };
        Ok(TxtRecord(format!("v=DKIM1; k={kind}; p={public}")))
    }

    /// Signs the canonical header data. RFC 8463 section 3: Ed25519 signs the SHA-256 of it, RSA hashes it itself.
    pub(super) fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature).ok()?;
                Some(signature)
            }
            Self::Ed25519(pair) => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
                pair.try_sign(digest.as_ref()).ok().map(|signature| signature.as_ref().to_vec())
            }
        }
    }
}

/// Shows the algorithm only.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.algorithm()).finish()
    }
}

/// A new key with everything that has to be written down.
pub struct GeneratedKey {
    /// Ready to sign.
    pub key: SigningKey,
    /// PKCS#8 PEM, to be kept in a file that only the gateway can read.
    pub pem: String,
    /// To be published.
    pub record: TxtRecord,
}

/// Shows the record only.
impl fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratedKey").field("record", &self.record).finish_non_exhaustive()
    }
}

/// A TXT record for `<selector>._domainkey.<domain>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtRecord(String);

impl TxtRecord {
    /// The whole value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as a zone file has it: `"..." "..."`.
    pub fn zone_text(&self) -> String {
        let quoted: Vec<_> = self.strings().into_iter().map(|string| format!("\"{string}\"")).collect();
        quoted.join(" ")
    }

    /// The value in strings of at most [`TXT_STRING_MAX`] octets, as zone files need it.
    pub fn strings(&self) -> Vec<&str> {
        let mut rest = self.0.as_str();
        let mut strings = Vec::new();
        while let Some((string, tail)) = rest.split_at_checked(TXT_STRING_MAX).filter(|(_, tail)| !tail.is_empty()) {
            strings.push(string);
            rest = tail;
        }
        strings.push(rest);
        strings
    }
}

/// `None` when the file is not PEM at all.
fn pem_to_der(file: &[u8]) -> Option<Result<Vec<u8>, KeyError>> {
    let text = std::str::from_utf8(file).ok()?;
    let (_, inside) = text.split_once(PEM_BEGIN)?;
    let Some((inside, _)) = inside.split_once(PEM_END) else { return Some(Err(KeyError::Format)) };
    let packed: String = inside.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(STANDARD.decode(packed).map_err(|_| KeyError::Format))
}

fn der_to_pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = format!("{PEM_BEGIN}\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at_checked(PEM_LINE).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_reads_back_and_its_record_fits_a_zone_file() {
        for (algorithm, kind) in [(Algorithm::Rsa, "rsa"), (Algorithm::Ed25519, "ed25519")] {
            let new = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::parse(new.pem.as_bytes()).unwrap();
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.record().unwrap(), new.record);
            assert_eq!(again.sign(b"x"), new.key.sign(b"x"));
            assert!(new.record.as_str().starts_with(&format!("v=DKIM1; k={kind}; p=")));
            assert_eq!(new.record.strings().concat(), new.record.as_str());
            assert!(new.record.strings().iter().all(|s| (1..=TXT_STRING_MAX).contains(&s.len())));
            assert!(!format!("{new:?}{again:?}").contains("PRIVATE"));
            let (_, der) = new.pem.split_once(PEM_BEGIN).unwrap();
            let der: String = der.replace(PEM_END, "").split_whitespace().collect();
            assert!(SigningKey::parse(&STANDARD.decode(der).unwrap()).is_ok());
        }
    }

    #[test]
    fn strings_split_at_and_past_the_limit() {
        assert_eq!(TxtRecord("x".repeat(TXT_STRING_MAX)).strings().len(), 1);
        assert_eq!(TxtRecord("x".repeat(TXT_STRING_MAX + 1)).strings().len(), 2);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = vec![b'x'; KEY_FILE_MAX + 1];
        let cases: [&[u8]; 5] = [
            b"",
            b"hello",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n",
            b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
            &long,
        ];
        for bad in cases {
            assert_eq!(SigningKey::parse(bad).err(), Some(KeyError::Format));
        }
    }
}
