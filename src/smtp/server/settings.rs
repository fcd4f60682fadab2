//! Settings of the server, with their defaults and where those come from.

use std::net::IpAddr;
use std::time::Duration;

use super::link::Cover;
use crate::cidr::AddressRange;
use crate::mail::{AddressError, Mailbox};
use crate::smtp::wire::LineEnds;
use crate::tls::Certificates;

/// RFC 5321 section 4.5.3.2.7: a server waits at least five minutes for the next command.
pub const COMMAND_TIMEOUT: Duration = Duration::from_mins(5);
/// RFC 5321 section 4.5.3.2.5: three minutes for each block of content.
pub const DATA_TIMEOUT: Duration = Duration::from_mins(3);
/// The longest that a client can keep a connection while it makes the server wait. Campaign tools that keep theirs
/// open send all the time; the bound is for those who drip. Ours, no official reference.
pub const SESSION_TIMEOUT: Duration = Duration::from_hours(1);
/// The longest that a client can keep a transaction open, from MAIL to the final dot. Ours: the largest message takes that
/// long at 28 KB a second; whoever is slower than a telephone line drips on purpose.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_mins(30);
/// How long a whole TLS handshake may take. Ours: two round trips and two signatures take a second on a bad line, and
/// whoever drips through a handshake holds a connection for nothing.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of content. Ours: what large mailbox providers take, 50 MB; a campaign message is below 1 MB.
pub const MESSAGE_OCTETS_MAX: u64 = 50 * 1024 * 1024;
/// RFC 5321 section 4.5.3.1.8 asks for at least 100; most peers allow 1000.
pub const RECIPIENTS_MAX: usize = 1000;
/// Ours: well above what campaign tools open, and with a 64 KiB buffer each 64 MiB in all.
pub const CONNECTIONS_MAX: usize = 1024;
/// What all sessions may hold in memory, in octets. Ours: room for every connection of the default, and for more
/// messages at a time than two disks take; the unit file gives the daemon 2 GiB.
pub const MEMORY_OCTETS_MAX: usize = 512 * 1024 * 1024;
/// Octets of content a second below which a client is cut off once [`DATA_GRACE`] is used up. Ours: a modem of 1990 sends three times as
/// much, and a campaign message of 100 KB would still take less than four minutes.
pub const DATA_RATE_MIN: u32 = 512;
/// How long content may be waited for in all before its rate counts. Ours: a slow start, a pause within a pipe.
pub const DATA_GRACE: Duration = Duration::from_mins(1);
/// Ours: the tool on one machine opens tens of connections, and many containers may share one address.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;

/// To whom AUTH is offered beside clients under TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthOffer {
    /// To nobody, not even under TLS: clients are known by their address.
    Never,
    /// To clients on this machine.
    #[default]
    Loopback,
    /// To everybody (`auth_without_tls`): the operator vouches for the network in between.
    WithoutTls,
}

impl AuthOffer {
    /// Whether a client at `peer` may use AUTH.
    pub fn allows(self, peer: IpAddr, cover: Cover) -> bool {
        match (self, cover) {
            (Self::Never, _) => false,
            (Self::Loopback | Self::WithoutTls, Cover::Tls) | (Self::WithoutTls, Cover::Clear) => true,
            (Self::Loopback, Cover::Clear) => peer.to_canonical().is_loopback(),
        }
    }
}

/// What an operator can choose.
#[derive(Clone, Debug)]
pub struct Settings {
    postmaster: Mailbox,
    /// The largest message, in octets: SIZE of RFC 1870. Default [`MESSAGE_OCTETS_MAX`].
    pub max_message_octets: u64,
    /// Recipients of one transaction. Default [`RECIPIENTS_MAX`].
    pub max_recipients: usize,
    /// Connections at a time. Default [`CONNECTIONS_MAX`].
    pub max_connections: usize,
    /// Connections at a time from one address. Default [`CONNECTIONS_PER_ADDRESS_MAX`].
    pub max_connections_per_address: usize,
    /// What all sessions may hold in memory, in octets. Default [`MEMORY_OCTETS_MAX`].
    pub max_memory_octets: usize,
    /// Octets a second that content has to come at; 0: none. Default [`DATA_RATE_MIN`].
    pub min_data_rate: u32,
    /// How long content may be waited for before that counts. Default [`DATA_GRACE`].
    pub data_grace: Duration,
    /// Default [`AuthOffer::Loopback`].
    pub auth: AuthOffer,
    /// What is made of content with bare CR, bare LF or NUL. Default [`LineEnds::Strict`].
    pub line_ends: LineEnds,
    /// What is shown to clients that start TLS; `None`: it is not offered. Default `None`.
    pub tls: Option<Certificates>,
    /// Who puts a header of the PROXY protocol in front of its connections, and has to. Default: nobody.
    pub proxies: Vec<AddressRange>,
    /// How long a TLS handshake may take. Default [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// How long the next command may take. Default [`COMMAND_TIMEOUT`].
    pub command_timeout: Duration,
    /// How long the next block of content, or the taking of a reply, may take. Default [`DATA_TIMEOUT`].
    pub data_timeout: Duration,
    /// How long a session may last, as far as it waits for the client. Default [`SESSION_TIMEOUT`].
    pub session_timeout: Duration,
    /// How long a transaction may last, as far as it waits for the client. Default [`TRANSACTION_TIMEOUT`].
    pub transaction_timeout: Duration,
}

impl Settings {
    /// The defaults, for a server that calls itself `hostname` in its greeting.
    ///
    /// # Errors
    /// [`AddressError`] when `hostname` is not a domain or address literal.
    pub fn new(hostname: &str) -> Result<Self, AddressError> {
        Ok(Self {
            postmaster: Mailbox::parse(&format!("postmaster@{hostname}"))?,
            max_message_octets: MESSAGE_OCTETS_MAX,
            max_recipients: RECIPIENTS_MAX,
            max_connections: CONNECTIONS_MAX,
            max_connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
            max_memory_octets: MEMORY_OCTETS_MAX,
            min_data_rate: DATA_RATE_MIN,
            data_grace: DATA_GRACE,
            auth: AuthOffer::default(),
            line_ends: LineEnds::default(),
            tls: None,
            proxies: Vec::new(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            command_timeout: COMMAND_TIMEOUT,
            data_timeout: DATA_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            transaction_timeout: TRANSACTION_TIMEOUT,
        })
    }

    /// The name of the server.
    pub fn hostname(&self) -> &str {
        self.postmaster.domain_as_written()
    }

    /// Whom `RCPT TO:<postmaster>` means (RFC 5321 section 4.5.1).
    pub const fn postmaster(&self) -> &Mailbox {
        &self.postmaster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_must_be_one() {
        let settings = Settings::new("gw.example").unwrap();
        assert_eq!((settings.hostname(), settings.postmaster().as_str()), ("gw.example", "postmaster@gw.example"));
        for bad in ["", "gw example", "gw.example\r\nX", "-gw"] {
            assert!(Settings::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_in_clear_stay_on_this_machine_by_default() {
        let offer = AuthOffer::default();
        for (peer, allowed) in [("127.0.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)] {
            let peer = peer.parse().unwrap();
            assert_eq!(offer.allows(peer, Cover::Clear), allowed, "{peer}");
            assert!(offer.allows(peer, Cover::Tls), "{peer}");
        }
        assert!(AuthOffer::WithoutTls.allows("192.0.2.1".parse().unwrap(), Cover::Clear));
        for cover in [Cover::Clear, Cover::Tls] {
            assert!(!AuthOffer::Never.allows("127.0.0.1".parse().unwrap(), cover));
        }
    }
}
