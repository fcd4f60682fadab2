//! How an HTML element looks, as far as its own attributes say: hidden, too small to see, a pixel that counts opens.
//!
//! Style sheets are not applied: mail programs drop them so often that mail which hides by them shows what it hides.

/// The size below which letters are a trick, in pixels or points.
const LETTER_TINY: f32 = 1.0;
/// The size up to which a picture is no picture, in pixels.
const IMAGE_TINY: f32 = 1.0;
/// The shortest run of letters and digits in an address that can name one person: 12 hexadecimal digits tell 10^14
/// apart, and names of campaigns seldom mix that many.
const TOKEN_MIN: usize = 12;
/// How often letters and digits must take turns in it, which words and years do not do.
const TURNS_MIN: usize = 3;
/// A number this long counts recipients or seconds, not campaigns.
const NUMBER_MIN: usize = 8;

/// What a `style` attribute says about being seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// Not shown, and nothing inside can change that.
    pub(super) hidden: bool,
    /// Whether the letters are too small to see; inside, another size may be set. `None`: as outside.
    pub(super) tiny: Option<bool>,
    /// A width or height that no picture has.
    pub(super) tiny_box: bool,
}

impl Style {
    /// Reads CSS declarations, `name: value; …`.
    pub(super) fn read(text: &str) -> Self {
        let mut style = Self::default();
        let (mut flat, mut clipped) = (false, false);
        for declaration in text.split(';') {
            let Some((name, value)) = declaration.split_once(':') else { continue };
            let value = value.split('!').next().unwrap_or_default().trim();
            let is = |word: &str| value.eq_ignore_ascii_case(word);
            match Property::of(name.trim()) {
                Property::Display => style.hidden |= is("none"),
                Property::Visibility => style.hidden |= is("hidden") || is("collapse"),
                Property::Opacity => style.hidden |= size(value).is_some_and(|(number, _)| number <= 0.0),
                Property::FontSize => style.tiny = tiny_letters(value).or(style.tiny),
                Property::Font => {
                    style.tiny = value.split_ascii_whitespace().find_map(shorthand_size).or(style.tiny);
                }
                Property::Box => style.tiny_box |= is_tiny_length(value),
                Property::MaxHeight => flat |= size(value).is_some_and(|(number, _)| number <= 0.0),
                Property::Overflow => clipped |= is("hidden"),
                Property::Other => {}
            }
        }
        style.hidden |= flat && clipped;
        style
    }
}

enum Property {
    Display,
    Visibility,
    Opacity,
    FontSize,
    Font,
    Box,
    MaxHeight,
    Overflow,
    Other,
}

impl Property {
    fn of(name: &str) -> Self {
        const NAMES: [(&str, Property); 9] = [
            ("display", Property::Display),
            ("visibility", Property::Visibility),
            ("opacity", Property::Opacity),
            ("font-size", Property::FontSize),
            ("font", Property::Font),
            ("width", Property::Box),
            ("height", Property::Box),
            ("max-height", Property::MaxHeight),
            ("overflow", Property::Overflow),
        ];
        let known = NAMES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Self::Other, |(_, property)| property)
    }
}

/// A number and its unit.
fn size(value: &str) -> Option<(f32, &str)> {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn is_absolute(unit: &str) -> bool {
    unit.is_empty() || unit.eq_ignore_ascii_case("px") || unit.eq_ignore_ascii_case("pt")
}

/// Zero in any unit is zero; a part of the size outside is as tiny as that; anything else can be seen.
fn tiny_letters(value: &str) -> Option<bool> {
    match size(value) {
        Some((number, _)) if number <= 0.0 => Some(true),
        Some((number, unit)) if is_absolute(unit) => Some(number <= LETTER_TINY),
        Some((_, "%" | "em" | "EM")) => None,
        None if value.eq_ignore_ascii_case("inherit") => None,
        Some(_) | None => Some(false),
    }
}

/// The size in a word of the `font` shorthand, which a number without unit is only when it is zero (`400` is a weight).
fn shorthand_size(word: &str) -> Option<bool> {
    let (number, unit) = size(word.split('/').next().unwrap_or_default())?;
    if unit.is_empty() && number > 0.0 { None } else { tiny_letters(word.split('/').next().unwrap_or_default()) }
}

/// Whether a width or height is that of a pixel.
pub(super) fn is_tiny_length(value: &str) -> bool {
    size(value.trim()).is_some_and(|(number, unit)| number <= 0.0 || is_absolute(unit) && number <= IMAGE_TINY)
}

/// Whether the path or query of an address on the web can tell one person from another: it holds a mailbox, a long
/// number, or a token of mixed letters and digits.
pub(super) fn is_individual(url: &str) -> bool {
    let has = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(length) = ["https://", "http://", "//"].iter().find(|scheme| has(scheme)).map(|scheme| scheme.len())
    else {
        return false;
    };
    let rest = url.get(length..).unwrap_or_default();
    let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let mailbox = path.contains('@') || path.contains("%40");
    let uuid = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(is_uuid);
    mailbox || uuid || path.split(|c: char| !c.is_ascii_alphanumeric()).any(is_token)
}

/// RFC 9562 section 4: 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_uuid(run: &str) -> bool {
    let hexadecimal = |group: &str| group.bytes().all(|b| b.is_ascii_hexdigit());
    run.len() == 36 && run.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && run.split('-').all(hexadecimal)
}

fn is_token(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    if digits == run.len() {
        return digits >= NUMBER_MIN;
    }
    let turns =
        run.as_bytes().windows(2).filter(|pair| matches!(pair, [a, b] if a.is_ascii_digit() != b.is_ascii_digit()));
    run.len() >= TOKEN_MIN && turns.count() >= TURNS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_that_hide_are_known() {
        for css in [
            "display:none",
            "color:red; DISPLAY : None !important",
            "visibility:hidden",
            "opacity:0",
            "opacity: 0.0",
            "max-height:0;overflow:hidden",
            "overflow:hidden;max-height:0px",
        ] {
            assert!(Style::read(css).hidden, "{css}");
        }
        for css in ["", "display:block", "opacity:.5", "max-height:0", "overflow:hidden", "mso-hide:all", ";:;"] {
            assert!(!Style::read(css).hidden, "{css}");
        }
    }

    #[test]
    fn tiny_letters_are_known_and_relative_sizes_follow_the_outside() {
        for (css, tiny) in [
            ("font-size:0", Some(true)),
            ("font-size:0px;line-height:0", Some(true)),
            ("font-size:1px", Some(true)),
            ("font-size:2px", Some(false)),
            ("font-size:0em", Some(true)),
            ("font-size:100%", None),
            ("font-size:small", Some(false)),
            ("font:0/0 a", Some(true)),
            ("font:400 14px/20px Arial", Some(false)),
            ("font-family:Arial", None),
        ] {
            assert_eq!(Style::read(css).tiny, tiny, "{css}");
        }
    }

    #[test]
    fn pixels_are_told_by_size() {
        for value in ["1", "0", "1px", " 1 ", "0%"] {
            assert!(is_tiny_length(value), "{value}");
        }
        for value in ["2", "100%", "1%", "auto", "", "1.5"] {
            assert!(!is_tiny_length(value), "{value}");
        }
        assert!(Style::read("width:1px").tiny_box && !Style::read("width:600px;max-width:1px").tiny_box);
    }

    #[test]
    fn individual_addresses_are_known() {
        for url in [
            "https://t.example/email/62f0c0b5a1b34567890c23.gif",
            "https://t.example/campaign/7f0c2a9e-4b1d-4c55-9a77-0123456789ab/px.png",
            "HTTP://t.example/o?u=31415926",
            "//t.example/o?e=ann%40b.example",
            "https://t.example/o?e=ann@b.example",
            "https://t.example?u=a1b2c3d4e5f6",
        ] {
            assert!(is_individual(url), "{url}");
        }
        for url in [
            "https://t.example/px.gif",
            "https://a1b2c3d4e5f6a7b8.cdn.example/px.gif",
            "https://t.example/newsletter2026/px.gif?campaign=spring-sale-2026",
            "https://t.example/px.gif?v=1234567",
            "https://t.example/openings-news-week-four-september/px.gif",
            "https://t.example?u=a1b2c3d4e5f",
            "cid:a1b2c3d4e5f6a7b8",
            "data:image/gif;base64,a1b2c3d4e5f6",
            "é",
        ] {
            assert!(!is_individual(url), "{url}");
        }
    }
}
