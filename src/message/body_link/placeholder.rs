//! What a placeholder looks like.

use std::ops::Range;

use memchr::memmem;

/// What all names have in common: one search finds them all.
const CORE: &str = "nsubscribe";
/// Blanks between braces and name; templates have none or one.
const BLANKS_MAX: usize = 4;

/// What stands around a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    /// `{{name}}` or `{{{name}}}`, blanks allowed inside.
    Braces,
    /// `%name%`.
    Percent,
    /// `<%name%>`.
    Tag,
}

/// A name, [`CORE`] left out of it.
struct Alias {
    before: &'static str,
    after: &'static str,
    fence: Fence,
}

const fn alias(before: &'static str, after: &'static str, fence: Fence) -> Alias {
    Alias { before, after, fence }
}

/// `docs/reference/placeholders.md` says whose each is.
const ALIASES: [Alias; 7] = [
    alias("u", "_url", Fence::Braces),
    alias("u", "_url", Fence::Percent),
    alias("asm_group_u", "_raw_url", Fence::Tag),
    alias("amazonSESU", "Url", Fence::Braces),
    alias("pm:u", "", Fence::Braces),
    alias("pm:u", "_url", Fence::Braces),
    alias("posta_u", "_url", Fence::Braces),
];

/// How the characters of a fence are written: as they are, or percent-encoded (RFC 3986 section 2.1), as HTML editors
/// write them into a link's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    AsIs,
    Encoded,
}

impl Written {
    fn text(self, character: char) -> &'static [&'static str] {
        match (self, character) {
            (Self::AsIs, '{') => &["{"],
            (Self::AsIs, '}') => &["}"],
            (Self::AsIs, '<') => &["<"],
            (Self::AsIs, '>') => &[">"],
            (Self::AsIs, '%') => &["%"],
            (Self::AsIs, _) => &[" "],
            (Self::Encoded, '{') => &["%7B", "%7b"],
            (Self::Encoded, '}') => &["%7D", "%7d"],
            (Self::Encoded, '<') => &["%3C", "%3c"],
            (Self::Encoded, '>') => &["%3E", "%3e"],
            (Self::Encoded, '%') => &["%25"],
            (Self::Encoded, _) => &["%20"],
        }
    }

    /// Without the character at its end.
    fn strip_end(self, octets: &[u8], character: char) -> Option<&[u8]> {
        self.text(character).iter().find_map(|text| octets.strip_suffix(text.as_bytes()))
    }

    /// Without the character at its beginning.
    fn strip_start(self, octets: &[u8], character: char) -> Option<&[u8]> {
        self.text(character).iter().find_map(|text| octets.strip_prefix(text.as_bytes()))
    }
}

impl Alias {
    /// The placeholder with this name around the [`CORE`] that stands between `before` and `after`: what is left of
    /// both sides.
    fn around<'a>(&self, before: &'a [u8], after: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let before = before.strip_suffix(self.before.as_bytes())?;
        let after = after.strip_prefix(self.after.as_bytes())?;
        [Written::AsIs, Written::Encoded].into_iter().find_map(|written| match self.fence {
            Fence::Braces => {
                let (before, after) = (blanks_end(written, before), blanks_start(written, after));
                fenced(written, before, after, &['{'; 3], &['}'; 3])
                    .or_else(|| fenced(written, before, after, &['{'; 2], &['}'; 2]))
            }
            Fence::Percent => fenced(written, before, after, &['%'], &['%']),
            Fence::Tag => fenced(written, before, after, &['%', '<'], &['%', '>']),
        })
    }
}

/// Takes a fence off both sides, its characters named from the inside out.
fn fenced<'a>(
    written: Written,
    before: &'a [u8],
    after: &'a [u8],
    opening: &[char],
    closing: &[char],
) -> Option<(&'a [u8], &'a [u8])> {
    let before = opening.iter().try_fold(before, |rest, character| written.strip_end(rest, *character))?;
    let after = closing.iter().try_fold(after, |rest, character| written.strip_start(rest, *character))?;
    Some((before, after))
}

fn blanks_end(written: Written, octets: &[u8]) -> &[u8] {
    (0..BLANKS_MAX).try_fold(octets, |rest, _| written.strip_end(rest, ' ').ok_or(rest)).unwrap_or_else(|rest| rest)
}

fn blanks_start(written: Written, octets: &[u8]) -> &[u8] {
    (0..BLANKS_MAX).try_fold(octets, |rest, _| written.strip_start(rest, ' ').ok_or(rest)).unwrap_or_else(|rest| rest)
}

/// Where placeholders stand, from left to right; no two share an octet.
pub(super) fn find(octets: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in memmem::find_iter(octets, CORE) {
        let from = found.last().map_or(0, |last| last.end);
        let before = octets.get(from..at).unwrap_or_default();
        let after = octets.get(at + CORE.len()..).unwrap_or_default();
        if let Some((before, after)) = ALIASES.iter().find_map(|alias| alias.around(before, after)) {
            found.push(from + before.len()..octets.len() - after.len());
        }
    }
    found
}

/// Whether there is a placeholder in a text.
pub(in crate::message) fn is_in(text: &str) -> bool {
    !find(text.as_bytes()).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text.as_bytes()).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_alias_is_found_as_it_is_written_in_templates() {
        for text in [
            "{{unsubscribe_url}}",
            "{{ unsubscribe_url }}",
            "{{{unsubscribe_url}}}",
            "%unsubscribe_url%",
            "<%asm_group_unsubscribe_raw_url%>",
            "{{amazonSESUnsubscribeUrl}}",
            "{{{ pm:unsubscribe }}}",
            "{{{pm:unsubscribe_url}}}",
            "{{posta_unsubscribe_url}}",
            "%7B%7Bunsubscribe_url%7D%7D",
            "%7b%7b%20unsubscribe_url%20%7d%7d",
            "%25unsubscribe_url%25",
            "%3C%25asm_group_unsubscribe_raw_url%25%3E",
        ] {
            assert_eq!(found(text), [text]);
            assert_eq!(found(&format!("<a href=\"{text}\">x{text}y</a>")), [text, text], "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_not_found() {
        for text in [
            "",
            "unsubscribe_url",
            "{unsubscribe_url}",
            "{{unsubscribe_url}",
            "{{unsubscribe_urls}}",
            "{{xunsubscribe_url}}",
            "{{UNSUBSCRIBE_URL}}",
            "{{unsubscribe}}",
            "%mailing_list_unsubscribe_url%",
            "%25unsubscribe_url%",
            "%unsubscribe_url%25x"[..].trim_end_matches("%25x"),
            "<%asm_group_unsubscribe_url%>",
            "%asm_group_unsubscribe_raw_url%",
            "{{\nunsubscribe_url}}",
        ] {
            assert_eq!(found(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn neighbours_share_nothing() {
        assert_eq!(found("%unsubscribe_url%unsubscribe_url%"), ["%unsubscribe_url%"]);
        assert_eq!(found("{{unsubscribe_url}}{{unsubscribe_url}}").len(), 2);
    }

    #[test]
    fn blanks_are_counted_at_and_past_the_limit() {
        let text = |n: usize| format!("{{{{{0}unsubscribe_url{0}}}}}", " ".repeat(n));
        assert_eq!(found(&text(BLANKS_MAX)).len(), 1);
        assert_eq!(found(&text(BLANKS_MAX + 1)).len(), 0);
    }
}
