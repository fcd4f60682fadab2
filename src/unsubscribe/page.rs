//! The pages: plain, without script or foreign resources, readable on any screen.

use std::fmt::Write as _;

use crate::mail::Mailbox;
use crate::token::Subject;

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.2rem;color:#1c1c1c;background:#fff}\
h1{font-size:1.5rem}button{font:inherit;padding:.7rem 1.4rem;border:0;border-radius:.4rem;background:#114b9f;color:#fff;cursor:pointer}\
button:focus-visible{outline:3px solid #f5a300}@media(prefers-color-scheme:dark){body{color:#eee;background:#151515}button{background:#9cc4ff;color:#111}}";

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

/// Asks for one deliberate press of a button.
pub(super) fn confirm(subject: &Subject) -> String {
    let who = escape(&masked(&subject.mailbox));
    let what = escape(&scope(subject));
    page(
        "Unsubscribe",
        &format!(
            "<p>{who} is written to by {what}.</p><form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" \
             value=\"One-Click\"><button>Stop these messages</button></form>"
        ),
    )
}

/// Says what was done.
pub(super) fn done(subject: &Subject) -> String {
    let who = escape(&masked(&subject.mailbox));
    let what = escape(&scope(subject));
    page(
        "You are unsubscribed",
        &format!("<p>{who} will not be written to by {what} any more. This counts from now on.</p>"),
    )
}

/// One answer for every token that is not ours, whatever is wrong with it.
pub(super) fn unknown() -> String {
    page(
        "This link is not known here",
        "<p>Please use the link of a message that you received, as it stands there.</p>",
    )
}

/// The opt-out could not be recorded.
pub(super) fn later() -> String {
    page(
        "Not recorded yet",
        "<p>Your wish could not be recorded at this moment. Please try again in a few minutes.</p>",
    )
}

fn scope(subject: &Subject) -> String {
    match &subject.list {
        Some(list) => format!("{} (list {list})", subject.controller),
        None => subject.controller.to_string(),
    }
}

/// The first letter and the domain: whoever got the message forwarded does not learn the address.
fn masked(mailbox: &Mailbox) -> String {
    let first = mailbox.unquoted_local_part().chars().next().unwrap_or('*');
    format!("{first}***@{}", mailbox.domain())
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => {
                // Writing into a String cannot fail.
                let _infallible = write!(out, "&#39;");
            }
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_neither_the_address_nor_anybodys_markup() {
        let subject = Subject {
            mailbox: Mailbox::parse("\"<b>ob\"@example.org").unwrap(),
            controller: crate::mail::ControllerId::new("acme").unwrap(),
            list: None,
            message: crate::mail::QueueId::from_u64(1),
        };
        for text in [confirm(&subject), done(&subject)] {
            assert!(text.contains("&lt;***@example.org") && !text.contains("<b>ob"), "{text}");
        }
    }
}
