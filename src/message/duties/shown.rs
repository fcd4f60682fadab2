//! What a person sees of a part, as words that can be compared, and the ways to click or write from there.

use memchr::{memchr2, memmem};

use super::Expected;
use super::phrases;

/// How far, in octets of folded words, a phrase of leaving may stand from the link or address it speaks of: two or
/// three sentences. Every campaign has links; one at the other end of the message is not meant by the phrase.
pub(super) const NEAR_MAX: usize = 400;

/// The visible words of a part: lower case, one blank between, before and behind them, nothing but letters and digits.
/// White space, punctuation and mark-up are no difference then.
pub(super) struct Shown<'a> {
    expect: &'a Expected,
    words: String,
    /// Where in `words` links and addresses stand, in rising order.
    links: Vec<usize>,
    /// A way out that needs no phrase: of our own or filled in later.
    pub(super) own_way_out: bool,
    /// Pictures that can be seen.
    pub(super) images: usize,
    /// An individual open pixel was found.
    pub(super) pixel: bool,
    /// More than may be looked at.
    pub(super) cut: bool,
}

/// Which kinds of phrase stand in a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent kinds of phrase, each there or not")]
pub(super) struct Said {
    pub(super) leaving: bool,
    pub(super) advertising: bool,
    pub(super) source: bool,
    pub(super) objection: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(expect: &'a Expected, capacity: usize) -> Self {
        let mut words = String::with_capacity(capacity + 2);
        words.push(' ');
        Self { expect, words, links: Vec::new(), own_way_out: false, images: 0, pixel: false, cut: false }
    }

    /// A plain text.
    pub(super) fn of_text(expect: &'a Expected, text: &str) -> Self {
        let mut shown = Self::new(expect, text.len());
        shown.text(text);
        shown.space();
        shown
    }

    /// How many octets of words there are.
    pub(super) const fn len(&self) -> usize {
        self.words.len()
    }

    /// What was seen.
    #[cfg(test)]
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Whether an address is a way out of our own, or becomes one.
    pub(super) fn is_own_way_out(&self, url: &str) -> bool {
        self.expect.is_way_out(url) || self.expect.has_placeholder(url)
    }

    /// Whether there is nothing to see.
    pub(super) fn is_blank(&self) -> bool {
        self.images == 0 && !self.own_way_out && self.words.trim_ascii().is_empty()
    }

    /// Adds characters that a person sees.
    pub(super) fn text(&mut self, run: &str) {
        self.own_way_out |= self.expect.has_placeholder(run);
        let mut from = 0;
        let mut search = 0;
        while let Some(found) = run.as_bytes().get(search..).and_then(|rest| memchr2(b':', b'@', rest)) {
            let at = search + found;
            if let Some(start) = way_at(run, at) {
                fold(run.get(from..start).unwrap_or_default(), &mut self.words);
                from = from.max(start);
                let url = run.get(start..).unwrap_or_default();
                self.own_way_out |= self.expect.is_way_out(url);
                self.link(self.words.len());
            }
            search = at + 1;
        }
        fold(run.get(from..).unwrap_or_default(), &mut self.words);
    }

    /// Ends a word.
    pub(super) fn space(&mut self) {
        if !self.words.ends_with(' ') {
            self.words.push(' ');
        }
    }

    /// Notes a link or address at a place in the words.
    pub(super) fn link(&mut self, at: usize) {
        let sorted = self.links.partition_point(|link| *link <= at);
        // A link in a link's text comes before the link is complete; all others come in order.
        self.links.insert(sorted, at);
    }

    /// Whether folded words stand here.
    pub(super) fn contains(&self, folded: &str) -> bool {
        memmem::find(self.words.as_bytes(), folded.as_bytes()).is_some()
    }

    /// Whether one of the names stands here.
    pub(super) fn names_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.contains(name))
    }

    /// Whether a link stands near.
    fn links_near(&self, at: usize) -> bool {
        let next = self.links.partition_point(|link| *link < at);
        let near = |link: Option<&usize>| link.is_some_and(|link| link.abs_diff(at) <= NEAR_MAX);
        near(self.links.get(next)) || near(next.checked_sub(1).and_then(|last| self.links.get(last)))
    }

    /// Goes once over the words.
    pub(super) fn said(&self) -> Said {
        let mut said = Said::default();
        let mut before = 0;
        for (at, b) in self.words.bytes().enumerate() {
            if before == b' ' {
                let rest = self.words.get(at..).unwrap_or_default();
                said.advertising |= starts_one(rest, phrases::advertising(b));
                said.source |= starts_one(rest, phrases::source(b));
                said.objection |= starts_one(rest, phrases::objection(b));
                said.leaving = said.leaving || starts_one(rest, phrases::leaving(b)) && self.links_near(at);
            }
            before = b;
        }
        said
    }
}

fn starts_one(rest: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| rest.starts_with(phrase))
}

/// Where the link or address with the colon or at sign at `at` begins.
fn way_at(run: &str, at: usize) -> Option<usize> {
    let (before, after) = run.split_at_checked(at)?;
    if after.starts_with('@') {
        let local = before.bytes().next_back()?;
        let domain = *after.as_bytes().get(1)?;
        return (local.is_ascii_alphanumeric() && domain.is_ascii_alphanumeric()).then_some(at);
    }
    let scheme = |name: &str| {
        let start = before.len().checked_sub(name.len())?;
        before.get(start..)?.eq_ignore_ascii_case(name).then_some(start)
    };
    if after.starts_with("://") { scheme("https").or_else(|| scheme("http")) } else { scheme("mailto") }
}

/// Adds the words of `text`: lower case, everything but letters and digits as one blank. Characters that no one sees
/// (soft hyphens, joiners) do not part a word.
pub(super) fn fold(text: &str, words: &mut String) {
    let mut blank = words.ends_with(' ');
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            words.push(c.to_ascii_lowercase());
            blank = false;
        } else if c.is_ascii() || !(c.is_alphanumeric() || is_joined(c)) {
            if !blank {
                words.push(' ');
            }
            blank = true;
        } else if !is_unseen(c) {
            words.extend(c.to_lowercase());
            blank = false;
        }
    }
}

/// Words as [`Shown`] has them, between blanks; `None` when there are none.
pub(super) fn folded(text: &str) -> Option<String> {
    let mut words = String::from(" ");
    fold(&super::decode::composed(text.into()), &mut words);
    if !words.ends_with(' ') {
        words.push(' ');
    }
    (words.len() > 1).then_some(words)
}

/// Characters without width.
pub(super) const fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// What belongs to a word without being a letter: marks and characters without width.
const fn is_joined(c: char) -> bool {
    is_unseen(c) || matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::BodyLink;

    fn shown<'a>(expect: &'a Expected, text: &str) -> Shown<'a> {
        Shown::of_text(expect, text)
    }

    #[test]
    fn words_are_folded() {
        let expect = Expected::new();
        for (text, words) in [
            ("Acme, Inc.\r\n  SÀRL", " acme inc sàrl "),
            ("un\u{ad}sub\u{200b}scribe\u{a0}me", " unsubscribe me "),
            ("", " "),
            ("--", " "),
        ] {
            assert_eq!(shown(&expect, text).words, words);
        }
        assert_eq!(folded("Acme"), Some(" acme ".to_owned()));
        assert_eq!(folded(" - "), None);
        assert_eq!(folded("Cafe\u{301}"), folded("CAFÉ"));
    }

    #[test]
    fn links_and_addresses_in_text_are_found() {
        let expect = Expected::new();
        for (text, links) in [
            ("see https://a.example/x or HTTP://b", 2),
            ("mailto:a", 1),
            ("write to a@b.example", 1),
            ("at 10:30 @ home, ftp://x, a:b", 0),
            ("://", 0),
            ("é@é :", 0),
        ] {
            assert_eq!(shown(&expect, text).links.len(), links, "{text}");
        }
    }

    #[test]
    fn leaving_needs_a_phrase_and_a_way_near_to_it() {
        let expect = Expected::new();
        let leaving = |text: &str| shown(&expect, text).said().leaving;
        assert!(leaving("Unsubscribe: https://a.example/"));
        assert!(leaving("https://a.example/unsubscribe?u=1"));
        assert!(leaving("Pour vous désabonner, écrivez à stop@a.example"));
        assert!(leaving("To opt-out write to a@b.example"));
        assert!(leaving("Puede darse de baja en https://a.example/"));
        assert!(!leaving("Temporada baja: https://a.example/"));
        assert!(!leaving("Unsubscribe!"));
        assert!(!leaving("https://a.example/"));
        assert!(!leaving("resubscribe: https://a.example/"));
        // A blank and the letters stand between the two.
        let apart = |n: usize| format!("unsubscribe {} https://a.example/", "x".repeat(n));
        let fill = NEAR_MAX - "unsubscribe  ".len();
        assert!(leaving(&apart(fill)));
        assert!(!leaving(&apart(fill + 1)));
        let behind = |n: usize| format!("a@b {} unsubscribe", "x".repeat(n));
        let fill = NEAR_MAX - " b  ".len();
        assert!(leaving(&behind(fill)));
        assert!(!leaving(&behind(fill + 1)));
    }

    #[test]
    fn own_ways_need_no_phrase() {
        let expect = Expected::new().way_out("https://u.example/u").body_link(BodyLink::Replace);
        assert!(shown(&expect, "stop https://U.example/u/abc").own_way_out);
        assert!(shown(&expect, "stop {{unsubscribe_url}}").own_way_out);
        assert!(!shown(&expect, "stop https://u.example/users https://u.example.evil/u/").own_way_out);
    }
}
