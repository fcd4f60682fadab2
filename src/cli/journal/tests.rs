//! Journals as a crash leaves them, and how many are kept.

use super::*;
use crate::policy::{Cause, Origin, Scope};
use crate::store::{NewSuppression, Store};

const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);

fn begin(journals: &Journals, at: i64) -> Journal {
    let (brings, text) = (Brings::Suppressions, String::new);
    let planned = Planned { brings, file: text(), content: None, arguments: text(), by: text(), key: text() };
    journals.begin(planned, Timestamp::from_secs(at)).unwrap()
}

fn prints(count: usize) -> Vec<Print> {
    let new = |at: usize| {
        let mailbox = crate::mail::Mailbox::parse(&format!("v{at}@x.example")).unwrap();
        NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::Import, None, NOW)
    };
    Store::memory().prints(&(0..count).map(new).collect::<Vec<_>>())
}

fn chunks(journals: &Journals, id: &ImportId) -> Vec<Chunk> {
    let mut found = Vec::new();
    journals
        .each_chunk(id, &mut |chunk| {
            found.push(chunk);
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn a_journal_cut_anywhere_loses_nothing_that_was_added() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let prints = prints(3);
    let mut journal = begin(&journals, 1);
    let head = std::fs::metadata(&journal.path).unwrap().len();
    journal.intend(&prints).unwrap();
    let intended = std::fs::metadata(&journal.path).unwrap().len();
    journal.done(vec![0, 2], vec![1], Imported { rows: 3, ..Imported::default() }).unwrap();
    let whole = std::fs::read(&journal.path).unwrap();
    for length in usize::try_from(head).unwrap()..=whole.len() {
        std::fs::write(&journal.path, &whole[..length]).unwrap();
        let known = journals.find(&journal.head.id, Brings::Suppressions).unwrap();
        let found = chunks(&journals, &journal.head.id);
        if length == whole.len() {
            let done = Chunk { new: vec![prints[0], prints[2]], renewed: vec![prints[1]], uncertain: Vec::new() };
            assert_eq!((known.interrupted, known.counts.rows, found), (false, 3, vec![done]));
        } else if u64::try_from(length).unwrap() >= intended {
            let uncertain = Chunk { uncertain: prints.clone(), ..Chunk::default() };
            assert_eq!((known.interrupted, known.counts.rows, found), (true, 0, vec![uncertain]));
        } else {
            assert_eq!((known.interrupted, known.whole, found), (false, head, Vec::new()), "{length}");
        }
    }
}

#[test]
fn the_largest_chunk_can_be_read_and_the_oldest_journals_go() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let mut first = begin(&journals, 1);
    first.intend(&prints(CHUNK_MAX)).unwrap();
    first.done((0..CHUNK_MAX).collect(), Vec::new(), Imported::default()).unwrap();
    assert_eq!(chunks(&journals, &first.head.id)[0].new.len(), CHUNK_MAX);
    for at in 2..=i64::try_from(JOURNALS_MAX).unwrap() {
        begin(&journals, at).finish(Imported::default(), NOW).unwrap();
    }
    assert_eq!(journals.all().unwrap().len(), JOURNALS_MAX);
    begin(&journals, 1000);
    let left = journals.all().unwrap();
    assert_eq!((left.len(), &left[0].head.id), (JOURNALS_MAX, &first.head.id), "one that ended went first");
    assert_eq!(left[1].head.started(), Timestamp::from_secs(3));
}

#[test]
fn one_at_a_time_and_no_path_for_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let held = Journals::open(folder.path()).unwrap();
    assert!(Journals::open(folder.path()).is_err());
    drop(held);
    assert!(Journals::open(folder.path()).is_ok());
    for bad in ["", "-", "1", "1-", "../1-a", "1-a/b", "1-a.ndjson"] {
        assert!(ImportId::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_import_of_before_a_rotation_is_neither_gone_on_with_nor_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let planned = |key: &str| Planned {
        brings: Brings::Suppressions,
        file: "list.csv".to_owned(),
        content: Some(Content { size: 1, sha256: "00".to_owned() }),
        arguments: String::new(),
        by: "ann".to_owned(),
        key: key.to_owned(),
    };
    let begun = journals.take_up(planned("one"), Resume::No, NOW).unwrap();
    assert!(journals.take_up(planned("one"), Resume::No, NOW).is_err(), "it ended in the middle");
    assert!(journals.take_up(planned("two"), Resume::Yes, NOW).is_err());
    assert!(journals.take_up(planned("two"), Resume::No, NOW).is_ok());
    let known = journals.find(&begun.head.id, Brings::Suppressions).unwrap();
    assert!(known.head.expect_key("one").is_ok());
    assert!(known.head.expect_key("two").unwrap_err().to_string().contains("rotated"));
}
