//! Round trips, and payloads that are none.

use proptest::prelude::*;

use super::encode::put_text;
use super::*;
use crate::mail::{
    BodyType, CampaignId, ControllerId, EnvelopeId, Label, ListName, Mailbox, Notify, OriginalRecipient, Reporting,
    Ret, ReversePath, StreamName,
};
use crate::time::Timestamp;

fn names() -> impl Strategy<Value = String> {
    "[a-z0-9._-]{1,64}"
}

fn mailboxes() -> impl Strategy<Value = Mailbox> {
    prop_oneof!["[a-z0-9]{1,20}@[a-z]{1,20}\\.example", "\"[a-z ]{1,20}\"@x\\.example", "é@bücher\\.example"]
        .prop_map(|text| Mailbox::parse(&text).unwrap())
}

fn recipients() -> impl Strategy<Value = Recipient> {
    let notify = prop_oneof![
        Just(Notify::Unsaid),
        "NEVER|SUCCESS|FAILURE|DELAY|SUCCESS,DELAY|SUCCESS,FAILURE,DELAY"
            .prop_map(|text| Notify::parse(&text).unwrap()),
    ];
    let original = "rfc822;[a-z]{1,9}\\+2B@x|utf-8;\u{e9}@x".prop_map(|text| OriginalRecipient::parse(&text).unwrap());
    (mailboxes(), notify, prop::option::of(original)).prop_map(|(mailbox, notify, original)| Recipient {
        mailbox,
        notify,
        original,
    })
}

fn reporting() -> impl Strategy<Value = Reporting> {
    let ret = prop::option::of(prop_oneof![Just(Ret::Full), Just(Ret::Headers)]);
    let id = prop::option::of("[ -~]{1,33}".prop_map(|text| EnvelopeId::new(&text).unwrap()));
    (ret, id).prop_map(|(ret, envelope_id)| Reporting { ret, envelope_id })
}

fn octets(max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn settlements() -> impl Strategy<Value = SettleRecord> {
    let outcome = prop_oneof![
        Just(Settlement::Delivered),
        (i64::MIN + 1..i64::MAX).prop_map(|at| Settlement::Deferred { until: Timestamp::from_millis(at) }),
        Just(Settlement::Bounced),
        Just(Settlement::Expired),
        Just(Settlement::Withdrawn),
        Just(Settlement::Held),
        Just(Settlement::Released),
    ];
    let outcomes = prop::collection::vec((any::<u16>(), outcome), 0..5);
    (any::<u64>(), outcomes).prop_map(|(id, outcomes)| SettleRecord { id, outcomes })
}

fn copies() -> impl Strategy<Value = CopyRecord> {
    let people = prop::collection::vec((recipients(), any::<bool>()), 1..100);
    (any::<u64>(), any::<i64>(), any::<u32>(), people, octets(50)).prop_map(|(id, due, attempts, people, header)| {
        let mut pending = RecipientSet::default();
        let open = (0..).zip(&people).filter(|(_, (_, open))| *open).map(|(index, _)| index);
        open.for_each(|index| pending.insert(index));
        let recipients = people.into_iter().map(|(recipient, _)| recipient).collect();
        CopyRecord { id, due, attempts, recipients, pending, header }
    })
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let path = prop_oneof![Just(ReversePath::Null), mailboxes().prop_map(ReversePath::Mailbox)];
    let label = (names(), names(), prop::option::of(names()), prop::option::of(names()));
    (path, label, any::<bool>(), any::<bool>(), reporting(), any::<i64>(), any::<i64>()).prop_map(
        |(reverse_path, (stream, controller, list, campaign), eight, smtputf8, reporting, received, expires)| {
            Manifest {
                reverse_path,
                label: Label {
                    stream: StreamName::new(&stream).unwrap(),
                    controller: ControllerId::new(&controller).unwrap(),
                    list: list.map(|name| ListName::new(&name).unwrap()),
                    campaign: campaign.map(|name| CampaignId::new(&name).unwrap()),
                },
                body_type: if eight { BodyType::EightBitMime } else { BodyType::SevenBit },
                smtputf8,
                reporting,
                received: Timestamp::from_millis(received),
                expires: Timestamp::from_millis(expires),
            }
        },
    )
}

fn batches() -> impl Strategy<Value = BatchRecord> {
    let file = (any::<u64>(), any::<u64>(), any::<u32>());
    let body = prop_oneof![
        octets(200).prop_map(StoredBody::Inline),
        file.prop_map(|(name, length, crc)| StoredBody::File(FileRecord { name, length, crc })),
    ];
    (any::<bool>(), manifests(), body, prop::collection::vec(copies(), 0..4))
        .prop_map(|(moved, manifest, body, copies)| BatchRecord { moved, manifest, body, copies })
}

fn transactions() -> impl Strategy<Value = Transaction> {
    let notes = prop::collection::vec(octets(40), 0..4);
    (prop::option::of(settlements()), notes, prop::option::of(batches()))
        .prop_map(|(settlement, notes, batch)| Transaction { settlement, notes, batch })
}

fn encode(transaction: &Transaction) -> Bytes {
    let view = transaction.batch.as_ref().map(|batch| BatchView {
        moved: batch.moved,
        manifest: &batch.manifest,
        body: &batch.body,
        copies: batch
            .copies
            .iter()
            .map(|copy| CopyView {
                id: copy.id,
                due: copy.due,
                attempts: copy.attempts,
                recipients: &copy.recipients,
                pending: &copy.pending,
                header: &copy.header,
            })
            .collect(),
    });
    let mut out = Vec::new();
    encode_lead(&mut out, transaction.settlement.as_ref(), &transaction.notes, view.as_ref()).unwrap();
    if let Some(batch) = &transaction.batch {
        batch.copies.iter().for_each(|copy| out.extend_from_slice(&copy.header));
        if let StoredBody::Inline(body) = &batch.body {
            out.extend_from_slice(body);
        }
    }
    Bytes::from(out)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(transaction in transactions()) {
        let payload = encode(&transaction);
        prop_assert_eq!(decode(&payload), Some(transaction));
    }

    #[test]
    fn a_cut_payload_is_noticed(transaction in transactions(), cut in any::<prop::sample::Index>()) {
        let payload = encode(&transaction);
        let cut = cut.index(payload.len());
        prop_assert_eq!(decode(&payload.slice(..cut)), None);
    }

    #[test]
    fn no_octets_make_it_panic(octets in octets(300)) {
        let _read = decode(&octets);
    }

    #[test]
    fn a_changed_octet_makes_no_panic(
        transaction in transactions(), at in any::<prop::sample::Index>(), to in any::<u8>()
    ) {
        let mut payload = encode(&transaction).to_vec();
        let at = at.index(payload.len());
        payload[at] = to;
        let _read = decode(&Bytes::from(payload));
    }
}

#[test]
fn an_address_that_could_carry_a_command_is_not_read_back() {
    let mut transaction = Transaction { settlement: None, notes: Vec::new(), batch: None };
    transaction.notes.push(Bytes::from_static(b"x"));
    assert!(decode(&encode(&transaction)).is_some());
    for text in ["a@b.example>\r\nRCPT TO:<c@d.example", "a b@c.example", ""] {
        let mut out = vec![0; 4];
        out.push(0);
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.push(BATCH_FRESH_1);
        put_text(&mut out, text).unwrap();
        for name in ["s", "c", "", ""] {
            put_text(&mut out, name).unwrap();
        }
        out.extend_from_slice(&[0; 2 + 16 + 1 + 4 + 2]);
        let length = u32::try_from(out.len() - 4).unwrap();
        out[..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(decode(&Bytes::from(out)).is_some(), text.is_empty(), "{text:?}");
    }
}
