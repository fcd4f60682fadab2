//! The mailbox without a network: which tokens count, and for whom.

use std::net::SocketAddr;

use bytes::Bytes;

use super::*;
use crate::mail::{BodyType, Envelope, ListName, QueueId};
use crate::message::HEADER_MAX;
use crate::smtp::{ContentError, Protocol};
use crate::store::{Fence, Store};
use crate::telemetry::{EventLog, Privacy};
use crate::tell::Tools;
use crate::time::SystemClock;
use crate::token::{SECRET_LEN, TokenKey};

struct Chunks(std::vec::IntoIter<Bytes>);

impl Content for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        Ok(self.0.next())
    }
}

/// Hands out `text` in pieces of `size`.
fn chunks(text: &str, size: usize) -> Chunks {
    Chunks(text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect::<Vec<_>>().into_iter())
}

struct House {
    _folder: tempfile::TempDir,
    inbound: Inbound,
    store: Store,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let opt_outs = OptOuts {
            store: store.clone(),
            fence: Fence::default(),
            log: EventLog::start(std::io::sink()).unwrap().0,
            privacy: Privacy::Full,
            clock: Arc::new(SystemClock),
            audit: Arc::new(|_| {}),
            tools: Tools::open(&folder.path().join("tools.db"), Arc::default()).unwrap(),
            receipts: Arc::new(|_| Box::pin(async {})),
        };
        let settings = Settings {
            canaries: None,
            mailboxes: vec![Mailbox::parse("u@u.example").unwrap()],
            whole_controller: HashSet::from([ControllerId::new("w").unwrap()]),
        };
        let keyring = Arc::new(Keyring::new(TokenKey::new(1, &[1; SECRET_LEN]).unwrap(), vec![]).unwrap());
        let inbound =
            Inbound::new(opt_outs, keyring, Arc::new(ArcSwap::from_pointee(settings)), Arc::new(|_, _| {})).unwrap();
        Self { _folder: folder, inbound, store }
    }

    fn token(&self, mailbox: &str, controller: &str, list: Option<&str>) -> String {
        let subject = Subject {
            mailbox: Mailbox::parse(mailbox).unwrap(),
            controller: ControllerId::new(controller).unwrap(),
            list: list.map(|list| ListName::new(list).unwrap()),
            message: QueueId::from_u64(1),
        };
        token::mint(&self.inbound.keyring, &subject).unwrap().as_str().to_owned()
    }

    async fn take(&self, to: &[&str], mut content: Chunks) -> Result<Taken, Reply> {
        let session = SessionFacts {
            id: "1-1".to_owned(),
            peer: SocketAddr::from(([192, 0, 2, 1], 25)),
            helo: "x".to_owned(),
            protocol: Protocol::Esmtp,
            identity: self.inbound.by_address([192, 0, 2, 1].into()).unwrap(),
        };
        let recipients = to.iter().map(|to| Recipient::new(Mailbox::parse(to).unwrap())).collect();
        let envelope = Envelope {
            reverse_path: ReversePath::Mailbox(Mailbox::parse("x@y.example").unwrap()),
            recipients,
            body: BodyType::SevenBit,
            smtputf8: false,
            reporting: crate::mail::Reporting::default(),
        };
        let transaction = Transaction { session: Arc::new(session), envelope, declared_size: None };
        self.inbound.data(transaction, &mut content).await
    }

    fn scopes(&self, mailbox: &str) -> Vec<String> {
        let mailbox = Mailbox::parse(mailbox).unwrap();
        let evidence = self.store.blocking_evidence(&[&mailbox]).unwrap().remove(0);
        evidence.iter().map(|fact| fact.scope.to_string()).collect()
    }
}

#[tokio::test]
async fn a_token_counts_in_the_local_part_and_in_the_subject_for_its_own_person_alone() {
    let house = House::new();
    let short = house.token("a@x.fr", "a", None);
    assert!(short.len() <= 62, "{} characters would not fit behind `u+`", short.len());
    let long = house.token("ben@long-domain.example", "acme", Some("weekly"));
    let to = format!("u+{}@u.example", short.to_uppercase());
    house.take(&[&to], chunks(&format!("Subject: {long}\r\n\r\n"), 7)).await.unwrap();
    assert_eq!(house.scopes("a@x.fr"), ["controller:a"]);
    assert_eq!(house.scopes("ben@long-domain.example"), ["list:acme/weekly"]);
    assert!(house.scopes("x@y.example").is_empty());
}

#[tokio::test]
async fn the_scope_is_the_list_or_as_the_controller_says_everything_of_theirs() {
    let house = House::new();
    let token = house.token("ann@b.example", "w", Some("weekly"));
    house.take(&["u@u.example"], chunks(&format!("Subject: {token}\r\n\r\n"), 1000)).await.unwrap();
    assert_eq!(house.scopes("ann@b.example"), ["controller:w"]);
}

#[tokio::test]
async fn what_stands_in_the_body_does_not_count() {
    let house = House::new();
    let token = house.token("ann@b.example", "acme", Some("weekly"));
    let content = format!("Subject: x\r\n\r\nSubject: {token}\r\n\r\n{token}\r\n");
    house.take(&["u@u.example"], chunks(&content, 3)).await.unwrap();
    assert!(house.scopes("ann@b.example").is_empty());
}

#[tokio::test]
async fn a_header_section_is_read_up_to_the_limit_and_refused_past_it() {
    let house = House::new();
    let token = house.token("ann@b.example", "acme", Some("weekly"));
    let head = format!("Subject: {token}\r\nX: ");
    let filled = |octets: usize| format!("{head}{}\r\n\r\nbody\r\n", "x".repeat(octets - head.len() - 4));
    let said = house.take(&["u@u.example"], chunks(&filled(HEADER_MAX + 1), 1000)).await;
    assert_eq!(said.unwrap_err().code().as_u16(), 552);
    assert!(house.scopes("ann@b.example").is_empty());
    house.take(&["u@u.example"], chunks(&filled(HEADER_MAX), 1000)).await.unwrap();
    assert_eq!(house.scopes("ann@b.example"), ["list:acme/weekly"]);
}
