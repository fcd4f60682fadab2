//! One session: the order of commands (RFC 5321 section 4.1.4) and the replies to them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::channel::{Awaiting, Channel, DATA_READ, Halt};
use super::data::{Incoming, Outcome};
use super::pace::{Pace, Patience};
use super::replies;
use super::settings::Settings;
use crate::mail::{EnhancedStatus, Envelope, Recipient, Reply, ReversePath};
use crate::smtp::wire::{Command, CommandError, Defect, ForwardPath, Line, Lines, MailParams, RcptParams};
use crate::smtp::{ContentError, Identity, Intake, Protocol, SessionFacts, Transaction};

/// Commands that a session may get wrong between two accepted messages. Ours: Postfix and others cut off at 20.
pub(super) const ERRORS_MAX: u32 = 20;
/// Commands without effect (NOOP, VRFY, HELP, RSET without a transaction, repeated EHLO) between two accepted
/// messages. Ours: Postfix cuts off at 100.
pub(super) const IDLE_COMMANDS_MAX: u32 = 100;
/// The first octet of a TLS ClientHello record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Whether the session goes on after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It does.
    Continue,
    /// The client has said goodbye.
    Quit,
    /// The client is sent away.
    Close,
}

/// How the client introduced itself.
struct Hello {
    name: String,
    extended: bool,
}

/// The state of one connection.
pub(super) struct Session<S, I> {
    pub(super) channel: Channel<S>,
    pub(super) settings: Arc<Settings>,
    pub(super) intake: Arc<I>,
    pub(super) peer: SocketAddr,
    pub(super) lines: Lines,
    pub(super) failed_logins: u32,
    pub(super) id: String,
    hello: Option<Hello>,
    login: Option<Identity>,
    facts: Option<Arc<SessionFacts>>,
    transaction: Option<Transaction>,
    refused_recipients: bool,
    errors: u32,
    idle: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send, I: Intake> Session<S, I> {
    pub(super) fn new(
        channel: Channel<S>,
        settings: Arc<Settings>,
        intake: Arc<I>,
        peer: SocketAddr,
        id: String,
    ) -> Self {
        Self {
            channel,
            settings,
            intake,
            peer,
            lines: Lines::default(),
            failed_logins: 0,
            id,
            hello: None,
            login: None,
            facts: None,
            transaction: None,
            refused_recipients: false,
            errors: 0,
            idle: 0,
        }
    }

    /// Talks to the client until one of the two has enough.
    pub(super) async fn run(mut self) {
        let farewell = match self.converse().await {
            Ok(flow) => return self.channel.close(self.settings.data_timeout, flow == Flow::Close).await,
            Err(Halt::Gone) => return,
            Err(Halt::TimedOut) => replies::timeout(),
            Err(Halt::Expired) => replies::session_over(),
            Err(Halt::Stopping) => replies::stopping(),
        };
        // A wait was broken off, so there is nothing unread that could take the reply with it.
        self.channel.reply(&farewell);
        self.channel.close(self.settings.data_timeout, false).await;
    }

    async fn converse(&mut self) -> Result<Flow, Halt> {
        // RFC 5321 section 4.3.1: the client waits for the greeting. Who does not is no mail client.
        self.channel.peek().await?;
        if !self.channel.input.is_empty() {
            return Ok(self.send_away(&replies::not_smtp()));
        }
        let mut patience = Patience::new(self.settings.command_timeout);
        self.channel.line(&format!("220 {} ESMTP Consentry", self.settings.hostname()));
        loop {
            if self.hello.is_none() && self.channel.input.first() == Some(&TLS_HANDSHAKE) {
                return Ok(self.send_away(&replies::not_smtp()));
            }
            let flow = match self.lines.next(&mut self.channel.input) {
                Line::Complete(line) => self.command(&line).await?,
                Line::BareLf => self.fault(&replies::bare_lf()),
                Line::Endless => self.send_away(&replies::endless()),
                Line::Incomplete => {
                    self.channel.fill(Awaiting::Command, patience.left(Instant::now())).await?;
                    continue;
                }
            };
            patience.renew();
            if flow != Flow::Continue {
                return Ok(flow);
            }
            if self.channel.is_full() {
                self.channel.flush(self.settings.data_timeout).await?;
            }
        }
    }

    async fn command(&mut self, line: &[u8]) -> Result<Flow, Halt> {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => return Ok(self.not_understood(error)),
        };
        match command {
            Command::Rcpt { path, params } => Ok(self.rcpt(path, params).await),
            Command::Mail { path, params } => Ok(self.mail(path, params).await),
            Command::Data => self.data().await,
            Command::Ehlo(name) => Ok(self.hello(Hello { name, extended: true })),
            Command::Helo(name) => Ok(self.hello(Hello { name, extended: false })),
            Command::StartTls => self.start_tls().await,
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial).await,
            Command::Rset if self.transaction.is_some() => {
                self.reset();
                self.channel.line(replies::OK);
                Ok(Flow::Continue)
            }
            Command::Rset | Command::Noop => Ok(self.idle(replies::OK)),
            Command::Vrfy => Ok(self.idle(replies::VRFY)),
            Command::Help => Ok(self.idle(replies::HELP)),
            Command::Quit => {
                self.channel.line(replies::BYE);
                Ok(Flow::Quit)
            }
            Command::NotImplemented => Ok(self.fault(&replies::not_implemented())),
            // Octets that must not be read as commands follow it.
            Command::Bdat => Ok(self.send_away(&replies::not_implemented())),
            Command::Http => Ok(self.send_away(&replies::not_smtp())),
        }
    }

    //----------- Greeting -----------

    fn hello(&mut self, hello: Hello) -> Flow {
        // RFC 2920 section 3.1: EHLO ends a group, for what is offered is not known before its reply.
        if !self.channel.input.is_empty() {
            return self.send_away(&replies::not_smtp());
        }
        if self.hello.is_some() && !self.spend_idle() {
            return self.send_away(&replies::too_many_idle_commands());
        }
        self.reset();
        self.facts = None;
        let host = self.settings.hostname();
        let text = if hello.extended {
            let tls = if self.offers_tls() { "250-STARTTLS\r\n" } else { "" };
            let auth = self.auth_offer();
            let size = self.settings.max_message_octets;
            format!(
                "250-{host}\r\n250-PIPELINING\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n\
                 250-ENHANCEDSTATUSCODES\r\n{tls}{auth}250 HELP"
            )
        } else {
            format!("250 {host}")
        };
        self.channel.line(&text);
        self.hello = Some(hello);
        Flow::Continue
    }

    /// Whether AUTH is in order: RFC 4954 section 4.
    pub(super) fn may_authenticate(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.extended) && self.login.is_none() && self.transaction.is_none()
    }

    /// Whether the client has proven something, has begun something, or has not even said hello.
    pub(super) const fn knows_more_than_hello(&self) -> bool {
        self.hello.is_none() || self.login.is_some() || self.transaction.is_some()
    }

    /// RFC 3207 section 4.2: after the handshake everything that the client said before it is void.
    pub(super) fn forget_client(&mut self) {
        self.reset();
        (self.hello, self.login, self.facts) = (None, None, None);
    }

    /// The client has proven who it is.
    pub(super) fn authenticated(&mut self, identity: Identity) {
        self.login = Some(identity);
        self.facts = None;
    }

    /// What is known of the session, if its client is known.
    fn facts(&mut self) -> Option<Arc<SessionFacts>> {
        if let Some(facts) = &self.facts {
            return Some(Arc::clone(facts));
        }
        let hello = self.hello.as_ref()?;
        let (identity, protocol) = if let Some(identity) = &self.login {
            (identity.clone(), Protocol::Esmtpa)
        } else {
            let certificate = self.channel.client_certificate();
            let shown = certificate.and_then(|certificate| self.intake.by_certificate(&certificate));
            let identity = shown.or_else(|| self.intake.by_address(self.peer.ip()))?;
            (identity, if hello.extended { Protocol::Esmtp } else { Protocol::Smtp })
        };
        let facts = Arc::new(SessionFacts {
            id: self.id.clone(),
            peer: self.peer,
            helo: hello.name.clone(),
            protocol: protocol.under(self.channel.cover()),
            identity,
        });
        self.facts = Some(Arc::clone(&facts));
        Some(facts)
    }

    //----------- Transaction -----------

    async fn mail(&mut self, path: ReversePath, params: MailParams) -> Flow {
        if self.hello.is_none() {
            return self.fault(&replies::hello_first());
        }
        if self.transaction.is_some() {
            return self.fault(&replies::nested_mail());
        }
        // A client that is never idle would not notice otherwise.
        if self.channel.stopping() {
            return self.send_away(&replies::stopping());
        }
        let Some(facts) = self.facts() else {
            return self.fault(&replies::who_are_you());
        };
        if params.size.is_some_and(|size| size > self.settings.max_message_octets) {
            return self.refuse(replies::too_large());
        }
        let facts = if params.smtputf8 {
            Arc::new(SessionFacts { protocol: facts.protocol.with_utf8(), ..SessionFacts::clone(&facts) })
        } else {
            facts
        };
        if let Err(reply) = self.intake.mail(&facts, &path).await {
            return self.refuse(reply);
        }
        let body = params.body.unwrap_or_default();
        let MailParams { smtputf8, reporting, size, .. } = params;
        let envelope = Envelope { reverse_path: path, recipients: Vec::new(), body, smtputf8, reporting };
        let declared_size = size.filter(|size| *size > 0);
        self.transaction = Some(Transaction { session: facts, envelope, declared_size });
        self.channel.begin_transaction(self.settings.transaction_timeout);
        self.channel.line(replies::MAIL_OK);
        Flow::Continue
    }

    async fn rcpt(&mut self, path: ForwardPath, params: RcptParams) -> Flow {
        let Some(transaction) = &mut self.transaction else {
            return self.out_of_order();
        };
        if transaction.envelope.recipients.len() >= self.settings.max_recipients {
            return self.refuse(replies::too_many_recipients());
        }
        let mailbox = match path {
            ForwardPath::Postmaster => self.settings.postmaster().clone(),
            ForwardPath::Mailbox(mailbox) => mailbox,
        };
        let refusal = if mailbox.routes_further() {
            Some(replies::routed())
        } else if mailbox.domain().is_literal() && mailbox != *self.settings.postmaster() {
            Some(replies::literal())
        } else if mailbox.needs_smtputf8() && !transaction.envelope.smtputf8 {
            Some(replies::needs_smtputf8())
        } else {
            let recipient = Recipient { mailbox, notify: params.notify.unwrap_or_default(), original: params.original };
            match self.intake.rcpt(transaction, &recipient).await {
                Ok(()) => {
                    transaction.envelope.recipients.push(recipient);
                    None
                }
                Err(reply) => Some(reply),
            }
        };
        if let Some(reply) = refusal {
            self.refused_recipients = true;
            return self.refuse(reply);
        }
        self.channel.line(replies::RCPT_OK);
        Flow::Continue
    }

    async fn data(&mut self) -> Result<Flow, Halt> {
        let Some(transaction) = self.transaction.take_if(|open| !open.envelope.recipients.is_empty()) else {
            return Ok(self.data_refused());
        };
        // RFC 2920 section 3.1: DATA ends a group. Content before the 354 is content that nobody asked for.
        if !self.channel.input.is_empty() {
            return Ok(self.send_away(&replies::not_smtp()));
        }
        if self.channel.share.grow(DATA_READ).is_err() {
            self.reset();
            return Ok(self.refuse(ContentError::NoMemory.reply()));
        }
        self.channel.line(replies::START_DATA);
        let limit = self.settings.max_message_octets;
        let (line_ends, wait) = (self.settings.line_ends, self.settings.data_timeout);
        let pace = Pace::new(self.settings.min_data_rate, self.settings.data_grace);
        let mut content = Incoming::new(&mut self.channel, line_ends, limit, wait, pace);
        let result = self.intake.data(transaction, &mut content).await;
        let outcome = content.finish().await;
        self.channel.share.clear();
        self.reset();
        match (outcome, result) {
            (Outcome::Clean, Ok(receipt)) => Ok(self.queued(&receipt)),
            (Outcome::Clean | Outcome::Unread, Err(reply)) => Ok(self.refuse(reply)),
            (Outcome::Unread, Ok(_)) => {
                tracing::error!(session = %self.id, "a receipt was given for content that was not read to its end");
                Ok(self.refuse(replies::broken_receipt()))
            }
            (Outcome::Faulty(ContentError::Gone, _), _) => Err(Halt::Gone),
            (Outcome::Faulty(fault, end_found), _) => Ok(self.bad_content(fault, end_found)),
        }
    }

    fn data_refused(&mut self) -> Flow {
        match &self.transaction {
            None => self.out_of_order(),
            Some(_) if self.refused_recipients => self.fault(&replies::no_recipients()),
            Some(_) => self.fault(&replies::rcpt_first()),
        }
    }

    /// The only place that says 250 to a message.
    fn queued(&mut self, receipt: &I::Receipt) -> Flow {
        (self.errors, self.idle) = (0, 0);
        let text = format!("Ok: {receipt}");
        self.channel.reply(&Reply::new(250, EnhancedStatus::new(2, 0, 0), text));
        Flow::Continue
    }

    /// Line ends that two servers could read differently are no accident that a client gets over: it is sent away.
    fn bad_content(&mut self, fault: ContentError, end_found: bool) -> Flow {
        let goes_on = end_found
            && matches!(
                fault,
                ContentError::TooLarge | ContentError::NoMemory | ContentError::Malformed(Defect::LongLine)
            );
        if goes_on { self.refuse(fault.reply()) } else { self.send_away(&fault.reply()) }
    }

    fn reset(&mut self) {
        self.transaction = None;
        self.refused_recipients = false;
        self.channel.end_transaction();
    }

    //----------- Replies -----------

    fn not_understood(&mut self, error: CommandError) -> Flow {
        // A malformed address in a campaign is a fault of the list, not of the client: it is refused like any
        // other recipient, however many there are.
        if matches!(error, CommandError::Recipient(_)) && self.transaction.is_some() {
            self.refused_recipients = true;
            return self.refuse(error.reply());
        }
        self.fault(&error.reply())
    }

    fn out_of_order(&mut self) -> Flow {
        let reply = if self.hello.is_none() { replies::hello_first() } else { replies::mail_first() };
        self.fault(&reply)
    }

    /// Refuses what the client should not have sent; one too many of those, and it is sent away.
    pub(super) fn fault(&mut self, reply: &Reply) -> Flow {
        self.errors += 1;
        if self.errors > ERRORS_MAX {
            return self.send_away(&replies::too_many_errors());
        }
        self.channel.reply(reply);
        Flow::Continue
    }

    /// Refuses by decision. A refusal that reads as success is a fault of ours and must not reach the client; 421
    /// means that the session closes (RFC 5321 section 3.8).
    pub(super) fn refuse(&mut self, reply: Reply) -> Flow {
        let reply = if reply.code().is_transient() || reply.code().is_permanent() {
            reply
        } else {
            tracing::error!(session = %self.id, %reply, "a refusal was given with a code of success");
            replies::broken_receipt()
        };
        self.channel.reply(&reply);
        if reply.code().as_u16() == 421 { Flow::Close } else { Flow::Continue }
    }

    pub(super) fn send_away(&mut self, reply: &Reply) -> Flow {
        self.channel.reply(reply);
        Flow::Close
    }

    fn spend_idle(&mut self) -> bool {
        self.idle += 1;
        self.idle <= IDLE_COMMANDS_MAX
    }

    fn idle(&mut self, text: &str) -> Flow {
        if !self.spend_idle() {
            return self.send_away(&replies::too_many_idle_commands());
        }
        self.channel.line(text);
        Flow::Continue
    }
}
