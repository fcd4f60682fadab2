//! What a message shows: no MIME structure and no HTML makes the reader panic or run away.
#![no_main]

use bytes::Bytes;
use consentry::message::{BodyLink, Expected, HeaderSection, SplitAt, read_duties, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = match split(input) {
        SplitAt::Body(end) => end,
        SplitAt::Open => input.len(),
    };
    let (header, body) = input.split_at(end);
    let Ok(section) = HeaderSection::parse(Bytes::copy_from_slice(header)) else { return };
    let expected = Expected::new()
        .name("Acme")
        .postal_address("1 rue de l'Exemple, 75001 Paris")
        .source_notice("You bought from us")
        .way_out("https://u.example/u")
        .body_link(BodyLink::Replace);
    let shown = read_duties(&section, body, &expected);
    assert_eq!(shown, read_duties(&section, body, &expected), "two looks see two things");
});
