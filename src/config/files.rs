//! Files that the configuration names: keys, made on first use where that is safe.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use crate::hex;
use crate::token::{Keyring, TokenKey};

/// Octets of a generated key.
const KEY_OCTETS: usize = 32;

/// Where `text` points: `credential:NAME` into systemd's credentials directory, anything else relative to `base`.
pub(super) fn resolve(base: &Path, text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("credential:") {
        None => Ok(base.join(text)),
        Some(name) if name.is_empty() || name.contains('/') => Err(format!("`{text}`: expected credential:NAME without a slash")),
        Some(name) => std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|directory| Path::new(&directory).join(name))
            .ok_or_else(|| format!("`{text}`: there is no CREDENTIALS_DIRECTORY; expected to run under systemd with LoadCredential={name}:FILE")),
    }
}

/// The keys of unsubscribe tokens; a first one is made when the file does not exist yet.
///
/// # Errors
/// What is wrong with the file, and what was expected in it.
pub fn keyring(path: &Path) -> Result<Keyring, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let line = format!("1 {}\n", random_hex()?);
            write_secret(path, &line).map_err(|error| format!("{}: {error}", path.display()))?;
            line
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<TokenKey>, String> = lines.map(|line| token_key(path, line)).collect();
    let mut keys = keys?.into_iter();
    let newest = keys.next().ok_or_else(|| format!("{}: expected at least one line `ID HEX`", path.display()))?;
    Keyring::new(newest, keys.collect()).map_err(|error| format!("{}: {error}", path.display()))
}

fn token_key(path: &Path, line: &str) -> Result<TokenKey, String> {
    let expected = || format!("{}: expected `ID HEX`, an id of 0 to 255 and 64 hexadecimal digits", path.display());
    let (id, hex) = line.split_once(' ').ok_or_else(expected)?;
    let id = id.parse::<u8>().map_err(|_| expected())?;
    TokenKey::parse(id, hex.trim()).map_err(|_| expected())
}

/// Where a key lies unless something else is said: the credential of that name when systemd hands one over, else the
/// data folder, where it is made at the first start.
pub(super) fn default_key(credential: &str, data_dir: &Path, file: &str) -> PathBuf {
    let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(|directory| Path::new(&directory).join(credential));
    handed_over.filter(|path| path.exists()).unwrap_or_else(|| data_dir.join(file))
}

fn random_hex() -> Result<String, String> {
    let mut secret = [0; KEY_OCTETS];
    rand::fill(&mut secret).map_err(|_| "the system has no randomness".to_owned())?;
    Ok(hex::encode(&secret))
}

/// Writes a file that only its owner reads, durably, and never over another one.
///
/// # Errors
/// The system's.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
