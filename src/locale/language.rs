//! In which language a person is spoken to. Pure.
//!
//! What the browser asks for comes first, then what the country suggests, then English. Standards: RFC 9110 section
//! 12.5.4 (Accept-Language), RFC 4647 section 3.4 (lookup by the first subtag).

use crate::mail::Domain;
use crate::policy::Country;

/// The languages that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// `en`.
    English,
    /// `fr`.
    French,
    /// `de`.
    German,
    /// `es`.
    Spanish,
    /// `it`.
    Italian,
    /// `nl`.
    Dutch,
}

impl Language {
    /// Every one, in the order of the page's foot.
    pub const ALL: [Self; 6] = [Self::German, Self::English, Self::Spanish, Self::French, Self::Italian, Self::Dutch];

    /// The subtag of BCP 47.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
            Self::German => "de",
            Self::Spanish => "es",
            Self::Italian => "it",
            Self::Dutch => "nl",
        }
    }

    /// What it calls itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::French => "Français",
            Self::German => "Deutsch",
            Self::Spanish => "Español",
            Self::Italian => "Italiano",
            Self::Dutch => "Nederlands",
        }
    }

    /// Reads a tag such as `fr` or `de-AT`.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let first = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(first))
    }

    /// The one that an Accept-Language asks for most; the first of equals.
    pub fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(u32, Self)> = None;
        for range in header.split(',') {
            let (tag, weight) = range.split_once(';').map_or((range, Some(1000)), |(tag, rest)| (tag, weight(rest)));
            let (Some(language), Some(weight)) = (Self::from_tag(tag), weight) else { continue };
            if weight > 0 && best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }

    /// What most people of a country read, of the six; where two are spoken side by side, what more people read.
    pub fn of_country(country: Country) -> Option<Self> {
        match country.as_str() {
            "FR" | "LU" | "MC" => Some(Self::French),
            "DE" | "AT" | "CH" | "LI" => Some(Self::German),
            "ES" | "MX" | "AR" | "CO" | "CL" | "PE" => Some(Self::Spanish),
            "IT" | "SM" | "VA" => Some(Self::Italian),
            "NL" | "BE" | "SR" => Some(Self::Dutch),
            "UK" | "IE" | "US" | "AU" | "NZ" | "CA" => Some(Self::English),
            _ => None,
        }
    }

    /// The last resort before English: the country that a domain name ends in.
    pub fn of_domain(domain: &Domain) -> Option<Self> {
        let ending = domain.as_str().rsplit('.').next().unwrap_or_default();
        Country::parse(ending).ok().and_then(Self::of_country)
    }
}

/// `q=0.8` in thousandths (RFC 9110 section 12.4.2); `None` when it is something else.
fn weight(text: &str) -> Option<u32> {
    let value = text.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let part_fits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let thousandths = || format!("{part:0<3}").parse::<u32>().ok();
    match whole {
        "0" if part_fits => thousandths(),
        "1" if part_fits => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_heard_by_weight_then_order() {
        for (header, expected) in [
            ("fr", Some(Language::French)),
            ("de-AT,en;q=0.5", Some(Language::German)),
            ("pl, es;q=0.8, it;q=0.9", Some(Language::Italian)),
            ("en;q=0.5,nl;q=0.5", Some(Language::English)),
            ("fr;q=0, *", None),
            ("fr;q=0.0001, nl;q=.5, es;q=2", None),
            ("pl,cs;q=0.5", None),
            ("", None),
            ("<script>", None),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }

    #[test]
    fn countries_and_endings_suggest_one() {
        let of = |ending: &str| Language::of_domain(&Domain::parse(&format!("a.{ending}")).unwrap());
        assert_eq!(
            [of("fr"), of("at"), of("be"), of("uk"), of("pl"), of("example"), of("com")],
            [
                Some(Language::French),
                Some(Language::German),
                Some(Language::Dutch),
                Some(Language::English),
                None,
                None,
                None
            ]
        );
        for language in Language::ALL {
            assert_eq!(Language::from_tag(language.tag()), Some(language));
        }
    }
}
