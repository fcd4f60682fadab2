//! Every verb, every refusal, the lengths.

use proptest::prelude::*;

use super::*;

fn code(line: &str) -> String {
    match Command::parse(line.as_bytes()) {
        Ok(command) => format!("{command:?}"),
        Err(error) => {
            let reply = error.reply();
            format!("{} {}", reply.code().as_u16(), reply.enhanced().unwrap())
        }
    }
}

#[test]
fn verbs_are_read_in_any_case_and_with_blanks_behind() {
    for (line, expected) in [
        ("data", Command::Data),
        ("DATA  ", Command::Data),
        ("Rset", Command::Rset),
        ("NOOP whatever", Command::Noop),
        ("VRFY someone", Command::Vrfy),
        ("HELP", Command::Help),
        ("quit", Command::Quit),
        ("BDAT 10 LAST", Command::Bdat),
        ("STARTTLS", Command::StartTls),
        ("EXPN list", Command::NotImplemented),
        ("GET / HTTP/1.1", Command::Http),
        ("EHLO [IPv6:::1]", Command::Ehlo("[IPv6:::1]".to_owned())),
        ("HELO web_01", Command::Helo("web_01".to_owned())),
        ("RCPT TO:<Postmaster>", Command::Rcpt { path: ForwardPath::Postmaster, params: RcptParams::default() }),
        (
            "mail from: <> SIZE=5",
            Command::Mail { path: ReversePath::Null, params: MailParams { size: Some(5), ..MailParams::default() } },
        ),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn each_refusal_has_the_code_of_its_kind() {
    for (line, expected) in [
        ("", "500 5.5.2"),
        ("FOO", "500 5.5.2"),
        (" NOOP", "500 5.5.2"),
        ("MAILFROM:<a@b.example>", "500 5.5.2"),
        ("NOOP\r", "500 5.5.2"),
        ("NO\rOP", "500 5.5.2"),
        ("NOOP \0", "500 5.5.2"),
        ("NOOP\t", "500 5.5.2"),
        ("RCPT TO:<a@b.example\rX: 1>", "500 5.5.2"),
        ("RCPT TO:<a\u{85}@b.example>", "500 5.5.2"),
        ("RCPT TO:<a\u{7f}@b.example>", "500 5.5.2"),
        ("DATA now", "501 5.5.4"),
        ("QUIT now", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL <a@b.example>", "501 5.5.4"),
        ("MAIL FROM:<a@b.example> SIZE=-1", "501 5.5.4"),
        ("MAIL FROM:<a@b.example>SIZE=1", "501 5.5.4"),
        ("MAIL FROM:a@b.example", "501 5.1.7"),
        ("MAIL FROM:<postmaster>", "501 5.1.7"),
        ("MAIL FROM:<é@b.example>", "553 5.6.7"),
        ("MAIL FROM:<a@b.example> RET=X", "501 5.5.4"),
        ("MAIL FROM:<a@b.example> NOTIFY=NEVER", "555 5.5.4"),
        ("RCPT TO:a@b.example", "501 5.1.3"),
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<a@b.example:2025>", "501 5.1.3"),
        ("RCPT TO:<v@vic.example@gw.example>", "501 5.1.3"),
        ("RCPT TO:<a@b.example> NOTIFY=NEVER,FAILURE", "501 5.5.4"),
        ("RCPT TO:<a@b.example> ORCPT=rfc822;a+0D+0ABcc:v@x", "501 5.5.4"),
        ("RCPT TO:<a@b.example> RET=FULL", "555 5.5.4"),
        ("EHLO", "501 5.5.4"),
        ("EHLO a b", "501 5.5.4"),
        ("EHLO [<script>]", "501 5.5.4"),
        ("EHLO []", "501 5.5.4"),
        ("EHLO bücher.example", "501 5.5.4"),
        ("EHLO -x", "501 5.5.4"),
        ("AUTH", "501 5.5.4"),
        ("AUTH FOO a b", "501 5.5.4"),
    ] {
        assert_eq!(code(line), expected, "{line:?}");
    }
    let not_utf8 = Command::parse(b"NOOP \xff");
    assert_eq!(not_utf8, Err(CommandError::Characters));
}

#[test]
fn lines_are_measured_by_their_verb_at_the_limit_and_past_it() {
    for (start, limit) in [("NOOP ", COMMAND_LINE_MAX), ("AUTH PLAIN ", AUTH_LINE_MAX)] {
        let fits = format!("{start}{}", "x".repeat(limit - 2 - start.len()));
        assert!(Command::parse(fits.as_bytes()).is_ok(), "{start}");
        assert_eq!(Command::parse(format!("{fits}x").as_bytes()), Err(CommandError::TooLong), "{start}");
    }
    let path = "MAIL FROM:<a@b.example> AUTH=";
    let fits = format!("{path}{}", "x".repeat(PATH_LINE_MAX - 2 - path.len()));
    assert!(Command::parse(fits.as_bytes()).is_ok());
    assert_eq!(Command::parse(format!("{fits}x").as_bytes()), Err(CommandError::TooLong));
    let name = "n".repeat(CLIENT_NAME_MAX);
    assert!(Command::parse(format!("EHLO {name}").as_bytes()).is_ok());
    assert_eq!(code(&format!("EHLO {name}n")), "501 5.5.4");
}

#[test]
fn the_initial_response_never_shows() {
    let shown = code("AUTH PLAIN AHVzZXIAaHVudGVyMg==");
    assert!(shown.contains("Plain") && !shown.contains("AHVz"), "{shown}");
    assert_eq!(Command::parse(b"auth login"), Ok(Command::Auth { mechanism: Mechanism::Login, initial: None }));
}

proptest! {
    #[test]
    fn no_line_panics_and_no_path_holds_a_control_character(line in prop::collection::vec(any::<u8>(), 0..80)) {
        for start in ["", "RCPT TO:<", "MAIL FROM:<"] {
            let line = [start.as_bytes(), &line, b">"].concat();
            if let Ok(Command::Rcpt { path: ForwardPath::Mailbox(mailbox), .. }) = Command::parse(&line) {
                prop_assert!(!mailbox.as_str().chars().any(char::is_control));
            }
        }
    }
}
