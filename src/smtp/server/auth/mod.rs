//! AUTH as a conversation: RFC 4954 section 4, RFC 4616 (PLAIN), LOGIN as clients practise it, and SCRAM (RFC 5802).

mod scram;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::channel::{Awaiting, Halt};
use super::pace::Patience;
use super::replies;
use super::session::{Flow, Session};
use crate::mail::Reply;
use crate::smtp::wire::limits::AUTH_LINE_MAX;
use crate::smtp::wire::{Line, Mechanism};
use crate::smtp::{Evidence, Identity, Intake, Login, Secret};

/// Refused logins of one session; the last of them closes it. Ours: a person who mistypes has two more tries, a
/// guesser pays a connection for every three.
pub(super) const FAILED_LOGINS_MAX: u32 = 3;

impl<S: AsyncRead + AsyncWrite + Unpin + Send, I: Intake> Session<S, I> {
    /// The line of EHLO's reply that offers AUTH, or nothing.
    pub(super) fn auth_offer(&self) -> String {
        if !self.settings.auth.allows(self.peer.ip(), self.channel.cover()) {
            return String::new();
        }
        let names: Vec<_> = self.intake.mechanisms().iter().map(|mechanism| mechanism.as_str()).collect();
        format!("250-AUTH {}\r\n", names.join(" "))
    }

    pub(super) async fn auth(&mut self, mechanism: Mechanism, initial: Option<Secret>) -> Result<Flow, Halt> {
        if !self.may_authenticate() {
            return Ok(self.fault(&replies::auth_out_of_order()));
        }
        if !self.settings.auth.allows(self.peer.ip(), self.channel.cover()) {
            // Never with the text: whoever listens has read it, and a log would keep it.
            if initial.is_some() {
                tracing::warn!(session = %self.id, peer = %self.peer, "a password was sent in clear: it should be changed");
            }
            return Ok(self.fault(&replies::auth_needs_tls()));
        }
        if !self.intake.mechanisms().contains(&mechanism) {
            return Ok(self.fault(&replies::no_mechanism()));
        }
        let login = match mechanism {
            Mechanism::Plain => self.plain(initial).await?,
            Mechanism::Login => self.login(initial).await?,
            Mechanism::ScramSha256 => return self.scram(initial).await,
            Mechanism::Unknown => Err(replies::no_mechanism()),
        };
        match login {
            Ok(login) => Ok(match self.check(login).await {
                Ok(identity) => self.welcome(identity),
                Err(flow) => flow,
            }),
            Err(reply) => Ok(self.fault(&reply)),
        }
    }

    fn welcome(&mut self, identity: Identity) -> Flow {
        self.authenticated(identity);
        self.channel.line(replies::AUTH_OK);
        Flow::Continue
    }

    /// Asks who it is; a refusal is answered here.
    async fn check(&mut self, login: Login) -> Result<Identity, Flow> {
        let reply = match self.intake.authenticate(login, self.peer.ip()).await {
            Ok(identity) => return Ok(identity),
            Err(reply) => reply,
        };
        // Tries that are not looked at count as well, or a client could go on with them for ever.
        self.failed_logins += 1;
        Err(if self.failed_logins >= FAILED_LOGINS_MAX {
            self.refuse(replies::too_many_failed_logins())
        } else {
            self.refuse(reply)
        })
    }

    async fn plain(&mut self, initial: Option<Secret>) -> Result<Result<Login, Reply>, Halt> {
        let response = match initial {
            Some(initial) => Ok(initial),
            None => self.ask(replies::AUTH_GO_ON).await?,
        };
        Ok(response.and_then(|response| plain_login(&response)))
    }

    async fn login(&mut self, initial: Option<Secret>) -> Result<Result<Login, Reply>, Halt> {
        let name = match initial {
            Some(initial) => Ok(initial),
            None => self.ask(replies::AUTH_NAME).await?,
        };
        let name = match name.and_then(|name| decode(&name)).and_then(user_name) {
            Ok(name) => name,
            Err(reply) => return Ok(Err(reply)),
        };
        let password = self.ask(replies::AUTH_PASSWORD).await?;
        Ok(password.and_then(|text| decode(&text)).and_then(|text| {
            if text.contains('\0') {
                Err(replies::auth_malformed())
            } else {
                Ok(Login { name, evidence: Evidence::Password(Secret::new(text)) })
            }
        }))
    }

    /// Sends a challenge and reads the response, still in base64.
    async fn ask(&mut self, challenge: &str) -> Result<Result<Secret, Reply>, Halt> {
        self.channel.line(challenge);
        let mut patience = Patience::new(self.settings.command_timeout);
        loop {
            let line = match self.lines.next(&mut self.channel.input) {
                Line::Complete(line) => line,
                Line::BareLf => return Ok(Err(replies::bare_lf())),
                // What is left in the input closes the session at the next look at it.
                Line::Endless => return Ok(Err(replies::auth_too_long())),
                Line::Incomplete => {
                    self.channel.fill(Awaiting::Command, patience.left(Instant::now())).await?;
                    continue;
                }
            };
            return Ok(if line.len() + 2 > AUTH_LINE_MAX {
                Err(replies::auth_too_long())
            } else if &*line == b"*" {
                Err(replies::auth_cancelled())
            } else {
                String::from_utf8(line.to_vec()).map(Secret::new).map_err(|_| replies::auth_malformed())
            });
        }
    }
}

/// `=` alone is the empty string as an initial response (RFC 4954 section 4).
fn decode(response: &Secret) -> Result<String, Reply> {
    let text = if response.expose() == "=" { "" } else { response.expose() };
    let octets = STANDARD.decode(text).map_err(|_| replies::auth_malformed())?;
    String::from_utf8(octets).map_err(|_| replies::auth_malformed())
}

fn user_name(name: String) -> Result<String, Reply> {
    if name.is_empty() || name.contains('\0') { Err(replies::auth_malformed()) } else { Ok(name) }
}

/// `[authzid] NUL authcid NUL passwd`, RFC 4616 section 2.
fn plain_login(response: &Secret) -> Result<Login, Reply> {
    let text = decode(response)?;
    let mut parts = text.split('\0');
    let (Some(acting_as), Some(name), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(replies::auth_malformed());
    };
    if !acting_as.is_empty() && acting_as != name {
        return Err(replies::auth_refused());
    }
    let evidence = Evidence::Password(Secret::new(password.to_owned()));
    Ok(Login { name: user_name(name.to_owned())?, evidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(plain: &str) -> Result<(String, String), u16> {
        plain_login(&Secret::new(STANDARD.encode(plain)))
            .map(|login| match login.evidence {
                Evidence::Password(password) => (login.name, password.expose().to_owned()),
                Evidence::Scram(proven) => panic!("{proven:?}"),
            })
            .map_err(|reply| reply.code().as_u16())
    }

    #[test]
    fn plain_is_three_parts_and_nobody_acts_for_another() {
        let user = || Ok(("user".to_owned(), "p w".to_owned()));
        assert_eq!(parsed("\0user\0p w"), user());
        assert_eq!(parsed("user\0user\0p w"), user());
        assert_eq!(parsed("\0user\0é"), Ok(("user".to_owned(), "é".to_owned())));
        assert_eq!(parsed("\0user\0"), Ok(("user".to_owned(), String::new())));
        assert_eq!(parsed("boss\0user\0p w"), Err(535));
        for bad in ["", "user", "\0user", "\0user\0p\0w", "\0\0p"] {
            assert_eq!(parsed(bad), Err(501), "{bad:?}");
        }
    }

    #[test]
    fn responses_must_be_base64_of_text() {
        for bad in ["!", "dXNlcg", "dXNlcg== ", "/w=="] {
            assert!(decode(&Secret::new(bad.to_owned())).is_err(), "{bad}");
        }
        assert_eq!(decode(&Secret::new("=".to_owned())).as_deref(), Ok(""));
        assert_eq!(decode(&Secret::new("dXNlcg==".to_owned())).as_deref(), Ok("user"));
    }
}
