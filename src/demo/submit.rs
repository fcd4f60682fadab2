//! Submitting over real SMTP, as a campaign tool does.

use lettre::message::{Mailbox, Message, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::daemon::Gateway;
use crate::exit::{Exit, Failure};

/// The head of a message.
pub(super) fn message(from: &str, to: &str, subject: &str) -> Result<MessageBuilder, Failure> {
    let mailbox =
        |text: &str| text.parse::<Mailbox>().map_err(|error| Failure::new(Exit::Software, format!("{text}: {error}")));
    Ok(Message::builder().from(mailbox(from)?).to(mailbox(to)?).subject(subject))
}

/// Hands one message to the gateway; with a credential, whose password is its name, or without. A refusal is an outcome
/// like another: the event log says which.
pub(super) async fn send(
    gateway: &Gateway,
    credential: Option<&str>,
    message: Message,
    to: &str,
) -> Result<(), Failure> {
    let address = gateway.submission.first().ok_or_else(|| Failure::new(Exit::Software, "nobody listens"))?;
    // A recipient that is refused ends lettre's connection: one transport for each keeps them apart.
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string()).port(address.port());
    if let Some(name) = credential {
        transport = transport.credentials(Credentials::new(name.to_owned(), name.to_owned()));
    }
    match transport.build().send(message).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_permanent() => Ok(()),
        Err(error) => Err(Failure::new(Exit::Temporary, format!("{to}: {error}"))),
    }
}
