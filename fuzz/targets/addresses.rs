//! Addresses, domains and paths: what is accepted is accepted again as it is written out, and means the same.
#![no_main]

use consentry::mail::{Domain, Mailbox};
use consentry::smtp::wire::ForwardPath;
use consentry::smtp::wire::path::{forward_path, reverse_path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(domain) = Domain::parse(text) {
        assert!(domain.as_str().is_ascii() && domain.as_str().len() <= 255);
        assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()), "the comparable form is not one");
        if !text.starts_with('[') {
            assert_eq!(Domain::parse(&text.to_ascii_uppercase()), Ok(domain), "case makes a difference");
        }
    }
    if let Ok(mailbox) = Mailbox::parse(text) {
        check(&mailbox);
        assert_eq!(mailbox.as_str(), text);
    }
    if let Ok((ForwardPath::Mailbox(mailbox), rest)) = forward_path(text) {
        check(&mailbox);
        assert!(text.ends_with(rest));
    }
    if let Ok((path, _)) = reverse_path(text) {
        let written = format!("<{}>", path.as_str());
        assert_eq!(reverse_path(&written), Ok((path, "")), "a path changes when it is passed on");
    }
});

fn check(mailbox: &Mailbox) {
    let text = mailbox.as_str();
    assert!(text.len() <= 254 && mailbox.local_part().len() <= 64);
    assert!(!text.chars().any(char::is_control));
    assert_eq!(format!("{}@{}", mailbox.local_part(), mailbox.domain_as_written()), text);
    assert_eq!(Domain::parse(mailbox.domain_as_written()).as_ref(), Ok(mailbox.domain()));
    assert!(!mailbox.unquoted_local_part().is_empty());
}
