//! TLS and login of a way out.

use std::path::Path;
use std::sync::Arc;

use crate::delivery::{Assurance, WithoutTlsa};
use crate::smtp::client::{Login, Protection};
use crate::tls::{Protocol, Trust, client_config, unverified_config};

use super::error::Problems;
use super::value::{parsed, word};
use super::{files, mta_sts, v1};

/// What a section says about it.
pub(super) struct Wanted<'a> {
    pub(super) section: &'a str,
    /// Where the section is.
    pub(super) at: usize,
    pub(super) tls: Option<&'a v1::At<String>>,
    pub(super) implicit: bool,
    pub(super) ca_file: Option<&'a v1::At<String>>,
    pub(super) user: Option<&'a v1::At<String>>,
    pub(super) password_file: Option<&'a v1::At<String>>,
    /// Whether every host is this machine.
    pub(super) stays_here: bool,
    /// Where mail goes to the servers of its domains: these may have policies of their own.
    pub(super) policies: Option<&'a v1::MtaSts>,
}

/// What comes of it.
pub(super) struct Secured {
    pub(super) protection: Protection,
    pub(super) login: Option<Arc<Login>>,
    pub(super) assurance: Assurance,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    None,
    Opportunistic,
    Require,
    Verify,
    MtaSts,
    Dane,
    DaneOnly,
}

const LEVELS: [(&str, Level); 7] = [
    ("none", Level::None),
    ("opportunistic", Level::Opportunistic),
    ("require", Level::Require),
    ("verify", Level::Verify),
    ("mta-sts", Level::MtaSts),
    ("dane", Level::Dane),
    ("dane-only", Level::DaneOnly),
];

/// Both are looked at together: a password must not be said to just anybody.
pub(super) fn protection(wanted: &Wanted<'_>, base: &Path, problems: &mut Problems<'_>) -> Option<Secured> {
    let key = |name: &str| format!("{}.{name}", wanted.section);
    let login = login(wanted, base, problems).ok()?;
    let level = match wanted.tls {
        Some(text) => word(problems, &key("tls"), text, &LEVELS)?,
        // Who has a password is met under a name that is proven.
        None if login.is_some() && !wanted.stays_here => Level::Verify,
        None if wanted.implicit => Level::Verify,
        None => Level::Opportunistic,
    };
    let at = wanted.tls.map_or(wanted.at, |text| text.span().start);
    let certain = matches!(level, Level::Require | Level::Verify);
    if login.is_some() && !certain && !wanted.stays_here {
        problems.add(at, &key("tls"), "a password is not said without TLS; expected `require` or `verify`");
    }
    if wanted.implicit && !certain {
        problems.add(
            at,
            &key("implicit_tls"),
            "TLS from the first octet cannot be left out; expected tls = `require` or `verify`",
        );
    }
    if wanted.ca_file.is_some() && level != Level::Verify {
        problems.add(at, &key("ca_file"), "is used with tls = `verify` only");
    }
    let assurance = assurance(wanted, level, base, problems)?;
    let config = match level {
        Level::None => return Some(Secured { protection: Protection::Clear, login, assurance }),
        Level::Opportunistic | Level::Require | Level::MtaSts | Level::Dane | Level::DaneOnly => unverified_config(),
        Level::Verify => {
            let trust = match wanted.ca_file {
                Some(text) => Trust::File(parsed(problems, &key("ca_file"), text, |text| files::resolve(base, text))?),
                None => Trust::System,
            };
            client_config(&trust, Protocol::Smtp)
        }
    };
    let config = problems.take(wanted.ca_file.map_or(at, |text| text.span().start), &key("tls"), config)?;
    let protection = match level {
        Level::None => Protection::Clear,
        Level::Opportunistic | Level::MtaSts | Level::Dane | Level::DaneOnly => Protection::Opportunistic(config),
        Level::Require | Level::Verify if wanted.implicit => Protection::Implicit(config),
        Level::Require | Level::Verify => Protection::StartTls(config),
    };
    Some(Secured { protection, login, assurance })
}

/// What the domains have a say in.
fn assurance(wanted: &Wanted<'_>, level: Level, base: &Path, problems: &mut Problems<'_>) -> Option<Assurance> {
    let key = format!("{}.tls", wanted.section);
    let at = wanted.tls.map_or(wanted.at, |text| text.span().start);
    match (level, wanted.policies) {
        (Level::None | Level::Opportunistic | Level::Require | Level::Verify, _) => Some(Assurance::Route),
        (Level::MtaSts | Level::Dane | Level::DaneOnly, None) => {
            problems.add(at, &key, "is about the mail servers of domains; expected on a route with kind = \"mx\" only");
            None
        }
        (Level::Dane, Some(_)) => Some(Assurance::Dane(WithoutTlsa::ByRoute)),
        (Level::DaneOnly, Some(_)) => Some(Assurance::Dane(WithoutTlsa::Refuse)),
        (Level::MtaSts, Some(policies)) => {
            let trust = mta_sts::trust(policies, base, problems)?;
            problems.take(at, &key, client_config(&trust, Protocol::Smtp)).map(Assurance::MtaSts)
        }
    }
}

/// What is wrong has been noted.
struct Noted;

fn login(wanted: &Wanted<'_>, base: &Path, problems: &mut Problems<'_>) -> Result<Option<Arc<Login>>, Noted> {
    let key = format!("{}.password_file", wanted.section);
    match (wanted.user, wanted.password_file) {
        (None, None) => Ok(None),
        (Some(user), Some(file)) => {
            let password = parsed(problems, &key, file, |text| password(base, text)).ok_or(Noted)?;
            Ok(Some(Arc::new(Login::new(user.as_ref().clone(), password))))
        }
        (Some(_), None) | (None, Some(_)) => {
            problems.add(wanted.at, &key, "expected user and password_file together");
            Err(Noted)
        }
    }
}

/// The first line of a file: a password has no place in a configuration that is copied, mailed and kept in versions.
fn password(base: &Path, text: &str) -> Result<String, String> {
    let path = files::resolve(base, text)?;
    let content = std::fs::read_to_string(&path).map_err(|error| {
        format!("{}: {error}; expected a file with the password, or credential:NAME", path.display())
    })?;
    let password = content.lines().next().unwrap_or_default();
    if password.is_empty() || password.contains('\0') {
        return Err(format!("{}: expected the password on its first line", path.display()));
    }
    Ok(password.to_owned())
}
