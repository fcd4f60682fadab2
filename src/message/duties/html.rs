//! An HTML part as a person sees it: one pass over tags, comments and entities, with no tree and no look back.

use std::borrow::Cow;

use mail_parser::decoders::html::add_html_token;
use memchr::{memchr, memchr2, memmem};

use super::Expected;
use super::looks::{Style, is_individual, is_tiny_length};
use super::shown::Shown;

/// How deep elements may nest. Tables in tables of a campaign come to thirty, a thread of answers to a hundred; the
/// search for what a closing tag closes costs as much as this.
pub(super) const ELEMENTS_MAX: usize = 200;
/// The longest entity, `&` and `;` included; HTML knows none longer that a mail would use.
const ENTITY_MAX: usize = 32;

/// Reads a part.
pub(super) fn read<'e>(expect: &'e Expected, text: &str) -> Shown<'e> {
    let shown = Shown::new(expect, text.len() / 2);
    let mut scan = Scan { text, at: 0, shown, open: Vec::with_capacity(32), anchor: None };
    scan.run();
    scan.close_anchor();
    scan.shown.space();
    scan.shown
}

/// The first letters of an element's name in lower case. Longer names share theirs with none that matters here.
type Name = [u8; 8];

const fn known(name: &[u8]) -> Name {
    let mut short = [0; 8];
    if let Some((to, _)) = short.split_at_mut_checked(name.len()) {
        to.copy_from_slice(name);
    }
    short
}

const A: Name = known(b"a");
const IMG: Name = known(b"img");
const AMP_IMG: Name = known(b"amp-img");
/// Elements without content (HTML Living Standard section 13.1.2).
const VOID: [Name; 14] = [
    known(b"area"),
    known(b"base"),
    known(b"br"),
    known(b"col"),
    known(b"embed"),
    known(b"hr"),
    known(b"img"),
    known(b"input"),
    known(b"link"),
    known(b"meta"),
    known(b"param"),
    known(b"source"),
    known(b"track"),
    known(b"wbr"),
];
/// Elements whose content is not mark-up and is not shown as text of the page.
const RAW: [Name; 5] = [known(b"script"), known(b"style"), known(b"title"), known(b"iframe"), known(b"noembed")];
/// Elements that stand within a word.
const INLINE: [Name; 15] = [
    known(b"a"),
    known(b"abbr"),
    known(b"b"),
    known(b"big"),
    known(b"em"),
    known(b"font"),
    known(b"i"),
    known(b"ins"),
    known(b"mark"),
    known(b"s"),
    known(b"small"),
    known(b"span"),
    known(b"strong"),
    known(b"u"),
    known(b"wbr"),
];
/// Elements that end where the next of their kind begins.
const UNCLOSED: [Name; 8] =
    [known(b"dd"), known(b"dt"), known(b"li"), known(b"option"), known(b"p"), known(b"td"), known(b"th"), known(b"tr")];

#[derive(Clone, Copy, Debug, Default)]
struct Element {
    name: Name,
    /// Hidden itself or within something hidden.
    hidden: bool,
    tiny: bool,
}

#[derive(Default)]
struct Tag<'t> {
    name: Name,
    href: Option<&'t str>,
    src: Option<&'t str>,
    alt: Option<&'t str>,
    style: Style,
    hidden: bool,
    tiny_box: bool,
}

/// A link that is open: where it began, what was seen by then, whether it is a way out of our own.
struct Anchor {
    start: usize,
    images: usize,
    own: bool,
}

struct Scan<'t, 'e> {
    text: &'t str,
    at: usize,
    shown: Shown<'e>,
    open: Vec<Element>,
    anchor: Option<Anchor>,
}

impl<'t> Scan<'t, '_> {
    fn run(&mut self) {
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty() && !self.shown.cut) {
            let length = memchr(b'<', rest.as_bytes()).unwrap_or(rest.len());
            self.visible(rest.get(..length).unwrap_or_default());
            self.at += length;
            let mark = rest.get(length..).unwrap_or_default();
            match mark.as_bytes() {
                [b'<', b'!', b'-', b'-', ..] => {
                    // `<!-->` is a whole comment, so the search begins within the opening.
                    self.skip_behind(mark, 2, b"-->");
                }
                [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => self.closing_tag(mark),
                [b'<', b'/' | b'!' | b'?', ..] => self.skip_behind(mark, 2, b">"),
                [b'<', letter, ..] if letter.is_ascii_alphabetic() => self.opening_tag(),
                [_, ..] => {
                    self.visible("<");
                    self.at += 1;
                }
                [] => {}
            }
        }
    }

    fn skip_behind(&mut self, mark: &str, from: usize, end: &[u8]) {
        let found = mark.as_bytes().get(from..).and_then(|rest| memmem::find(rest, end));
        self.at += found.map_or(mark.len(), |found| from + found + end.len());
    }

    fn outside(&self) -> Element {
        self.open.last().copied().unwrap_or_default()
    }

    /// Adds text that stands here, when it can be seen here.
    fn visible(&mut self, raw: &str) {
        let outside = self.outside();
        if !raw.is_empty() && !outside.hidden && !outside.tiny {
            self.characters(raw);
        }
    }

    fn characters(&mut self, raw: &str) {
        let mut rest = raw;
        while let Some(at) = memchr(b'&', rest.as_bytes()) {
            let (before, entity) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.shown.text(before);
            let (character, length) = decoded(entity);
            self.shown.text(&character);
            rest = entity.get(length..).unwrap_or_default();
        }
        self.shown.text(rest);
    }

    fn closing_tag(&mut self, mark: &str) {
        let name = name_of(mark.get(2..).unwrap_or_default()).0;
        self.skip_behind(mark, 2, b">");
        if name == A {
            self.close_anchor();
        }
        if !INLINE.contains(&name) {
            self.shown.space();
        }
        if let Some(depth) = self.open.iter().rposition(|element| element.name == name) {
            self.open.truncate(depth);
        }
    }

    fn opening_tag(&mut self) {
        let tag = self.tag();
        if !INLINE.contains(&tag.name) {
            self.shown.space();
        }
        if UNCLOSED.contains(&tag.name) && self.outside().name == tag.name {
            self.open.pop();
        }
        let outside = self.outside();
        let hidden = outside.hidden || tag.hidden || tag.style.hidden;
        if tag.name == IMG || tag.name == AMP_IMG {
            self.image(&tag, hidden);
        }
        if RAW.contains(&tag.name) {
            self.skip_raw(tag.name);
        } else if !VOID.contains(&tag.name) {
            if self.open.len() == ELEMENTS_MAX {
                self.shown.cut = true;
                return;
            }
            let tiny = tag.style.tiny.unwrap_or(outside.tiny);
            self.open.push(Element { name: tag.name, hidden, tiny });
            if tag.name == A {
                self.open_anchor(&tag);
            }
        }
    }

    fn image(&mut self, tag: &Tag<'_>, hidden: bool) {
        if hidden || tag.tiny_box || tag.style.tiny_box {
            let source = tag.src.map(attribute);
            self.shown.pixel |= source.is_some_and(|source| is_individual(source.trim()));
            return;
        }
        self.shown.images += 1;
        if let Some(alt) = tag.alt {
            self.shown.space();
            self.characters(alt);
            self.shown.space();
        }
    }

    fn open_anchor(&mut self, tag: &Tag<'_>) {
        self.close_anchor();
        let Some(href) = tag.href.map(attribute) else { return };
        let href = href.trim();
        let own = self.shown.is_own_way_out(href);
        let starts = |scheme: &str| href.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if own || starts("https://") || starts("http://") || starts("mailto:") {
            self.anchor = Some(Anchor { start: self.shown.len(), images: self.shown.images, own });
        }
    }

    /// A link counts when there was something in it to see and to click.
    fn close_anchor(&mut self) {
        let Some(anchor) = self.anchor.take() else { return };
        if self.shown.len() > anchor.start || self.shown.images > anchor.images {
            self.shown.link(anchor.start);
            self.shown.own_way_out |= anchor.own;
        }
    }

    /// Goes behind the closing tag of an element whose content is no mark-up.
    fn skip_raw(&mut self, name: Name) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(at) = memchr(b'<', rest.as_bytes()) else {
                self.at = self.text.len();
                return;
            };
            let mark = rest.get(at..).unwrap_or_default();
            self.at += at;
            if mark.starts_with("</") && name_of(mark.get(2..).unwrap_or_default()).0 == name {
                self.skip_behind(mark, 2, b">");
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the tag at `self.at` and goes behind it.
    fn tag(&mut self) -> Tag<'t> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let (name, length) = name_of(rest);
        let mut tag = Tag { name, ..Tag::default() };
        let mut attributes = Attributes { rest: rest.get(length..).unwrap_or_default() };
        while let Some((name, value)) = attributes.next() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                3 if is("src") => tag.src = tag.src.or(Some(value)),
                3 if is("alt") => tag.alt = tag.alt.or(Some(value)),
                4 if is("href") => tag.href = tag.href.or(Some(value)),
                5 if is("style") => tag.style = Style::read(&attribute(value)),
                5 if is("width") => tag.tiny_box |= is_tiny_length(value),
                6 if is("height") => tag.tiny_box |= is_tiny_length(value),
                6 if is("hidden") => tag.hidden = true,
                _ => {}
            }
        }
        self.at = self.text.len() - attributes.rest.len();
        tag
    }
}

/// The attributes of a tag. At the end, `rest` stands behind the tag.
struct Attributes<'t> {
    rest: &'t str,
}

impl<'t> Attributes<'t> {
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn take_until(&mut self, end: impl Fn(u8) -> bool) -> &'t str {
        let length = self.rest.bytes().position(end).unwrap_or(self.rest.len());
        self.take(length)
    }

    fn next(&mut self) -> Option<(&'t str, &'t str)> {
        self.take_until(|b| !(b.is_ascii_whitespace() || b == b'/'));
        if self.rest.is_empty() || self.rest.starts_with('>') {
            self.take(1);
            return None;
        }
        // A name may begin with `=`; so the walk always goes on.
        let first = usize::from(self.rest.starts_with('='));
        let length = self.rest.bytes().skip(first).position(|b| b.is_ascii_whitespace() || b"/>=".contains(&b));
        let name = self.take(length.map_or(self.rest.len(), |length| first + length));
        let after = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(value) = after.strip_prefix('=') else { return Some((name, "")) };
        self.rest = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let quote = self.rest.bytes().next().filter(|b| matches!(b, b'"' | b'\''));
        let value = match quote {
            Some(quote) => {
                self.take(1);
                let value = self.take_until(|b| b == quote);
                self.take(1);
                value
            }
            None => self.take_until(|b| b.is_ascii_whitespace() || b == b'>'),
        };
        Some((name, value))
    }
}

/// The name at the start of a tag's text, and its length.
fn name_of(text: &str) -> (Name, usize) {
    let length = text.bytes().position(|b| b.is_ascii_whitespace() || matches!(b, b'/' | b'>')).unwrap_or(text.len());
    let mut name = [0; 8];
    for (to, from) in name.iter_mut().zip(text.bytes().take(length)) {
        *to = from.to_ascii_lowercase();
    }
    (name, length)
}

/// The value of an attribute with its entities decoded.
fn attribute(value: &str) -> Cow<'_, str> {
    if memchr(b'&', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        let (before, entity) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let (character, length) = decoded(entity);
        text.push_str(before);
        text.push_str(&character);
        rest = entity.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// What the `&` at the start of `text` stands for, and how long it is written. Unknown entities stay as they are.
fn decoded(text: &str) -> (Cow<'_, str>, usize) {
    let window = text.as_bytes().get(1..ENTITY_MAX.min(text.len())).unwrap_or_default();
    let end = memchr2(b';', b'&', window).filter(|end| window.get(*end) == Some(&b';'));
    let Some(entity) = end.and_then(|end| text.get(..end + 2)) else { return (Cow::Borrowed("&"), 1) };
    let mut character = String::new();
    add_html_token(&mut character, entity.as_bytes(), false);
    (Cow::Owned(character), entity.len())
}

#[cfg(test)]
mod tests;
