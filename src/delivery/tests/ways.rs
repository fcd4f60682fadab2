//! Several smarthosts: shares, failover, recovery, passwords.

use super::*;
use crate::smtp::client::Login;

/// A port on which nobody listens.
fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn deliver_to(route: Route, count: u32) -> Run {
    let mut settings = Settings::new(Routes::new(route), book());
    settings.rest = retry::Settings { first: REST, cap: REST, spread: 0.0 };
    let ledger = Arc::new(Ledger { waiting: Mutex::new(copies(count)), ..Ledger::default() });
    let endings = usize::try_from(count).unwrap();
    run(settings, ledger, Arc::new(ManualClock::new(NOW)), Judge::default(), endings, async {}).await
}

fn count(contents: &Mutex<Vec<String>>) -> usize {
    contents.lock().unwrap().len()
}

#[tokio::test]
async fn each_smarthost_gets_its_share() {
    let ((one, of_one), (two, of_two)) = (script::sink().await, script::sink().await);
    let run = deliver_to(to(&[(one, 3), (two, 1)], 2), 400).await;
    assert_eq!((count(&of_one), count(&of_two)), (300, 100));
    assert_eq!(run.settled.len(), 400);
}

#[tokio::test]
async fn mail_for_a_smarthost_that_is_down_goes_to_the_other_without_delay_and_it_is_said_once() {
    let (alive, contents) = script::sink().await;
    let dead = dead_port();
    let run = deliver_to(to(&[(dead, 1), (alive, 1)], 2), 100).await;
    for n in 1..=100 {
        assert_eq!(run.outcome(n), Settlement::Delivered, "{n}");
    }
    assert_eq!(count(&contents), 100);
    let opened = run.events("CircuitOpened");
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!(opened[0]["site"], format!("127.0.0.1:{dead}"));
    assert_eq!((&opened[0]["fault"], &opened[0]["route"]), (&"peer".into(), &"up".into()));
    assert!(run.events("TransientFailure").is_empty(), "no copy was tried in vain");
}

#[tokio::test]
async fn when_all_smarthosts_are_down_mail_waits_for_the_first_to_have_rested() {
    let run = deliver_to(to(&[(dead_port(), 1), (dead_port(), 1)], 1), 1).await;
    assert_eq!(run.outcome(1), Settlement::Deferred { until: NOW.plus(REST) });
    assert_eq!(run.events("CircuitOpened").len(), 2, "both were tried");
}

#[tokio::test]
async fn a_smarthost_that_works_again_is_found_out_with_one_copy_and_gets_its_share_again() {
    let hello = "S: 220 x\nC: EHLO\nS: 250 x\n";
    let takes = "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nTAKE\nS: 250 ok\n";
    let upstream = Upstream::play(&["S: 421 busy", &format!("{hello}{}{BYE}", takes.repeat(3))]).await;
    let (alive, contents) = script::sink().await;
    let mut settings = Settings::new(Routes::new(to(&[(upstream.address.port(), 1), (alive, 1)], 1)), book());
    settings.rest = retry::Settings { first: REST, cap: REST, spread: 0.0 };
    let ledger = Arc::new(Ledger { waiting: Mutex::new(copies(2)), ..Ledger::default() });
    let clock = Arc::new(ManualClock::new(NOW));
    let more = async {
        for (at, until) in [(2_u32, 3), (3, 7)] {
            if at == 2 {
                clock.advance(REST);
            }
            let next: Vec<_> = copies(until).into_iter().skip(usize::try_from(at).unwrap()).collect();
            ledger.waiting.lock().unwrap().extend(next);
            ledger.returned.notify_one();
            while ledger.settled.lock().unwrap().len() < usize::try_from(until).unwrap() {
                ledger.changed.notified().await;
            }
        }
    };
    let run = run(settings, Arc::clone(&ledger), Arc::clone(&clock), Judge::default(), 2, more).await;
    for n in 1..=7 {
        assert_eq!(run.outcome(n), Settlement::Delivered, "{n}");
    }
    let heard = upstream.heard().await;
    let served = heard.iter().filter(|heard| heard.starts_with("Subject")).count();
    assert_eq!((served, count(&contents)), (3, 4), "one to see, and half of the four after it");
    assert_eq!((run.events("CircuitOpened").len(), run.events("CircuitClosed").len()), (1, 1));
}

/// UP-02: a wrong password is nobody's fault but ours.
#[tokio::test]
async fn a_refused_password_defers_opens_the_circuit_and_says_that_it_is_local() {
    let hello = "S: 220 x\nC: EHLO\nS: 250-x\n";
    for (script, said) in [
        (format!("{hello}S: 250 AUTH PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 5.7.8 wrong\n"), "wrong"),
        (format!("{hello}S: 250 AUTH CRAM-MD5\nSTALL"), "neither AUTH PLAIN nor AUTH LOGIN"),
        (format!("{hello}S: 250 SIZE\nSTALL"), "neither AUTH PLAIN nor AUTH LOGIN"),
    ] {
        let upstream = Upstream::play(&[&script]).await;
        let mut route = to(&[(upstream.address.port(), 1)], 1);
        route.client.login = Some(Arc::new(Login::new("user".to_owned(), "secret".to_owned())));
        let run = deliver_to(route, 1).await;
        assert_eq!(run.outcome(1), Settlement::Deferred { until: NOW.plus(REST) }, "{said}");
        assert!(run.judge.reported.lock().unwrap().is_empty());
        let opened = run.events("CircuitOpened");
        assert_eq!((opened.len(), &opened[0]["fault"]), (1, &"local".into()));
        assert!(opened[0]["response"]["content"].as_str().unwrap().contains(said), "{opened:?}");
        assert!(!run.log.iter().any(|event| event.to_string().contains("secret")));
    }
}
