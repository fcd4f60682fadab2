//! Tokens: who may come in over the network. Only their hashes are kept.
//!
//! A token is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess. The file is read at each request,
//! which costs some microseconds and makes a revocation count from the next one on.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::reach::{Reach, Right};
use crate::hex;
use crate::mail::ControllerId;
use crate::time::Timestamp;

/// Most tokens that were not revoked: programs that talk to one gateway, with room. Bounds what a request reads.
pub(super) const TOKENS_MAX: usize = 1000;
/// Revoked ones that are kept to be listed; the oldest go first.
const REVOKED_MAX: usize = 1000;
/// Longest name.
const NAME_MAX: usize = 64;
/// What every token begins with, so that scanners of sources find those that were committed by mistake.
const PREFIX: &str = "consentry_";
const SECRET_LEN: usize = 32;
const VERSION: u32 = 1;

/// What a token is called: letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// Reads a name.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"._-".contains(&octet);
        if !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is no name; expected up to {NAME_MAX} letters, digits, dots, dashes and underscores"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TokenName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TokenName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called.
    pub name: TokenName,
    /// Whose facts.
    pub reach: Reach,
    /// What it allows.
    pub rights: Vec<Right>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub by: String,
    /// Since when it opens nothing.
    pub revoked: Option<Timestamp>,
    hash: String,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is called; no other token that is in use has the name.
    pub name: TokenName,
    /// Whose facts.
    pub reach: Reach,
    /// What it allows.
    pub rights: Vec<Right>,
    /// Who makes it.
    pub by: String,
}

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system's.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error("{path}: not a file of tokens: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected.
        why: String,
    },
    /// What was asked for cannot be.
    #[error("{0}")]
    Unfit(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    v: u32,
    tokens: Vec<TokenText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenText {
    name: TokenName,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    controller: Option<String>,
    rights: Vec<String>,
    created: String,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

/// All tokens of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Where they are kept in a data folder.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("tokens.json")
    }

    /// Reads the file; one that is not there has none.
    ///
    /// # Errors
    /// [`TokenError::Io`], [`TokenError::Damaged`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(TokenError::Io { path: path.to_owned(), error }),
        };
        let damaged = |why: String| TokenError::Damaged { path: path.to_owned(), why };
        let file: FileText = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if file.v != VERSION {
            return Err(damaged(format!("version {} is not known", file.v)));
        }
        file.tokens.into_iter().map(TokenText::read).collect::<Result<_, _>>().map(Self).map_err(damaged)
    }

    /// In the order of their making, revoked ones too.
    pub fn all(&self) -> &[Token] {
        &self.0
    }

    /// The token whose secret this is, when it opens anything.
    pub fn find(&self, secret: &str) -> Option<&Token> {
        let hash = hash(secret);
        self.0.iter().find(|token| token.revoked.is_none() && token.hash == hash)
    }

    /// Makes one and keeps its hash. Answers the secret, which nobody can be told a second time.
    ///
    /// # Errors
    /// [`TokenError`]; nothing was made.
    pub fn add(path: &Path, new: &NewToken, now: Timestamp) -> Result<String, TokenError> {
        change(path, |tokens| {
            let used = || tokens.0.iter().filter(|token| token.revoked.is_none());
            if used().any(|token| token.name == new.name) {
                return Err(TokenError::Unfit(format!("a token is named `{}` already; revoke it first", new.name)));
            }
            if used().count() >= TOKENS_MAX {
                return Err(TokenError::Unfit(format!("there are {TOKENS_MAX} tokens; revoke some first")));
            }
            if new.rights.is_empty() {
                return Err(TokenError::Unfit("a token without rights opens nothing; name some".to_owned()));
            }
            let wide = new.rights.iter().find(|right| right.is_gateway_wide() && new.reach != Reach::Gateway);
            if let Some(right) = wide {
                return Err(TokenError::Unfit(format!("`{right}` is for tokens without a controller only")));
            }
            let mut octets = [0; SECRET_LEN];
            aws_lc_rs::rand::fill(&mut octets)
                .map_err(|_| TokenError::Unfit("the system has no randomness".to_owned()))?;
            let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(octets));
            let NewToken { name, reach, rights, by } = new.clone();
            tokens.0.push(Token { name, reach, rights, created: now, by, revoked: None, hash: hash(&secret) });
            Ok(secret)
        })
    }

    /// Takes one back. Answers whether there was one of that name.
    ///
    /// # Errors
    /// [`TokenError`]; it may still open then.
    pub fn revoke(path: &Path, name: &TokenName, now: Timestamp) -> Result<Revoked, TokenError> {
        change(path, |tokens| {
            let found = tokens.0.iter_mut().find(|token| token.revoked.is_none() && token.name == *name);
            let Some(token) = found else { return Ok(Revoked::Unknown) };
            token.revoked = Some(now);
            let revoked = tokens.0.iter().filter(|token| token.revoked.is_some()).count();
            if revoked > REVOKED_MAX
                && let Some(oldest) = tokens.0.iter().position(|token| token.revoked.is_some())
            {
                tokens.0.remove(oldest);
            }
            Ok(Revoked::Now)
        })
    }

    fn text(&self) -> FileText {
        FileText { v: VERSION, tokens: self.0.iter().map(TokenText::of).collect() }
    }
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It opens nothing from now on.
    Now,
    /// No token in use has that name.
    Unknown,
}

impl TokenText {
    fn of(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            sha256: token.hash.clone(),
            controller: token.reach.controller().map(ToString::to_string),
            rights: token.rights.iter().map(ToString::to_string).collect(),
            created: token.created.rfc3339(),
            by: token.by.clone(),
            revoked: token.revoked.map(Timestamp::rfc3339),
        }
    }

    fn read(self) -> Result<Token, String> {
        let reach = match self.controller {
            None => Reach::Gateway,
            Some(name) => Reach::Controller(ControllerId::new(&name).map_err(|error| error.to_string())?),
        };
        Ok(Token {
            name: self.name,
            reach,
            rights: self.rights.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
            created: Timestamp::parse(&self.created)?,
            by: self.by,
            revoked: self.revoked.map(|text| Timestamp::parse(&text)).transpose()?,
            hash: self.sha256,
        })
    }
}

fn hash(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// Reads, changes and replaces the file as a whole, one process at a time.
fn change<T>(path: &Path, change: impl FnOnce(&mut Tokens) -> Result<T, TokenError>) -> Result<T, TokenError> {
    let problem = |error| TokenError::Io { path: path.to_owned(), error };
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).write(true).mode(0o600);
    let lock = open.open(path.with_extension("lock")).map_err(problem)?;
    lock.lock().map_err(problem)?;
    let mut tokens = Tokens::read(path)?;
    let done = change(&mut tokens)?;
    let text = serde_json::to_vec_pretty(&tokens.text()).map_err(|error| problem(error.into()))?;
    let next = path.with_extension("new");
    let written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next);
    written
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&next, path))
        .and_then(|()| std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all())
        .map_err(problem)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn new(name: &str, controller: Option<&str>, rights: &[Right]) -> NewToken {
        let reach = controller.map_or(Reach::Gateway, |name| Reach::Controller(ControllerId::new(name).unwrap()));
        NewToken { name: TokenName::new(name).unwrap(), reach, rights: rights.to_vec(), by: "ann".to_owned() }
    }

    #[test]
    fn a_token_opens_until_it_is_revoked_and_its_secret_is_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = Tokens::file(folder.path());
        assert_eq!(Tokens::read(&path).unwrap(), Tokens::default());
        let secret = Tokens::add(&path, &new("shop", Some("acme"), &[Right::ConsentsWrite]), NOW).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret) && !text.contains(secret.strip_prefix(PREFIX).unwrap()), "{text}");
        let read = Tokens::read(&path).unwrap();
        let token = read.find(&secret).unwrap();
        assert_eq!((token.name.as_str(), token.rights.as_slice()), ("shop", &[Right::ConsentsWrite][..]));
        assert!(read.find(&format!("{secret}A")).is_none() && read.find("").is_none());
        assert_eq!(Tokens::revoke(&path, &token.name, NOW).unwrap(), Revoked::Now);
        assert_eq!(Tokens::revoke(&path, &token.name, NOW).unwrap(), Revoked::Unknown);
        let read = Tokens::read(&path).unwrap();
        assert!(read.find(&secret).is_none());
        assert_eq!(read.all().len(), 1, "it is still listed");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = Tokens::file(folder.path());
        Tokens::add(&path, &new("a", None, Right::ALL), NOW).unwrap();
        for (bad, why) in [
            (new("a", None, &[Right::Events]), "already"),
            (new("b", None, &[]), "without rights"),
            (new("b", Some("acme"), &[Right::QueueRead]), "without a controller"),
        ] {
            let error = Tokens::add(&path, &bad, NOW).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for name in ["", "a b", "é", &"x".repeat(NAME_MAX + 1)] {
            assert!(TokenName::new(name).is_err(), "{name}");
        }
        assert!(TokenName::new(&"x".repeat(NAME_MAX)).is_ok());
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(Tokens::read(&path), Err(TokenError::Damaged { .. })));
    }

    #[test]
    fn there_are_as_many_as_there_may_be_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = Tokens::file(folder.path());
        Tokens::add(&path, &new("0", None, &[Right::Events]), NOW).unwrap();
        let mut tokens = Tokens::read(&path).unwrap();
        let first = tokens.0[0].clone();
        let numbered = |number: usize| Token { name: TokenName::new(&number.to_string()).unwrap(), ..first.clone() };
        tokens.0 = (0..TOKENS_MAX - 1).map(numbered).collect();
        std::fs::write(&path, serde_json::to_vec(&tokens.text()).unwrap()).unwrap();
        Tokens::add(&path, &new("last", None, &[Right::Events]), NOW).unwrap();
        assert!(Tokens::add(&path, &new("more", None, &[Right::Events]), NOW).is_err());
        // Revoked ones make room, and are forgotten past their own bound.
        let mut tokens = Tokens::read(&path).unwrap();
        let gone = Token { revoked: Some(NOW), ..first.clone() };
        tokens.0.splice(0..0, std::iter::repeat_n(gone, REVOKED_MAX));
        std::fs::write(&path, serde_json::to_vec(&tokens.text()).unwrap()).unwrap();
        assert_eq!(Tokens::revoke(&path, &TokenName::new("last").unwrap(), NOW).unwrap(), Revoked::Now);
        assert_eq!(Tokens::read(&path).unwrap().0.len(), REVOKED_MAX + TOKENS_MAX - 1);
        assert!(Tokens::add(&path, &new("more", None, &[Right::Events]), NOW).is_ok());
    }
}
