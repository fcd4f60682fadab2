//! The description, held against the door by a program of others (schemathesis).

use std::path::Path;
use std::process::Command;

use super::{ALL, House, house};

/// Cases for each operation. `CONSENTRY_SCHEMA` says another number, and asks for a token of each single right as well.
const CASES: usize = 15;
/// Everything that the program can look at but what nobody can promise: that each fit body is taken (an address may be none, a
/// stream unknown), and that each odd one is refused.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,\
     unsupported_method,ignored_auth";

fn run(house: &House, token: Option<&str>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = std::env::var("CONSENTRY_SCHEMA").unwrap_or_else(|_| CASES.to_string());
    let mut program = Command::new(root.join("target/venv/bin/st"));
    program
        .arg("run")
        .arg(root.join("docs/reference/openapi.json"))
        .args(["--url", &format!("http://{}", house.api)])
        .args([
            "--checks",
            CHECKS,
            "--max-examples",
            &cases,
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--no-color",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "60", "--continue-on-failure"])
        // It keeps what it found beside where it runs.
        .current_dir(house.folder.path());
    if let Some(token) = token {
        program.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let ran = program.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    println!("{}", said.lines().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"));
}

#[test]
fn schemathesis_finds_nothing_with_and_without_tokens() {
    let house = house("requests_per_second = 100000\n");
    run(&house, Some(&house.whole()));
    run(&house, Some(&house.token("narrow", Some("acme"), &ALL[..6])));
    run(&house, None);
    if std::env::var_os("CONSENTRY_SCHEMA").is_some() {
        for right in ALL {
            run(&house, Some(&house.token(&right.replace(':', "-"), None, &[right])));
        }
    }
    // It asked for long waits and stopped at nothing; the gateway is well.
    assert!(house.gateway.run(&["queue", "stats"]).status.success());
}
