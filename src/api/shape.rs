//! Consents and declarations as JSON: the same object on the command line, in exports and here.

use serde_json::{Map, Value, json};

use crate::policy::{ConsentFact, Contact};
use crate::store::{ConsentText, ContactText, Declaration, Event, Told};

/// The fields of a record that cannot be anything but an object.
pub(crate) fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    match value {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// A consent.
pub(crate) fn consent_value(fact: &ConsentFact) -> Map<String, Value> {
    let mut fields = object(serde_json::to_value(ConsentText::of(fact)));
    fields.insert("controller".to_owned(), fact.controller.as_str().into());
    fields.insert("purpose".to_owned(), fact.purpose.to_string().into());
    fields
}

/// What is declared about somebody.
pub(crate) fn contact_value(contact: &Contact) -> Value {
    Value::Object(object(serde_json::to_value(ContactText::of(&declaration(contact)))))
}

/// One event of a history.
pub(crate) fn event_value(event: &Event) -> Value {
    let told = match &event.told {
        Told::Consent(fact) => ("consent", Value::Object(consent_value(fact))),
        Told::Contact(told) => ("contact", Value::Object(object(serde_json::to_value(ContactText::of(told))))),
        Told::Retraction(of) => ("retracts", of.as_str().into()),
    };
    let mut fields = json!({
        "cursor": event.cursor.to_string(),
        "recorded_at": event.at.rfc3339(),
        "recorded_by": event.by,
        told.0: told.1,
    });
    if let (Some(address), Value::Object(fields)) = (&event.address, &mut fields) {
        fields.insert("address".to_owned(), address.as_str().into());
    }
    fields
}

/// What a contact says, as the declaration that would say it.
pub(crate) fn declaration(contact: &Contact) -> Declaration {
    Declaration {
        class: contact.class,
        country: contact.country,
        functions: (!contact.functions.is_empty()).then(|| contact.functions.clone()),
        contract: Some(contact.contract),
    }
}
