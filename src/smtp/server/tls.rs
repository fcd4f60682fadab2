//! STARTTLS: RFC 3207.

use tokio::io::{AsyncRead, AsyncWrite};

use super::channel::Halt;
use super::link::Cover;
use super::replies;
use super::session::{Flow, Session};
use crate::smtp::Intake;
use crate::smtp::wire::Lines;

impl<S: AsyncRead + AsyncWrite + Unpin + Send, I: Intake> Session<S, I> {
    /// Whether STARTTLS is offered now: RFC 3207 section 4.2 forbids it once TLS has started.
    pub(super) fn offers_tls(&self) -> bool {
        self.settings.tls.is_some() && self.channel.cover() == Cover::Clear
    }

    pub(super) async fn start_tls(&mut self) -> Result<Flow, Halt> {
        let Some(certificates) = self.settings.tls.clone() else {
            return Ok(self.fault(&replies::not_implemented()));
        };
        // What was proven or begun in clear must not be carried under the cover of TLS, and nothing needs it to.
        if self.channel.cover() == Cover::Tls || self.knows_more_than_hello() {
            return Ok(self.fault(&replies::tls_out_of_order()));
        }
        // RFC 3207 section 4: the client waits for the reply. What is here already was written by somebody between
        // us, and would be read as if it had come under TLS (CVE-2011-0411).
        if !self.channel.input.is_empty() {
            return Ok(self.send_away(&replies::talks_before_tls()));
        }
        self.channel.line(replies::START_TLS);
        self.channel.secure(&certificates.acceptor(), self.settings.handshake_timeout).await?;
        self.forget_client();
        self.lines = Lines::default();
        Ok(Flow::Continue)
    }
}
