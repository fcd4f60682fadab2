//! A message to the unsubscribe mailbox, as far as it matters: was it written by a machine, and where a token may stand.
//! Pure, and lenient: a person's mail program may write a header that we would not let out, and the wish counts all the same.

use mail_parser::parsers::MessageStream;

use crate::mail::ReversePath;
use crate::message::FIELDS_MAX;

/// The shortest token: version, key, identifier, two lengths, a controller, the shortest mailbox and a tag make 33 octets,
/// which are 53 characters. Words of that length are in no language.
const TOKEN_MIN: usize = 50;
/// Texts of a subject that are looked at as tokens. A link of ours puts one there; each look costs some microseconds.
const CANDIDATES_MAX: usize = 8;
/// Octets of a subject that are looked at: four times the longest token, to leave room for what a mail program adds.
const SUBJECT_MAX: usize = 4096;

/// How a machine's message was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// RFC 3834 section 2: who answers automatically does so with a null reverse path; bounces have one too.
    NullSender,
    /// RFC 3834 section 5: Auto-Submitted, other than `no`.
    AutoSubmitted,
    /// A field that programs set and people's mail does not have.
    Field(&'static str),
    /// Precedence: bulk, junk, `auto_reply`; vacation programs wrote it before RFC 3834.
    Precedence,
    /// A report: RFC 6522.
    Report,
    /// A subject as vacation programs write it.
    Subject,
}

impl Sign {
    /// For the log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NullSender => "automatic: null reverse path",
            Self::AutoSubmitted => "automatic: Auto-Submitted",
            Self::Field(name) => name,
            Self::Precedence => "automatic: Precedence",
            Self::Report => "automatic: multipart/report",
            Self::Subject => "automatic: subject",
        }
    }
}

/// Fields whose mere presence says that a program answered, with what the log says of it. Fields of lists and newsletters
/// are not among them: an operator's alias may be a list, and a token that came through it is as good.
const TELLING: [(&str, &str); 9] = [
    ("x-auto-response-suppress", "automatic: X-Auto-Response-Suppress"),
    ("x-autoreply", "automatic: X-Autoreply"),
    ("x-autoreply-from", "automatic: X-Autoreply-From"),
    ("x-autorespond", "automatic: X-Autorespond"),
    ("x-autoresponder", "automatic: X-Autoresponder"),
    ("x-auto-reply", "automatic: X-Auto-Reply"),
    ("x-auto-reply-from", "automatic: X-Auto-Reply-From"),
    ("x-mail-autoreply", "automatic: X-Mail-Autoreply"),
    ("x-failed-recipients", "automatic: X-Failed-Recipients"),
];

/// How vacation programs begin a subject, in lower case.
const ABSENCE: [&str; 27] = [
    "auto:",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto response",
    "auto-response",
    "automatic reply",
    "automatic response",
    "out of office",
    "out of the office",
    "out-of-office",
    "vacation",
    "on vacation",
    "away from",
    "réponse automatique",
    "absence",
    "absent",
    "automatische antwort",
    "abwesenheit",
    "abwesend",
    "automatisch antwoord",
    "automatisch bericht",
    "afwezig",
    "respuesta automática",
    "fuera de la oficina",
    "risposta automatica",
    "fuori ufficio",
];

/// What is looked at of one message.
#[derive(Debug)]
pub(super) struct Letter {
    subjects: Vec<String>,
    sign: Option<Sign>,
}

impl Letter {
    /// Reads a header section as it came.
    pub(super) fn read(head: &[u8]) -> Self {
        let mut letter = Self { subjects: Vec::new(), sign: None };
        for (name, value) in fields(head) {
            if name == "subject" {
                letter.subjects.push(decoded(&value));
            }
            letter.sign = letter.sign.or_else(|| sign_of(&name, &value));
        }
        letter
    }

    /// How it can be seen that no person wrote it.
    pub(super) fn automatic(&self, from: &ReversePath) -> Option<Sign> {
        if *from == ReversePath::Null {
            return Some(Sign::NullSender);
        }
        let absence = |subject: &String| {
            let subject = subject.trim_start().to_lowercase();
            ABSENCE.iter().any(|words| subject.starts_with(words))
        };
        self.sign.or_else(|| self.subjects.iter().any(absence).then_some(Sign::Subject))
    }

    /// What may be a token, at most [`CANDIDATES_MAX`]. A mail program that folds a long word leaves a blank within it, so
    /// the subject is read once as it stands and once without blanks.
    pub(super) fn candidates(&self) -> impl Iterator<Item = String> {
        let joined = |subject: &String| subject.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let texts: Vec<String> = self.subjects.iter().flat_map(|subject| [subject.clone(), joined(subject)]).collect();
        let mut found: Vec<String> = Vec::new();
        for run in texts.iter().flat_map(|text| text.split(|c: char| !is_token_char(c))) {
            if run.len() >= TOKEN_MIN && found.len() < CANDIDATES_MAX && !found.iter().any(|known| known == run) {
                found.push(run.to_owned());
            }
        }
        found.into_iter()
    }
}

const fn is_token_char(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '2'..='7')
}

fn sign_of(name: &str, value: &[u8]) -> Option<Sign> {
    let text = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
    match name {
        "auto-submitted" => (first_word(&text) != "no").then_some(Sign::AutoSubmitted),
        "precedence" => matches!(first_word(&text), "bulk" | "junk" | "auto_reply").then_some(Sign::Precedence),
        "content-type" => text.starts_with("multipart/report").then_some(Sign::Report),
        "return-path" => (text == "<>").then_some(Sign::NullSender),
        _ => TELLING.iter().find(|(telling, _)| *telling == name).map(|(_, said)| Sign::Field(said)),
    }
}

/// `no` of `no; owner-email="x"` or `no (comment)`.
fn first_word(text: &str) -> &str {
    text.split(|c: char| c == ';' || c == '(' || c.is_whitespace()).next().unwrap_or_default()
}

/// Names in lower case with unfolded values (RFC 5322 section 2.2.3), at most [`FIELDS_MAX`]. What is not a field is left out.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = found.last_mut() {
                value.extend_from_slice(line);
            }
            continue;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if found.len() == FIELDS_MAX {
            break;
        }
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let name = String::from_utf8_lossy(name.trim_ascii_end()).to_ascii_lowercase();
        found.push((name, value.get(1..).unwrap_or_default().to_vec()));
    }
    found
}

/// The words of a subject without their encoding (RFC 2047).
fn decoded(value: &[u8]) -> String {
    let mut value = value.get(..SUBJECT_MAX).unwrap_or(value).to_vec();
    value.push(b'\n');
    MessageStream::new(&value).parse_unstructured().into_text().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::Mailbox;

    const TOKEN: &str =
        "aea5cfz7bk47zgklmqdheukwkyhshaburcvzx2mom6ewuhrla537iwdgxxmaga52gz7ibjwj4nbibn2bguw7jghfxmfuuev6vi";

    fn ann() -> ReversePath {
        ReversePath::Mailbox(Mailbox::parse("ann@b.example").unwrap())
    }

    fn finds(subject: &str) -> bool {
        let letter = Letter::read(format!("From: ann@b.example\r\nSubject:{subject}\r\n\r\n").as_bytes());
        letter.automatic(&ann()).is_none() && letter.candidates().any(|found| found.eq_ignore_ascii_case(TOKEN))
    }

    #[test]
    fn a_token_is_found_however_a_mail_program_writes_it() {
        let (start, end) = TOKEN.split_at(60);
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, TOKEN);
        for subject in [
            format!(" {TOKEN}"),
            format!("{TOKEN}  "),
            format!(" Re: {TOKEN}"),
            format!(" [EXT] RE: {}", TOKEN.to_uppercase()),
            format!(" unsubscribe {TOKEN} please"),
            format!("\r\n {TOKEN}"),
            format!(" {start}\r\n {end}"),
            format!(" =?utf-8?q?{start}?=\r\n =?utf-8?q?{end}?="),
            format!(" =?UTF-8?B?{base64}?="),
            format!(" Re:{TOKEN}"),
        ] {
            assert!(finds(&subject), "{subject}");
        }
        for subject in ["", " hello", " Re: Your newsletter", &format!(" {start}"), &format!(" {start}.{end}")] {
            assert!(!finds(subject), "{subject}");
        }
    }

    #[test]
    fn machines_are_known_by_their_fields() {
        for (field, expected) in [
            ("Auto-Submitted: auto-replied", true),
            ("auto-submitted: auto-generated (vacation)", true),
            ("Auto-Submitted: auto-notified; owner-email=\"x@y.example\"", true),
            ("Auto-Submitted: No", false),
            ("Auto-Submitted: no (a person)", false),
            ("Precedence: bulk", true),
            ("Precedence: AUTO_REPLY", true),
            ("Precedence: first-class", false),
            ("X-Auto-Response-Suppress: All", true),
            ("X-Autoreply: yes", true),
            ("List-Id: <x.example>", false),
            ("Precedence: list", false),
            ("Content-Type: multipart/report; report-type=delivery-status", true),
            ("Content-Type: text/plain", false),
            ("Return-Path: <>", true),
            ("Return-Path: <ann@b.example>", false),
            ("Subject: Automatic reply: x", true),
            ("Subject: =?utf-8?q?R=C3=A9ponse_automatique?= : x", true),
            ("Subject: re: out of office", false),
        ] {
            let letter = Letter::read(format!("From: ann@b.example\r\n{field}\r\n\r\n").as_bytes());
            assert_eq!(letter.automatic(&ann()).is_some(), expected, "{field}");
        }
        let plain = Letter::read(b"From: ann@b.example\r\n\r\n");
        assert_eq!(plain.automatic(&ReversePath::Null), Some(Sign::NullSender));
        assert_eq!(plain.automatic(&ann()), None);
    }

    #[test]
    fn work_is_bounded_at_and_past_the_limits() {
        let run = |n: usize| format!("{}{}", "a".repeat(TOKEN_MIN), "b".repeat(n));
        for (given, kept) in
            [(CANDIDATES_MAX - 1, CANDIDATES_MAX), (CANDIDATES_MAX, CANDIDATES_MAX), (30, CANDIDATES_MAX)]
        {
            let many: Vec<_> = (0..given).map(run).collect();
            let letter = Letter::read(format!("Subject: {}\r\n\r\n", many.join(" ")).as_bytes());
            // The text without blanks is one more.
            assert_eq!(letter.candidates().count(), kept, "{given}");
        }
        let short = Letter::read(format!("Subject: {}\r\n\r\n", "a".repeat(TOKEN_MIN - 1)).as_bytes());
        assert_eq!(short.candidates().count(), 0);
        let at = |blanks: usize| {
            Letter::read(format!("Subject:{}{}\r\n\r\n", ".".repeat(blanks), "a".repeat(TOKEN_MIN)).as_bytes())
        };
        assert_eq!(at(SUBJECT_MAX - TOKEN_MIN).candidates().count(), 1);
        assert_eq!(at(SUBJECT_MAX - TOKEN_MIN + 1).candidates().count(), 0);
        let lines = |n: usize| Letter::read(format!("{}Subject: {TOKEN}\r\n\r\n", "a: b\r\n".repeat(n)).as_bytes());
        assert_eq!(lines(FIELDS_MAX - 1).candidates().count(), 1);
        assert_eq!(lines(FIELDS_MAX).candidates().count(), 0);
    }

    proptest! {
        #[test]
        fn no_header_section_is_too_strange(head in prop::collection::vec(any::<u8>(), 0..400)) {
            let letter = Letter::read(&head);
            prop_assert!(letter.candidates().count() <= CANDIDATES_MAX);
        }

        #[test]
        fn encoded_words_are_never_too_strange(text in "(=\\?[a-zA-Z0-9-]{0,9}\\?[qQbB]\\?[ -~]{0,40}(\\?=)? ?){0,4}") {
            let letter = Letter::read(format!("Subject: {text}\r\n\r\n").as_bytes());
            prop_assert!(letter.candidates().count() <= CANDIDATES_MAX);
        }
    }
}
