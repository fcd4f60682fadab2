//! Exports of the services that send: whom they no longer send to.

use crate::mail::{EnhancedStatus, ListName};
use crate::policy::{Cause, Scope};

use super::instant::instant;
use super::{Cells, Reading};

/// An entry of our own: who, why, since when, and what the row gives as evidence.
///
/// # Errors
/// A sentence for an instant that cannot be read.
pub(super) fn entry(row: &Cells, cause: Cause, since: &str, evidence: &str) -> Result<Cells, String> {
    let mut said = Cells::default();
    said.put("address", row.address().unwrap_or_default());
    said.put("cause", cause.as_str());
    if let Some(text) = row.get(since) {
        said.put("since", instant(text).map_err(|error| format!("{since}: {error}"))?.rfc3339());
    }
    if let Some(text) = row.get(evidence) {
        said.put("evidence", format!("{evidence}: {}", one_line(text)));
    }
    Ok(said)
}

/// Control characters in other programs' texts become blanks.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A list that is all for one cause.
///
/// # Errors
/// As [`entry`].
pub(super) fn listed(row: &Cells, cause: Cause, since: &str, evidence: &str) -> Result<Reading, String> {
    entry(row, cause, since, evidence).map(Reading::Says)
}

/// A bounce counts when its status says that the mailbox is not there: RFC 3463 X.1.1 to X.1.3, X.1.6, X.1.10 and X.2.1,
/// or 5yz without anything more precise. A refusal for policy, reputation, content or a full mailbox says nothing about
/// the person.
///
/// # Errors
/// As [`entry`].
pub(super) fn bounce(row: &Cells, status: &str, text: &str, since: &str) -> Result<Reading, String> {
    let code = row.get(status).unwrap_or("550").trim();
    if !code.starts_with('5') {
        return Ok(Reading::Passes("a temporary failure"));
    }
    let precise = EnhancedStatus::parse_prefix(code).or_else(|| row.get(text).and_then(enhanced_within));
    let dead = precise
        .is_none_or(|(found, _)| matches!((found.subject, found.detail), (1, 1 | 2 | 3 | 6 | 10) | (2, 1) | (0, 0)));
    if dead { listed(row, Cause::HardBounce, since, text) } else { Ok(Reading::Passes("a refusal for another reason")) }
}

/// The status that a bounce's text quotes: `550 5.1.1 …` or `550-5.1.1 …`.
fn enhanced_within(text: &str) -> Option<(EnhancedStatus, &str)> {
    text.split([' ', '-', '\t']).take(4).find_map(EnhancedStatus::parse_prefix)
}

/// `*` means every mail of that domain; a tag is a list of ours under the controller that the operator names.
///
/// # Errors
/// When a tag has no controller to belong to, or is no name of a list.
pub(super) fn mailgun_unsubscribe(row: &Cells, scope: &Scope) -> Result<Reading, String> {
    let mut said = entry(row, Cause::Unsubscribe, "created_at", "")?;
    if let Some(tag) = row.get("tags").map(|tag| tag.trim_matches(['[', ']', '"', '\''])).filter(|tag| *tag != "*") {
        said.put("scope", list_scope(scope, "tags", tag)?);
    }
    Ok(Reading::Says(said))
}

/// The list `name` under the controller of `scope`.
///
/// # Errors
/// A sentence with what is missing.
pub(super) fn list_scope(scope: &Scope, column: &str, name: &str) -> Result<String, String> {
    let (Scope::Controller(controller) | Scope::List(controller, _)) = scope else {
        return Err(format!("{column}: `{name}` is a list; name whose with --scope controller:NAME"));
    };
    let list = ListName::new(name).map_err(|error| format!("{column}: {error}"))?;
    Ok(Scope::List(controller.clone(), list).to_string())
}

/// `BOUNCE` or `COMPLAINT`.
///
/// # Errors
/// For any other reason.
pub(super) fn ses(row: &Cells) -> Result<Reading, String> {
    let cause = match row.get("reason").unwrap_or_default().trim().to_ascii_uppercase().as_str() {
        "BOUNCE" => Cause::HardBounce,
        "COMPLAINT" => Cause::Complaint,
        other => return Err(format!("reason: `{other}`; expected BOUNCE or COMPLAINT")),
    };
    let since = if row.get("lastupdatetime").is_some() { "lastupdatetime" } else { "created_at" };
    listed(row, cause, since, "")
}

/// A manual suppression by the recipient is an unsubscribe; by the customer, an operator's entry.
///
/// # Errors
/// For a reason that is not known.
pub(super) fn postmark(row: &Cells) -> Result<Reading, String> {
    let cause = match (row.get("suppressionreason").unwrap_or_default(), row.get("origin").unwrap_or_default()) {
        ("HardBounce", _) => Cause::HardBounce,
        ("SpamComplaint", _) => Cause::Complaint,
        ("ManualSuppression", "Recipient") => Cause::Unsubscribe,
        ("ManualSuppression", _) => Cause::Manual,
        (other, _) => {
            return Err(format!(
                "suppressionreason: `{other}`; expected HardBounce, SpamComplaint or ManualSuppression"
            ));
        }
    };
    listed(row, cause, "createdat", "origin")
}

/// The description tells a bounce or a complaint; else a non-transactional entry is the person's wish, and one that stops
/// transactional mail too is the operator's.
///
/// # Errors
/// For a type that is not known.
pub(super) fn sparkpost(row: &Cells) -> Result<Reading, String> {
    let yes = |name: &str| row.get(name).is_some_and(|cell| cell.eq_ignore_ascii_case("true") || cell == "1");
    let kind = row.get("type").map(str::to_ascii_lowercase);
    let marketing = match kind.as_deref() {
        Some("non_transactional") => true,
        Some("transactional") => false,
        None if yes("transactional") => false,
        None if yes("non_transactional") => true,
        None => return Ok(Reading::Passes("stops neither kind of mail")),
        Some(other) => return Err(format!("type: `{other}`; expected transactional or non_transactional")),
    };
    let text = row.get("description").unwrap_or_default().to_ascii_lowercase();
    let cause = if text.contains("bounce") {
        Cause::HardBounce
    } else if text.contains("complain") || text.contains("spam") {
        Cause::Complaint
    } else if marketing {
        Cause::Unsubscribe
    } else {
        Cause::Manual
    };
    listed(row, cause, "created", "description")
}

/// An entry of Mandrill may end; the person's own word does not.
///
/// # Errors
/// For a reason that is not known.
pub(super) fn mandrill(row: &Cells) -> Result<Reading, String> {
    let cause = match row.get("reason").unwrap_or_default() {
        "hard-bounce" => Cause::HardBounce,
        "spam" => Cause::Complaint,
        "unsub" => Cause::Unsubscribe,
        "custom" => Cause::Manual,
        "invalid" | "invalid-sender" => Cause::Invalid,
        "soft-bounce" => return Ok(Reading::Passes("a temporary failure")),
        other => {
            return Err(format!(
                "reason: `{other}`; expected hard-bounce, soft-bounce, spam, unsub, custom or invalid"
            ));
        }
    };
    let mut said = entry(row, cause, "created_at", "detail")?;
    if let Some(text) = row.get("expires_at").filter(|_| !cause.is_opt_out()) {
        said.put("expires", instant(text).map_err(|error| format!("expires_at: {error}"))?.rfc3339());
    }
    Ok(Reading::Says(said))
}
