//! One mail transaction: MAIL, RCPT, DATA, content, final dot (RFC 5321 section 3.3), pipelined where it can be.
//!
//! When the upstream offers PIPELINING, a group of commands goes out in one write (RFC 2920 section 3.1), and the
//! envelope of the next message may ride behind the final dot of the present one, so that a message costs one write
//! and one read. Desynchronised replies cannot deliver or bounce anything: a group is judged only as a whole, and
//! the 354 must stand exactly in the place of DATA.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;

use super::session::write_error;
use super::write::{Scanner, stuff, write_pieces};
use super::{ClientError, Outgoing, Payload, Session, Stage};
use crate::mail::{Recipient, Reply, Reporting, ReversePath};

/// Octets of a large body that are read and written at once: few system calls, little memory per connection.
const BLOCK: usize = 256 * 1024;

/// What the upstream said to an envelope. All of it belongs together: replies out of place are a [`ClientError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeReplies {
    /// To MAIL: 2yz, 4yz or 5yz.
    pub mail: Reply,
    /// To each RCPT in order; empty when MAIL was refused, as the replies mean nothing then.
    pub recipients: Vec<Reply>,
    /// To DATA: 354, 4yz or 5yz; absent when it was not sent.
    pub data: Option<Reply>,
}

impl EnvelopeReplies {
    /// Whether content is expected and somebody is there to receive it.
    pub fn goes_ahead(&self) -> bool {
        self.awaits_content() && self.recipients.iter().any(|reply| reply.code().is_success())
    }

    /// Whether the upstream waits for a final dot.
    fn awaits_content(&self) -> bool {
        self.data.as_ref().is_some_and(|reply| reply.code().as_u16() == 354)
    }
}

/// A transaction that ended without a reply to its final dot.
#[derive(Debug)]
pub struct Interrupted {
    /// Why.
    pub error: ClientError,
    /// Whether the whole content with its final dot had left: then the upstream may have taken the message, and
    /// sending it again may make a duplicate (RFC 5321 section 6.1).
    pub sent: bool,
}

impl Session {
    /// Sends the envelope of `message` (unless [`Session::content`] has announced it already) and reads the replies.
    ///
    /// # Errors
    /// [`ClientError`]; no content was sent.
    pub async fn envelope(&mut self, message: &Outgoing) -> Result<EnvelopeReplies, ClientError> {
        if !self.announced {
            self.in_step(Stage::Mail)?;
        }
        self.transactions = self.transactions.saturating_add(1);
        if !self.offers.pipelining {
            return self.step_by_step(message).await;
        }
        if !self.announced {
            self.put_envelope(message);
            self.send(Stage::Mail).await?;
            message.hold.release();
        }
        self.announced = false;
        let patience = self.timeouts.command;
        let mail = self.reply(Stage::Mail, patience).await?;
        let mut recipients = Vec::with_capacity(message.recipients.len());
        for _ in &message.recipients {
            recipients.push(self.reply(Stage::Rcpt, patience).await?);
        }
        let data = self.reply(Stage::Data, self.timeouts.data).await?;
        judge(mail, recipients, Some(data))
    }

    async fn step_by_step(&mut self, message: &Outgoing) -> Result<EnvelopeReplies, ClientError> {
        let patience = self.timeouts.command;
        self.put_mail(message);
        self.send(Stage::Mail).await?;
        let mail = self.reply(Stage::Mail, patience).await?;
        let mut recipients = Vec::with_capacity(message.recipients.len());
        if mail.code().is_success() {
            for index in 0..message.recipients.len() {
                self.in_step(Stage::Rcpt)?;
                self.put_rcpt(message, index);
                self.send(Stage::Rcpt).await?;
                if index + 1 == message.recipients.len() {
                    message.hold.release();
                }
                recipients.push(self.reply(Stage::Rcpt, patience).await?);
            }
        }
        message.hold.release();
        if !recipients.iter().any(|reply| reply.code().is_success()) {
            return judge(mail, recipients, None);
        }
        self.in_step(Stage::Data)?;
        self.commands.extend_from_slice(b"DATA\r\n");
        self.send(Stage::Data).await?;
        let data = self.reply(Stage::Data, self.timeouts.data).await?;
        judge(mail, recipients, Some(data))
    }

    /// Sends header, body and final dot after an envelope that [goes ahead](EnvelopeReplies::goes_ahead), with the
    /// envelope of `next` behind it when pipelining is offered, and awaits the reply to the dot: 2yz, 4yz or 5yz.
    /// If `next` is given, the following call must be `envelope(next)`, whatever the reply was.
    ///
    /// # Errors
    /// [`Interrupted`], which says whether the message may have been taken all the same.
    pub async fn content(&mut self, message: &Outgoing, next: Option<&Outgoing>) -> Result<Reply, Interrupted> {
        let unsent = |error| Interrupted { error, sent: false };
        self.in_step(Stage::Content).map_err(unsent)?;
        match &message.body {
            Payload::Memory(body) => self.write_memory(message, body, next).await?,
            Payload::File { path, .. } => self.write_file(message, path).await?,
        }
        let sent = |error| Interrupted { error, sent: true };
        let reply = match self.reply(Stage::Content, self.timeouts.dot).await {
            Ok(reply) => reply,
            // It has said what became of the message: nothing.
            Err(error @ ClientError::Closing { .. }) => return Err(unsent(error)),
            Err(error) => return Err(sent(error)),
        };
        if reply.code().as_u16() / 100 == 3 {
            let what = "an intermediate reply to the final dot";
            return Err(sent(ClientError::OutOfStep { stage: Stage::Content, what }));
        }
        Ok(reply)
    }

    /// Leaves a transaction that does not go ahead, so that the session can be used for the next message.
    ///
    /// # Errors
    /// [`ClientError`]: drop the session.
    pub async fn abandon(&mut self, replies: &EnvelopeReplies) -> Result<(), ClientError> {
        let lone_dot = replies.awaits_content();
        self.in_step(Stage::Reset)?;
        // RFC 2920 section 3.1: after a 354 that nobody is left to profit from, a dot alone ends the transaction.
        self.commands.extend_from_slice(if lone_dot { b".\r\n" } else { b"RSET\r\n" });
        self.send(Stage::Reset).await?;
        let reply = self.reply(Stage::Reset, self.timeouts.command).await?;
        if lone_dot == reply.code().is_success() || reply.code().as_u16() / 100 == 3 {
            let what = if lone_dot { "a message without recipients was taken" } else { "RSET was refused" };
            return Err(ClientError::OutOfStep { stage: Stage::Reset, what });
        }
        Ok(())
    }

    async fn write_memory(
        &mut self,
        message: &Outgoing,
        body: &Bytes,
        next: Option<&Outgoing>,
    ) -> Result<(), Interrupted> {
        let last = if body.is_empty() { &message.header } else { body };
        self.put_dot(last.ends_with(b"\r\n") || last.is_empty());
        let dot_end = self.commands.len();
        if let Some(next) = next.filter(|_| self.offers.pipelining) {
            self.put_envelope(next);
            self.announced = true;
        }
        let mut pieces = Vec::with_capacity(3 + 2 * (message.header_dots.len() + message.body_dots.len()));
        stuff(&message.header, &message.header_dots, &mut pieces);
        stuff(body, &message.body_dots, &mut pieces);
        let before: usize = pieces.iter().map(|piece| piece.len()).sum();
        pieces.push(&self.commands);
        let mut written = 0;
        let result = write_pieces(&mut self.channel, &pieces, self.timeouts.block, &mut written).await;
        self.commands.clear();
        if let Some(next) = next {
            next.hold.release();
        }
        result.map_err(|error| Interrupted {
            error: write_error(error, Stage::Content),
            sent: written >= before + dot_end,
        })
    }

    async fn write_file(&mut self, message: &Outgoing, path: &Path) -> Result<(), Interrupted> {
        let unsent = |error| Interrupted { error, sent: false };
        let mut scanner = Scanner::default();
        let mut block = message.header.to_vec();
        let mut file = None;
        loop {
            let mut dots = Vec::new();
            scanner.scan(&block, &mut dots).map_err(|e| unsent(e.into()))?;
            self.write_block(&block, &dots).await.map_err(unsent)?;
            (file, block) = read_block(file, path, block).await.map_err(|e| unsent(ClientError::Body(e)))?;
            if block.is_empty() {
                break;
            }
        }
        scanner.finish().map_err(|e| unsent(e.into()))?;
        self.put_dot(scanner.at_line_start());
        self.send(Stage::Content).await.map_err(unsent)
    }

    /// A reply in the middle of the content can only be a refusal in advance; going on would desynchronise.
    async fn write_block(&mut self, block: &[u8], dots: &[usize]) -> Result<(), ClientError> {
        if self.peek(Stage::Content).await? {
            let reply = self.reply(Stage::Content, self.timeouts.command).await?;
            return Err(if reply.code().is_transient() || reply.code().is_permanent() {
                ClientError::Closing { stage: Stage::Content, reply }
            } else {
                ClientError::OutOfStep { stage: Stage::Content, what: "a reply before the final dot" }
            });
        }
        let mut pieces = Vec::with_capacity(1 + 2 * dots.len());
        stuff(block, dots, &mut pieces);
        let mut written = 0;
        let result = write_pieces(&mut self.channel, &pieces, self.timeouts.block, &mut written).await;
        result.map_err(|error| write_error(error, Stage::Content))
    }

    /// The end of the content. Its last line gets the CRLF it lacks, and none is added when it has one: an empty
    /// line more would break signatures.
    fn put_dot(&mut self, at_line_start: bool) {
        self.commands.extend_from_slice(if at_line_start { b".\r\n" } else { b"\r\n.\r\n" });
    }

    fn put_envelope(&mut self, message: &Outgoing) {
        self.put_mail(message);
        for index in 0..message.recipients.len() {
            self.put_rcpt(message, index);
        }
        self.commands.extend_from_slice(b"DATA\r\n");
    }

    fn put_mail(&mut self, message: &Outgoing) {
        let path: &ReversePath = &message.reverse_path;
        self.commands.extend_from_slice(b"MAIL FROM:<");
        self.commands.extend_from_slice(path.as_str().as_bytes());
        self.commands.push(b'>');
        if self.offers.size {
            // Writing into memory cannot fail.
            let _written = write!(self.commands, " SIZE={}", message.size());
        }
        if message.eight_bit && self.offers.eight_bit_mime {
            self.commands.extend_from_slice(b" BODY=8BITMIME");
        }
        if (message.smtputf8 || message.needs_smtputf8()) && self.offers.smtputf8 {
            self.commands.extend_from_slice(b" SMTPUTF8");
        }
        self.put_reporting(&message.reporting);
        self.commands.extend_from_slice(b"\r\n");
    }

    /// RFC 3461 section 5.2.1: what the sender wants reported goes on as it came.
    fn put_reporting(&mut self, reporting: &Reporting) {
        if !self.offers.dsn {
            return;
        }
        if let Some(ret) = reporting.ret {
            let _written = write!(self.commands, " RET={}", ret.value());
        }
        if let Some(id) = &reporting.envelope_id {
            let _written = write!(self.commands, " ENVID={}", id.value());
        }
    }

    fn put_rcpt(&mut self, message: &Outgoing, index: usize) {
        let Some(Recipient { mailbox, notify, original }) = message.recipients.get(index) else { return };
        self.commands.extend_from_slice(b"RCPT TO:<");
        self.commands.extend_from_slice(mailbox.as_str().as_bytes());
        self.commands.push(b'>');
        if self.offers.dsn {
            if let Some(value) = notify.value() {
                let _written = write!(self.commands, " NOTIFY={value}");
            }
            if let Some(original) = original {
                let _written = write!(self.commands, " ORCPT={}", original.value());
            }
        }
        self.commands.extend_from_slice(b"\r\n");
    }
}

/// Replies that contradict each other are the sign of a shift by one; nothing may be concluded from them.
fn judge(mail: Reply, recipients: Vec<Reply>, data: Option<Reply>) -> Result<EnvelopeReplies, ClientError> {
    let out_of_step = |stage, what| Err(ClientError::OutOfStep { stage, what });
    let is_3yz = |reply: &Reply| reply.code().as_u16() / 100 == 3;
    if is_3yz(&mail) {
        return out_of_step(Stage::Mail, "an intermediate reply to MAIL");
    }
    if recipients.iter().any(is_3yz) {
        return out_of_step(Stage::Rcpt, "an intermediate reply to RCPT");
    }
    if let Some(data) = &data {
        if data.code().is_success() || (is_3yz(data) && data.code().as_u16() != 354) {
            return out_of_step(Stage::Data, "something else than 354 or a refusal");
        }
        if is_3yz(data) && !mail.code().is_success() {
            return out_of_step(Stage::Data, "354 although MAIL was refused");
        }
    }
    if mail.code().is_success() {
        return Ok(EnvelopeReplies { mail, recipients, data });
    }
    if recipients.iter().any(|reply| reply.code().is_success()) {
        return out_of_step(Stage::Rcpt, "a recipient was accepted although MAIL was refused");
    }
    Ok(EnvelopeReplies { mail, recipients: Vec::new(), data })
}

/// The next block of a large body, read away from the network's threads. Opens the file at the first call; an empty
/// block is its end. `block` is reused for its memory.
async fn read_block(file: Option<File>, path: &Path, mut block: Vec<u8>) -> std::io::Result<(Option<File>, Vec<u8>)> {
    let path = path.to_owned();
    let read = move || {
        let mut file = match file {
            Some(file) => file,
            None => File::open(path)?,
        };
        block.clear();
        let limit = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        (&mut file).take(limit).read_to_end(&mut block)?;
        Ok((Some(file), block))
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}
