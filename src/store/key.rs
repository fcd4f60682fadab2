//! Keyed hashes of addresses and domains, and the secret they are made with.
//!
//! Under GDPR a list of people who must not be written to is itself personal data. Without the key an entry says
//! nothing: it can be neither read nor found by trying addresses (promise P9).

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
/// A key file is 64 hexadecimal digits and perhaps white space; more is not a key file.
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

/// The secret of a store, ready to hash with.
#[derive(Clone)]
pub(super) struct StoreKey(hmac::Key);

/// Says nothing: a secret has no place in a log.
impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

impl StoreKey {
    pub(super) fn new(secret: &[u8; SECRET_LEN]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
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
        let tag = hmac::sign(&self.0, text.as_bytes());
        let mut octets = [0; KEY_LEN];
        for (to, from) in octets.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        AddressKey(octets)
    }
}

/// Reads the key file.
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
    let secret = hex::decode(text.trim()).ok_or_else(|| unfit("not a key; expected 64 hexadecimal digits"))?;
    Ok(StoreKey::new(&secret))
}

/// Makes a new random key file, readable by its owner only and on disk when this returns; never replaces one.
pub(super) fn create(path: &Path) -> Result<StoreKey, StoreError> {
    let mut secret = [0; SECRET_LEN];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| StoreError::KeyUnfit {
        path: path.to_owned(),
        what: "the operating system gave no random octets for a new key".to_owned(),
    })?;
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
