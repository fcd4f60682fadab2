//! The words of RFC 8461: the record that says that there is a policy (section 3.1), and the policy (section 3.2). Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mail::Domain;

/// The longest time that a policy may ask to be kept: a year (section 3.2).
pub const MAX_AGE: Duration = Duration::from_hours(8766);
/// Letters and digits of an id (section 3.1).
const ID_MAX: usize = 32;

/// Changes when the policy does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyId(String);

/// What to do about a mail server that does not fulfil the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is not delivered to.
    Enforce,
    /// It is delivered to, and reported.
    Testing,
    /// Nothing: the domain has no policy any more.
    None,
}

/// Hosts that a policy names: one, or every host that has one more label (section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    wildcard: bool,
    domain: Domain,
}

/// What a domain asks of those who send to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How strictly.
    pub mode: Mode,
    /// Its mail servers; empty only with [`Mode::None`].
    pub mx: Vec<Pattern>,
    /// How long it may be kept, at most [`MAX_AGE`].
    pub max_age: Duration,
}

/// What was fetched is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It does not say `version: STSv1`.
    #[error("it does not say `version: STSv1`")]
    Version,
    /// Its mode is missing, or none of the three.
    #[error("its mode is not enforce, testing or none")]
    Mode,
    /// Its `max_age` is missing or no number of seconds.
    #[error("its max_age is not a number of seconds")]
    MaxAge,
    /// It names no mail server.
    #[error("it names no mail server")]
    NoHost,
    /// That is no mail server.
    #[error("`{0}` is no host and no pattern for hosts")]
    Host(String),
}

impl PolicyId {
    /// The id in the TXT records below `_mta-sts`. `None` when the domain has no policy, which it also has not when there
    /// are two records or the one is malformed (section 3.1).
    pub fn find(texts: &[String]) -> Option<Self> {
        let mut ours = texts.iter().filter_map(|text| fields_of_version_1(text));
        let (fields, None) = (ours.next()?, ours.next()) else { return None };
        let mut id = None;
        for field in fields.split(';').map(|field| field.trim_matches([' ', '\t'])).filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=')?;
            // Of a field that comes twice the first counts.
            if name == "id" && id.is_none() {
                id = Some(value);
            }
        }
        let id =
            id.filter(|id| (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric()));
        id.map(|id| Self(id.to_owned()))
    }
}

/// What follows `v=STSv1` and its semicolon.
fn fields_of_version_1(text: &str) -> Option<&str> {
    text.strip_prefix("v=STSv1")?.trim_start_matches([' ', '\t']).strip_prefix(';')
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PolicyError> {
        let (wildcard, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let domain = Domain::parse(name).ok().filter(|domain| !domain.is_literal());
        domain.map(|domain| Self { wildcard, domain }).ok_or_else(|| PolicyError::Host(text.to_owned()))
    }

    fn fits(&self, host: &str) -> bool {
        let name = if self.wildcard { host.split_once('.').map(|(_, name)| name) } else { Some(host) };
        name.is_some_and(|name| name.eq_ignore_ascii_case(self.domain.as_str()))
    }

    fn octets(&self) -> usize {
        self.domain.as_str().len() + "*.".len()
    }
}

impl TryFrom<String> for Pattern {
    type Error = PolicyError;
    fn try_from(text: String) -> Result<Self, PolicyError> {
        Self::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        if pattern.wildcard { format!("*.{}", pattern.domain) } else { pattern.domain.to_string() }
    }
}

impl Policy {
    /// Reads `KEY: VALUE` lines. Keys that are not known are for later versions; of those that may stand once, the first
    /// counts (section 3.2).
    ///
    /// # Errors
    /// [`PolicyError`]: the domain's fault.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => mx.push(Pattern::parse(value)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            Some(_) | None => return Err(PolicyError::Mode),
        };
        let seconds = max_age.filter(|text| text.bytes().all(|octet| octet.is_ascii_digit()));
        let seconds = seconds.and_then(|text| text.parse::<u64>().ok()).ok_or(PolicyError::MaxAge)?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::NoHost);
        }
        Ok(Self { mode, mx, max_age: Duration::from_secs(seconds).min(MAX_AGE) })
    }

    /// Whether the policy names this mail server.
    pub fn names(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| pattern.fits(host))
    }

    /// About what it takes to keep it.
    pub(super) fn octets(&self) -> usize {
        self.mx.iter().map(Pattern::octets).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_says_whether_there_is_a_policy() {
        let find = |texts: &[&str]| {
            PolicyId::find(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).map(|id| id.0)
        };
        let longest = format!("v=STSv1; id={}", "a".repeat(ID_MAX));
        for (texts, expected) in [
            (&["v=STSv1; id=20260101T000000;"][..], Some("20260101T000000")),
            (&["v=STSv1;id=1"], Some("1")),
            (&["v=STSv1 ; \t id=a1 ; later=x"], Some("a1")),
            (&["v=STSv1; id=1; id=2"], Some("1")),
            (&["v=spf1 -all", "v=STSv1; id=7;"], Some("7")),
            (&[&longest], Some(longest.rsplit_once('=').unwrap().1)),
            (&["v=STSv1; id=1;", "v=STSv1; id=1;"], None),
            (&["v=STSv1"], None),
            (&["v=STSv1; id="], None),
            (&["v=STSv1; id=a-b"], None),
            (&["v=STSv1; id"], None),
            (&[&format!("{longest}a")], None),
            (&["v=STSv10; id=1"], None),
            (&["V=STSv1; id=1"], None),
            (&[], None),
        ] {
            assert_eq!(find(texts).as_deref(), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_policy_is_read_with_either_line_end_and_with_words_of_a_later_version() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.NET\r\nx-later: 1\r\nnonsense\r\nmax_age: 604800\r\nmode: none\r\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, Duration::from_hours(7 * 24)));
        assert_eq!(Policy::parse(&text.replace('\r', "")).unwrap(), policy);
        for (host, named) in [
            ("mail.example.com", true),
            ("MAIL.example.com", true),
            ("a.mail.example.com", false),
            ("mx1.example.net", true),
            ("example.net", false),
            ("a.b.example.net", false),
            ("xexample.net", false),
            ("", false),
        ] {
            assert_eq!(policy.names(host), named, "{host}");
        }
    }

    #[test]
    fn what_is_no_policy_is_none() {
        let good = "version: STSv1\nmode: testing\nmx: a.example\nmax_age: 1\n";
        assert!(Policy::parse(good).is_ok());
        for (from, to, error) in [
            ("STSv1", "STSv2", PolicyError::Version),
            ("version", "v", PolicyError::Version),
            ("testing", "Testing", PolicyError::Mode),
            ("mode: testing\n", "", PolicyError::Mode),
            ("max_age: 1", "max_age: -1", PolicyError::MaxAge),
            ("max_age: 1", "max_age: +1", PolicyError::MaxAge),
            ("max_age: 1", "max_age:", PolicyError::MaxAge),
            ("mx: a.example\n", "", PolicyError::NoHost),
            ("a.example", "*.*.example", PolicyError::Host("*.*.example".to_owned())),
            ("a.example", "[192.0.2.1]", PolicyError::Host("[192.0.2.1]".to_owned())),
            ("a.example", "", PolicyError::Host(String::new())),
        ] {
            assert_eq!(Policy::parse(&good.replacen(from, to, 1)), Err(error), "{to}");
        }
        assert!(Policy::parse("version: STSv1\nmode: none\nmax_age: 0\n").is_ok());
        let forever = Policy::parse(&good.replace("max_age: 1", "max_age: 99999999999")).unwrap();
        assert_eq!(forever.max_age, MAX_AGE);
    }

    #[test]
    fn a_pattern_survives_being_written_down() {
        let read = |text: &str| serde_json::from_str::<Pattern>(text);
        for text in ["\"*.a.example\"", "\"b.example\""] {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
        }
        assert!(read("\"*.*.x\"").is_err());
    }
}
