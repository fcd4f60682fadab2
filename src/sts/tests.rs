//! What is kept, for how long, and how much of it. Fetching is shown with real servers by the integration tests.

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn kept(mode: &str, max_age: Duration) -> Kept {
    let text = format!("version: STSv1\nmode: {mode}\nmx: mail.a.example\nmax_age: {}\n", max_age.as_secs());
    let id = PolicyId::find(&["v=STSv1; id=1".to_owned()]).unwrap();
    Kept { id, policy: Arc::new(Policy::parse(&text).unwrap()), fetched: NOW, used: NOW }
}

const WEEK: Duration = Duration::from_hours(7 * 24);

#[test]
fn a_policy_holds_as_long_as_it_says_and_no_longer() {
    let (mut state, a) = (State::default(), domain("a.example"));
    state.insert(&a, kept("enforce", WEEK));
    let last = Timestamp::from_millis(NOW.plus(WEEK).as_millis() - 1);
    assert_eq!(state.use_now(&a, last).unwrap().mode, Mode::Enforce);
    assert!(state.use_now(&a, NOW.plus(WEEK)).is_none());
    assert_eq!((state.kept.len(), state.octets), (0, 0));
    state.insert(&a, kept("none", WEEK));
    assert!(state.use_now(&a, NOW).is_none(), "a domain that says none has none");
}

#[test]
fn a_policy_is_due_after_a_day_or_half_its_life_while_somebody_needs_it() {
    let a = domain("a.example");
    let due_after = |kept: Kept, after: Duration| {
        let mut state = State::default();
        state.insert(&a, kept);
        !state.due(NOW.plus(after)).is_empty()
    };
    let (day, hour, month) = (REFRESH_AFTER, Duration::from_hours(1), UNUSED_AFTER);
    let before = |end: Duration| end.saturating_sub(hour);
    for (mode, max_age, after, expected) in [
        ("enforce", WEEK, before(day), false),
        ("enforce", WEEK, day, true),
        ("testing", WEEK, day, true),
        ("none", WEEK, day, false),
        ("enforce", hour * 4, hour, false),
        ("enforce", hour * 4, hour * 2, true),
        ("enforce", WEEK, WEEK, false),
        ("enforce", month * 2, before(month), true),
        ("enforce", month * 2, month, false),
    ] {
        assert_eq!(due_after(kept(mode, max_age), after), expected, "{mode} {max_age:?} {after:?}");
    }
    let mut state = State::default();
    state.insert(&a, kept("enforce", month * 2));
    let later = NOW.plus(before(month));
    assert!(state.use_now(&a, later).is_some());
    assert!(!state.due(NOW.plus(month)).is_empty(), "it was needed since");
    state.fail(&a, NOW.plus(month));
    assert!(state.due(NOW.plus(month)).is_empty());
    assert!(!state.due(NOW.plus(month).plus(RETRY_AFTER)).is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_what_ends_first_goes_first() {
    let mut state = State::default();
    let hosts = "mx: a-long-name-of-a-mail-server-that-a-policy-names.a.example\n".repeat(1000);
    let large = |days: u64| {
        let text = format!("version: STSv1\nmode: enforce\n{hosts}max_age: {}\n", days * 86_400);
        Kept { policy: Arc::new(Policy::parse(&text).unwrap()), ..kept("enforce", WEEK) }
    };
    let each = octets(&domain("d000.example"), &large(1));
    let fits = u64::try_from(KEPT_OCTETS_MAX / each).unwrap();
    assert!(fits < 360, "a policy ends within a year");
    let name = |days: u64| domain(&format!("d{days:03}.example"));
    for days in 1..=fits {
        state.insert(&name(days), large(days));
    }
    assert_eq!(state.kept.len(), usize::try_from(fits).unwrap());
    state.insert(&name(fits + 1), large(fits + 1));
    assert_eq!(state.kept.len(), usize::try_from(fits).unwrap());
    assert!(!state.kept.contains_key(&name(1)) && state.kept.contains_key(&name(fits + 1)));
    assert!(state.octets <= KEPT_OCTETS_MAX);
    // One that comes again takes the place of the old one.
    let before = state.octets;
    state.insert(&name(5), large(5));
    assert_eq!(state.octets, before);
}

#[test]
fn failures_are_remembered_up_to_a_bound() {
    let mut state = State::default();
    for n in 0..=FAILED_MAX {
        state.fail(&domain(&format!("d{n}.example")), NOW);
    }
    assert_eq!(state.failed.len(), FAILED_MAX);
    let later = NOW.plus(RETRY_AFTER);
    assert!(state.rests(&domain("d0.example"), NOW) && !state.rests(&domain("d0.example"), later));
    state.fail(&domain("last.example"), later);
    assert_eq!(state.failed.len(), 1);
}

#[tokio::test]
async fn policies_are_there_again_after_a_restart_and_a_broken_file_is_no_reason_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Policies::open(folder.path(), Settings::default());
    let (first, a) = (open(), domain("a.example"));
    first.save(NOW).await;
    assert!(!folder.path().join(kept::NAME).exists(), "nothing to write");
    first.lock().insert(&a, kept("enforce", WEEK));
    first.lock().insert(&domain("b.example"), kept("enforce", Duration::from_mins(1)));
    first.save(NOW.plus(Duration::from_mins(1))).await;
    let second = open();
    assert!(second.lock().use_now(&a, NOW).is_some());
    assert_eq!(second.lock().kept.len(), 1, "what has ended is not written");
    assert!(!second.lock().unwritten);
    std::fs::write(folder.path().join(kept::NAME), "{").unwrap();
    let third = open();
    assert!(third.lock().kept.is_empty());
    third.lock().insert(&a, kept("enforce", WEEK));
    third.save(NOW).await;
    assert!(open().lock().use_now(&a, NOW).is_some());
}
