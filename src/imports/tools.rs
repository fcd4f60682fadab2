//! Exports of campaign tools: who left, and who is there.

use crate::policy::{Cause, Scope};
use crate::time::Timestamp;

use super::instant::instant;
use super::services::{entry, list_scope, listed};
use super::{Cells, Reading};

const STAYS: Reading = Reading::Passes("may be written to");
const LEFT: Reading = Reading::Passes("left or cannot be reached");

/// A consent of our own: who, since when, and where the file says it, from which address and confirmed when. Its standing
/// is the importer's word, whatever the file holds.
fn consent(row: &Cells, collected: &str, ip: &str) -> Result<Cells, String> {
    let mut said = Cells::default();
    said.put("address", row.address().unwrap_or_default());
    if let Some(at) = when(row, collected)? {
        said.put("collected-at", at);
    }
    if let Some(ip) = row.get(ip) {
        said.put("ip", ip);
    }
    Ok(said)
}

fn when(row: &Cells, name: &str) -> Result<Option<String>, String> {
    let read = |text| instant(text).map(Timestamp::rfc3339).map_err(|error| format!("{name}: {error}"));
    row.get(name).map(read).transpose()
}

fn is_yes(cell: Option<&str>) -> bool {
    cell.is_some_and(|cell| {
        ["yes", "true", "1", "oui", "ja", "si", "sí"].contains(&cell.trim().to_lowercase().as_str())
    })
}

/// Mailchimp writes one file for each state, and each has a column of its own.
pub(super) fn mailchimp_stop(row: &Cells) -> Result<Reading, String> {
    if row.get("unsub_time").is_some() {
        let mut said = entry(row, Cause::Unsubscribe, "unsub_time", "unsub_campaign_id")?;
        // "It is spam" is among the reasons that Mailchimp offers to who leaves.
        let reason = row.get("unsub_reason").unwrap_or_default().to_lowercase();
        if reason.contains("spam") || reason.contains("abuse") {
            said = entry(row, Cause::Complaint, "unsub_time", "unsub_reason")?;
        }
        return Ok(Reading::Says(said));
    }
    if row.get("clean_time").is_some() {
        return listed(row, Cause::HardBounce, "clean_time", "clean_campaign_id");
    }
    Ok(STAYS)
}

/// Mailchimp keeps when and from where somebody signed up, and when they confirmed.
pub(super) fn mailchimp_consent(row: &Cells) -> Result<Reading, String> {
    if row.get("unsub_time").is_some() || row.get("clean_time").is_some() {
        return Ok(LEFT);
    }
    let (opted_in, confirmed) = (when(row, "optin_time")?, when(row, "confirm_time")?);
    let (collected, ip) = if opted_in.is_some() { ("optin_time", "optin_ip") } else { ("confirm_time", "confirm_ip") };
    let mut said = consent(row, collected, ip)?;
    // Without a time of sign-up the confirmation may be an import by the account's owner: no opt-in of two steps.
    if let (Some(_), Some(confirmed)) = (opted_in, confirmed) {
        said.put("basis", "double_opt_in");
        said.put("confirmed-at", confirmed);
    }
    Ok(Reading::Says(said))
}

/// Brevo marks who left in a column of the contacts.
pub(super) fn brevo_stop(row: &Cells) -> Result<Reading, String> {
    if is_yes(row.get("email_blacklisted")) { listed(row, Cause::Unsubscribe, "modified_time", "") } else { Ok(STAYS) }
}

/// Everyone else in the contacts of Brevo.
pub(super) fn brevo_consent(row: &Cells) -> Result<Reading, String> {
    if is_yes(row.get("email_blacklisted")) {
        return Ok(LEFT);
    }
    consent(row, "added_time", "").map(Reading::Says)
}

/// Reasons of Brevo's blocked contacts.
pub(super) fn brevo_blocked(row: &Cells) -> Result<Reading, String> {
    let cause = match row.get("reason.code").unwrap_or_default() {
        "unsubscribedViaMA" | "unsubscribedViaEmail" | "unsubscribedViaApi" => Cause::Unsubscribe,
        "hardBounce" => Cause::HardBounce,
        "contactFlaggedAsSpam" => Cause::Complaint,
        "adminBlocked" => Cause::Manual,
        other => {
            return Err(format!(
                "reason.code: `{other}`; expected unsubscribedVia…, hardBounce, contactFlaggedAsSpam or adminBlocked"
            ));
        }
    };
    listed(row, cause, "blockedat", "reason.code")
}

/// MailUp names the list that somebody left.
pub(super) fn mailup(row: &Cells, scope: &Scope) -> Result<Reading, String> {
    let mut said = entry(row, Cause::Unsubscribe, "optout_date", "optout_type")?;
    if let Some(list) = row.get("idlist") {
        said.put("scope", list_scope(scope, "idlist", list)?);
    }
    Ok(Reading::Says(said))
}

/// Where a contact of ActiveCampaign stands.
enum Standing {
    Active,
    Unconfirmed,
    Unsubscribed,
    Bounced,
}

/// The states of ActiveCampaign, as words or as the numbers of its API.
fn standing(row: &Cells) -> Result<Standing, String> {
    match row.get("status").unwrap_or_default().to_lowercase().as_str() {
        "unsubscribed" | "2" => Ok(Standing::Unsubscribed),
        "bounced" | "3" => Ok(Standing::Bounced),
        "active" | "subscribed" | "1" => Ok(Standing::Active),
        "unconfirmed" | "0" | "" => Ok(Standing::Unconfirmed),
        other => Err(format!("status: `{other}`; expected Active, Unconfirmed, Unsubscribed or Bounced")),
    }
}

/// Who left or bounced at ActiveCampaign. The file does not say when: it counts from the import.
pub(super) fn activecampaign_stop(row: &Cells) -> Result<Reading, String> {
    match standing(row)? {
        Standing::Unsubscribed => listed(row, Cause::Unsubscribe, "", "status"),
        Standing::Bounced => listed(row, Cause::HardBounce, "", "status"),
        Standing::Active | Standing::Unconfirmed => Ok(STAYS),
    }
}

/// Who is active at ActiveCampaign, with the address that they signed up from.
pub(super) fn activecampaign_consent(row: &Cells) -> Result<Reading, String> {
    match standing(row)? {
        Standing::Active => consent(row, "date created", "ip").map(Reading::Says),
        Standing::Unconfirmed => Ok(Reading::Passes("has not confirmed")),
        Standing::Unsubscribed | Standing::Bounced => Ok(LEFT),
    }
}

/// listmonk's block list is the person's wish or the operator's; the stricter reading stops marketing and lifts by an
/// opt-in alone.
pub(super) fn listmonk_stop(row: &Cells) -> Result<Reading, String> {
    match row.get("status").unwrap_or_default() {
        "blocklisted" => listed(row, Cause::Unsubscribe, "updated_at", "status"),
        "disabled" => listed(row, Cause::Manual, "updated_at", "status"),
        "enabled" => Ok(STAYS),
        other => Err(format!("status: `{other}`; expected enabled, disabled or blocklisted")),
    }
}

/// Whom listmonk may write to.
pub(super) fn listmonk_consent(row: &Cells) -> Result<Reading, String> {
    match row.get("status").unwrap_or_default() {
        "enabled" => consent(row, "created_at", "").map(Reading::Says),
        _ => Ok(LEFT),
    }
}

/// Mautic numbers its reasons: 1 unsubscribed, 2 bounced, 3 by hand.
pub(super) fn mautic(row: &Cells) -> Result<Reading, String> {
    let cell = row.get("donotemail").unwrap_or("0");
    let reason = row.get("donotemail_reason").unwrap_or(cell).trim();
    let cause = match reason {
        "2" => Cause::HardBounce,
        "3" => Cause::Manual,
        _ if is_yes(Some(cell)) => Cause::Unsubscribe,
        _ => return Ok(STAYS),
    };
    listed(row, cause, "date_modified", "")
}
