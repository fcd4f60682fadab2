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
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// What older tools write for RSA: the key without PKCS#8 around it (RFC 8017 appendix A.1.2).
const PEM_BEGIN_RSA: &str = "-----BEGIN RSA PRIVATE KEY-----";
const PEM_END_RSA: &str = "-----END RSA PRIVATE KEY-----";
const PEM_LINE: usize = 64;
/// The library's word for an RSA key of fewer than 2048 bits.
const TOO_SMALL: &str = "TooSmall";

/// Why a key was not accepted. The fault is the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PEM nor DER of a private key.
    #[error("expected an unencrypted RSA or Ed25519 private key, PKCS#8 (`{PEM_BEGIN}`) or PKCS#1")]
    Format,
    /// RFC 8301 section 3.2: signers should use at least 2048 bits. The cryptographic library holds the limit.
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
    /// Reads an unencrypted private key, PKCS#8 or (RSA only) PKCS#1, PEM or DER.
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
        for read in [RsaKeyPair::from_pkcs8, RsaKeyPair::from_der] {
            match read(der) {
                Ok(pair) => return Ok(Self::Rsa(Box::new(pair))),
                Err(rejected) if rejected.to_string() == TOO_SMALL => return Err(KeyError::TooShort),
                Err(_) => {}
            }
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
    let armours = [(PEM_BEGIN, PEM_END), (PEM_BEGIN_RSA, PEM_END_RSA)];
    let (inside, end) =
        armours.iter().find_map(|(begin, end)| text.split_once(begin).map(|(_, inside)| (inside, end)))?;
    let Some((inside, _)) = inside.split_once(end) else { return Some(Err(KeyError::Format)) };
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

    #[test]
    fn rsa_keys_of_older_tools_are_read() {
        /// What PKCS#8 puts before an RSA key of this length.
        const WRAPPING: usize = 26;
        let new = SigningKey::generate(Algorithm::Rsa).unwrap();
        let der = pem_to_der(new.pem.as_bytes()).unwrap().unwrap();
        let pkcs1 = &der[WRAPPING..];
        let pem = format!("{PEM_BEGIN_RSA}\n{}\n{PEM_END_RSA}\n", STANDARD.encode(pkcs1));
        for file in [pkcs1, pem.as_bytes()] {
            assert_eq!(SigningKey::parse(file).unwrap().record().unwrap(), new.record);
        }
    }

    #[test]
    fn a_short_rsa_key_is_named_as_such() {
        let der = STANDARD.decode(SHORT_KEY.concat()).unwrap();
        assert_eq!(SigningKey::parse(&der).err(), Some(KeyError::TooShort));
    }

    /// 1024 bits, made for this test and used nowhere.
    const SHORT_KEY: [&str; 9] = [
        "MIICXAIBAAKBgQDQQP+JosIvgHPChqrpsz7YM85jObu9IqhtnbZC2R4nmWRNI4TZgFRWp/2tiXUB4Wa6xZr0yBeIWIcVCrUndOYH",
        "+grkQDL6Cw00xyyCrDuF6lWWeNIFhBJxBdG4IRM28u/my9B8lkRPudf9oyIvdUVaitYLKr5J/F9xqesAScYvxQIDAQABAoGAPRCi",
        "Hai1Chq/Vu4IFcjyh5EBVsUqELal7qaNOCLUHcZzy867eM+Ra2uNDiK9RZTje6bP3jEB/X//9CKUpgI4JNyMwmyv6tnNiUhMRYKh",
        "LmadU8VNAIt8i8Xivgf9th6coaEZXdfXrJIoBwN8IKJYEfACBfk6NCuZx6Hmw9bzJq0CQQD/OcW3FaMaXd+5ZIPu8RwlA2m/L/3+",
        "+togu53bXyOIS4ehfs5q8GCuKGIdexWLljTB1Ka7bNoIU4M/bdx6TjwTAkEA0OK+d9GWD7SiEV7kBInSwrNFMDzT5HW3SX9KZKqF",
        "2CKXEOo53pNaI8bTHo4zoWRiJN8MtYwBvy/57hZGQBovxwJAeWg68/+X6af0D5WP6O7Ky5SXDfo/YbZkYqO80KiuF1yOdTUD7fzQ",
        "kKfnHEz7j73w9K86bPe3s7Q+P8L72TYz/wJBAL7mWle6jT/xPyRM6mpTYvBZUeQR0zy5cDaVRHHXfdbXVeQ5i4WkeP61WIBWSU04",
        "JpG33y+Tsoz91ZYHeVBgHkUCQDwZhInq0rqdJnXE4LfjsoEjAITi7sX9O+sPUmjOKM2gKED/+aD3lKfN5rJjDJnLy4fecnch65fx",
        "LHwpvjpIkds=",
    ];
}
