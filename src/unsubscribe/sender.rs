//! Who writes to people: the name, the look and the lists that a page shows.

use std::fmt;
use std::sync::Arc;

use crate::mail::{ControllerId, ListName, Mailbox};
use crate::policy::Country;

/// Longest name, title or sentence that a page shows of a sender, in characters.
pub const SHOWN_MAX: usize = 120;
/// Most lists of one sender on a page: more switches than this help nobody, and the form must fit its bounds.
pub const LISTS_MAX: usize = 60;
/// WCAG 2.2 success criterion 1.4.3: text of usual size against its ground.
const CONTRAST_MIN: f64 = 4.5;

/// One sender as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The name.
    pub name: Shown,
    /// What stands at the top of the page.
    pub logo_text: Shown,
    /// The ground of the top and of the buttons.
    pub colour: Colour,
    /// Where people can ask.
    pub contact: Option<Contact>,
    /// The page that says who is responsible.
    pub imprint: Option<WebAddress>,
    /// Where most of its recipients are: a hint at their language.
    pub country: Option<Country>,
    /// Its lists, in the order of the page.
    pub lists: Vec<Offer>,
}

/// One list as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name in tokens and rules.
    pub name: ListName,
    /// Its title.
    pub title: Shown,
    /// A sentence about what comes on it.
    pub about: Option<Shown>,
}

impl Sender {
    /// A sender of whom only the name is known.
    pub fn named(name: Shown) -> Self {
        Self {
            logo_text: name.clone(),
            name,
            colour: Colour::DEFAULT,
            contact: None,
            imprint: None,
            country: None,
            lists: Vec::new(),
        }
    }

    /// What is shown for a controller that the configuration no longer has: links in sent mail work for years.
    pub(super) fn forgotten(controller: &ControllerId) -> Self {
        Self::named(Shown::of_name(controller.as_str()))
    }

    /// The list of that name; one that the configuration no longer has is shown by its name.
    pub(super) fn offer(&self, list: &ListName) -> Offer {
        self.lists.iter().find(|offer| offer.name == *list).cloned().unwrap_or_else(|| Offer::named(list.clone()))
    }
}

impl Offer {
    /// A topic, which is shown by its name, in the place of a list.
    pub(super) fn of_topic(title: Shown) -> Option<Self> {
        ListName::new(title.as_str()).ok().map(|name| Self { name, title, about: None })
    }

    /// A list without a title.
    pub fn named(name: ListName) -> Self {
        Self { title: Shown::of_name(name.as_str()), name, about: None }
    }
}

/// A text that people see: one line, of bounded length.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(Arc<str>);

impl Shown {
    /// Accepts 1 to [`SHOWN_MAX`] characters without control characters.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= SHOWN_MAX && !text.contains(char::is_control);
        if fits { Ok(Self(text.into())) } else { Err(format!("expected 1 to {SHOWN_MAX} characters on one line")) }
    }

    /// Names of controllers and lists are shorter and plainer than any text that is accepted.
    fn of_name(name: &str) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A colour that white text can be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Colour {
    /// A dark blue that is nobody's brand.
    pub const DEFAULT: Self = Self([0x1d, 0x4e, 0x89]);

    /// Reads `#rrggbb`.
    ///
    /// # Errors
    /// A sentence naming what was expected, also when white text on it would be hard to read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii());
        let number = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| format!("`{text}`: expected a colour such as #1d4e89"))?;
        let [_, red, green, blue] = number.to_be_bytes();
        let colour = Self([red, green, blue]);
        let contrast = colour.contrast_with_white();
        if contrast < CONTRAST_MIN {
            return Err(format!(
                "`{text}`: white text on it has a contrast of {contrast:.2}; expected a darker colour, with at least \
                 {CONTRAST_MIN} (WCAG 2.2, 1.4.3)"
            ));
        }
        Ok(colour)
    }

    /// WCAG 2.2, "contrast ratio".
    fn contrast_with_white(self) -> f64 {
        let [red, green, blue] = self.0.map(linear);
        1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    }
}

/// WCAG 2.2, "relative luminance".
fn linear(octet: u8) -> f64 {
    let part = f64::from(octet) / 255.0;
    if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
}

/// `#rrggbb`.
impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Where people can ask: a mailbox or a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Written to.
    Mailbox(Mailbox),
    /// Opened.
    Page(WebAddress),
}

impl Contact {
    /// Reads a mailbox or an https address.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected a mailbox or an https address");
        if text.contains("://") {
            return WebAddress::parse(text).map(Self::Page).map_err(|_| expected());
        }
        // Whatever needs escaping in a mailto: address (RFC 6068 section 2) is left to a page.
        let plain = |mailbox: &Mailbox| {
            let local = mailbox.local_part();
            local.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
        };
        Mailbox::parse(text).ok().filter(plain).map(Self::Mailbox).ok_or_else(expected)
    }
}

/// An https address that can stand in a link as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress(Arc<str>);

impl WebAddress {
    /// Longest address, in octets.
    const MAX: usize = 500;

    /// Reads `https://HOST/…` in plain ASCII.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").unwrap_or_default();
        let plain = rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'`'));
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if plain && !host.is_empty() && !host.contains('@') && text.len() <= Self::MAX {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}`: expected an https address"))
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_must_carry_white_text() {
        for good in ["#1d4e89", "#000000", "#C2185B", "#767676"] {
            assert_eq!(Colour::parse(good).unwrap().to_string(), good.to_lowercase());
        }
        for bad in ["", "red", "#fff", "#1d4e8", "#1d4e8g", "1d4e89", "#+d4e89"] {
            assert!(Colour::parse(bad).unwrap_err().contains("expected a colour"), "{bad}");
        }
        for pale in ["#777777", "#ffcc00", "#ffffff"] {
            assert!(Colour::parse(pale).unwrap_err().contains("contrast"), "{pale}");
        }
        assert_eq!(Colour::parse(&Colour::DEFAULT.to_string()), Ok(Colour::DEFAULT));
    }

    #[test]
    fn texts_are_one_line_and_bounded() {
        assert!(Shown::new(&"é".repeat(SHOWN_MAX)).is_ok() && Shown::new(&"é".repeat(SHOWN_MAX + 1)).is_err());
        for bad in ["", "  ", "a\nb", "\u{7}"] {
            assert!(Shown::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_lead_out_by_https_or_mail_only() {
        assert!(matches!(Contact::parse("dpo@example.org"), Ok(Contact::Mailbox(_))));
        assert!(matches!(Contact::parse("https://example.org/contact?a=b"), Ok(Contact::Page(_))));
        for bad in [
            "",
            "javascript:alert(1)",
            "http://example.org",
            "https://",
            "https://a@b/",
            "https://a/\"x",
            "a b@c.example",
            "a&b@c.example",
        ] {
            assert!(Contact::parse(bad).is_err(), "{bad}");
        }
        let long = |length: usize| WebAddress::parse(&format!("https://{}", "a".repeat(length - 8)));
        assert!(long(WebAddress::MAX).is_ok() && long(WebAddress::MAX + 1).is_err());
    }
}
