//! Classes of real wordings, what no file can change, and files that are refused.

use proptest::prelude::*;

use super::file::{ENTRIES_MAX, FILE_OCTETS_MAX, with_operator};
use super::*;
use crate::mail::{Reply, ReplyCode};

fn reply(text: &str) -> Reply {
    quoted(text).unwrap()
}

fn means(stage: Stage, text: &str) -> (Class, Follows) {
    let book = embedded().unwrap();
    let meaning = book.classify(stage, Whom::One, &reply(text));
    (meaning.class, meaning.follows)
}

#[test]
fn wordings_of_providers_have_their_class() {
    use Class::*;
    for (text, class) in [
        ("550 5.1.1 <spam@x.example>: Recipient address rejected: User unknown", MailboxDead),
        ("550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 Please try", MailboxDead),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", MailboxDead),
        ("554 delivery error: dd This user doesn't have a yahoo.com account", MailboxDead),
        ("556 5.1.10 Recipient address has null MX", DomainDead),
        ("550 5.1.2 Host unknown", DomainDead),
        ("552 5.2.2 The email account that you tried to reach is over quota", MailboxFull),
        ("452 4.2.2 mailbox full", MailboxFull),
        ("550 5.2.1 The email account that you tried to reach is disabled", MailboxDisabled),
        ("550-5.7.26 This mail has been blocked because the sender is unauthenticated", SenderUnproven),
        ("550 5.7.1 Message rejected due to DMARC policy", SenderUnproven),
        ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", Reputation),
        ("550-5.7.25 The IP address sending this message does not have a PTR record setup", Reputation),
        ("554 5.7.1 message contains a URL listed in SURBL", Content),
        ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail", Rate),
        ("450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents", Rate),
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", Rate),
        ("450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted", Greylisted),
        ("552 5.3.4 Message size exceeds fixed limit", Size),
        ("550 5.7.1 This message looks like spam", Content),
        ("550 5.7.1 Access denied by our rules", Policy),
        ("553 5.1.8 Sender address rejected: Domain not found", SenderRefused),
        ("554 5.4.6 Too many hops", Routing),
        ("451 4.4.3 Temporary lookup failure", Dns),
        ("451 4.3.0 Try later", Temporary),
        ("550 No", Other),
    ] {
        let found = means(Stage::Rcpt, text).0;
        // A domain that is not found is said of the sender here, and 5.1.8 says so too.
        assert!(found == class || (class == SenderRefused && found == DomainDead), "{text}: {found}");
    }
}

#[test]
fn what_follows_depends_on_stage_and_code() {
    let dead = "550 5.1.1 no such user";
    let at = |stage| means(stage, dead).1;
    assert_eq!((at(Stage::Rcpt), at(Stage::Dot)), (Follows::Suppress, Follows::Suppress));
    for stage in [Stage::Connect, Stage::Hello, Stage::Mail, Stage::Data] {
        assert_eq!(at(stage), Follows::Fail, "{stage}");
    }
    let book = embedded().unwrap();
    assert_eq!(book.classify(Stage::Dot, Whom::Several, &reply(dead)).follows, Follows::Fail);
    assert_eq!(book.classify(Stage::Rcpt, Whom::Several, &reply(dead)).follows, Follows::Suppress);
    assert_eq!(means(Stage::Rcpt, "550 no such user").1, Follows::Suppress);
    assert_eq!(means(Stage::Dot, "550 no such user").1, Follows::Fail, "words alone");
    assert_eq!(means(Stage::Rcpt, "450 4.1.1 user unknown"), (Class::MailboxDead, Follows::Retry));
    assert_eq!(means(Stage::Rcpt, "550 4.2.1 user unknown").1, Follows::Fail, "code and status contradict each other");
    assert_eq!(means(Stage::Rcpt, "450 4.7.1 policy"), (Class::Policy, Follows::Retry));
    assert_eq!(means(Stage::Rcpt, "550 too many messages, slow down").1, Follows::Slow);
    assert_eq!(means(Stage::Rcpt, "554 5.7.1 blocked using dnsbl.example").1, Follows::Suspend);
}

#[test]
fn what_lies_between_the_smarthost_and_us_opens_the_circuit() {
    for (text, class) in [
        ("535 5.7.8 wrong", Class::Auth),
        ("530 5.7.0 Authentication required", Class::Auth),
        ("530 5.7.0 Must issue a STARTTLS command first", Class::Tls),
        ("454 4.7.0 TLS not available due to temporary reason", Class::Tls),
        ("538 5.7.11 encrypt", Class::Tls),
        ("554 5.7.1 <a@b.example>: Relay access denied", Class::RelayDenied),
        ("550 relay not permitted", Class::RelayDenied),
        ("554 Message rejected: Email address is not verified.", Class::RelayDenied),
        ("503 5.5.1 bad sequence, user unknown", Class::Protocol),
    ] {
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Dot] {
            assert_eq!(means(stage, text), (class, Follows::Circuit), "{stage} {text}");
        }
    }
    assert_eq!(means(Stage::Rcpt, "501 5.5.4 syntax"), (Class::Protocol, Follows::Retry));
    assert_eq!(means(Stage::Rcpt, "501 5.1.3 bad address"), (Class::AddressRefused, Follows::Fail));
    assert_eq!(means(Stage::Mail, "501 5.1.7 bad sender"), (Class::SenderRefused, Follows::Fail));
    assert_eq!(means(Stage::Rcpt, "550 5.1.1 relay denied there").0, Class::MailboxDead);
}

proptest! {
    /// Whatever an upstream says, and however the words of a dead mailbox stand in it.
    #[test]
    fn only_a_final_dead_mailbox_of_one_recipient_suppresses(
        stage in prop::sample::select(Stage::ALL),
        several in any::<bool>(),
        code in 400_u16..600,
        status in prop::option::of((prop::sample::select(vec![4_u8, 5]), 0_u16..8, 0_u16..12)),
        words in "(user unknown|policy|spam|blocklist|[a-z ]{0,30})",
    ) {
        let status = status.map_or(String::new(), |(class, subject, detail)| format!("{class}.{subject}.{detail} "));
        let said = Reply::received(ReplyCode::new(code).unwrap(), &format!("{status}{words}"));
        let whom = if several { Whom::Several } else { Whom::One };
        let book = embedded().unwrap();
        let meaning = book.classify(stage, whom, &said);
        if meaning.follows == Follows::Suppress {
            prop_assert_eq!(meaning.class, Class::MailboxDead);
            prop_assert!(code >= 500 && said.enhanced().is_none_or(|status| status.class == 5));
            prop_assert!(stage == Stage::Rcpt || (stage == Stage::Dot && !several));
        }
        prop_assert!(code >= 500 || !matches!(meaning.follows, Follows::Fail | Follows::Suppress));
        prop_assert!(!meaning.class.is_local() || meaning.follows == Follows::Circuit);
    }
}

const OWN: &str = "
[[reply]]
id = \"OWN-1\"
class = \"rate\"
code = [\"550\"]
text = [\"too eager\"]
source = \"our smarthost's manual\"
[[override]]
reply = \"DEAD-TEXT\"
class = \"other\"
reason = \"our smarthost says unknown user for every fault\"
[[class]]
name = \"greylisted\"
follows = \"retry\"
retry_first = \"1m\"
retry_longest = \"2m\"
reason = \"our partners greylist shortly\"
";

#[test]
fn an_operators_file_adds_and_changes_by_name() {
    let book = with_operator("own.toml", OWN).unwrap();
    let class = |text: &str| book.classify(Stage::Rcpt, Whom::One, &reply(text));
    assert_eq!(class("550 5.1.1 too eager").by.id(), "OWN-1", "asked before what is shipped");
    assert_eq!((class("550 unknown user").class, class("550 unknown user").follows), (Class::Other, Follows::Fail));
    assert_eq!(class("450 greylisted").schedule.unwrap().first.as_secs(), 60);
    assert_eq!(book.rule(Class::Greylisted).unwrap().title, embedded().unwrap().rule(Class::Greylisted).unwrap().title);
}

#[test]
fn problems_name_file_line_entry_and_what_was_expected() {
    for (text, wanted) in [
        (
            "[[reply]]\nid = \"A\"\nclass = \"spam\"\ncode = [\"550\"]\nsource = \"x\"\n",
            "own.toml:3: A: `class`: `spam` is not known",
        ),
        (
            "[[reply]]\nid = \"A\"\nclass = \"policy\"\nsource = \"x\"\n",
            "own.toml:1: A: expected at least one of `code`, `status`, `text`",
        ),
        (
            "[[reply]]\nid = \"A\"\nclass = \"policy\"\ncode = [\"250\"]\nsource = \"x\"\n",
            "own.toml:4: A: `code`: `250` is not a reply code",
        ),
        (
            "[[reply]]\nid = \"A\"\nclass = \"policy\"\nstatus = [\"5.1\"]\nsource = \"x\"\n",
            "own.toml:4: A: `status`: `5.1` is not an enhanced status",
        ),
        (
            "[[reply]]\nid = \"A\"\nclass = \"policy\"\ntext = [\"No\"]\nsource = \"x\"\n",
            "own.toml:4: A: `text`: `No`: expected printable ASCII",
        ),
        ("[[reply]]\nid = \"A\"\nclass = \"policy\"\ncode = [\"550\"]\n", "own.toml:1: A: `source` is missing"),
        (
            "[[reply]]\nid = \"DEAD-TEXT\"\nclass = \"policy\"\ncode = [\"550\"]\nsource = \"x\"\n",
            "there is an entry of this name already",
        ),
        (
            "[[class]]\nname = \"policy\"\nfollows = \"suppress\"\nreason = \"x\"\n",
            "policy: `follows`: `suppress` never follows from `policy`; expected `retry`",
        ),
        ("[[class]]\nname = \"auth\"\nfollows = \"fail\"\nreason = \"x\"\n", "expected `circuit`"),
        ("[[class]]\nname = \"rate\"\nfollows = \"retry\"\n", "own.toml:1: rate: `reason` is missing"),
        (
            "[[class]]\nname = \"rate\"\nfollows = \"retry\"\nreason = \"x\"\nretry_first = \"2h\"\nretry_longest = \"1h\"\n",
            "together, the second not shorter",
        ),
        (
            "[[class]]\nname = \"rate\"\nfollows = \"retry\"\nreason = \"x\"\nretry_first = \"1h\"\nretry_longest = \"25h\"\n",
            "expected 24h at most",
        ),
        (
            "[[override]]\nreply = \"NONE\"\nclass = \"policy\"\nreason = \"x\"\n",
            "own.toml:1: NONE: there is no shipped entry",
        ),
        ("[[override]]\nreply = \"DEAD-TEXT\"\nclass = \"policy\"\n", "`reason` is missing"),
        ("wat = 1\n", "unknown key `wat`"),
        ("[[reply]\n", "own.toml:1:"),
    ] {
        let problems: Vec<_> = with_operator("own.toml", text).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}\n{problems:#?}");
    }
}

#[test]
fn files_and_entries_are_bounded() {
    let entries = |count: usize| -> String {
        let one = |n| format!("[[reply]]\nid = \"N{n}\"\nclass = \"policy\"\ncode = [\"550\"]\nsource = \"x\"\n");
        (0..count).map(one).collect::<Vec<_>>().concat()
    };
    assert!(with_operator("own.toml", &entries(ENTRIES_MAX)).is_ok());
    assert!(with_operator("own.toml", &entries(ENTRIES_MAX + 1)).is_err());
    let file = tempfile::NamedTempFile::new().unwrap();
    let limit = usize::try_from(FILE_OCTETS_MAX).unwrap();
    std::fs::write(file.path(), "#".repeat(limit)).unwrap();
    assert!(load(file.path()).is_ok());
    std::fs::write(file.path(), "#".repeat(limit + 1)).unwrap();
    assert!(load(file.path()).unwrap_err().to_string().contains("larger than"));
    assert!(load(std::path::Path::new("/nonexistent/replies.toml")).is_err());
}

#[test]
fn the_page_of_the_classes_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/replies.md");
    let page = reference(&embedded().unwrap());
    if std::env::var_os("CONSENTRY_WRITE_REFERENCE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == page, "docs/reference/replies.md is stale: run this test with CONSENTRY_WRITE_REFERENCE=1");
}
