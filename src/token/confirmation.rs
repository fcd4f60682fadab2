//! What somebody is asked to confirm. The request waits in its link and nowhere else (ADR 0029).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::subject::name;
use super::{Keyring, Token, TokenError, open, seal};
use crate::mail::address::MAILBOX_MAX;
use crate::mail::name::NAME_MAX;
use crate::mail::{ControllerId, Mailbox, QueueId};
use crate::policy::Purpose;
use crate::time::Timestamp;

/// Tells these tokens from those of unsubscribe links; the cipher authenticates it, so that neither opens as the other.
const VERSION: u8 = 2;
/// Longest source (form, URL) and longest version of a notice, in octets: the link has to fit into a request line.
pub const WORDS_MAX: usize = 200;
/// The longest purpose: its kind, a colon, a name.
const PURPOSE_MAX: usize = 16 + NAME_MAX;
/// The longest request: identifier, two instants, controller, purpose, two texts, an address, each with its length, the mailbox.
const ASKED_MAX: usize = 3 * 8 + (1 + NAME_MAX) + (1 + PURPOSE_MAX) + 2 * (1 + WORDS_MAX) + (1 + 16) + MAILBOX_MAX;

/// A consent that its mailbox is asked to confirm, with what is known of how it was given (GDPR article 7(1)).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Whose consent it would be.
    pub mailbox: Mailbox,
    /// To whom.
    pub controller: ControllerId,
    /// What for.
    pub purpose: Purpose,
    /// The message that asks.
    pub message: QueueId,
    /// When the address was entered.
    pub at: Timestamp,
    /// Until when it can be confirmed.
    pub until: Timestamp,
    /// Version of the notice shown at collection, at most [`WORDS_MAX`] octets.
    pub notice: Option<Arc<str>>,
    /// Form, URL or event, at most [`WORDS_MAX`] octets.
    pub source: Option<Arc<str>>,
    /// From which address on the network it was entered.
    pub ip: Option<IpAddr>,
}

/// Makes the token of `asked` with the current key.
///
/// # Errors
/// [`TokenError`] for a text longer than [`WORDS_MAX`], and when the cryptographic library fails.
pub fn mint(keyring: &Keyring, asked: &Asked) -> Result<Token, TokenError> {
    let mut plain = Vec::with_capacity(ASKED_MAX);
    asked.encode(&mut plain).ok_or(TokenError)?;
    seal(keyring, VERSION, &plain)
}

/// What the token asks. Whether it still can be confirmed is not looked at: nobody knows the time here.
///
/// # Errors
/// [`TokenError`] for everything that [`mint`] did not make with a key of this ring.
pub fn redeem(keyring: &Keyring, text: &str) -> Result<Asked, TokenError> {
    Asked::decode(&open(keyring, VERSION, text, ASKED_MAX)?).ok_or(TokenError)
}

impl Asked {
    fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(&self.message.as_u64().to_be_bytes());
        out.extend_from_slice(&self.at.as_millis().to_be_bytes());
        out.extend_from_slice(&self.until.as_millis().to_be_bytes());
        for text in [self.notice.as_deref(), self.source.as_deref()] {
            part(out, text.unwrap_or_default().as_bytes(), WORDS_MAX)?;
        }
        match self.ip {
            None => part(out, &[], 0)?,
            Some(IpAddr::V4(ip)) => part(out, &ip.octets(), 4)?,
            Some(IpAddr::V6(ip)) => part(out, &ip.octets(), 16)?,
        }
        part(out, self.controller.as_str().as_bytes(), NAME_MAX)?;
        part(out, self.purpose.to_string().as_bytes(), PURPOSE_MAX)?;
        out.extend_from_slice(self.mailbox.as_str().as_bytes());
        Some(())
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let (message, rest) = octets.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let (notice, rest) = name(rest)?;
        let (source, rest) = name(rest)?;
        let (length, rest) = rest.split_first()?;
        let (ip, rest) = rest.split_at_checked(usize::from(*length))?;
        let (controller, rest) = name(rest)?;
        let (purpose, rest) = name(rest)?;
        let text = |text: &str| if text.is_empty() { None } else { Some(Arc::from(text)) };
        Some(Self {
            message: QueueId::from_u64(u64::from_be_bytes(*message)),
            at: Timestamp::from_millis(i64::from_be_bytes(*at)),
            until: Timestamp::from_millis(i64::from_be_bytes(*until)),
            notice: text(notice),
            source: text(source),
            ip: address(ip)?,
            controller: ControllerId::new(controller).ok()?,
            purpose: purpose.parse().ok()?,
            mailbox: Mailbox::parse(std::str::from_utf8(rest).ok()?).ok()?,
        })
    }
}

/// One part behind its length; `None` when it is longer than `max`, which is always less than 256.
fn part(out: &mut Vec<u8>, octets: &[u8], max: usize) -> Option<()> {
    let length = u8::try_from(octets.len()).ok().filter(|_| octets.len() <= max)?;
    out.push(length);
    out.extend_from_slice(octets);
    Some(())
}

/// The outer `None` is an address of no known kind.
#[expect(clippy::option_option, reason = "outer: was it well formed; inner: was there one")]
fn address(octets: &[u8]) -> Option<Option<IpAddr>> {
    match octets.len() {
        0 => Some(None),
        4 => <[u8; 4]>::try_from(octets).ok().map(|four| Some(Ipv4Addr::from(four).into())),
        16 => <[u8; 16]>::try_from(octets).ok().map(|sixteen| Some(Ipv6Addr::from(sixteen).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{SECRET_LEN, Subject, TokenKey, mint as mint_subject, redeem as redeem_subject};

    fn ring() -> Keyring {
        Keyring::new(TokenKey::new(1, &[1; SECRET_LEN]).unwrap(), vec![]).unwrap()
    }

    fn asked() -> Asked {
        Asked {
            mailbox: Mailbox::parse("marie.dupont@exemple.fr").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            purpose: "list:weekly".parse().unwrap(),
            message: QueueId::from_u64(7),
            at: Timestamp::from_millis(1_700_000_000_123),
            until: Timestamp::from_secs(1_700_600_000),
            notice: Some("privacy-2026-01".into()),
            source: Some("https://acme.example/newsletter".into()),
            ip: Some("2001:db8::1".parse().unwrap()),
        }
    }

    #[test]
    fn what_is_asked_comes_back_whole() {
        let bare = Asked { notice: None, source: None, ip: None, purpose: Purpose::Marketing, ..asked() };
        let four = Asked { ip: Some("192.0.2.1".parse().unwrap()), ..asked() };
        for asked in [asked(), bare, four] {
            let token = mint(&ring(), &asked).unwrap();
            assert_eq!(redeem(&ring(), &token.as_str().to_uppercase()), Ok(asked));
        }
    }

    /// A link that confirms must not unsubscribe, and one that unsubscribes must never confirm.
    #[test]
    fn neither_kind_of_token_opens_as_the_other() {
        let asked = asked();
        let subject = Subject {
            mailbox: asked.mailbox.clone(),
            controller: asked.controller.clone(),
            list: None,
            message: asked.message,
        };
        let (confirm, leave) = (mint(&ring(), &asked).unwrap(), mint_subject(&ring(), &subject).unwrap());
        assert_eq!(redeem_subject(&ring(), confirm.as_str()), Err(TokenError));
        assert_eq!(redeem(&ring(), leave.as_str()), Err(TokenError));
    }

    #[test]
    fn every_flipped_character_and_every_cut_is_refused() {
        let token = mint(&ring(), &asked()).unwrap();
        let text = token.as_str();
        for at in 0..text.len() {
            let mut forged = text.to_owned();
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            forged.replace_range(at..=at, other);
            assert_eq!(redeem(&ring(), &forged), Err(TokenError), "{at}");
            assert_eq!(redeem(&ring(), &text[..at]), Err(TokenError), "{at}");
        }
    }

    #[test]
    fn texts_end_at_their_limit_and_the_longest_link_fits_a_request_line() {
        let domain = format!("{0}.{0}.{0}.{1}", "d".repeat(63), "e".repeat(60));
        let longest = Asked {
            mailbox: Mailbox::parse(&format!("l@{domain}")).unwrap(),
            controller: ControllerId::new(&"c".repeat(NAME_MAX)).unwrap(),
            purpose: format!("list:{}", "n".repeat(NAME_MAX)).parse().unwrap(),
            notice: Some("n".repeat(WORDS_MAX).into()),
            source: Some("s".repeat(WORDS_MAX).into()),
            ..asked()
        };
        let token = mint(&ring(), &longest).unwrap();
        assert!(token.as_str().len() < 1600, "{}", token.as_str().len());
        assert_eq!(redeem(&ring(), token.as_str()), Ok(longest.clone()));
        let longer = Asked { source: Some("s".repeat(WORDS_MAX + 1).into()), ..longest };
        assert_eq!(mint(&ring(), &longer), Err(TokenError));
    }
}
