//! Opaque references to a person and a list, for one-click URIs and unsubscribe mail addresses, and to what a person is
//! asked to confirm.
//!
//! **Promise:** a token shows nothing of what it stands for (promise P9) and cannot be made, changed or moved to
//! another person without the key (promise P8). The same subject always gets the same token, so that sending again
//! sends the same links. Tokens of retired keys keep working for as long as the key is kept; none expires (a request to confirm holds its end).
//!
//! **Owns:** the token's form, its keys and their rotation.
//!
//! **Never knows:** URLs, HTTP, mail headers, the store, the clock, randomness.
//!
//! **Standards:** RFC 8058 section 3.1 (opaque, hard to forge), RFC 8452 (AES-GCM-SIV), RFC 5869 (HKDF), RFC 4648
//! section 6 (base 32).
//!
//! A token is base 32 of: version, key id, encrypted subject, 16 octets of tag. Version and key id are authenticated.
//! AES-GCM-SIV with a fixed nonce is deterministic: equal subjects give equal tokens, and that is all it reveals
//! (RFC 8452 section 9). The tag of 128 bits is compared in constant time by the cipher.

mod base32;
pub mod canary;
pub mod confirmation;
mod key;
mod subject;

use std::fmt;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};

use crate::mail::address::MAILBOX_MAX;
use crate::mail::name::NAME_MAX;

pub use key::{KeyError, Keyring, SECRET_LEN, TokenKey};
pub use subject::Subject;

/// The form described above. Another one gets another number; old ones stay readable.
const VERSION: u8 = 1;
/// Version and key id.
const HEAD_LEN: usize = 2;
/// RFC 8452 section 4.
const TAG_LEN: usize = 16;
/// The longest subject: identifier, two names with their lengths, mailbox.
const SUBJECT_MAX: usize = 8 + 2 * (1 + NAME_MAX) + MAILBOX_MAX;
/// The longest token, in characters. A longer text is refused before it is looked at.
pub const TOKEN_MAX: usize = characters(SUBJECT_MAX);

/// The text is not a token of ours. There is one answer for all reasons: more would help a forger only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a link of this gateway")]
pub struct TokenError;

/// The text of a token: a-z and 2-7, at most [`TOKEN_MAX`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows that there is one: whoever holds a token can unsubscribe its person.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Makes the token of `subject` with the current key.
///
/// # Errors
/// [`TokenError`] when the cryptographic library fails; ours, and worth a retry.
pub fn mint(keyring: &Keyring, subject: &Subject) -> Result<Token, TokenError> {
    let mut plain = Vec::with_capacity(SUBJECT_MAX);
    subject.encode(&mut plain);
    seal(keyring, VERSION, &plain)
}

/// What the token stands for. Accepts either case, since some mail systems change it.
///
/// # Errors
/// [`TokenError`] for everything that [`mint`] did not make with a key of this ring.
pub fn redeem(keyring: &Keyring, text: &str) -> Result<Subject, TokenError> {
    Subject::decode(&open(keyring, VERSION, text, SUBJECT_MAX)?).ok_or(TokenError)
}

/// Version and key id stand in clear and are authenticated; the rest is encrypted.
fn seal(keyring: &Keyring, version: u8, plain: &[u8]) -> Result<Token, TokenError> {
    let key = keyring.current();
    let head = [version, key.id()];
    let mut octets = Vec::with_capacity(HEAD_LEN + plain.len() + TAG_LEN);
    octets.extend_from_slice(&head);
    octets.extend_from_slice(plain);
    let sealed = octets.get_mut(HEAD_LEN..).ok_or(TokenError)?;
    let tag = key.cipher().seal_in_place_separate_tag(nonce(), Aad::from(head), sealed).map_err(|_| TokenError)?;
    octets.extend_from_slice(tag.as_ref());
    Ok(Token(base32::encode(&octets)))
}

/// What [`seal`] was given, when it was `version` and at most `max` octets.
fn open(keyring: &Keyring, version: u8, text: &str, max: usize) -> Result<Vec<u8>, TokenError> {
    if text.len() > characters(max) {
        return Err(TokenError);
    }
    let mut octets = base32::decode(text).ok_or(TokenError)?;
    let (head, sealed) = octets.split_first_chunk_mut::<HEAD_LEN>().ok_or(TokenError)?;
    let key = keyring.find(head[1]).filter(|_| head[0] == version).ok_or(TokenError)?;
    let plain = key.cipher().open_in_place(nonce(), Aad::from(*head), sealed).map_err(|_| TokenError)?;
    Ok(plain.to_vec())
}

/// Of a token that holds `plain` octets.
const fn characters(plain: usize) -> usize {
    ((HEAD_LEN + plain + TAG_LEN) * 8).div_ceil(5)
}

/// Always the same: RFC 8452 section 1, the scheme stays safe when a nonce repeats.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::{ControllerId, ListName, Mailbox, QueueId};

    fn key(id: u8, secret: u8) -> TokenKey {
        TokenKey::new(id, &[secret; SECRET_LEN]).unwrap()
    }

    fn ring() -> Keyring {
        Keyring::new(key(1, 1), vec![]).unwrap()
    }

    fn subject(mailbox: &str, list: Option<&str>) -> Subject {
        Subject {
            mailbox: Mailbox::parse(mailbox).unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            list: list.map(|name| ListName::new(name).unwrap()),
            message: QueueId::from_u64(0x0123_4567_89AB_CDEF),
        }
    }

    fn longest() -> Subject {
        let domain = format!("{0}.{0}.{0}.{1}", "d".repeat(63), "e".repeat(60));
        Subject {
            mailbox: Mailbox::parse(&format!("l@{domain}")).unwrap(),
            controller: ControllerId::new(&"c".repeat(NAME_MAX)).unwrap(),
            list: Some(ListName::new(&"n".repeat(NAME_MAX)).unwrap()),
            message: QueueId::from_u64(u64::MAX),
        }
    }

    /// Links in sent mail must work for years: this is what version 1 looks like.
    #[test]
    fn version_1_stays_as_it_is() {
        let token = mint(&ring(), &subject("marie.dupont@exemple.fr", Some("weekly"))).unwrap();
        assert_eq!(token.as_str(), FROZEN);
    }

    const FROZEN: &str =
        "aea5cfz7bk47zgklmqdheukwkyhshaburcvzx2mom6ewuhrla537iwdgxxmaga52gz7ibjwj4nbibn2bguw7jghfxmfuuev6vi";

    #[test]
    fn a_usual_token_is_short_and_shows_nothing() {
        let subject = subject("marie.dupont@exemple.fr", Some("weekly"));
        let token = mint(&ring(), &subject).unwrap();
        assert!(token.as_str().len() <= 130, "{}", token.as_str().len());
        assert_eq!(token, mint(&ring(), &subject).unwrap());
        let octets = base32::decode(token.as_str()).unwrap();
        assert!(!String::from_utf8_lossy(&octets).contains("marie"));
        assert_eq!(redeem(&ring(), &token.as_str().to_uppercase()), Ok(subject));
        assert!(!format!("{token:?}").contains(token.as_str()));
    }

    #[test]
    fn length_is_checked_at_and_past_the_limit() {
        let token = mint(&ring(), &longest()).unwrap();
        assert_eq!(token.as_str().len(), TOKEN_MAX);
        assert_eq!(redeem(&ring(), token.as_str()), Ok(longest()));
        assert_eq!(redeem(&ring(), &"a".repeat(TOKEN_MAX + 1)), Err(TokenError));
    }

    #[test]
    fn every_flipped_bit_cut_and_addition_is_refused() {
        let token = mint(&ring(), &subject("a@b.example", None)).unwrap();
        let octets = base32::decode(token.as_str()).unwrap();
        for bit in 0..octets.len() * 8 {
            let mut forged = octets.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(redeem(&ring(), &base32::encode(&forged)), Err(TokenError), "bit {bit}");
        }
        for length in 0..octets.len() {
            assert_eq!(redeem(&ring(), &base32::encode(&octets[..length])), Err(TokenError), "{length}");
            assert_eq!(redeem(&ring(), &token.as_str()[..length]), Err(TokenError), "{length}");
        }
        for more in ["a", "aa", "7", " ", "="] {
            assert_eq!(redeem(&ring(), &format!("{token}{more}")), Err(TokenError), "{more:?}");
        }
    }

    #[test]
    fn retired_keys_keep_working_and_foreign_ones_never_do() {
        let subject = subject("a@b.example", Some("weekly"));
        let old = mint(&ring(), &subject).unwrap();
        let rotated = Keyring::new(key(2, 2), vec![key(1, 1)]).unwrap();
        assert_eq!(redeem(&rotated, old.as_str()), Ok(subject.clone()));
        let new = mint(&rotated, &subject).unwrap();
        assert_ne!(new, old);
        assert_eq!(redeem(&rotated, new.as_str()), Ok(subject));
        assert_eq!(redeem(&ring(), new.as_str()), Err(TokenError));
        let foreign = Keyring::new(key(1, 9), vec![]).unwrap();
        assert_eq!(redeem(&foreign, old.as_str()), Err(TokenError));
        let renamed = Keyring::new(key(3, 1), vec![]).unwrap();
        assert_eq!(redeem(&renamed, old.as_str()), Err(TokenError));
    }

    /// A later version may use the same keys; this one must not misread it.
    #[test]
    fn another_version_is_refused_even_under_the_right_key() {
        let ring = ring();
        for (version, expected) in [(VERSION, true), (VERSION + 1, false)] {
            let head = [version, ring.current().id()];
            let mut octets = Vec::new();
            subject("a@b.example", None).encode(&mut octets);
            ring.current().cipher().seal_in_place_append_tag(nonce(), Aad::from(head), &mut octets).unwrap();
            let text = base32::encode(&[head.as_slice(), &octets].concat());
            assert_eq!(redeem(&ring, &text).is_ok(), expected, "{version}");
        }
    }

    fn any_subject() -> impl Strategy<Value = Subject> {
        let mailbox =
            "([a-zA-Z0-9+_é]{1,20}(\\.[a-z]{1,9}){0,2}|\"[a-z @\\.]{1,20}\")@[a-z]{1,63}\\.(example|[a-z]{2,30})";
        let list = prop::option::of("[a-zA-Z0-9._-]{1,64}");
        (mailbox, "[a-zA-Z0-9._-]{1,64}", list, any::<u64>()).prop_map(|(mailbox, controller, list, id)| Subject {
            mailbox: Mailbox::parse(&mailbox).unwrap(),
            controller: ControllerId::new(&controller).unwrap(),
            list: list.map(|name| ListName::new(&name).unwrap()),
            message: QueueId::from_u64(id),
        })
    }

    proptest! {
        #[test]
        fn whatever_is_minted_is_redeemed(subject in any_subject()) {
            let token = mint(&ring(), &subject).unwrap();
            prop_assert!(token.as_str().len() <= TOKEN_MAX);
            prop_assert_eq!(redeem(&ring(), token.as_str()), Ok(subject));
        }

        #[test]
        fn different_subjects_have_different_tokens(one in any_subject(), other in any_subject()) {
            let same = mint(&ring(), &one).unwrap() == mint(&ring(), &other).unwrap();
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn nothing_else_is_redeemed(text in "[a-z2-7]{0,200}", free in ".{0,200}") {
            prop_assert_eq!(redeem(&ring(), &text), Err(TokenError));
            prop_assert_eq!(redeem(&ring(), &free), Err(TokenError));
        }
    }
}
