//! Mailgun: `/v3/{domain}/bounces`, `unsubscribes` and `complaints`.

use serde::{Deserialize, Serialize};

use super::{BATCH_MAX, Reach, Shown, Wanted, mailbox};
use crate::mail::ListName;
use crate::policy::Cause;
use crate::time::Timestamp;

/// Entries on a page when none were asked for, and most of them: Mailgun's own figures.
pub const PAGE: usize = 100;
/// Most entries on a page.
pub const PAGE_MAX: usize = 1000;
/// The tag that stands for all of them.
const ALL: &str = "*";
/// A bounce without a code is one of these.
const CODE: &str = "550";

/// Which of its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Dead mailboxes.
    Bounces,
    /// Opt-outs.
    Unsubscribes,
    /// Complaints.
    Complaints,
}

impl Kind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Bounces, Self::Unsubscribes, Self::Complaints];

    /// The word in the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounces => "bounces",
            Self::Unsubscribes => "unsubscribes",
            Self::Complaints => "complaints",
        }
    }

    /// Reads what stands in a path.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Which of our causes it shows.
    pub const fn causes(self) -> &'static [Cause] {
        match self {
            Self::Bounces => &[Cause::HardBounce, Cause::Invalid],
            Self::Unsubscribes => &[Cause::Unsubscribe, Cause::LegalObjection],
            Self::Complaints => &[Cause::Complaint],
        }
    }
}

/// One entry as it is written: in a JSON array, a JSON object or a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Written {
    /// Whose.
    pub address: String,
    /// Of a bounce: `550` or `"550"`.
    #[serde(default, deserialize_with = "code")]
    pub code: Option<String>,
    /// Of a bounce: what was said.
    pub error: Option<String>,
    /// Of an unsubscription: a list, or `*`.
    pub tag: Option<String>,
    /// Of an unsubscription: several of them.
    pub tags: Option<Vec<String>>,
    /// Since when, as in mail.
    pub created_at: Option<String>,
}

fn code<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(input)? {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    })
}

impl Written {
    /// Reads the fields of a form, each by its name; of one that comes twice, `tags` are kept all and others the last.
    pub fn from_form(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut written = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "address" => written.address = value,
                "code" => written.code = Some(value),
                "error" => written.error = Some(value),
                "tag" => written.tag = Some(value),
                "tags" | "tags[]" => written.tags.get_or_insert_default().push(value),
                "created_at" => written.created_at = Some(value),
                _ => {}
            }
        }
        written
    }

    /// What it asks of a list of `kind`: more than one entry for several tags.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn read(&self, kind: Kind) -> Result<Vec<Wanted>, String> {
        let mailbox = mailbox(&self.address)?;
        let since = self.created_at.as_deref().map(instant).transpose()?;
        let wanted = |cause, reach, evidence| Wanted { mailbox: mailbox.clone(), cause, reach, evidence, since };
        match kind {
            Kind::Complaints => Ok(vec![wanted(Cause::Complaint, Reach::Controller, None)]),
            Kind::Bounces => {
                let code = self.code.as_deref().unwrap_or(CODE);
                if !code.starts_with('5') {
                    return Err(format!(
                        "code `{code}`: expected 5yz; a mailbox that failed for now is not suppressed here"
                    ));
                }
                let error = self.error.as_deref().unwrap_or_default();
                let evidence = Some(format!("{code} {error}").trim().to_owned());
                Ok(vec![wanted(Cause::HardBounce, Reach::Controller, evidence)])
            }
            Kind::Unsubscribes => {
                let tags = self.tag.iter().chain(self.tags.iter().flatten());
                let mut reaches = tags.map(|tag| reach(tag)).collect::<Result<Vec<_>, _>>()?;
                if reaches.is_empty() || reaches.contains(&Reach::Controller) {
                    reaches = vec![Reach::Controller];
                }
                Ok(reaches.into_iter().map(|reach| wanted(Cause::Unsubscribe, reach, None)).collect())
            }
        }
    }
}

/// Reads a JSON body: an array, or one object.
///
/// # Errors
/// A sentence naming what was expected.
pub fn read_json(body: &[u8]) -> Result<Vec<Written>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        Many(Vec<Written>),
        One(Box<Written>),
    }
    let body = serde_json::from_slice(body)
        .map_err(|error| format!("expected an object with `address`, or an array of them: {error}"))?;
    let all = match body {
        Body::Many(all) => all,
        Body::One(one) => vec![*one],
    };
    if all.len() > BATCH_MAX {
        return Err(format!("{} entries; expected at most {BATCH_MAX}", all.len()));
    }
    Ok(all)
}

fn reach(tag: &str) -> Result<Reach, String> {
    if tag == ALL {
        return Ok(Reach::Controller);
    }
    ListName::new(tag).map(Reach::List).map_err(|error| format!("tag `{tag}`: {error}"))
}

/// `Wed, 25 Nov 2026 10:00:00 UTC`, or RFC 3339.
fn instant(text: &str) -> Result<Timestamp, String> {
    let zoned = text.trim().replace(" UTC", " +0000").replace(" GMT", " +0000");
    match jiff::fmt::rfc2822::parse(&zoned) {
        Ok(instant) => Ok(Timestamp::from_secs(instant.timestamp().as_second())),
        Err(_) => Timestamp::parse(text).map_err(|_| {
            format!("created_at `{text}`: expected a date as in mail (Wed, 25 Nov 2026 10:00:00 UTC) or RFC 3339")
        }),
    }
}

/// One entry as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    created_at: String,
}

/// An entry of a list of `kind`.
pub fn item(kind: Kind, shown: &Shown<'_>) -> Item {
    let created_at = shown.since.rfc5322().replace("+0000", "UTC");
    let bare = Item { address: shown.address.to_lowercase(), code: None, error: None, tags: None, created_at };
    match kind {
        Kind::Complaints => bare,
        Kind::Unsubscribes => Item { tags: Some(vec![shown.list.map_or(ALL, ListName::as_str).to_owned()]), ..bare },
        Kind::Bounces => {
            let evidence = shown.evidence.unwrap_or_default();
            let first = evidence.split([' ', '-']).next().unwrap_or_default();
            let is_code = first.len() == 3 && first.starts_with('5') && first.bytes().all(|b| b.is_ascii_digit());
            let (code, error) =
                if is_code { (first, evidence.get(3..).unwrap_or_default().trim()) } else { (CODE, evidence) };
            Item { code: Some(code.to_owned()), error: Some(error.to_owned()), ..bare }
        }
    }
}

/// What one address has on a list of `kind`: of several opt-outs one entry with the tags of all.
pub fn merged(kind: Kind, all: &[Shown<'_>]) -> Option<Item> {
    let mut items = all.iter().map(|shown| item(kind, shown));
    let mut first = items.next()?;
    if let Some(tags) = &mut first.tags {
        for tag in items.filter_map(|item| item.tags).flatten() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    Some(first)
}

/// A page of entries with the addresses of its neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The entries.
    pub items: Vec<Item>,
    /// Where the others are.
    pub paging: Paging,
}

/// Addresses of pages. Listings go forward only: `previous` is the first page, and `last` the one behind this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paging {
    /// The first page.
    pub first: String,
    /// The one behind this; behind the last, an empty one.
    pub next: String,
    /// The first page.
    pub previous: String,
    /// As `next`.
    pub last: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> Written {
        let mut all = read_json(body.as_bytes()).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_bounce_is_read_with_its_code_and_words() {
        let written = one(
            r#"{"address":"A@b.example","code":"550","error":"no such user","created_at":"Fri, 21 Oct 2011 11:02:55 UTC"}"#,
        );
        let [wanted] = written.read(Kind::Bounces).unwrap().try_into().unwrap();
        assert_eq!((wanted.cause, wanted.reach), (Cause::HardBounce, Reach::Controller));
        assert_eq!(wanted.evidence.as_deref(), Some("550 no such user"));
        assert_eq!(wanted.since, Some(Timestamp::from_secs(1_319_194_975)));
        assert_eq!(
            one(r#"{"address":"a@b.example","code":511}"#).read(Kind::Bounces).unwrap()[0].evidence.as_deref(),
            Some("511")
        );
        for bad in [r#"{"address":"a@b.example","code":"421"}"#, r#"{"address":"nobody"}"#] {
            assert!(one(bad).read(Kind::Bounces).unwrap_err().contains("expected") || bad.contains("nobody"), "{bad}");
        }
    }

    #[test]
    fn tags_are_lists_and_a_star_is_all_of_them() {
        let of =
            |body: &str| one(body).read(Kind::Unsubscribes).unwrap().into_iter().map(|w| w.reach).collect::<Vec<_>>();
        let list = |name| Reach::List(ListName::new(name).unwrap());
        assert_eq!(of(r#"{"address":"a@b.example"}"#), [Reach::Controller]);
        assert_eq!(of(r#"{"address":"a@b.example","tag":"*"}"#), [Reach::Controller]);
        assert_eq!(of(r#"{"address":"a@b.example","tags":["weekly","offers"]}"#), [list("weekly"), list("offers")]);
        assert_eq!(of(r#"{"address":"a@b.example","tags":["weekly","*"]}"#), [Reach::Controller]);
        assert!(one(r#"{"address":"a@b.example","tag":"no list"}"#).read(Kind::Unsubscribes).is_err());
    }

    #[test]
    fn forms_and_arrays_say_the_same() {
        let form = [("address", "a@b.example"), ("tag", "weekly"), ("other", "x")];
        let form = Written::from_form(form.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(form, one(r#"[{"address":"a@b.example","tag":"weekly"}]"#));
    }

    #[test]
    fn a_batch_ends_at_its_limit() {
        let of = |count: usize| format!("[{}]", vec![r#"{"address":"a@b.example"}"#; count].join(","));
        assert_eq!(read_json(of(BATCH_MAX).as_bytes()).unwrap().len(), BATCH_MAX);
        assert!(read_json(of(BATCH_MAX + 1).as_bytes()).unwrap_err().contains("at most"));
        assert!(read_json(b"{}").is_err() && read_json(b"7").is_err());
    }

    #[test]
    fn entries_are_shown_as_their_kind_asks() {
        let weekly = ListName::new("weekly").unwrap();
        let shown = Shown {
            address: "Ann@b.example",
            list: Some(&weekly),
            cause: Cause::Unsubscribe,
            evidence: Some("550 5.1.1 gone"),
            since: Timestamp::from_secs(0),
            said_by: super::super::SaidBy::Recipient,
        };
        let text = |kind| serde_json::to_string(&item(kind, &shown)).unwrap();
        let end = r#""created_at":"Thu, 01 Jan 1970 00:00:00 UTC"}"#;
        assert_eq!(text(Kind::Unsubscribes), format!(r#"{{"address":"ann@b.example","tags":["weekly"],{end}"#));
        assert_eq!(
            text(Kind::Bounces),
            format!(r#"{{"address":"ann@b.example","code":"550","error":"5.1.1 gone",{end}"#)
        );
        assert_eq!(text(Kind::Complaints), format!(r#"{{"address":"ann@b.example",{end}"#));
        let all = [shown, Shown { list: None, ..shown }, shown];
        let several = serde_json::to_string(&merged(Kind::Unsubscribes, &all).unwrap()).unwrap();
        assert_eq!(several, format!(r#"{{"address":"ann@b.example","tags":["weekly","*"],{end}"#));
        assert_eq!(merged(Kind::Complaints, &all), Some(item(Kind::Complaints, &shown)));
        assert_eq!(merged(Kind::Unsubscribes, &[]), None);
    }
}
