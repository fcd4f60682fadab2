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
            assert_eq!((known.place.rows, known.counts.rows, found), (3, 3, vec![done]));
        } else if u64::try_from(length).unwrap() >= intended {
            let uncertain = Chunk { uncertain: prints.clone(), ..Chunk::default() };
            assert_eq!((known.place.rows, known.counts.rows, found), (0, 0, vec![uncertain]));
        } else {
            assert_eq!((known.counts.rows, known.whole, found), (0, head, Vec::new()), "{length}");
        }
    }
}

fn resumed(journals: &Journals, id: &ImportId) -> Journal {
    let known = journals.find(id, Brings::Suppressions).unwrap();
    let journal = journals.go_on(&known).unwrap();
    Journal { left: Left::of(&journal.path, &known).unwrap(), ..journal }
}

fn rows(rows: u64) -> Imported {
    Imported { rows, ..Imported::default() }
}

#[test]
fn a_window_cut_in_the_middle_begins_again_and_knows_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let all = prints(8);
    let mut journal = begin(&journals, 1);
    let id = journal.head.id.clone();
    journal.window(rows(0)).unwrap();
    journal.intend(&all[..2]).unwrap();
    journal.done(vec![0, 1], Vec::new(), rows(2)).unwrap();
    journal.window(rows(2)).unwrap();
    // Two rows say the same; one more finds what the first window brought.
    journal.intend(&[all[2], all[3], all[3], all[0]]).unwrap();
    journal.done(vec![0, 1], Vec::new(), rows(6)).unwrap();
    journal.intend(&[all[4], all[3], all[5]]).unwrap();
    drop(journal);

    let mut again = resumed(&journals, &id);
    assert_eq!((again.place.rows, again.counts.rows), (2, 6));
    let done: Vec<_> = [2, 3, 3, 3, 0, 0, 1, 4].map(|at| again.left.was_done(&all[at])).into();
    assert_eq!(done, [true, true, true, false, true, false, false, false]);
    let may: Vec<_> = [4, 4, 5, 3, 6].map(|at| again.left.may_be_in(&all[at])).into();
    assert_eq!(may, [true, false, true, false, false], "once, and not what an earlier row certainly brought");
    // It goes on in another order, and is cut again.
    again.window(rows(2)).unwrap();
    again.intend(&[all[6], all[4]]).unwrap();
    again.done(vec![0, 1], Vec::new(), rows(9)).unwrap();
    again.intend(&[all[7]]).unwrap();
    drop(again);

    let mut third = resumed(&journals, &id);
    assert_eq!(third.place.rows, 2);
    assert!([2, 3, 6, 4].iter().all(|at| third.left.was_done(&all[*at])), "of both runs");
    let may: Vec<_> = [4, 5, 7].map(|at| third.left.may_be_in(&all[at])).into();
    assert_eq!(may, [false, true, true]);
    let found = chunks(&journals, &id);
    let new: Vec<_> = found.iter().flat_map(|chunk| chunk.new.clone()).collect();
    assert_eq!(new, [0, 1, 2, 3, 6, 4].map(|at| all[at]));
    let uncertain: Vec<_> = found.into_iter().flat_map(|chunk| chunk.uncertain).collect();
    assert_eq!(uncertain, [all[3], all[5], all[7]]);
}

#[test]
fn an_import_without_windows_goes_on_behind_its_last_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let all = prints(4);
    let mut journal = begin(&journals, 1);
    journal.intend(&all[..2]).unwrap();
    journal.done(vec![0, 1], Vec::new(), rows(2)).unwrap();
    journal.intend(&all[2..]).unwrap();
    let mut again = resumed(&journals, &journal.head.id);
    assert_eq!(again.place.rows, 2);
    assert!(!all.iter().any(|print| again.left.was_done(print)));
    assert_eq!([0, 1, 2, 3].map(|at| again.left.may_be_in(&all[at])), [false, false, true, true]);
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
