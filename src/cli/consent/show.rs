//! What is on record, for people, for programs, and for whoever asks for proof.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{OperationError, Outcome, ProofArgs, ShowArgs};
use crate::api::shape::{consent_value, contact_value, declaration, event_value, object};
use crate::policy::ConsentFact;
use crate::store::record::ndjson_line;
use crate::store::{ConsentText, Declaration, Store, Told};
use crate::time::Timestamp;

/// Version of the bundle that `proof` prints.
const PROOF_VERSION: u32 = 1;

pub(super) fn show(
    args: &ShowArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    let known = store.blocking_dossier(&[&args.mailbox])?.pop().unwrap_or_default();
    let write = |out: &mut dyn Write| -> io::Result<()> {
        if let Some(contact) = &known.contact {
            if args.json {
                ndjson_line(&json!({ "address": args.mailbox.as_str(), "contact": contact_value(contact) }), out)?;
            } else {
                writeln!(out, "contact  {}", contact_line(&declaration(contact)))?;
            }
        }
        for fact in &known.consents {
            if args.json {
                let mut value = consent_value(fact);
                value.insert("address".to_owned(), args.mailbox.as_str().into());
                value.insert("counts".to_owned(), fact.counts_at(now).into());
                ndjson_line(&value, out)?;
            } else {
                let counts = if fact.counts_at(now) { "" } else { "  (does not count)" };
                writeln!(out, "consent  {}{counts}", consent_line(fact))?;
            }
        }
        Ok(())
    };
    write(out).map_err(OperationError::output)?;
    let empty = known.contact.is_none() && known.consents.is_empty();
    Ok(if empty { Outcome::Nothing } else { Outcome::Done })
}

pub(super) fn history(args: &ShowArgs, store: &Store, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    let events = store.history(&args.mailbox)?;
    for event in &events {
        let written = if args.json {
            ndjson_line(&event_value(event), out)
        } else {
            let told = match &event.told {
                Told::Consent(fact) => format!("consent  {}", consent_line(fact)),
                Told::Contact(told) => format!("contact  {}", contact_line(told)),
                Told::Retraction(of) => format!("retracts  what was recorded by {of}"),
            };
            writeln!(out, "{}  {} by {}  {told}", event.cursor, event.at, event.by)
        };
        written.map_err(OperationError::output)?;
    }
    Ok(if events.is_empty() { Outcome::Nothing } else { Outcome::Done })
}

/// The hash is SHA-256 over the bundle without it: JSON with sorted names and no blanks, which other programs can
/// write again (`jq -cS 'del(.sha256)'`, without its line end).
pub(super) fn proof(
    args: &ProofArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    let known = store.blocking_dossier(&[&args.mailbox])?.pop().unwrap_or_default();
    let records: Vec<_> = known.consents.iter().filter(|fact| fact.controller == args.controller).collect();
    let history: Vec<Value> = store
        .history(&args.mailbox)?
        .iter()
        .filter(|event| match &event.told {
            Told::Consent(fact) => fact.controller == args.controller,
            Told::Contact(_) | Told::Retraction(_) => true,
        })
        .map(event_value)
        .collect();
    let notices: Vec<&str> = records.iter().filter_map(|fact| fact.notice.as_deref()).collect();
    let mut bundle = json!({
        "v": PROOF_VERSION,
        "address": args.mailbox.as_str(),
        "controller": args.controller.as_str(),
        "record": records.iter().map(|fact| {
            let mut value = consent_value(fact);
            value.insert("counts".to_owned(), fact.counts_at(now).into());
            Value::Object(value)
        }).collect::<Vec<_>>(),
        "history": history,
        "notice_versions": notices,
        "generated_at": now.rfc3339(),
    });
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bundle.to_string().as_bytes());
    if let Value::Object(fields) = &mut bundle {
        fields.insert("sha256".to_owned(), crate::hex::encode(digest.as_ref()).into());
    }
    ndjson_line(&bundle, out).map_err(OperationError::output)?;
    Ok(if records.is_empty() { Outcome::Nothing } else { Outcome::Done })
}

/// A record as a person reads it, on one line.
fn consent_line(fact: &ConsentFact) -> String {
    let mut text = format!(
        "{}  {}  {} ({})  collected {} {}",
        fact.controller, fact.purpose, fact.basis, fact.standing, fact.collected_at, fact.collected
    );
    let fields = object(serde_json::to_value(ConsentText::of(fact)));
    for name in
        ["confirmation", "refusal_box", "notice", "last_contact", "expires", "source", "method", "ip", "evidence"]
    {
        if let Some(value) =
            fields.get(name).and_then(Value::as_str).filter(|v| !matches!(*v, "not_asked" | "not_offered"))
        {
            text.extend(["  ", name, " ", value]);
        }
    }
    if let Some(sale) = &fact.sale {
        let family = sale.family.as_ref().map_or("", |family| family.as_str());
        text.extend(["  ", sale.kind.as_str(), " ", family, " ", &sale.at.to_string()]);
    }
    text
}

fn contact_line(told: &Declaration) -> String {
    let mut parts = Vec::new();
    parts.extend(told.class.map(|class| class.to_string()));
    parts.extend(told.country.map(|country| country.to_string()));
    let functions = told.functions.iter().flatten().map(|function| format!("function {function}"));
    parts.extend(functions);
    parts.extend(told.contract.map(|contract| format!("contract {}", crate::store::contract_word(contract))));
    parts.join("  ")
}
