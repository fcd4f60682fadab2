//! Keys of tokens and their rotation.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Octets of a secret. Its entropy is what makes a token impossible to forge.
pub const SECRET_LEN: usize = 32;
/// The longest key text that is looked at, white space included.
const KEY_TEXT_MAX: usize = 256;
/// Separates this use of a secret from every other one; a secret may serve several purposes.
const PURPOSE: &[u8] = b"consentry token v1 subject";

/// Why keys were not accepted. The fault is the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 octets in hexadecimal or base64.
    #[error("expected 32 octets as 64 hexadecimal digits or in base64")]
    Secret,
    /// Two keys with one id: which one made a token could not be told.
    #[error("key id {0} is used twice; expected a new id for each key")]
    RepeatedId(u8),
}

/// One secret under its id. The id is written into each token, so that old tokens find their key after a rotation.
pub struct TokenKey {
    id: u8,
    cipher: LessSafeKey,
}

impl TokenKey {
    /// A key from its secret.
    ///
    /// # Errors
    /// [`KeyError::Secret`] when the cryptographic library refuses it, which it does for no secret of this length.
    pub fn new(id: u8, secret: &[u8; SECRET_LEN]) -> Result<Self, KeyError> {
        let derived = Salt::none(HKDF_SHA256).extract(secret);
        let mut key = [0; SECRET_LEN];
        derived
            .expand(&[PURPOSE], SecretLength)
            .and_then(|okm| okm.fill(&mut key))
            .and_then(|()| UnboundKey::new(&AES_256_GCM_SIV, &key))
            .map(|key| Self { id, cipher: LessSafeKey::new(key) })
            .map_err(|_| KeyError::Secret)
    }

    /// Reads a secret written as 64 hexadecimal digits or in base64 (either alphabet, padded or not); white space
    /// around it is ignored.
    ///
    /// # Errors
    /// [`KeyError::Secret`]; it never shows the text.
    pub fn parse(id: u8, text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.len() > KEY_TEXT_MAX {
            return Err(KeyError::Secret);
        }
        let octets = from_hex(text).or_else(|| from_base64(text)).ok_or(KeyError::Secret)?;
        let secret: [u8; SECRET_LEN] = octets.try_into().map_err(|_| KeyError::Secret)?;
        Self::new(id, &secret)
    }

    /// The id written into tokens.
    pub const fn id(&self) -> u8 {
        self.id
    }

    pub(super) const fn cipher(&self) -> &LessSafeKey {
        &self.cipher
    }
}

/// Shows the id only.
impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

struct SecretLength;

impl KeyType for SecretLength {
    fn len(&self) -> usize {
        SECRET_LEN
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != SECRET_LEN * 2 {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, padding).decode(text).ok())
}

/// The key that makes tokens, and those that made them before. Tokens do not expire: a link in an old mail has to work
/// for as long as someone may click it, so retired keys stay.
#[derive(Debug)]
pub struct Keyring {
    current: TokenKey,
    previous: Vec<TokenKey>,
}

impl Keyring {
    /// A ring whose `current` key makes tokens.
    ///
    /// # Errors
    /// [`KeyError::RepeatedId`].
    pub fn new(current: TokenKey, previous: Vec<TokenKey>) -> Result<Self, KeyError> {
        let mut ids: Vec<u8> = previous.iter().map(TokenKey::id).chain([current.id]).collect();
        ids.sort_unstable();
        match ids.windows(2).find_map(|pair| if let [a, b] = pair { (a == b).then_some(*a) } else { None }) {
            Some(id) => Err(KeyError::RepeatedId(id)),
            None => Ok(Self { current, previous }),
        }
    }

    pub(super) const fn current(&self) -> &TokenKey {
        &self.current
    }

    pub(super) fn find(&self, id: u8) -> Option<&TokenKey> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_in_every_usual_spelling() {
        let hex = "00ff".repeat(16);
        let octets = [0x00, 0xff].repeat(16);
        assert_eq!(from_hex(&hex), Some(octets.clone()));
        assert_eq!(from_hex(&hex.to_uppercase()), Some(octets.clone()));
        for text in ["AP8A_wD_AP8A_wD_AP8A_wD_AP8A_wD_AP8A_wD_AP8", "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8="] {
            assert_eq!(from_base64(text), Some(octets.clone()), "{text}");
            assert!(TokenKey::parse(1, &format!("  {text}\n")).is_ok());
        }
    }

    #[test]
    fn shorter_longer_and_other_secrets_are_refused() {
        for bad in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(66),
            &"g".repeat(64),
            &"A".repeat(42),
            &"A".repeat(KEY_TEXT_MAX + 1),
        ] {
            assert_eq!(TokenKey::parse(1, bad).err(), Some(KeyError::Secret), "{bad}");
        }
    }

    #[test]
    fn an_id_names_one_key() {
        let key = |id| TokenKey::new(id, &[id; SECRET_LEN]).unwrap();
        assert!(Keyring::new(key(1), vec![key(2), key(3)]).is_ok());
        assert_eq!(Keyring::new(key(1), vec![key(2), key(1)]).err(), Some(KeyError::RepeatedId(1)));
        assert_eq!(Keyring::new(key(1), vec![key(2), key(2)]).err(), Some(KeyError::RepeatedId(2)));
    }

    #[test]
    fn debug_forms_show_no_secret() {
        let ring = Keyring::new(TokenKey::new(7, &[0xAB; SECRET_LEN]).unwrap(), vec![]).unwrap();
        assert_eq!(format!("{ring:?}"), "Keyring { current: TokenKey { id: 7, .. }, previous: [] }");
    }
}
