//! What the demo prints.

use std::io::Write;

use crate::daemon::Gateway;
use crate::exit::Failure;

use super::folder::Folder;
use super::outcome::Outcome;

/// Where everything is.
pub(super) fn opening(
    out: &mut impl Write,
    folder: &Folder,
    gateway: &Gateway,
    (host, port): &(String, u16),
    record: Option<&str>,
) -> Result<(), Failure> {
    writeln!(out, "Consentry demo: the real gateway, with an embedded store, in {}", folder.path().display())?;
    for address in &gateway.submission {
        writeln!(out, "  submission   {address}   loopback clients need no AUTH; From may be any domain")?;
    }
    if let Some(http) = gateway.http {
        writeln!(out, "  unsubscribe  http://{http}/u/TOKEN")?;
    }
    writeln!(out, "  upstream     {host}:{port}")?;
    writeln!(out, "  event log    {}", folder.events().display())?;
    match record {
        Some(record) => write!(out, "  signed; to verify, publish or look at:\n{}", indented(record))?,
        None => writeln!(out, "  not signed")?,
    }
    writeln!(out)?;
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |out, line| out + "    " + line + "\n")
}

/// One line for each recipient.
pub(super) fn outcomes(out: &mut impl Write, outcomes: &[Outcome]) -> Result<(), Failure> {
    writeln!(out, "A campaign of {} messages went in over SMTP. What became of them:", outcomes.len())?;
    writeln!(out)?;
    table(out, outcomes)
}

/// The French stories.
pub(super) fn stories(out: &mut impl Write, outcomes: &[Outcome]) -> Result<(), Failure> {
    writeln!(out, "The law, with a sender and recipients in France (rule packs: `consentry rules list`):")?;
    writeln!(out)?;
    table(out, outcomes)
}

fn table(out: &mut impl Write, outcomes: &[Outcome]) -> Result<(), Failure> {
    writeln!(
        out,
        "  {:<30} {:<8} {:<22} {:<10} {:<10} what was known",
        "recipient", "verdict", "reason", "rule", "outcome"
    )?;
    for outcome in outcomes {
        let ended = match (outcome.ended.as_str(), outcome.verdict.as_str()) {
            ("", "refuse") => "not sent",
            ("", _) => "queued",
            (ended, _) => ended,
        };
        writeln!(
            out,
            "  {:<30} {:<8} {:<22} {:<10} {ended:<10} {}",
            outcome.recipient, outcome.verdict, outcome.reason, outcome.rule, outcome.known
        )?;
    }
    writeln!(out)?;
    Ok(())
}

/// The header section of one message, as the smarthost received it.
fn delivered(out: &mut impl Write, folder: &Folder) -> Result<(), Failure> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.captured())?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.sort();
    let Some(file) = files.first() else { return Ok(()) };
    let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    writeln!(out, "One of the delivered messages, as the smarthost received it:")?;
    writeln!(out)?;
    for line in header.lines().filter(|line| !line.starts_with("X-Captured-")) {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)?;
    Ok(())
}

/// One delivered message, and where to go from here.
pub(super) fn farewell(out: &mut impl Write, folder: &Folder, captured: bool) -> Result<(), Failure> {
    if captured {
        delivered(out, folder)?;
    }
    writeln!(out, "Next: `cargo run --release -- demo --keep`, then README.md for a gateway of your own.")?;
    Ok(())
}

/// Lines to paste.
pub(super) fn next_steps(out: &mut impl Write, folder: &Folder, gateway: &Gateway) -> Result<(), Failure> {
    let data = folder.path().display();
    writeln!(out, "Try, from another terminal:")?;
    if let Some(address) = gateway.submission.first() {
        writeln!(
            out,
            "  swaks --server {address} --from news@shop.example --to ann@customer.example --header 'Subject: hello'"
        )?;
        writeln!(
            out,
            "  swaks --server {address} --from shop@shop.example --to carol@customer.example --auth-user receipts --auth-password receipts"
        )?;
    }
    if let Some(http) = gateway.http {
        writeln!(
            out,
            "  curl http://{http}/u/TOKEN                                           # the page; changes nothing"
        )?;
        writeln!(
            out,
            "  curl -d List-Unsubscribe=One-Click http://{http}/u/TOKEN             # one click; TOKEN from List-Unsubscribe"
        )?;
    }
    writeln!(
        out,
        "  consentry --data {data} suppress add ann@customer.example --scope list:demo/weekly --reason unsubscribe"
    )?;
    writeln!(out, "  consentry --data {data} explain --stream newsletter --to ann@customer.example")?;
    writeln!(out, "  consentry --data {data} queue stats")?;
    writeln!(out)?;
    Ok(())
}
