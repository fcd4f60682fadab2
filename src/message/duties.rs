//! What a message shows of what the law may ask for: read once, in the words of [`Duty`], without judging.
//!
//! The reader has no part in what is sent: no octet changes by it. It errs to the strict side: what it cannot read or
//! what lies past a bound is not fulfilled, and could be a pixel. Bounds: 100 parts, 8 levels, 512 KiB of decoded text,
//! 200 levels of HTML; each walk is linear in the size of the message.

pub(super) mod decode;
mod header;
mod html;
mod looks;
pub(super) mod parts;
mod phrases;
mod shown;

use crate::policy::{Duty, MessageFacts, OpenTracking};

use super::author::author_domain;
use super::body_link::{self, BodyLink};
use super::section::HeaderSection;

use self::decode::TEXT_MAX;
use self::parts::TextPart;
use self::shown::{Shown, folded};

/// What the messages of a stream are expected to show. Made once per stream and kept; by default nothing is known, and
/// the duties that need to be known stay unfulfilled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    names: Vec<String>,
    postal_address: Option<String>,
    source_notice: Option<String>,
    ways_out: Vec<String>,
    body_link: BodyLink,
}

impl Expected {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name that the sender is known by: the advertiser, a brand, the controller. One of them is enough. Compared
    /// word by word, without regard to case, punctuation or white space; a name without letters or digits is ignored.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.extend(folded(name));
        self
    }

    /// The postal address that has to stand in the message; compared like a name, so lines may be broken anywhere.
    #[must_use]
    pub fn postal_address(mut self, address: &str) -> Self {
        self.postal_address = folded(address);
        self
    }

    /// The text that tells the source of the data and the right to object; compared like a name. Without it, or beside
    /// it, usual phrases are recognised.
    #[must_use]
    pub fn source_notice(mut self, notice: &str) -> Self {
        self.source_notice = folded(notice);
        self
    }

    /// An address under which every link is a way out, such as the gateway's own `https://u.example/u/`. A `/` is added
    /// where it is missing, so that no other host or folder begins alike.
    #[must_use]
    pub fn way_out(mut self, url: &str) -> Self {
        let url = url.trim();
        if !url.is_empty() {
            self.ways_out.push(format!("{}/", url.trim_end_matches('/')));
        }
        self
    }

    /// Whether placeholders such as `{{unsubscribe_url}}` become ways out before the message leaves.
    #[must_use]
    pub const fn body_link(mut self, body_link: BodyLink) -> Self {
        self.body_link = body_link;
        self
    }

    fn has_placeholder(&self, text: &str) -> bool {
        self.body_link == BodyLink::Replace && body_link::is_in(text)
    }

    fn is_way_out(&self, url: &str) -> bool {
        self.ways_out.iter().any(|way| url.get(..way.len()).is_some_and(|start| start.eq_ignore_ascii_case(way)))
    }
}

/// Reads which duties a message fulfils and whether its opens are tracked one by one.
///
/// `body` is everything behind the header section. Shown are `text/plain` and `text/html` parts (RFC 2046 section 4.1)
/// that are not attachments, decoded (RFC 2045, RFC 2047); of HTML what its tags and their attributes leave visible.
/// Style sheets are not applied. Never fails: what cannot be read fulfils nothing.
pub fn read_duties(section: &HeaderSection, body: &[u8], expect: &Expected) -> MessageFacts {
    let mut seen = Seen::default();
    seen.header(section, expect);
    let outline = parts::outline(section, body);
    seen.cut = outline.cut;
    let mut left = TEXT_MAX;
    for part in &outline.texts {
        seen.part(part, expect, &mut left);
    }
    seen.facts()
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    facts: MessageFacts,
    /// Text parts with something in them.
    parts: usize,
    named: usize,
    leaving: usize,
    pixel: bool,
    /// Not everything was seen.
    cut: bool,
}

impl Seen {
    fn fulfil(&mut self, duty: Duty, fulfilled: bool) {
        if fulfilled {
            self.facts = self.facts.with(duty);
        }
    }

    fn header(&mut self, section: &HeaderSection, expect: &Expected) {
        self.fulfil(Duty::OneFrom, section.fields("From").count() == 1 && author_domain(section).is_ok());
        let subject = header::unstructured(section, "Subject").unwrap_or_default();
        self.fulfil(Duty::Subject, header::is_seen(&subject));
        self.fulfil(Duty::HonestPrefix, !header::pretends(&subject) || header::answers(section));
        self.fulfil(Duty::AdvertisingLabel, Shown::of_text(expect, &subject).said().advertising);
        let author = header::author_name(section).unwrap_or_default();
        self.fulfil(Duty::SenderIdentity, Shown::of_text(expect, &author).names_one_of(&expect.names));
    }

    fn part(&mut self, part: &TextPart<'_>, expect: &Expected, left: &mut usize) {
        let Some(text) = decode::text(part, left) else {
            self.cut = true;
            return;
        };
        // A placeholder that stays is no way out.
        let unreached = (!body_link::reaches(part, &text)).then(|| expect.clone().body_link(BodyLink::Off));
        let expect = unreached.as_ref().unwrap_or(expect);
        let shown = if part.html { html::read(expect, &text) } else { Shown::of_text(expect, &text) };
        self.cut |= shown.cut;
        self.pixel |= shown.pixel;
        // A part in which there is nothing to see advertises nothing.
        if shown.is_blank() {
            return;
        }
        let stands = |words: &Option<String>| words.as_ref().is_some_and(|words| shown.contains(words));
        let said = shown.said();
        let named = shown.names_one_of(&expect.names);
        self.parts += 1;
        self.named += usize::from(named);
        self.leaving += usize::from(said.leaving || shown.own_way_out);
        self.fulfil(Duty::SenderIdentity, named);
        self.fulfil(Duty::PostalAddress, stands(&expect.postal_address));
        self.fulfil(Duty::AdvertisingLabel, said.advertising);
        self.fulfil(Duty::SourceNotice, said.source && said.objection || stands(&expect.source_notice));
    }

    fn facts(mut self) -> MessageFacts {
        let every = |count: usize| !self.cut && self.parts > 0 && count == self.parts;
        let (named, leaving) = (every(self.named), every(self.leaving));
        self.fulfil(Duty::AdvertiserNamed, named);
        self.fulfil(Duty::VisibleUnsubscribe, leaving);
        let tracked = self.pixel || self.cut;
        self.facts.tracking(if tracked { OpenTracking::Individual } else { OpenTracking::Absent })
    }
}

#[cfg(test)]
mod tests;
