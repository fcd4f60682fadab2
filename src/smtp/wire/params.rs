//! Parameters of MAIL and RCPT: RFC 5321 section 4.1.2 (esmtp-param), RFC 1870, RFC 3461, RFC 4954 section 5,
//! RFC 6152, RFC 6531 section 3.4.

use super::command::CommandError;
use super::limits::SIZE_DIGITS_MAX;
use crate::mail::{BodyType, EnvelopeId, NotificationError, Notify, OriginalRecipient, Reporting, Ret, xtext};

/// What a MAIL command declares beside its path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// SIZE in octets (RFC 1870); 0 means that the client does not know, as if it had said nothing.
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<BodyType>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH was there and well formed. Its value is not kept: the identity is that of the session.
    pub auth: bool,
    /// RET and ENVID (RFC 3461).
    pub reporting: Reporting,
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
            if !value.is_some_and(|value| value.is_ascii() && xtext::decode(value).is_some()) {
                return Err(CommandError::Syntax("AUTH= takes an xtext mailbox or <>"));
            }
            std::mem::replace(&mut self.auth, true)
        } else if is("RET") {
            self.reporting.ret.replace(notification(value, NotificationError::Ret, Ret::parse)?).is_some()
        } else if is("ENVID") {
            let id = notification(value, NotificationError::EnvelopeId, EnvelopeId::parse)?;
            self.reporting.envelope_id.replace(id).is_some()
        } else {
            return Err(CommandError::UnknownParameter);
        };
        if twice { Err(CommandError::Syntax("parameter given twice")) } else { Ok(()) }
    }
}

/// What a RCPT command declares beside its path: RFC 3461 sections 4.1 and 4.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParams {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub original: Option<OriginalRecipient>,
}

impl RcptParams {
    /// Reads what follows the path of RCPT.
    ///
    /// # Errors
    /// As [`MailParams::parse`].
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let mut params = Self::default();
        for item in items(text)? {
            let (keyword, value) = item?;
            let is = |name: &str| keyword.eq_ignore_ascii_case(name);
            let twice = if is("NOTIFY") {
                params.notify.replace(notification(value, NotificationError::Notify, Notify::parse)?).is_some()
            } else if is("ORCPT") {
                let parse = OriginalRecipient::parse;
                params.original.replace(notification(value, NotificationError::OriginalRecipient, parse)?).is_some()
            } else {
                return Err(CommandError::UnknownParameter);
            };
            if twice {
                return Err(CommandError::Syntax("parameter given twice"));
            }
        }
        Ok(params)
    }
}

/// Reads a value of the DSN extension; `missing` is what is wrong when there is none.
fn notification<T>(
    value: Option<&str>,
    missing: NotificationError,
    parse: impl FnOnce(&str) -> Result<T, NotificationError>,
) -> Result<T, CommandError> {
    value.ok_or(missing).and_then(parse).map_err(CommandError::Notification)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parameters_that_are_offered_in_any_case_and_order() {
        let params = MailParams::parse(" SIZE=1000 body=8bitmime  smtputf8 AUTH=a+2Bb@c.example").unwrap();
        assert_eq!(
            params,
            MailParams {
                size: Some(1000),
                body: Some(BodyType::EightBitMime),
                smtputf8: true,
                auth: true,
                reporting: Reporting::default(),
            }
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
        for unknown in [" NOTIFY=NEVER", " ORCPT=rfc822;x", " X", " SIZE=1 FOO=bar"] {
            assert_eq!(MailParams::parse(unknown), Err(CommandError::UnknownParameter), "{unknown}");
        }
        for unknown in [" RET=FULL", " SIZE=1", " RRVS=2026-01-01T00:00:00Z"] {
            assert_eq!(RcptParams::parse(unknown), Err(CommandError::UnknownParameter), "{unknown}");
        }
    }

    #[test]
    fn reads_the_parameters_of_rfc_3461_and_refuses_bad_ones() {
        let params = MailParams::parse(" ret=hdrs ENVID=QQ+2B7").unwrap().reporting;
        assert_eq!(params.ret, Some(Ret::Headers));
        assert_eq!(params.envelope_id.as_ref().map(EnvelopeId::as_str), Some("QQ+7"));
        let params = RcptParams::parse(" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.example").unwrap();
        assert_eq!(params.notify.and_then(Notify::value).as_deref(), Some("SUCCESS,DELAY"));
        assert_eq!(params.original.as_ref().map(OriginalRecipient::address), Some("a+b@c.example"));
        assert_eq!(RcptParams::parse(""), Ok(RcptParams::default()));
        for bad in [" RET", " RET=X", " ENVID", " ENVID=x+0A", " ENVID=x=y"] {
            assert!(MailParams::parse(bad).is_err_and(|error| error.reply().code().as_u16() == 501), "{bad}");
        }
        for twice in [" RET=FULL RET=FULL", " ENVID=a ENVID=a"] {
            assert_eq!(MailParams::parse(twice), Err(CommandError::Syntax("parameter given twice")), "{twice}");
        }
        for bad in [
            "x",
            " NOTIFY",
            " NOTIFY=",
            " NOTIFY=NEVER,FAILURE",
            " NOTIFY=NEVER NOTIFY=NEVER",
            " ORCPT",
            " ORCPT=rfc822",
            " ORCPT=rfc822;a+0D+0ABcc:v@x",
            " ORCPT=rfc822;a ORCPT=rfc822;a",
            " ORCPT=rfc822;a=b",
        ] {
            assert!(RcptParams::parse(bad).is_err_and(|error| error.reply().code().as_u16() == 501), "{bad}");
        }
    }
}
