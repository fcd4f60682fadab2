//! Exports as their systems write them, and what is read in them.

use proptest::prelude::*;

use super::*;
use crate::policy::{Cause, Scope};

fn rows(text: &[u8], format: Format, shape: Option<Shape>) -> Result<(Shape, Vec<Item>), String> {
    let mut input = text;
    let mut rows = Rows::new(&mut input, format, shape);
    let mut all = Vec::new();
    while let Some(item) = rows.next_row().map_err(|error| error.to_string())? {
        all.push(item);
    }
    Ok((rows.shape(), all))
}

fn told(reading: Result<Reading, String>, names: &[&str]) -> String {
    match reading {
        Ok(Reading::Says(cells)) => names.iter().filter_map(|name| cells.get(name)).collect::<Vec<_>>().join(" "),
        Ok(Reading::Passes(why)) => format!("- {why}"),
        Err(why) => format!("! {why}"),
    }
}

/// Each row as `address cause scope since expires`, or why there is none.
fn stops(text: &str) -> (Shape, Vec<String>) {
    let scope: Scope = "controller:acme".parse().unwrap();
    let (shape, items) = rows(text.as_bytes(), Format::Auto, None).unwrap();
    let wanted = Wanted { scope: &scope, cause: None };
    let names = ["address", "cause", "scope", "since", "expires"];
    (shape, items.into_iter().map(|i| told(i.row.and_then(|row| shape.suppression(row, &wanted)), &names)).collect())
}

/// Each row as `address basis collected-at confirmed-at ip`, or why there is none.
fn agrees(text: &str) -> Vec<String> {
    let (shape, items) = rows(text.as_bytes(), Format::Auto, None).unwrap();
    let names = ["address", "basis", "collected-at", "confirmed-at", "ip"];
    items.into_iter().map(|i| told(i.row.and_then(|row| shape.consent(row)), &names)).collect()
}

#[test]
fn sendgrid_writes_six_lists() {
    let bounces = "status,reason,email,created\n5.1.1,\"550 5.1.1 no such user, \nsorry\",a@x.example,1795482123\n\
                   4.2.2,full,b@x.example,1795482123\n5.7.1,spam,c@x.example,1795482123\n5.0.0,x,d@x.example,1795482123\n";
    assert_eq!(
        stops(bounces),
        (
            Shape::SendgridBounces,
            vec![
                "a@x.example hard_bounce 2026-11-24T01:02:03.000Z".to_owned(),
                "- a temporary failure".to_owned(),
                "- a refusal for another reason".to_owned(),
                "d@x.example hard_bounce 2026-11-24T01:02:03.000Z".to_owned(),
            ]
        )
    );
    let one = |text: &str| stops(text).1.remove(0);
    assert_eq!(
        one("ip,email,created\n192.0.2.1,a@x.example,1795482123"),
        "a@x.example complaint 2026-11-24T01:02:03.000Z"
    );
    assert_eq!(one("email,created\na@x.example,2026-11-24"), "a@x.example unsubscribe 2026-11-24T00:00:00.000Z");
    let two = "reason,email,created\nx,a@x.example,1795482123\n";
    assert!(rows(two.as_bytes(), Format::Auto, None).unwrap_err().contains("--source sendgrid-invalid"));
    let scope = Scope::Everything;
    for (said, expected) in [
        (Shape::SendgridInvalid, "a@x.example invalid 2026-11-24T01:02:03.000Z"),
        (Shape::SendgridBlocks, "- a block is nobody's wish and no dead mailbox"),
    ] {
        let (shape, mut items) = rows(two.as_bytes(), Format::Auto, Some(said)).unwrap();
        let wanted = Wanted { scope: &scope, cause: None };
        let row = items.remove(0).row.unwrap();
        assert_eq!(told(shape.suppression(row, &wanted), &["address", "cause", "since"]), expected);
    }
}

#[test]
fn mailgun_names_lists_by_tags() {
    let (shape, said) = stops(
        "address,tags,created_at\na@x.example,*,\"Tue, 24 Nov 2026 01:02:03 UTC\"\nb@x.example,weekly,2026-11-24\n\
         c@x.example,not a list,2026-11-24\n",
    );
    assert_eq!(shape, Shape::MailgunUnsubscribes);
    assert_eq!(said[0], "a@x.example unsubscribe 2026-11-24T01:02:03.000Z");
    assert_eq!(said[1], "b@x.example unsubscribe list:acme/weekly 2026-11-24T00:00:00.000Z");
    assert!(said[2].starts_with("! tags:"), "{said:?}");
    let bounces = stops(
        "address,code,error,created_at\na@x.example,550,550 5.1.1 gone,2026-11-24\nb@x.example,421,x,2026-11-24\n\
                         c@x.example,554,554 5.7.1 policy,2026-11-24\nd@x.example,552,552-5.2.2 full,2026-11-24\n",
    );
    assert_eq!(bounces.1[0], "a@x.example hard_bounce 2026-11-24T00:00:00.000Z");
    assert!(bounces.1[1..].iter().all(|row| row.starts_with("- ")), "{bounces:?}");
    assert_eq!(
        stops("address,created_at\na@x.example,2026-11-24\n").1[0],
        "a@x.example complaint 2026-11-24T00:00:00.000Z"
    );
    assert_eq!(
        stops("value,type,reason,createdAt\nx.example,domain,,2026-11-24\n").1[0],
        "- an allow list lifts nothing"
    );
}

#[test]
fn ses_writes_no_header_or_json() {
    let expected = vec!["a@x.example hard_bounce".to_owned(), "b@x.example complaint".to_owned()];
    assert_eq!(stops("a@x.example,BOUNCE\nb@x.example,COMPLAINT\n"), (Shape::SesList, expected.clone()));
    let lines = "{\"emailAddress\":\"a@x.example\",\"reason\":\"BOUNCE\"}\n{\"emailAddress\":\"b@x.example\",\"reason\":\"COMPLAINT\"}\n";
    assert_eq!(stops(lines), (Shape::SesList, expected));
}

#[test]
fn lists_of_objects_are_read_one_by_one() {
    let dump = "\u{FEFF} {\"Suppressions\" : [\n {\"EmailAddress\":\"a@x.example\",\"SuppressionReason\":\"ManualSuppression\",\
                \"Origin\":\"Recipient\",\"CreatedAt\":\"2026-11-24T01:02:03Z\"},{\"EmailAddress\":\"b{]\\\"@x.example\",\
                \"SuppressionReason\":\"HardBounce\",\"Origin\":\"Recipient\"},{\"EmailAddress\":\"c@x.example\",\
                \"SuppressionReason\":\"ManualSuppression\",\"Origin\":\"Customer\"}], \"x\": [{\"EmailAddress\":\"no@x.example\"}]}";
    let (shape, said) = stops(dump);
    assert_eq!(shape, Shape::Postmark);
    assert_eq!(
        said,
        ["a@x.example unsubscribe 2026-11-24T01:02:03.000Z", "b{]\"@x.example hard_bounce", "c@x.example manual"]
    );
    let blocked = "[{\"email\":\"a@x.example\",\"reason\":{\"code\":\"unsubscribedViaMA\",\"message\":\"x\"},\"blockedAt\":\"2026-11-24T01:02:03Z\"}]";
    assert_eq!(stops(blocked).1, ["a@x.example unsubscribe 2026-11-24T01:02:03.000Z"]);
}

#[test]
fn sparkpost_and_mandrill_say_why() {
    let spark = "recipient,type,description\na@x.example,non_transactional,\nb@x.example,transactional,550: Hard Bounce\n\
                 c@x.example,non_transactional,Spam Complaint\nd@x.example,transactional,by hand\n";
    assert_eq!(
        stops(spark).1,
        ["a@x.example unsubscribe", "b@x.example hard_bounce", "c@x.example complaint", "d@x.example manual"]
    );
    let older = "email,transactional,non_transactional\na@x.example,false,true\nb@x.example,false,false\n";
    assert_eq!(stops(older).1, ["a@x.example unsubscribe", "- stops neither kind of mail"]);
    let mandrill = "email,reason,detail,created_at,expires_at,last_event_at,expires_at,subaccount\n\
                    a@x.example,hard-bounce,550,2026-11-24 01:02:03,2026-12-24 01:02:03,,,\n\
                    b@x.example,unsub,,2026-11-24 01:02:03,2026-12-24 01:02:03,,,\nc@x.example,soft-bounce,,2026-11-24,,,,\n\
                    d@x.example,whim,,2026-11-24,,,,\n";
    let said = stops(mandrill).1;
    assert_eq!(said[0], "a@x.example hard_bounce 2026-11-24T01:02:03.000Z 2026-12-24T01:02:03.000Z");
    assert_eq!(said[1], "b@x.example unsubscribe 2026-11-24T01:02:03.000Z");
    assert_eq!(said[2], "- a temporary failure");
    assert!(said[3].starts_with("! reason: `whim`"), "{said:?}");
}

#[test]
fn mailchimp_tells_when_and_from_where_somebody_signed_up() {
    let head = "Email Address,First Name,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LEID,EUID";
    let subscribed = format!(
        "{head}\na@x.example,Ann,2026-11-24 01:02:03,192.0.2.1,2026-11-24 01:05:00,192.0.2.2,1,x\n\
         b@x.example,Bob,,,2026-11-24 01:05:00,192.0.2.2,2,y\nc@x.example,Cleo,,,,,3,z\n"
    );
    assert_eq!(
        agrees(&subscribed),
        [
            "a@x.example double_opt_in 2026-11-24T01:02:03.000Z 2026-11-24T01:05:00.000Z 192.0.2.1",
            "b@x.example 2026-11-24T01:05:00.000Z 192.0.2.2",
            "c@x.example",
        ]
    );
    assert_eq!(stops(&subscribed).1, ["- may be written to"; 3]);
    let left = format!(
        "{head},UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON\n\
         a@x.example,Ann,,,,,1,x,2026-11-24 01:02:03,News,c7,NORMAL\nb@x.example,Bob,,,,,1,x,2026-11-24 01:02:03,News,c7,\"Marked as SPAM\"\n"
    );
    assert_eq!(
        stops(&left).1,
        ["a@x.example unsubscribe 2026-11-24T01:02:03.000Z", "b@x.example complaint 2026-11-24T01:02:03.000Z"]
    );
    assert_eq!(agrees(&left), ["- left or cannot be reached"; 2]);
    let cleaned = format!("{head},CLEAN_TIME,CLEAN_CAMPAIGN_ID\na@x.example,Ann,,,,,1,x,2026-11-24 01:02:03,c7\n");
    assert_eq!(stops(&cleaned).1, ["a@x.example hard_bounce 2026-11-24T01:02:03.000Z"]);
}

#[test]
fn contacts_of_campaign_tools_hold_both() {
    let brevo = "EMAIL;LASTNAME;EMAIL_BLACKLISTED;SMS_BLACKLISTED;ADDED_TIME;MODIFIED_TIME\n\
                 a@x.example;A;Yes;No;20-11-2026 10:00;24-11-2026 01:02\nb@x.example;B;No;No;20-11-2026 10:00;24-11-2026 01:02\n";
    assert_eq!(stops(brevo).1, ["a@x.example unsubscribe 2026-11-24T01:02:00.000Z", "- may be written to"]);
    assert_eq!(agrees(brevo), ["- left or cannot be reached", "b@x.example 2026-11-20T10:00:00.000Z"]);
    let active = "Email,First Name,Last Name,Phone,Tags,Date Created,IP,Status\na@x.example,,,,,2026-11-20 10:00:00,192.0.2.1,Active\n\
                  b@x.example,,,,,2026-11-20,,Unsubscribed\nc@x.example,,,,,2026-11-20,,Unconfirmed\nd@x.example,,,,,2026-11-20,,Bounced\n";
    assert_eq!(stops(active).1[1..], ["b@x.example unsubscribe", "- may be written to", "d@x.example hard_bounce"]);
    assert_eq!(agrees(active)[0], "a@x.example 2026-11-20T10:00:00.000Z 192.0.2.1");
    assert_eq!(agrees(active)[2], "- has not confirmed");
    let listmonk = "uuid,email,name,attributes,status,created_at,updated_at\n1,a@x.example,A,{},blocklisted,2026-11-20T10:00:00Z,2026-11-24T01:02:03Z\n\
                    2,b@x.example,B,{},enabled,2026-11-20T10:00:00Z,2026-11-24T01:02:03Z\n";
    assert_eq!(stops(listmonk).1, ["a@x.example unsubscribe 2026-11-24T01:02:03.000Z", "- may be written to"]);
    assert_eq!(agrees(listmonk)[1], "b@x.example 2026-11-20T10:00:00.000Z");
    let mautic =
        "email,doNotEmail,doNotEmail_reason\na@x.example,1,1\nb@x.example,1,2\nc@x.example,0,\nd@x.example,1,3\n";
    assert_eq!(
        stops(mautic).1,
        ["a@x.example unsubscribe", "b@x.example hard_bounce", "- may be written to", "d@x.example manual"]
    );
    assert_eq!(agrees(mautic)[0], "- this export holds nobody's consent");
    let mailup =
        "E-mail,Phone Number,idList,OptOut_Date,optout_nl,optout_type\na@x.example,,3,20261124T010203,n1,link\n";
    assert_eq!(stops(mailup).1, ["a@x.example unsubscribe list:acme/3 2026-11-24T01:02:03.000Z"]);
}

#[test]
fn quoted_cells_go_over_line_ends_and_numbers_stay_true() {
    let text = "email,note\n\"a@x.example\",\"one\ntwo, \"\"three\"\"\n\"\nb@x.example,x\n\"c@x.example,never closed\n";
    let (_, items) = rows(text.as_bytes(), Format::Auto, None).unwrap();
    let seen: Vec<_> = items.iter().map(|item| (item.number, item.row.as_ref().unwrap().address().unwrap())).collect();
    assert_eq!(seen[..2], [(2, "a@x.example"), (5, "b@x.example")]);
    assert_eq!(items[2].number, 6);
}

#[test]
fn rows_are_bounded_at_the_limit_and_past_it() {
    let objects = |length: usize| {
        let filling = length - "{\"email\":\"\"}".len();
        format!("[{{\"email\":\"{}\"}},{{\"email\":\"b@x.example\"}}]", "x".repeat(filling))
    };
    let (_, items) = rows(objects(LINE_MAX).as_bytes(), Format::Auto, None).unwrap();
    assert!(items[0].row.is_ok() && items[1].row.is_ok());
    let (_, items) = rows(objects(LINE_MAX + 1).as_bytes(), Format::Auto, None).unwrap();
    assert!(items[0].row.is_err() && items[1].row.is_ok());
    let open = format!("email\n\"{}\n", "x\n".repeat(LINE_MAX));
    let (_, items) = rows(open.as_bytes(), Format::Auto, None).unwrap();
    assert!(items[0].row.as_ref().unwrap_err().contains("longer than"));
    assert!(rows(b"[{\"email\":\"a@x.example\"", Format::Auto, None).unwrap().1[0].row.is_err(), "never closed");
}

#[test]
fn old_encodings_and_what_is_not_said_are_read() {
    let (shape, items) = rows(b"Courriel\tPr\xE9nom\na@x.example\tRen\xE9\n", Format::Auto, None).unwrap();
    assert_eq!((shape, items[0].row.as_ref().unwrap().get("prénom")), (Shape::Own, Some("René")));
    let (_, items) = rows(b"# ours\na@x.example # left\n\n@firm.example\n", Format::Auto, None).unwrap();
    let seen: Vec<_> = items.iter().map(|item| item.row.as_ref().unwrap().address().unwrap()).collect();
    assert_eq!(seen, ["a@x.example", "@firm.example"]);
    assert!(rows(b"a@x.example\n", Format::Csv, None).is_err());
}

proptest! {
    #[test]
    fn whatever_is_read_ends_and_harms_nobody(text in prop::collection::vec(any::<u8>(), 0..400), json in any::<bool>()) {
        let start: &[u8] = if json { b"[{\"email\":" } else { b"email,created\n" };
        let text = [start, &text].concat();
        if let Ok((shape, items)) = rows(&text, Format::Auto, None) {
            let scope = Scope::Everything;
            let wanted = Wanted { scope: &scope, cause: Some(Cause::Manual) };
            for row in items.into_iter().filter_map(|item| item.row.ok()) {
                let _either_way = (shape.suppression(row.clone(), &wanted), shape.consent(row));
            }
        }
    }
}
