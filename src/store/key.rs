//! Keyed hashes of addresses and domains, and the secret they are made with.
//!
//! Under GDPR a list of people who must not be written to is itself personal data. Without the key an entry says
//! nothing: it can be neither read nor found by trying addresses (promise P9).
//!
//! A key is one secret or several. The first hashes addresses; each further one hashes what the one before it gave. So a
//! store is given a new key without knowing whom its entries are about, all of it at once (ADR 0028), and whoever has only
//! the earlier secrets can try no address any more.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::hmac;

use super::StoreError;
use super::files::sync_folder;
use super::fold;
use crate::hex;
use crate::mail::{Domain, Mailbox};

/// Octets of the secret: as many as SHA-256 gives, RFC 2104 section 3.
const SECRET_LEN: usize = 32;
/// Octets kept of each HMAC-SHA256: 128 bits leave no collision to meet among any number of people, and half the
/// index (RFC 2104 section 5 allows it).
pub(super) const KEY_LEN: usize = 16;
/// Most secrets of one key: each costs one HMAC more for every hash. One a year lasts as long as a store does.
const SECRETS_MAX: usize = 12;
/// A key file is one line of 64 hexadecimal digits for each secret and perhaps white space; more is not a key file.
const KEY_FILE_MAX: u64 = 1024;
/// What the key check is computed over. Changing it would orphan every store.
const KEY_CHECK_TEXT: &str = "consentry store key check v1";

/// HMAC-SHA256 of a canonical spelling, cut to 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey([u8; KEY_LEN]);

impl AddressKey {
    /// The key with these octets, as it was stored or exported.
    pub const fn from_octets(octets: [u8; KEY_LEN]) -> Self {
        Self(octets)
    }

    /// The octets, as they are stored.
    pub const fn octets(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Reads the 32 hexadecimal digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secrets of a store, ready to hash with.
#[derive(Clone)]
pub(super) struct StoreKey {
    first: hmac::Key,
    /// Each hashes what the one before it gave.
    further: Vec<hmac::Key>,
}

/// Says nothing: a secret has no place in a log.
impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

impl StoreKey {
    pub(super) fn new(secret: &[u8; SECRET_LEN]) -> Self {
        Self { first: hmac::Key::new(hmac::HMAC_SHA256, secret), further: Vec::new() }
    }

    /// The key with one more secret on top.
    fn and(mut self, secret: &[u8; SECRET_LEN]) -> Self {
        self.further.push(hmac::Key::new(hmac::HMAC_SHA256, secret));
        self
    }

    /// How many secrets it has.
    pub(super) fn secrets(&self) -> usize {
        1 + self.further.len()
    }

    /// The earliest of the keys that this one went through, itself the last, which has that check: the one that a store
    /// was made with. `None` when the store was made with another.
    pub(super) fn with_check(&self, check: &AddressKey) -> Option<Self> {
        let stages = (0..=self.further.len()).filter_map(|count| self.further.get(..count));
        let mut stages = stages.map(|further| Self { first: self.first.clone(), further: further.to_vec() });
        stages.find(|stage| stage.check() == *check)
    }

    /// What a hash made with `earlier`, one of the keys that this one went through, becomes under this one.
    pub(super) fn raised(&self, earlier: &Self, hash: AddressKey) -> AddressKey {
        self.further.iter().skip(earlier.further.len()).fold(hash, |hash, secret| short(secret, hash.octets()))
    }

    /// The key of the exact spelling. `buffer` is scratch space that callers keep to save an allocation.
    pub(super) fn exact(&self, mailbox: &Mailbox, buffer: &mut String) -> AddressKey {
        buffer.clear();
        buffer.push('e');
        fold::exact(mailbox, buffer);
        self.digest(buffer)
    }

    /// The key of the family spelling.
    pub(super) fn family(&self, mailbox: &Mailbox, buffer: &mut String) -> AddressKey {
        buffer.clear();
        buffer.push('f');
        fold::family(mailbox, buffer);
        self.digest(buffer)
    }

    /// The key of one domain. The leading letter keeps domains and addresses apart whatever they spell.
    pub(super) fn domain(&self, domain: &Domain, buffer: &mut String) -> AddressKey {
        self.suffix(domain.as_str(), buffer)
    }

    /// The keys of a domain and of all domains above it: an entry for `example.org` stops `a.b.example.org` too.
    pub(super) fn domains(&self, domain: &Domain, buffer: &mut String) -> Box<[AddressKey]> {
        let text = domain.as_str();
        if text.starts_with('[') {
            return Box::new([self.suffix(text, buffer)]);
        }
        let dots = text.match_indices('.').filter_map(|(at, _)| text.get(at + 1..));
        std::iter::once(text).chain(dots).map(|suffix| self.suffix(suffix, buffer)).collect()
    }

    /// The key of a hash that a registry published. The leading letter keeps hashes apart from what they hash.
    pub(super) fn published(&self, hash: &str, buffer: &mut String) -> AddressKey {
        buffer.clear();
        buffer.push('h');
        buffer.push_str(hash);
        self.digest(buffer)
    }

    fn suffix(&self, text: &str, buffer: &mut String) -> AddressKey {
        buffer.clear();
        buffer.push('d');
        buffer.push_str(text);
        self.digest(buffer)
    }

    /// What shows later that these octets came from here and are as they were: HMAC-SHA256, cut like all others.
    pub(super) fn seal(&self, octets: &[u8]) -> String {
        self.digest(&format!("s{}", hex::encode(octets))).to_string()
    }

    /// What proves later that this is the key a store was made with, without telling the key.
    pub(super) fn check(&self) -> AddressKey {
        self.digest(KEY_CHECK_TEXT)
    }

    fn digest(&self, text: &str) -> AddressKey {
        let first = short(&self.first, text.as_bytes());
        self.further.iter().fold(first, |hash, secret| short(secret, hash.octets()))
    }
}

fn short(secret: &hmac::Key, octets: &[u8]) -> AddressKey {
    let tag = hmac::sign(secret, octets);
    let mut octets = [0; KEY_LEN];
    for (to, from) in octets.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    AddressKey(octets)
}

/// Reads the key file: the key with all its secrets.
pub(super) fn read(path: &Path) -> Result<StoreKey, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::KeyMissing { path: path.to_owned() });
        }
        Err(e) => return Err(StoreError::io("open the key file", path)(e)),
    };
    let unfit = |what: &str| StoreError::KeyUnfit { path: path.to_owned(), what: what.to_owned() };
    let mode = file.metadata().map_err(StoreError::io("look at the key file", path))?.mode();
    if mode & 0o007 != 0 {
        return Err(unfit("everybody can read the store's key; take the rights of others away (chmod o= FILE)"));
    }
    let mut text = String::new();
    file.take(KEY_FILE_MAX).read_to_string(&mut text).map_err(StoreError::io("read the key file", path))?;
    parse(&text).map_err(|what| unfit(&what))
}

fn parse(text: &str) -> Result<StoreKey, String> {
    let mut key: Option<StoreKey> = None;
    for (number, line) in text.split_ascii_whitespace().enumerate() {
        let secret = hex::decode(line).ok_or("not a key; expected 64 hexadecimal digits on each line")?;
        if number == SECRETS_MAX {
            return Err(format!("more than {SECRETS_MAX} secrets"));
        }
        key = Some(match key {
            None => StoreKey::new(&secret),
            Some(key) => key.and(&secret),
        });
    }
    key.ok_or_else(|| "not a key; expected 64 hexadecimal digits".to_owned())
}

/// Puts one more secret into the key file, behind those that it has, and answers the key with it. The file is replaced as a
/// whole and on disk when this returns; whoever could read it still can.
pub(super) fn extend(path: &Path) -> Result<StoreKey, StoreError> {
    let unfit = |what: String| StoreError::KeyUnfit { path: path.to_owned(), what };
    let key = read(path)?;
    if key.secrets() >= SECRETS_MAX {
        return Err(unfit(format!("it has {SECRETS_MAX} secrets, and each costs time with every question; keep it")));
    }
    let known = std::fs::read_to_string(path).map_err(StoreError::io("read the key file", path))?;
    let mode = std::fs::metadata(path).map_err(StoreError::io("look at the key file", path))?.mode() & 0o770;
    let secret = random(path)?;
    let next = path.with_extension("key-new");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(mode);
    let mut file = options.open(&next).map_err(StoreError::io("write the key file", &next))?;
    file.write_all(format!("{}\n{}\n", known.trim(), hex::encode(&secret)).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&next, path))
        .map_err(StoreError::io("write the key file", path))?;
    super::files::hand_over(path);
    sync_folder(path)?;
    Ok(key.and(&secret))
}

fn random(path: &Path) -> Result<[u8; SECRET_LEN], StoreError> {
    let mut secret = [0; SECRET_LEN];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| StoreError::KeyUnfit {
        path: path.to_owned(),
        what: "the operating system gave no random octets for a new key".to_owned(),
    })?;
    Ok(secret)
}

/// Makes a new random key file, readable by its owner only and on disk when this returns; never replaces one.
pub(super) fn create(path: &Path) -> Result<StoreKey, StoreError> {
    let secret = random(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(StoreError::io("create the key file", path))?;
    file.write_all(format!("{}\n", hex::encode(&secret)).as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(StoreError::io("write the key file", path))?;
    super::files::hand_over(path);
    sync_folder(path)?;
    Ok(StoreKey::new(&secret))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key() -> StoreKey {
        StoreKey::new(&[7; SECRET_LEN])
    }

    #[test]
    fn keys_are_hmac_sha256_cut_short() {
        let mut buffer = String::new();
        let domain = Domain::parse("example.org").unwrap();
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), b"dexample.org");
        assert_eq!(key().domain(&domain, &mut buffer).octets(), &expected.as_ref()[..KEY_LEN]);
    }

    #[test]
    fn a_domain_has_the_keys_of_all_domains_above_it() {
        let mut buffer = String::new();
        let keys = key().domains(&Domain::parse("a.b.example").unwrap(), &mut buffer);
        let each: Vec<_> = ["a.b.example", "b.example", "example"]
            .iter()
            .map(|text| key().domain(&Domain::parse(text).unwrap(), &mut buffer))
            .collect();
        assert_eq!(keys.as_ref(), each.as_slice());
        assert_eq!(key().domains(&Domain::parse("[192.0.2.1]").unwrap(), &mut buffer).len(), 1);
    }

    #[test]
    fn keys_read_back_what_they_write() {
        let check = key().check();
        assert_eq!(AddressKey::parse(&check.to_string()), Some(check));
        assert_eq!(AddressKey::parse(&check.to_string().to_uppercase()), Some(check));
        for bad in ["", "00", "+0000000000000000000000000000000", "é000000000000000000000000000000"] {
            assert_eq!(AddressKey::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_further_secret_hashes_what_the_one_before_gave() {
        let (mut buffer, domain) = (String::new(), Domain::parse("example.org").unwrap());
        let (first, second) = (key(), key().and(&[8; SECRET_LEN]));
        let before = first.domain(&domain, &mut buffer);
        let after = second.domain(&domain, &mut buffer);
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]), before.octets());
        assert_eq!(after.octets(), &expected.as_ref()[..KEY_LEN]);
        assert_eq!(second.raised(&first, before), after);
        assert_eq!(second.raised(&second, after), after);
        assert_eq!(second.with_check(&first.check()).unwrap().secrets(), 1);
        assert_eq!(second.with_check(&second.check()).unwrap().secrets(), 2);
        assert!(first.with_check(&second.check()).is_none());
        // Both secrets are needed: neither alone, nor in the other order, finds anybody.
        for other in [StoreKey::new(&[8; 32]), StoreKey::new(&[8; 32]).and(&[7; 32])] {
            assert_ne!(other.domain(&domain, &mut buffer), after);
            assert!(other.with_check(&second.check()).is_none());
        }
    }

    #[test]
    fn a_key_file_is_extended_up_to_its_bound_and_keeps_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        let made = create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        for secrets in 2..=SECRETS_MAX {
            let key = extend(&path).unwrap();
            assert_eq!((key.secrets(), read(&path).unwrap().check()), (secrets, key.check()));
            assert!(key.with_check(&made.check()).is_some());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(matches!(extend(&path), Err(StoreError::KeyUnfit { .. })));
        let text = std::fs::read_to_string(&path).unwrap() + &"0".repeat(64);
        std::fs::write(&path, text).unwrap();
        assert!(matches!(read(&path), Err(StoreError::KeyUnfit { .. })));
    }

    #[test]
    fn a_key_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        let made = create(&path).unwrap();
        assert_eq!(read(&path).unwrap().check(), made.check());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path), Err(StoreError::Io { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(read(&path), Err(StoreError::KeyUnfit { .. })));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        assert!(matches!(read(&path), Err(StoreError::KeyMissing { .. })));
        for text in [String::new(), "0".repeat(63), "0".repeat(65), "g".repeat(64)] {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read(&path), Err(StoreError::KeyUnfit { .. })), "{text}");
        }
        assert_eq!(format!("{:?}", key()), "StoreKey");
    }
}
