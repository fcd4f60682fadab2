//! List-Unsubscribe and List-Unsubscribe-Post (RFC 2369 section 3.2, RFC 8058).

use super::edit::{Edit, Line, ValueError};
use super::section::HeaderSection;

/// The longest URI that is put into or kept in the field, in octets. It leaves room for the field's name and the
/// angle brackets within the 998 octets of a line; mailbox providers are reported to dislike more than a few hundred.
pub const URI_MAX: usize = 900;
/// How many URIs of the tool are kept beside ours when merging. Clients look at the first one or two.
pub const MERGED_MAX: usize = 4;

pub(super) const FIELD: &str = "List-Unsubscribe";
pub(super) const POST_FIELD: &str = "List-Unsubscribe-Post";
/// RFC 8058 section 3.1: this and nothing else.
const POST_VALUE: &str = "List-Unsubscribe=One-Click";

/// What a URI must be to stand between angle brackets without anybody misreading it. A comma is legal in a URI, but
/// readers that split the field at commas exist, so it has to be percent-encoded.
fn check_uri(text: &str, scheme: &str) -> Result<(), ValueError> {
    if text.len() > URI_MAX {
        return Err(ValueError::TooLong { field: FIELD, max: URI_MAX });
    }
    let right_scheme = text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let plain =
        |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b',' | b'\\' | b'^' | b'`' | b'{'..=b'}');
    if right_scheme && text.len() > scheme.len() && text.bytes().all(plain) {
        return Ok(());
    }
    let expected = "an absolute https: or mailto: URI in percent-encoded ASCII, commas encoded too";
    Err(ValueError::Form { field: FIELD, expected })
}

macro_rules! uris {
    ($($(#[$doc:meta])* $name:ident, $scheme:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// Accepts an absolute URI of this scheme in percent-encoded ASCII, commas encoded too, of at most
            /// [`URI_MAX`] octets.
            ///
            /// # Errors
            /// [`ValueError`] with what was expected.
            pub fn parse(text: impl Into<String>) -> Result<Self, ValueError> {
                let text = text.into();
                check_uri(&text, $scheme).map(|()| Self(text))
            }

            /// The URI.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Shows the scheme only: such a URI names a person, and holding it is enough to unsubscribe them.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!($scheme, "…"))
            }
        }
    )*};
}

uris! {
    /// An `https:` URI that fits into List-Unsubscribe.
    HttpsUri, "https://";
    /// A `mailto:` URI that fits into List-Unsubscribe.
    MailtoUri, "mailto:";
}

/// The two ways out that we offer to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The one-click URI (RFC 8058 section 3.1: exactly one HTTPS URI).
    pub https: HttpsUri,
    /// For clients that only know mail.
    pub mailto: Option<MailtoUri>,
}

/// What to do with a List-Unsubscribe that the campaign tool has set already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExistingUnsubscribe {
    /// Remove it and put ours. Its one-click URI is reported, so that the tool can be told.
    #[default]
    Replace,
    /// Leave a usable one (one field, exactly one https URI, readable) untouched and only add a missing
    /// List-Unsubscribe-Post; treat any other like [`Self::Replace`].
    Keep,
    /// Put ours first, then the tool's `mailto:` URIs, up to [`MERGED_MAX`]. Its https URIs are left out, since
    /// RFC 8058 wants exactly one, and reported.
    Merge,
    /// Refuse the message.
    Refuse,
}

/// What the tool had set and no longer leaves with the message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Displaced {
    /// The tool's own one-click URI: it had both fields, and this was its first https URI.
    pub one_click: Option<HttpsUri>,
    /// All https URIs of the tool, the one above included, in order.
    pub https: Vec<HttpsUri>,
}

/// Why no unsubscribe fields could be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnsubscribeError {
    #[error("the message has a List-Unsubscribe already")]
    Present,
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// The tool's own fields, as far as they can be read.
#[derive(Debug, Default)]
struct Existing {
    fields: usize,
    posts: usize,
    is_one_click: bool,
    is_clean: bool,
    https: Vec<HttpsUri>,
    mailto: Vec<MailtoUri>,
}

impl Existing {
    fn read(section: &HeaderSection) -> Self {
        let mut found = Self { is_clean: true, ..Self::default() };
        for field in section.fields(FIELD) {
            found.fields += 1;
            found.read_uris(&field.unfolded());
        }
        for field in section.fields(POST_FIELD) {
            found.posts += 1;
            found.is_one_click = field.unfolded().eq_ignore_ascii_case(POST_VALUE.as_bytes());
        }
        found
    }

    /// RFC 2369 section 2: URIs stand between angle brackets, white space inside them is to be ignored.
    fn read_uris(&mut self, value: &[u8]) {
        let mut rest = value;
        while let Some(open) = memchr::memchr(b'<', rest) {
            self.is_clean &= is_between(rest.get(..open).unwrap_or_default());
            let inner = rest.get(open + 1..).unwrap_or_default();
            let Some(close) = memchr::memchr(b'>', inner) else { break };
            let written = inner.get(..close).unwrap_or_default();
            let uri: Vec<u8> = written.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            self.is_clean &= uri.len() == written.len();
            self.keep_uri(&String::from_utf8(uri).unwrap_or_default());
            rest = inner.get(close + 1..).unwrap_or_default();
        }
        self.is_clean &= is_between(rest);
    }

    fn keep_uri(&mut self, uri: &str) {
        if let Ok(https) = HttpsUri::parse(uri) {
            if !self.https.contains(&https) {
                self.https.push(https);
            }
        } else if let Ok(mailto) = MailtoUri::parse(uri) {
            if !self.mailto.contains(&mailto) {
                self.mailto.push(mailto);
            }
        } else {
            self.is_clean = false;
        }
    }

    fn is_usable(&self) -> bool {
        self.fields == 1 && self.is_clean && self.https.len() == 1
    }

    fn displaced(self) -> Displaced {
        let had_one_click = self.posts > 0 && self.is_one_click;
        Displaced { one_click: self.https.first().filter(|_| had_one_click).cloned(), https: self.https }
    }
}

/// Whether nothing but separators stands between two URIs: no comment, no encoded word, no half of a URI.
fn is_between(octets: &[u8]) -> bool {
    octets.iter().all(|b| matches!(b, b' ' | b'\t' | b','))
}

/// Makes the section leave with exactly one of each of the two fields.
///
/// # Errors
/// [`UnsubscribeError`] when one is there and must not be, or when a URI does not fit on a line.
pub(super) fn apply(
    edit: &mut Edit<'_>,
    links: &Links,
    rule: ExistingUnsubscribe,
) -> Result<Displaced, UnsubscribeError> {
    let existing = Existing::read(edit.section());
    let present = existing.fields + existing.posts > 0;
    match rule {
        ExistingUnsubscribe::Refuse if present => return Err(UnsubscribeError::Present),
        ExistingUnsubscribe::Keep if existing.is_usable() => {
            if existing.posts != 1 || !existing.is_one_click {
                edit.remove(|field| field.is(POST_FIELD));
                edit.put_end(Line::new(POST_FIELD).word(POST_VALUE)?);
            }
            return Ok(Displaced::default());
        }
        ExistingUnsubscribe::Replace
        | ExistingUnsubscribe::Keep
        | ExistingUnsubscribe::Merge
        | ExistingUnsubscribe::Refuse => {}
    }
    let merged: &[MailtoUri] = if rule == ExistingUnsubscribe::Merge { &existing.mailto } else { &[] };
    let line = field_line(links, merged)?;
    edit.remove(|field| field.is(FIELD) || field.is(POST_FIELD));
    edit.put_end(line);
    edit.put_end(Line::new(POST_FIELD).word(POST_VALUE)?);
    Ok(existing.displaced())
}

/// `<https…>,` CRLF SP `<mailto…>`: folded only between URIs, since clients do not unfold inside them.
fn field_line(links: &Links, merged: &[MailtoUri]) -> Result<Line, ValueError> {
    let others = merged.iter().filter(|uri| links.mailto.as_ref() != Some(*uri)).take(MERGED_MAX);
    let uris: Vec<&str> = std::iter::once(links.https.as_str())
        .chain(links.mailto.as_ref().map(MailtoUri::as_str))
        .chain(others.map(MailtoUri::as_str))
        .collect();
    let last = uris.len().saturating_sub(1);
    uris.iter().enumerate().try_fold(Line::new(FIELD), |line, (index, uri)| {
        line.folded(&if index == last { format!("<{uri}>") } else { format!("<{uri}>,") })
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn links() -> Links {
        let mailto = MailtoUri::parse("mailto:u@gw.example?subject=t0ken").unwrap();
        Links { https: HttpsUri::parse("https://gw.example/u/t0ken").unwrap(), mailto: Some(mailto) }
    }

    fn run(head: &str, rule: ExistingUnsubscribe) -> Result<(String, Displaced), UnsubscribeError> {
        let section = HeaderSection::parse(Bytes::from(format!("From: a\r\n{head}\r\n"))).unwrap();
        let mut edit = Edit::new(&section);
        let displaced = apply(&mut edit, &links(), rule)?;
        let text = String::from_utf8(edit.write().to_vec()).unwrap();
        Ok((text.strip_prefix("From: a\r\n").unwrap().to_owned(), displaced))
    }

    const OURS: &str = "List-Unsubscribe: <https://gw.example/u/t0ken>,\r\n <mailto:u@gw.example?subject=t0ken>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n";
    const THEIRS: &str = "list-unsubscribe: <mailto:x@t.example>, <https://t.example/1>\r\n";
    const POST: &str = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";

    fn https(text: &str) -> HttpsUri {
        HttpsUri::parse(text).unwrap()
    }

    #[test]
    fn without_any_ours_are_added_whatever_the_rule() {
        use ExistingUnsubscribe::{Keep, Merge, Refuse, Replace};
        for rule in [Replace, Keep, Merge, Refuse] {
            assert_eq!(run("", rule), Ok((OURS.to_owned(), Displaced::default())), "{rule:?}");
        }
    }

    #[test]
    fn replace_removes_all_of_theirs_and_reports_the_one_click_uri() {
        let twice = format!("{THEIRS}{POST}List-Unsubscribe: <https://t.example/2>\r\n{POST}");
        let (text, displaced) = run(&twice, ExistingUnsubscribe::Replace).unwrap();
        assert_eq!(text, OURS);
        assert_eq!(displaced.one_click, Some(https("https://t.example/1")));
        assert_eq!(displaced.https, [https("https://t.example/1"), https("https://t.example/2")]);
        let (_, displaced) = run(THEIRS, ExistingUnsubscribe::Replace).unwrap();
        assert_eq!(displaced.one_click, None);
    }

    #[test]
    fn keep_leaves_a_usable_field_untouched_and_completes_it() {
        let (text, displaced) = run(THEIRS, ExistingUnsubscribe::Keep).unwrap();
        assert_eq!((text, displaced), (format!("{THEIRS}{POST}\r\n"), Displaced::default()));
        let whole = format!("{THEIRS}{POST}");
        assert_eq!(run(&whole, ExistingUnsubscribe::Keep).unwrap().0, format!("{whole}\r\n"));
        let wrong = format!("{THEIRS}List-Unsubscribe-Post: yes\r\n");
        assert_eq!(run(&wrong, ExistingUnsubscribe::Keep).unwrap().0, format!("{THEIRS}{POST}\r\n"));
    }

    #[test]
    fn keep_replaces_what_is_not_usable() {
        for unusable in [
            "List-Unsubscribe: <mailto:x@t.example>\r\n",
            "List-Unsubscribe: <http://t.example/1>\r\n",
            "List-Unsubscribe: <https://t.example/1>, <https://t.example/2>\r\n",
            "List-Unsubscribe: <https://t.example/\r\n 1>\r\n",
            "List-Unsubscribe: https://t.example/1\r\n",
            "List-Unsubscribe: <https://t.example/1>, <javascript:x>\r\n",
            "List-Unsubscribe: <https://t.example/1\r\n",
            "List-Unsubscribe: =?utf-8?Q?=3Chttps://t.example/1=3E?=\r\n",
            "List-Unsubscribe: <https://t.example/1>\r\nList-Unsubscribe: <mailto:x@t.example>\r\n",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        ] {
            assert_eq!(run(unusable, ExistingUnsubscribe::Keep).unwrap().0, OURS, "{unusable}");
        }
    }

    #[test]
    fn merge_keeps_their_mailto_behind_ours_and_drops_their_https() {
        let theirs = format!(
            "{THEIRS}{POST}List-Unsubscribe: <mailto:x@t.example>, <ftp://t.example>,\r\n <mailto:y@t.example>\r\n"
        );
        let (text, displaced) = run(&theirs, ExistingUnsubscribe::Merge).unwrap();
        assert_eq!(
            text,
            format!(
                "List-Unsubscribe: <https://gw.example/u/t0ken>,\r\n <mailto:u@gw.example?subject=t0ken>,\r\n <mailto:x@t.example>,\r\n <mailto:y@t.example>\r\n{POST}\r\n"
            )
        );
        assert_eq!(displaced.one_click, Some(https("https://t.example/1")));
    }

    #[test]
    fn merge_is_bounded() {
        let field = |i: usize| format!("List-Unsubscribe: <mailto:{i}@t.example>\r\n");
        let many = |n: usize| (0..n).map(field).collect::<Vec<_>>().concat();
        for (given, kept) in [(MERGED_MAX, MERGED_MAX), (MERGED_MAX + 1, MERGED_MAX)] {
            let (text, _) = run(&many(given), ExistingUnsubscribe::Merge).unwrap();
            assert_eq!(text.matches("@t.example").count(), kept);
        }
        let own = "List-Unsubscribe: <mailto:u@gw.example?subject=t0ken>\r\n";
        assert_eq!(run(own, ExistingUnsubscribe::Merge).unwrap().0, OURS);
    }

    #[test]
    fn refuse_refuses_either_field() {
        for head in [THEIRS, POST] {
            assert_eq!(run(head, ExistingUnsubscribe::Refuse), Err(UnsubscribeError::Present));
        }
    }

    #[test]
    fn uris_cannot_break_out_of_their_brackets() {
        for bad in [
            "https://x/a>\r\n Bcc: v",
            "https://x/,<https://evil>",
            "https://x/a b",
            "https://x/a,b",
            "https://x/é",
            "http://x/",
            "https://",
            "mailto:a@b",
            "https:x",
            "https://x/\u{7f}",
        ] {
            assert!(HttpsUri::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MailtoUri::parse("mailto:a@b?subject=x\r\n").is_err());
    }

    #[test]
    fn uris_are_checked_at_and_past_the_limit_and_the_longest_fits_on_a_line() {
        let uri = |n: usize| format!("https://x/{}", "a".repeat(n - 10));
        assert!(HttpsUri::parse(uri(URI_MAX + 1)).is_err());
        let links = Links { https: HttpsUri::parse(uri(URI_MAX)).unwrap(), mailto: None };
        assert!(field_line(&links, &[]).is_ok());
    }
}
