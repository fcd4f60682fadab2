//! The vector of RFC 7677 section 3, and what a hostile client may try.

use super::*;

const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const ANSWER: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn iterations(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn pencil() -> Verifier {
    Verifier::derive("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), iterations(4096))
}

/// The exchange of the RFC, whose server nonce is not base64.
fn exchange() -> Exchange {
    let mut exchange = ClientFirst::parse(FIRST).unwrap().challenge(pencil(), b"");
    exchange.nonce.push_str("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    exchange.message = CHALLENGE.to_owned();
    exchange
}

#[test]
fn the_vector_of_the_rfc_comes_out() {
    assert_eq!(exchange().finish(LAST), Ok((Proven::Yes, ANSWER.to_owned())));
    let own = ClientFirst::parse(FIRST).unwrap().challenge(pencil(), b"\x01\x02\x03");
    assert_eq!(own.message(), "r=rOprNGfwEbeRWgbNEkqOAQID,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(own.name(), "user");
}

#[test]
fn a_wrong_proof_is_wrong_and_another_nonce_or_binding_is_no_answer() {
    let wrong = LAST.replace("p=dHzb", "p=eHzb");
    assert_eq!(exchange().finish(&wrong).unwrap().0, Proven::No);
    for bad in [
        LAST.replace("hNlF$k0", "hNlF$k1"),
        LAST.replace("c=biws", "c=eSws"),
        LAST.replace(",p=", ",q="),
        LAST.replace("ndVQ=", "ndVQ"),
        LAST.replace("c=biws,", ""),
        String::new(),
        format!("{LAST}{}", "x".repeat(MESSAGE_MAX)),
    ] {
        assert_eq!(exchange().finish(&bad), Err(ScramError::Malformed), "{bad}");
    }
}

#[test]
fn a_first_message_is_read_as_the_grammar_has_it() {
    let name = |message: &str| ClientFirst::parse(message).map(|first| first.name);
    assert_eq!(name("y,,n=user,r=x"), Ok("user".to_owned()));
    assert_eq!(name("n,a=user,n=user,r=x,ext=1"), Ok("user".to_owned()));
    assert_eq!(name("n,,n=a=2Cb=3Dc,r=x"), Ok("a,b=c".to_owned()));
    for unsupported in ["p=tls-exporter,,n=user,r=x", "n,a=boss,n=user,r=x"] {
        assert_eq!(name(unsupported), Err(ScramError::Unsupported), "{unsupported}");
    }
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=u,r=x",
        "n,,m=1,n=u,r=x",
        "n,,n=,r=x",
        "n,,n=u",
        "n,,n=u,r=",
        "n,,n=u=2c,r=x",
        "n,,n=u,r=\u{e9}",
        "n,b=u,n=u,r=x",
        "n,,n=u\n,r=x",
    ] {
        assert_eq!(name(bad), Err(ScramError::Malformed), "{bad:?}");
    }
    let long = |length: usize| format!("n,,n=u,r={}", "x".repeat(length - 9));
    assert!(name(&long(MESSAGE_MAX)).is_ok());
    assert_eq!(name(&long(MESSAGE_MAX + 1)), Err(ScramError::Malformed));
}

#[test]
fn a_verifier_reads_what_it_writes_and_nothing_else() {
    let written = pencil().to_string();
    assert_eq!(Verifier::parse(&written), Ok(pencil()));
    assert!(pencil().fits("pencil") && !pencil().fits("pencil "));
    assert!(!format!("{:?}", pencil()).contains("W22"));
    let keys = written.rsplit_once('$').unwrap().1.to_owned();
    let salt = |octets: usize| STANDARD.encode(vec![7; octets]);
    let with = |iterations: u32, octets: usize| format!("SCRAM-SHA-256${iterations}:{}${keys}", salt(octets));
    for good in [with(ITERATIONS_MIN, SALT_MIN), with(ITERATIONS_MAX, SALT_MAX)] {
        assert!(Verifier::parse(&good).is_ok(), "{good}");
    }
    for bad in [
        with(ITERATIONS_MIN - 1, SALT_MIN),
        with(ITERATIONS_MAX + 1, SALT_MIN),
        with(ITERATIONS_MIN, SALT_MIN - 1),
        with(ITERATIONS_MIN, SALT_MAX + 1),
        written.replace("SHA-256", "SHA-1"),
        written.replacen(':', "", 1),
        format!("{written}$"),
        written[..written.len() - 4].to_owned(),
        String::new(),
    ] {
        assert_eq!(Verifier::parse(&bad), Err(VerifierError), "{bad}");
    }
}

#[test]
fn a_decoy_is_always_the_same_for_a_name_and_nobody_fits_it() {
    let decoy = |name: &str| Verifier::decoy(name, b"secret", iterations(4096));
    assert_eq!(decoy("nobody"), decoy("nobody"));
    assert_ne!(decoy("nobody").salt, decoy("noone").salt);
    assert_ne!(decoy("nobody").salt, Verifier::decoy("nobody", b"other", iterations(4096)).salt);
    assert_eq!(decoy("nobody").salt.len(), 16);
    assert!(!decoy("nobody").fits("pencil"));
}
