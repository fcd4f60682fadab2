//! What the hall needs to know about streams and credentials, checked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::{CredentialName, Domain, ListName, StreamName};
use crate::message::{ExistingUnsubscribe, Expected, Signing};
use crate::policy::{Rulebook, StreamRules};

/// Streams and credentials, replaced as a whole at a reload.
#[derive(Debug)]
pub struct Settings {
    /// What this gateway calls itself in Received and Message-ID.
    pub hostname: Domain,
    /// `https://host` in front of `/u/TOKEN`.
    pub public_url: String,
    /// Mailbox of the mailto: alternative.
    pub unsubscribe_mailbox: String,
    /// The rules in force.
    pub rulebook: Arc<Rulebook>,
    /// How long a copy is tried before it expires.
    pub give_up: Duration,
    /// Streams by name.
    pub streams: HashMap<StreamName, Arc<Stream>>,
    /// Who may submit.
    pub credentials: Vec<Credential>,
}

/// One stream with everything that intake and rewriting ask of it.
#[derive(Debug)]
pub struct Stream {
    /// What policy looks at.
    pub rules: StreamRules,
    /// Lists that a control header may choose beside the stream's own.
    pub also_lists: Vec<ListName>,
    /// What happens to a refused recipient.
    pub on_refusal: OnRefusal,
    /// What happens to a List-Unsubscribe that the tool set.
    pub existing_unsubscribe: ExistingUnsubscribe,
    /// What one click ends.
    pub one_click_scope: OneClickScope,
    /// Domain of the List-Id: the controller's name under the configured domain.
    pub list_domain: Domain,
    /// SenderId of the Feedback-ID, when one is set.
    pub feedback_sender_id: Option<String>,
    /// What its messages are expected to show: names of the sender, postal address, ways out.
    pub expected: Expected,
    /// The keys that sign.
    pub signing: Signing,
    /// Who shares a copy, where nobody needs one of their own.
    pub sharing: Sharing,
}

/// Which recipients of a message share one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All of them: one smarthost takes it.
    Together,
    /// Those of one domain: each domain has mail servers of its own.
    ByDomain,
}

impl Stream {
    /// The list to use when a control header asks for `wanted`; `Err` when the stream does not have it: a header
    /// narrows a stream and never widens it.
    ///
    /// # Errors
    /// The list that was asked for.
    pub fn choose_list<'a>(&'a self, wanted: Option<&'a ListName>) -> Result<Option<&'a ListName>, &'a ListName> {
        match wanted {
            None => Ok(self.rules.list.as_ref()),
            Some(list) if self.rules.list.as_ref() == Some(list) || self.also_lists.contains(list) => Ok(Some(list)),
            Some(list) => Err(list),
        }
    }

    /// The list that holds whatever the content says; `None` while a control header may still choose.
    pub fn only_list(&self) -> Option<&ListName> {
        self.rules.list.as_ref().filter(|_| self.also_lists.is_empty())
    }
}

/// What the tool is told about a refused recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// 550, at RCPT where it is known there.
    Reject,
    /// 250, and a record that nothing was sent: for tools that disable a contact at the first 5yz.
    Accept,
}

/// What RFC 8058 one-click ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneClickScope {
    /// The list that the message was for; the whole controller when the message had no list.
    List,
    /// All marketing of the controller.
    Controller,
}

/// What a campaign tool presents, and the stream that it leads to.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Login name.
    pub name: CredentialName,
    /// Where it leads.
    pub stream: StreamName,
    /// How it proves itself.
    pub proof: Proof,
}

/// How a credential proves itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// SHA-256 of a random token. A fast hash is right for it: 256 random bits cannot be guessed.
    Token([u8; 32]),
    /// An argon2id hash in PHC form, for passwords that people chose.
    Password(String),
    /// By where it connects from.
    Addresses(Vec<AddressRange>),
}

/// A range of addresses in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address.
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not an address range; expected 192.0.2.0/24, 2001:db8::/32 or an address");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let network: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |p| p.parse::<u8>().map_err(|_| expected()))?;
        if prefix > longest { Err(expected()) } else { Ok(Self { network, prefix }) }
    }

    /// Whether `address` lies within; an IPv4 address that arrives as `::ffff:a.b.c.d` counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let width = if self.network.is_ipv4() { 32 } else { 128 };
        let shift = u32::from(width - self.prefix);
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4()
            && (bits(address) ^ bits(self.network)).checked_shr(shift).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_should() {
        let range = AddressRange::parse("192.0.2.128/25").unwrap();
        assert!(range.contains("192.0.2.128".parse().unwrap()) && range.contains("192.0.2.255".parse().unwrap()));
        assert!(!range.contains("192.0.2.127".parse().unwrap()) && !range.contains("::1".parse().unwrap()));
        assert!(range.contains("::ffff:192.0.2.200".parse().unwrap()));
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(AddressRange::parse("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(AddressRange::parse("::1").unwrap().contains("::1".parse().unwrap()));
        for bad in ["", "192.0.2.0/33", "192.0.2/24", "x/8", "192.0.2.0/-1"] {
            assert!(AddressRange::parse(bad).is_err(), "{bad}");
        }
    }
}
