//! What goes into one call, and what waits behind an event of the same subject. Pure.

use std::collections::HashSet;

use bytes::Bytes;

use crate::events::{Event, Page, Position};

/// Events of one call: enough that a busy gateway needs few calls, few enough that a receiver is done with them in time.
pub(super) const BATCH_MAX: usize = 100;
/// Octets of one call's events; one alone may be longer. Receivers commonly take 1 MiB.
pub(super) const BODY_MAX: usize = 900 * 1024;

/// The next events of a hook, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    /// Behind all of them.
    pub(super) next: Position,
}

impl Batch {
    /// As many events from the beginning of `page` as go into one call.
    pub(super) fn of(page: Page) -> Self {
        let mut octets = 0;
        let fits = |event: &Event| {
            octets += event.line.len() + 1;
            octets <= BODY_MAX
        };
        let count = page.events.iter().take(BATCH_MAX).map(fits).take_while(|fits| *fits).count().max(1);
        let mut events = page.events;
        let is_cut = events.len() > count;
        events.truncate(count);
        let next = events.last().filter(|_| is_cut).map_or(page.next, |last| last.next);
        Self { events, next }
    }

    /// The batch up to the first event that would have to wait and finds no room; `None` when that is the first of all.
    pub(super) fn with_room(mut self, blocked: &HashSet<String>, room: u64) -> Option<Self> {
        let mut behind = 0;
        let finds_none = |event: &Event| {
            behind += u64::from(blocked.contains(&event.subject));
            behind > room
        };
        if let Some(end) = self.events.iter().position(finds_none) {
            self.events.truncate(end);
            self.next = self.events.last()?.next;
        }
        Some(self)
    }

    /// Those that may go: their subject is not in `blocked`.
    pub(super) fn free(&self, blocked: &HashSet<String>) -> Vec<&Event> {
        self.events.iter().filter(|event| !blocked.contains(&event.subject)).collect()
    }

    /// Those that have to wait.
    pub(super) fn behind(&self, blocked: &HashSet<String>) -> Vec<&Event> {
        self.events.iter().filter(|event| blocked.contains(&event.subject)).collect()
    }
}

/// A JSON array (RFC 8259) of the events, each as it stands in the trail.
pub(super) fn body<'a>(lines: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut body = Vec::from(b"[");
    for line in lines {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(line);
    }
    body.push(b']');
    Bytes::from(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        seq.to_string().parse().unwrap()
    }

    fn event(seq: u64, subject: &str, octets: usize) -> Event {
        Event { seq, subject: subject.to_owned(), line: Bytes::from(vec![b'1'; octets]), next: at(seq) }
    }

    fn page(octets: &[usize]) -> Page {
        let events = (1..).zip(octets).map(|(seq, octets)| event(seq, "ann", *octets)).collect();
        Page { events, next: at(1000), more: false }
    }

    #[test]
    fn a_call_has_so_many_events_and_so_many_octets() {
        let of = |octets: &[usize]| {
            let batch = Batch::of(page(octets));
            (batch.events.len(), batch.next.seq())
        };
        assert_eq!(of(&[1; BATCH_MAX]), (BATCH_MAX, 1000));
        assert_eq!(of(&[1; BATCH_MAX + 1]), (BATCH_MAX, 100));
        assert_eq!(of(&[BODY_MAX / 2 - 1, BODY_MAX / 2 - 1]), (2, 1000));
        assert_eq!(of(&[BODY_MAX / 2, BODY_MAX / 2]), (1, 1));
        assert_eq!(of(&[BODY_MAX * 2, 1]), (1, 1), "one alone may be longer");
        assert_eq!(of(&[]), (0, 1000));
    }

    #[test]
    fn who_is_blocked_waits_and_the_others_keep_their_order() {
        let events = vec![event(1, "ann", 1), event(2, "ben", 1), event(3, "ann", 1), event(4, "eve", 1)];
        let batch = Batch { events, next: at(4) };
        let blocked = HashSet::from(["ann".to_owned()]);
        let numbers = |events: Vec<&Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!((numbers(batch.free(&blocked)), numbers(batch.behind(&blocked))), (vec![2, 4], vec![1, 3]));
    }

    #[test]
    fn what_finds_no_room_to_wait_is_not_stepped_over() {
        let blocked = HashSet::from(["ann".to_owned()]);
        let numbers = |room| {
            let events = vec![event(1, "ben", 1), event(2, "ann", 1), event(3, "eve", 1), event(4, "ann", 1)];
            let batch = Batch { events, next: at(9) }.with_room(&blocked, room)?;
            Some((batch.events.len(), batch.next.seq()))
        };
        assert_eq!([numbers(2), numbers(1), numbers(0)], [Some((4, 9)), Some((3, 3)), Some((1, 1))]);
        let first = Batch { events: vec![event(2, "ann", 1)], next: at(9) };
        assert!(first.with_room(&blocked, 0).is_none());
    }

    #[test]
    fn the_body_is_an_array_of_the_lines_as_they_are() {
        let lines = [Bytes::from_static(br#"{"seq":1}"#), Bytes::from_static(br#"{"seq":2}"#)];
        assert_eq!(body(lines.iter()), br#"[{"seq":1},{"seq":2}]"#.as_slice());
        assert_eq!(body(lines.iter().take(1)), br#"[{"seq":1}]"#.as_slice());
    }
}
