//! SCRAM-SHA-256 over AUTH: two messages from the client, two from the server (RFC 5802 section 5).

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::channel::Halt;
use super::super::replies;
use super::super::session::{Flow, Session};
use super::decode;
use crate::mail::Reply;
use crate::smtp::wire::scram::{ClientFirst, ScramError};
use crate::smtp::{Evidence, Identity, Intake, Login, Secret};

/// Octets of the server's nonce: it must not repeat.
const NONCE: usize = 18;

impl<S: AsyncRead + AsyncWrite + Unpin + Send, I: Intake> Session<S, I> {
    pub(super) async fn scram(&mut self, initial: Option<Secret>) -> Result<Flow, Halt> {
        let first = match initial {
            Some(initial) => Ok(initial),
            None => self.ask(replies::AUTH_GO_ON).await?,
        };
        let parsed = first.and_then(|text| decode(&text)).and_then(|text| ClientFirst::parse(&text).map_err(reply));
        let first = match parsed {
            Ok(first) => first,
            Err(reply) => return Ok(self.fault(&reply)),
        };
        let mut nonce = [0; NONCE];
        if rand::fill(&mut nonce).is_err() {
            return Ok(self.refuse(replies::cannot_authenticate()));
        }
        let verifier = self.intake.verifier(&first.name);
        let exchange = first.challenge(verifier, &nonce);
        let last = self.ask(&challenge(exchange.message())).await?;
        match last.and_then(|text| decode(&text)).and_then(|text| exchange.finish(&text).map_err(reply)) {
            Ok((proven, answer)) => {
                let login = Login { name: exchange.name().to_owned(), evidence: Evidence::Scram(proven) };
                match self.check(login).await {
                    Ok(identity) => self.prove_ourselves(&answer, identity).await,
                    Err(flow) => Ok(flow),
                }
            }
            Err(reply) => Ok(self.fault(&reply)),
        }
    }

    /// RFC 4954 section 4: success has no room for the server's last message, so it goes as a challenge and the client
    /// says that it has read it.
    async fn prove_ourselves(&mut self, answer: &str, identity: Identity) -> Result<Flow, Halt> {
        match self.ask(&challenge(answer)).await? {
            Ok(empty) if empty.expose().is_empty() || empty.expose() == "=" => Ok(self.welcome(identity)),
            Ok(_) => Ok(self.fault(&replies::auth_malformed())),
            Err(reply) => Ok(self.fault(&reply)),
        }
    }
}

fn challenge(message: &str) -> String {
    format!("334 {}", STANDARD.encode(message))
}

fn reply(error: ScramError) -> Reply {
    match error {
        ScramError::Malformed => replies::auth_malformed(),
        ScramError::Unsupported => replies::auth_refused(),
    }
}
