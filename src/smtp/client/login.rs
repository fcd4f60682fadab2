//! AUTH towards an upstream: RFC 4954, with PLAIN (RFC 4616) or LOGIN, which never became an RFC and is all that some
//! upstreams offer. The password is said to nobody before TLS, except to this machine itself.

use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ClientError, Protected, Session, Stage};
use crate::mail::Reply;

/// User name and password for an upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// Neither is ever shown again.
    pub const fn new(user: String, password: String) -> Self {
        Self { user, password }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// Why we could not log in: a matter between the upstream and our operator, and nobody's mail is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginFault {
    /// The session is in clear.
    #[error("the password is not sent without TLS")]
    InClear,
    /// None that we speak.
    #[error("the upstream offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoMechanism,
    /// Wrong password, closed account: a 5yz (RFC 4954 section 6).
    #[error("the upstream refused our user name and password: {0}")]
    Refused(Reply),
}

/// Whether nobody between can hear what is said.
fn is_private(protected: Option<Protected>, peer: SocketAddr) -> bool {
    protected.is_some() || peer.ip().to_canonical().is_loopback()
}

impl Session {
    pub(super) async fn login(&mut self, login: &Login) -> Result<(), ClientError> {
        if !is_private(self.protected(), self.peer()) {
            return Err(LoginFault::InClear.into());
        }
        let offered = |name: &str| self.offers.auth.iter().any(|mechanism| mechanism == name);
        let reply = if offered("PLAIN") {
            let response = STANDARD.encode(format!("\0{}\0{}", login.user, login.password));
            self.say(&format!("AUTH PLAIN {response}")).await?
        } else if offered("LOGIN") {
            self.login_in_steps(login).await?
        } else {
            return Err(LoginFault::NoMechanism.into());
        };
        match reply.code().as_u16() {
            235 => Ok(()),
            500..=599 => Err(LoginFault::Refused(reply).into()),
            400..=499 => Err(ClientError::Refused { stage: Stage::Auth, reply }),
            _ => Err(ClientError::OutOfStep { stage: Stage::Auth, what: "something else than 235 or a refusal" }),
        }
    }

    /// Asked for the user name, then for the password; in which words does not matter.
    async fn login_in_steps(&mut self, login: &Login) -> Result<Reply, ClientError> {
        let mut reply = self.say("AUTH LOGIN").await?;
        for answer in [&login.user, &login.password] {
            if reply.code().as_u16() != 334 {
                return Ok(reply);
            }
            reply = self.say(&STANDARD.encode(answer)).await?;
        }
        Ok(reply)
    }

    async fn say(&mut self, line: &str) -> Result<Reply, ClientError> {
        self.in_step(Stage::Auth)?;
        self.commands.extend_from_slice(line.as_bytes());
        self.commands.extend_from_slice(b"\r\n");
        self.send(Stage::Auth).await?;
        self.reply(Stage::Auth, self.timeouts.command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_said_under_tls_or_to_this_machine_and_never_shown() {
        let tls = Some(Protected { version: "TLSv1.3", cipher: "x" });
        for (protected, peer, expected) in [
            (None, "192.0.2.1:25", false),
            (tls, "192.0.2.1:25", true),
            (None, "127.0.0.1:25", true),
            (None, "[::1]:25", true),
            (None, "[::ffff:127.0.0.1]:25", true),
            (None, "[2001:db8::1]:25", false),
        ] {
            assert_eq!(is_private(protected, peer.parse().unwrap()), expected, "{peer}");
        }
        assert_eq!(format!("{:?}", Login::new("u".to_owned(), "p".to_owned())), "Login(..)");
    }
}
