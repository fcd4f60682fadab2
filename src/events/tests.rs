//! Positions, filters, rotation, torn ends.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;

fn lines(numbers: std::ops::Range<u64>, stream: &str) -> String {
    numbers.fold(String::new(), |mut text, seq| {
        writeln!(
            text,
            r#"{{"seq":{seq},"v":1,"type":"Delivery","recipient":"p{}@b.example","stream":"{stream}"}}"#,
            seq % 3
        )
        .unwrap();
        text
    })
}

fn write(folder: &Path, number: u64, text: &str) {
    std::fs::write(folder.join(format!("audit-{number:020}.ndjson")), text).unwrap();
}

fn numbers(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

fn all() -> Filter {
    Filter::default()
}

#[test]
fn a_reader_goes_on_where_it_stopped_across_files() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, &lines(1..6, "acme"));
    write(folder.path(), 6, &lines(6..9, "acme"));
    let events = Events::of(folder.path());
    let (mut position, mut found, mut pages) = (Position::START, Vec::new(), 0);
    loop {
        // Through text, as a reader keeps it.
        let page = events.page(position.to_string().parse().unwrap(), 2, &all()).unwrap();
        found.extend(numbers(&page));
        (position, pages) = (page.next, pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!((found, pages), ((1..9).collect(), 4));
    let page = events.page(position, 2, &all()).unwrap();
    assert_eq!((page.events.len(), page.next), (0, position));
}

#[test]
fn behind_the_newest_event_is_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::of(&folder.path().join("none"));
    assert_eq!(events.end().unwrap(), Position::before(1));
    let events = Events::of(folder.path());
    write(folder.path(), 1, &lines(1..6, "acme"));
    write(folder.path(), 6, "");
    assert_eq!(events.end().unwrap().seq(), 5);
    write(folder.path(), 6, &format!("{}{{\"seq\":8,\"torn", lines(6..8, "acme")));
    let end = events.end().unwrap();
    assert!(events.page(end, 9, &all()).unwrap().events.is_empty());
    write(folder.path(), 6, &lines(6..10, "acme"));
    assert_eq!(numbers(&events.page(end, 9, &all()).unwrap()), [8, 9]);
}

#[test]
fn a_hint_that_does_not_fit_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, &lines(1..6, "acme"));
    let events = Events::of(folder.path());
    for hint in ["3.1.7", "3.1.999999", "3.9.0", "3"] {
        assert_eq!(numbers(&events.page(hint.parse().unwrap(), 9, &all()).unwrap()), [4, 5], "{hint}");
    }
    for bad in ["", "x", "1.2", "1.2.3.4", "-1", "+1", "1.+2.3", "99999999999999999999"] {
        assert!(bad.parse::<Position>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_longer_kept_is_said() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 6, &lines(6..9, "acme"));
    let events = Events::of(folder.path());
    let gone = events.page("4".parse().unwrap(), 9, &all()).unwrap_err();
    assert!(matches!(gone, EventsError::Gone { after: 4, oldest: 6 }), "{gone}");
    assert_eq!(numbers(&events.page("5".parse().unwrap(), 9, &all()).unwrap()), [6, 7, 8]);
    assert_eq!(numbers(&events.page(Position::START, 9, &all()).unwrap()), [6, 7, 8]);
}

/// Who was told of nothing yet stands at a place all the same: the files that come after may go before they were read.
#[test]
fn who_begins_on_an_empty_trail_hears_when_its_first_files_are_gone() {
    for begun in [None, Some("")] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = begun {
            write(folder.path(), 1, text);
        }
        let events = Events::of(folder.path());
        let page = events.page(Position::START, 9, &all()).unwrap();
        assert_eq!((page.events.len(), page.next), (0, events.end().unwrap()));
        let place = page.next.to_string().parse().unwrap();
        write(folder.path(), 1, &lines(1..6, "acme"));
        write(folder.path(), 6, &lines(6..9, "acme"));
        assert_eq!(numbers(&events.page(place, 9, &all()).unwrap()), (1..9).collect::<Vec<_>>());
        std::fs::remove_file(folder.path().join(format!("audit-{:020}.ndjson", 1))).unwrap();
        let gone = events.page(place, 9, &all()).unwrap_err();
        assert_eq!(gone.to_string(), "events behind 0 are no longer kept; the oldest is 6");
        assert_eq!(numbers(&events.page(Position::before(6), 9, &all()).unwrap()), [6, 7, 8]);
        // And once more, for whoever was told and has not read on.
        std::fs::rename(
            folder.path().join(format!("audit-{:020}.ndjson", 6)),
            folder.path().join(format!("audit-{:020}.ndjson", 9)),
        )
        .unwrap();
        let gone = events.page(Position::before(6), 9, &all()).unwrap_err();
        assert!(matches!(gone, EventsError::Gone { after: 5, oldest: 9 }), "{gone}");
        assert!(events.page(Position::START, 9, &all()).is_ok());
    }
}

#[test]
fn a_torn_end_is_not_there_yet() {
    let folder = tempfile::tempdir().unwrap();
    let whole = lines(1..4, "acme");
    let events = Events::of(folder.path());
    for cut in 0..whole.len() {
        write(folder.path(), 1, &whole[..cut]);
        let ends = whole[..cut].matches('\n').count() as u64;
        assert_eq!(numbers(&events.page(Position::START, 9, &all()).unwrap()), (1..=ends).collect::<Vec<_>>(), "{cut}");
    }
}

#[test]
fn filters_pass_what_fits_and_the_position_moves_past_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let own = r#"{"seq":9,"type":"Alarm","evidence":"x"}"#;
    write(folder.path(), 1, &format!("{}{}{own}\n", lines(1..6, "acme"), lines(6..9, "other")));
    let events = Events::of(folder.path());
    let filter = Filter { stream: Some(crate::mail::StreamName::new("acme").unwrap()), ..all() };
    let page = events.page(Position::START, 9, &filter).unwrap();
    assert_eq!((numbers(&page), page.next.seq()), ((1..6).collect(), 9), "the gateway's own belong to no stream");
    let filter = Filter { types: vec!["Alarm".to_owned(), "Pace".to_owned()], ..all() };
    let page = events.page(Position::START, 9, &filter).unwrap();
    assert_eq!((numbers(&page), page.events[0].subject.as_str()), (vec![9], "Alarm"));
    let filter = Filter { list: Some(crate::mail::ListName::new("weekly").unwrap()), ..all() };
    assert_eq!(events.page(Position::START, 9, &filter).unwrap().events, []);
}

#[test]
fn pages_end_at_their_limits_of_events_and_of_octets() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, &lines(1..PAGE_MAX as u64 + 3, "acme"));
    let events = Events::of(folder.path());
    let page = events.page(Position::START, usize::MAX, &all()).unwrap();
    assert_eq!((page.events.len(), page.more), (PAGE_MAX, true));
    let nothing = Filter { types: vec!["None".to_owned()], ..all() };
    let page = scan::page(folder.path(), Position::START, 9, 200, &nothing).unwrap();
    assert_eq!((page.events.len(), page.next.seq(), page.more), (0, 2, true));
    let page = scan::page(folder.path(), Position::START, 9, 1, &nothing).unwrap();
    assert_eq!(page.next.seq(), 1, "one line at least");
}

#[tokio::test]
async fn who_waits_is_told_soon_and_who_waits_in_vain_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, &lines(1..3, "acme"));
    let events = Events::of(folder.path());
    let end = events.page(Position::START, 9, &all()).unwrap().next;
    let page = events.wait(end, 9, &all(), Duration::from_millis(1)).await.unwrap();
    assert_eq!((page.events.len(), page.next), (0, end));
    let (reader, filter) = (events.clone(), all());
    let waiting = tokio::spawn(async move { reader.wait(end, 9, &filter, WAIT_MAX).await });
    tokio::time::sleep(LOOK_EVERY).await;
    let path = folder.path().join(format!("audit-{:020}.ndjson", 1));
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(lines(3..4, "acme").as_bytes()).unwrap();
    assert_eq!(numbers(&waiting.await.unwrap().unwrap()), [3]);
}
