//! Command lines: framing, grammar, and what smtp-proto makes of the same line.
//!
//! Known disagreements, in each of which smtp-proto is the looser or loses something; such lines are not compared:
//! quoted local parts (it takes the quotes off and does not say so), address literals (it refuses them), source routes,
//! a postmaster without domain, bare carriage returns (it removes them), blanks within and behind the path.
#![no_main]

use bytes::BytesMut;
use consentry::mail::{EnvelopeId, Mailbox, Notify, OriginalRecipient, Ret, ReversePath};
use consentry::smtp::wire::limits::{PATH_LINE_MAX, UNTERMINATED_MAX};
use consentry::smtp::wire::path::reverse_path;
use consentry::smtp::wire::{Command, ForwardPath, Line, Lines};
use libfuzzer_sys::fuzz_target;
use smtp_proto::Request;

fuzz_target!(|input: &[u8]| {
    let Some((&step, octets)) = input.split_first() else { return };
    let whole = lines(octets.chunks(octets.len().max(1)));
    assert_eq!(whole, lines(octets.chunks(usize::from(step).max(1))), "the chunking makes a difference");
    for line in whole.iter().flatten() {
        if let Ok(command) = Command::parse(line) {
            check(line, &command);
        }
    }
});

/// Every line, `None` for a bare line feed; an endless line ends the list.
fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let (mut reader, mut input, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match reader.next(&mut input) {
                // How much waits for its end depends on the chunks, so a longer line may be seen or be cut off.
                Line::Complete(line) if line.len() + 2 > UNTERMINATED_MAX => return found,
                Line::Complete(line) => found.push(Some(line.to_vec())),
                Line::BareLf => found.push(None),
                Line::Incomplete => break,
                Line::Endless => return found,
            }
        }
    }
    found
}

fn check(line: &[u8], command: &Command) {
    match command {
        Command::Mail { path, params } => {
            assert!(line.len() + 2 <= PATH_LINE_MAX);
            if let ReversePath::Mailbox(mailbox) = path {
                check_mailbox(mailbox);
                assert!(mailbox.as_str().is_ascii() || params.smtputf8);
            }
            let reporting = &params.reporting;
            if let Some(id) = &reporting.envelope_id {
                assert_eq!(EnvelopeId::parse(&id.value()).as_ref(), Ok(id));
                assert!(id.as_str().bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
            let Some(theirs) = compared(line, path.as_str()) else { return };
            let Request::Mail { from } = theirs else { panic!("MAIL is {theirs:?} to smtp-proto") };
            assert_eq!(from.address, path.as_str());
            let ret = match reporting.ret {
                Some(Ret::Full) => smtp_proto::MAIL_RET_FULL,
                Some(Ret::Headers) => smtp_proto::MAIL_RET_HDRS,
                None => 0,
            };
            assert_eq!(from.flags & (smtp_proto::MAIL_RET_FULL | smtp_proto::MAIL_RET_HDRS), ret);
            assert_eq!(from.env_id.as_deref(), reporting.envelope_id.as_ref().map(EnvelopeId::as_str));
            assert_eq!(u64::try_from(from.size).ok(), Some(params.size.unwrap_or(0)));
        }
        Command::Rcpt { path: ForwardPath::Mailbox(mailbox), params } => {
            check_mailbox(mailbox);
            if let Some(original) = &params.original {
                let value = original.value();
                assert!(value.bytes().all(|b| b.is_ascii_graphic() && b != b'='));
                let again = OriginalRecipient::parse(&value).expect("what is passed on is well formed");
                assert_eq!(again.value(), value);
            }
            if let Some(value) = params.notify.and_then(Notify::value) {
                assert_eq!(Notify::parse(&value).ok(), params.notify);
            }
            let Some(theirs) = compared(line, mailbox.as_str()) else { return };
            let Request::Rcpt { to } = theirs else { panic!("RCPT is {theirs:?} to smtp-proto") };
            assert_eq!(to.address, mailbox.as_str());
            let never = matches!(params.notify, Some(Notify::Never));
            assert_eq!(to.flags & smtp_proto::RCPT_NOTIFY_NEVER != 0, never);
        }
        Command::Rcpt { path: ForwardPath::Postmaster, .. }
        | Command::Ehlo(_)
        | Command::Helo(_)
        | Command::Data
        | Command::Rset
        | Command::Noop
        | Command::Vrfy
        | Command::Help
        | Command::Quit
        | Command::Auth { .. }
        | Command::Bdat
        | Command::NotImplemented
        | Command::StartTls
        | Command::Http => {}
    }
}

fn check_mailbox(mailbox: &Mailbox) {
    let text = mailbox.as_str();
    assert!(!text.chars().any(char::is_control), "a control character in a path");
    assert_eq!(Mailbox::parse(text).as_ref(), Ok(mailbox));
    // What goes upstream between angle brackets is read as the same mailbox again, and nothing is left over.
    let written = format!("<{text}>");
    let (again, rest) = reverse_path(&written).expect("a path");
    assert_eq!((again, rest), (ReversePath::Mailbox(mailbox.clone()), ""));
}

/// What smtp-proto reads, where the two are to agree.
fn compared(line: &[u8], address: &str) -> Option<Request<String>> {
    let text = std::str::from_utf8(line).ok()?;
    let quoted = address.contains(['"', '[']) || !address.is_ascii();
    let routed = text.contains("<@");
    let odd_blanks = text.contains(": ") || text.contains("  ") || text.ends_with(' ');
    // Values that smtp-proto keeps encoded, numbers beyond its range, and address types it does not take.
    let odd_values = text.to_ascii_uppercase().contains("ORCPT") || !text.is_ascii() || text.contains("AUTH=");
    let wide = text.to_ascii_uppercase().contains("SIZE=") && text.bytes().filter(u8::is_ascii_digit).count() > 15;
    if quoted || routed || odd_blanks || odd_values || wide || address.is_empty() {
        return None;
    }
    let with_end = [line, b"\r\n"].concat();
    match Request::parse(&mut with_end.iter()) {
        Ok(request) => Some(request.into_owned()),
        Err(error) => panic!("smtp-proto refuses {text:?}: {error:?}"),
    }
}
