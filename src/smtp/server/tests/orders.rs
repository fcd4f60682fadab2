//! Every order of commands, three deep from four places of a session, against a model of RFC 5321 section 4.1.4 that is
//! small enough to be read.

use std::sync::Arc;

use super::{Client, Next, Played, Taken, play, replies};
use crate::smtp::server::{Cover, Settings};

/// What is said, and what the model makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ehlo,
    Helo,
    BadEhlo,
    Mail,
    MailRefused,
    MailMalformed,
    MailBeyondAscii,
    Rcpt,
    RcptRefused,
    RcptMalformed,
    RcptRefusedLate,
    Data,
    DataWithArgument,
    Rset,
    Noop,
    VrfyBeyondAscii,
    Auth,
    AuthWrong,
    Unknown,
    NotImplemented,
    BareLineFeed,
    Bdat,
    Http,
    Quit,
    /// Played in `tls.rs`: it needs a handshake.
    StartTls,
}

use Word::{
    Auth, AuthWrong, BadEhlo, BareLineFeed, Bdat, Data, DataWithArgument, Ehlo, Helo, Http, Mail, MailBeyondAscii,
    MailMalformed, MailRefused, Noop, NotImplemented, Quit, Rcpt, RcptMalformed, RcptRefused, RcptRefusedLate, Rset,
    StartTls, Unknown, VrfyBeyondAscii,
};

pub(super) const WORDS: [Word; 24] = [
    Ehlo,
    Helo,
    BadEhlo,
    Mail,
    MailRefused,
    MailMalformed,
    MailBeyondAscii,
    Rcpt,
    RcptRefused,
    RcptMalformed,
    RcptRefusedLate,
    Data,
    DataWithArgument,
    Rset,
    Noop,
    VrfyBeyondAscii,
    Auth,
    AuthWrong,
    Unknown,
    NotImplemented,
    BareLineFeed,
    Bdat,
    Http,
    Quit,
];

impl Word {
    pub(super) const fn line(self) -> &'static str {
        match self {
            Ehlo => "EHLO tool.example\r\n",
            Helo => "HELO tool.example\r\n",
            BadEhlo => "EHLO [<script>]\r\n",
            Mail => "MAIL FROM:<a@a.example>\r\n",
            MailRefused => "MAIL FROM:<refused@a.example>\r\n",
            MailMalformed => "MAIL FROM:<a@a@a>\r\n",
            MailBeyondAscii => "MAIL FROM:<ü@a.example>\r\n",
            Rcpt => "RCPT TO:<b@b.example>\r\n",
            RcptRefused => "RCPT TO:<refused@b.example>\r\n",
            RcptMalformed => "RCPT TO:<b@b@b>\r\n",
            RcptRefusedLate => "RCPT TO:<late@b.example>\r\n",
            Data => "DATA\r\n",
            DataWithArgument => "DATA now\r\n",
            Rset => "RSET\r\n",
            Noop => "NOOP\r\n",
            VrfyBeyondAscii => "VRFY \"ü\"\r\n",
            Auth => "AUTH PLAIN AHVzZXIAcA==\r\n",
            AuthWrong => "AUTH PLAIN AHdyb25nAHA=\r\n",
            Unknown => "FOO\r\n",
            NotImplemented => "EXPN list\r\n",
            BareLineFeed => "NOOP\nNOOP\r\n",
            Bdat => "BDAT 6 LAST\r\n",
            Http => "GET / HTTP/1.1\r\n",
            Quit => "QUIT\r\n",
            StartTls => "STARTTLS\r\n",
        }
    }
}

pub(super) const CONTENT: &str = "x\r\n.\r\n";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hello {
    None,
    Plain,
    Extended,
}

/// What a session is to remember, and no more.
struct Model {
    hello: Hello,
    logged_in: bool,
    cover: Cover,
    failed_logins: u32,
    /// Recipients of the open transaction.
    open: Option<Vec<&'static str>>,
    refused_some: bool,
    taken: Vec<Taken>,
    over: bool,
}

impl Model {
    const fn new() -> Self {
        Self {
            hello: Hello::None,
            logged_in: false,
            cover: Cover::Clear,
            failed_logins: 0,
            open: None,
            refused_some: false,
            taken: Vec::new(),
            over: false,
        }
    }

    fn reset(&mut self) {
        self.open = None;
        self.refused_some = false;
    }

    fn closing(&mut self, code: &'static str) -> Vec<&'static str> {
        self.over = true;
        vec![code]
    }

    /// The codes that answer `word`, content of a DATA included.
    fn hears(&mut self, word: Word) -> Vec<&'static str> {
        match word {
            Ehlo | Helo => {
                self.reset();
                self.hello = if word == Ehlo { Hello::Extended } else { Hello::Plain };
                vec!["250"]
            }
            // A fault of form comes before a fault of order, and changes nothing.
            BadEhlo | MailMalformed | DataWithArgument => vec!["501"],
            MailBeyondAscii => vec!["553"],
            RcptMalformed => {
                self.refused_some |= self.open.is_some();
                vec!["501"]
            }
            Mail | MailRefused if self.hello == Hello::None || self.open.is_some() => vec!["503"],
            Mail => {
                self.open = Some(Vec::new());
                vec!["250"]
            }
            MailRefused => vec!["550"],
            Rcpt | RcptRefused | RcptRefusedLate => self.rcpt(word),
            Data => self.data(),
            Rset => {
                self.reset();
                vec!["250"]
            }
            Noop => vec!["250"],
            VrfyBeyondAscii => vec!["252"],
            Auth | AuthWrong if self.hello != Hello::Extended || self.logged_in || self.open.is_some() => vec!["503"],
            Auth => {
                self.logged_in = true;
                vec!["235"]
            }
            AuthWrong => {
                self.failed_logins += 1;
                if self.failed_logins == 3 { self.closing("421") } else { vec!["535"] }
            }
            // The rest of a line behind a bare line feed is not a command.
            Unknown | BareLineFeed => vec!["500"],
            NotImplemented => vec!["502"],
            Bdat => self.closing("502"),
            Http => self.closing("554"),
            Quit => self.closing("221"),
            StartTls
                if self.cover == Cover::Tls || self.hello == Hello::None || self.logged_in || self.open.is_some() =>
            {
                vec!["503"]
            }
            // What was said in clear is void.
            StartTls => {
                (self.cover, self.hello) = (Cover::Tls, Hello::None);
                vec!["220"]
            }
        }
    }

    fn rcpt(&mut self, word: Word) -> Vec<&'static str> {
        let Some(open) = &mut self.open else { return vec!["503"] };
        if word == RcptRefused {
            self.refused_some = true;
            return vec!["550"];
        }
        open.push(if word == Rcpt { "b@b.example" } else { "late@b.example" });
        vec!["250"]
    }

    fn data(&mut self) -> Vec<&'static str> {
        let Some(to) = self.open.take_if(|to| !to.is_empty()) else {
            return vec![if self.open.is_some() && self.refused_some { "554" } else { "503" }];
        };
        self.reset();
        if to.contains(&"late@b.example") {
            return vec!["354", "550"];
        }
        let envelope = format!("a@a.example|{}", to.join(","));
        self.taken.push(Taken { envelope, content: b"x\r\n".to_vec() });
        vec!["354", "250"]
    }
}

/// Says one word after the other, each when the last one was answered, and content when it is asked for.
struct Speaker {
    words: Vec<Word>,
    at: usize,
}

impl Client for Speaker {
    fn next(&mut self, said: &str) -> Next {
        let Some(last) = replies(said).last().copied() else { return Next::Listen };
        if last.starts_with("354") {
            return Next::Say(CONTENT.into());
        }
        self.at += 1;
        self.words.get(self.at - 1).map_or(Next::Leave, |word| Next::Say(word.line().into()))
    }
}

/// Where a sequence begins.
pub(super) const PLACES: [&[Word]; 4] = [&[], &[Ehlo], &[Ehlo, Mail], &[Ehlo, Mail, Rcpt]];
/// What was refused before must not show afterwards: a DATA too early and a message at the end show it.
pub(super) const PROBE: [Word; 4] = [Mail, Data, Rcpt, Data];

#[tokio::test]
async fn every_order_of_three_commands_goes_as_the_model_says() {
    let settings = Arc::new(Settings::new("gw.example").unwrap());
    let mut played = 0;
    for place in PLACES {
        for first in WORDS {
            for second in WORDS {
                for third in WORDS {
                    let words = [place, &[first, second, third], &PROBE].concat();
                    one(&settings, words).await;
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, 4 * 24 * 24 * 24);
}

async fn one(settings: &Arc<Settings>, words: Vec<Word>) {
    let played = play(settings, Speaker { words: words.clone(), at: 0 }).await;
    assert_as_modelled(&played, &words);
}

pub(super) fn assert_as_modelled(played: &Played, words: &[Word]) {
    let mut model = Model::new();
    let mut expected = vec!["220"];
    for word in words {
        expected.extend(model.hears(*word));
        if model.over {
            break;
        }
    }
    let codes: Vec<&str> = replies(&played.said).iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, expected, "{words:?}");
    assert_eq!(played.taken, model.taken, "{words:?}");
}
