//! Parameters of MAIL and RCPT: RFC 5321 section 4.1.2 (esmtp-param), RFC 1870, RFC 4954 section 5, RFC 6152,
//! RFC 6531 section 3.4.

use super::command::CommandError;
use super::limits::SIZE_DIGITS_MAX;
use crate::mail::BodyType;

/// What a MAIL command declares beside its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// SIZE in octets (RFC 1870); 0 means that the client does not know, as if it had said nothing.
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<BodyType>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH was there and well formed. Its value is not kept: the identity is that of the session.
    pub auth: bool,
}

impl MailParams {
    /// Reads what follows the path of MAIL.
    ///
    /// # Errors
    /// [`CommandError::Syntax`] for bad syntax, a bad value or a parameter given twice,
    /// [`CommandError::UnknownParameter`] for any that is not offered.
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let mut params = Self::default();
        for item in items(text)? {
            let (keyword, value) = item?;
            params.set(keyword, value)?;
        }
        Ok(params)
    }

    fn set(&mut self, keyword: &str, value: Option<&str>) -> Result<(), CommandError> {
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        let twice = if is("SIZE") {
            self.size.replace(size(value)?).is_some()
        } else if is("BODY") {
            self.body.replace(body(value)?).is_some()
        } else if is("SMTPUTF8") {
            if value.is_some() {
                return Err(CommandError::Syntax("SMTPUTF8 takes no value"));
            }
            std::mem::replace(&mut self.smtputf8, true)
        } else if is("AUTH") {
            if !value.is_some_and(is_xtext) {
                return Err(CommandError::Syntax("AUTH= takes an xtext mailbox or <>"));
            }
            std::mem::replace(&mut self.auth, true)
        } else {
            return Err(CommandError::UnknownParameter);
        };
        if twice { Err(CommandError::Syntax("parameter given twice")) } else { Ok(()) }
    }
}

/// Checks what follows the path of RCPT: no parameter of RCPT is offered.
///
/// # Errors
/// [`CommandError::Syntax`] or [`CommandError::UnknownParameter`].
pub(super) fn none_for_rcpt(text: &str) -> Result<(), CommandError> {
    match items(text)?.next() {
        None => Ok(()),
        Some(Ok(_)) => Err(CommandError::UnknownParameter),
        Some(Err(error)) => Err(error),
    }
}

type Item<'a> = (&'a str, Option<&'a str>);

/// The `keyword[=value]` items of ` keyword=value keyword`.
fn items(text: &str) -> Result<impl Iterator<Item = Result<Item<'_>, CommandError>>, CommandError> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(CommandError::Syntax("expected a blank behind the path"));
    }
    Ok(text.split(' ').filter(|item| !item.is_empty()).map(item))
}

fn item(text: &str) -> Result<Item<'_>, CommandError> {
    let (keyword, value) = text.split_once('=').map_or((text, None), |(keyword, value)| (keyword, Some(value)));
    let keyword_fits = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let value_fits = value.is_none_or(|v| !v.is_empty() && v.chars().all(|c| c != '=' && !c.is_control()));
    if keyword_fits && value_fits { Ok((keyword, value)) } else { Err(CommandError::Syntax("malformed parameter")) }
}

fn size(value: Option<&str>) -> Result<u64, CommandError> {
    value
        .filter(|v| v.len() <= SIZE_DIGITS_MAX && v.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|v| v.parse().ok())
        .ok_or(CommandError::Syntax("SIZE= takes a number of octets"))
}

fn body(value: Option<&str>) -> Result<BodyType, CommandError> {
    match value {
        Some(v) if v.eq_ignore_ascii_case("7BIT") => Ok(BodyType::SevenBit),
        Some(v) if v.eq_ignore_ascii_case("8BITMIME") => Ok(BodyType::EightBitMime),
        Some(_) | None => Err(CommandError::Syntax("BODY= takes 7BIT or 8BITMIME")),
    }
}

/// RFC 3461 section 4: printable ASCII but `+` and `=`, or `+` and two upper-case hexadecimal digits.
fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_hex = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'+' => is_hex(bytes.next()) && is_hex(bytes.next()),
            b'=' => false,
            other => other.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parameters_that_are_offered_in_any_case_and_order() {
        let params = MailParams::parse(" SIZE=1000 body=8bitmime  smtputf8 AUTH=a+2Bb@c.example").unwrap();
        assert_eq!(
            params,
            MailParams { size: Some(1000), body: Some(BodyType::EightBitMime), smtputf8: true, auth: true }
        );
        assert_eq!(MailParams::parse(""), Ok(MailParams::default()));
        assert!(MailParams::parse(" AUTH=<>").unwrap().auth);
        assert_eq!(MailParams::parse(" SIZE=18446744073709551615").unwrap().size, Some(u64::MAX));
    }

    #[test]
    fn refuses_bad_values_doubles_and_the_unknown_each_by_its_code() {
        for bad in [
            "SIZE=1",
            " SIZE",
            " SIZE=",
            " SIZE=-1",
            " SIZE=+1",
            " SIZE=1x",
            " SIZE=18446744073709551616",
            " SIZE=000000000000000000001",
            " SIZE=1 SIZE=1",
            " BODY=7BIT BODY=8BITMIME",
            " BODY=BINARYMIME",
            " BODY",
            " SMTPUTF8=1",
            " SMTPUTF8 SMTPUTF8",
            " AUTH",
            " AUTH=",
            " AUTH=a+0d",
            " AUTH=a+4",
            " AUTH=a=b",
            " AUTH=<> AUTH=<>",
            " =x",
            " -x=1",
            " x_y=1",
            " x=",
            " é=1",
        ] {
            assert!(matches!(MailParams::parse(bad), Err(CommandError::Syntax(_))), "{bad}");
        }
        for unknown in [" RET=FULL", " ENVID=x", " X", " SIZE=1 FOO=bar"] {
            assert_eq!(MailParams::parse(unknown), Err(CommandError::UnknownParameter), "{unknown}");
        }
        assert_eq!(none_for_rcpt(" NOTIFY=NEVER"), Err(CommandError::UnknownParameter));
        assert!(matches!(none_for_rcpt("x"), Err(CommandError::Syntax(_))));
        assert_eq!(none_for_rcpt(""), Ok(()));
    }
}
