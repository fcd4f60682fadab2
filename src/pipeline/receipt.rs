//! The receipt of an opt-out, by mail to the address that opted out: Belgian law asks for one (royal decree of 4 April 2003,
//! article 2), and an operator may. The one message that an opted-out person is still sent.

use crate::mail::{Mailbox, Recipient};
use crate::policy::{Acknowledge, Country, Law};
use crate::spool::{Batch, Body, Manifest};
use crate::token::Subject;

use super::Pipeline;
use super::letter::{Automatic, Letter};
use super::notice;
use super::settings::{Receipts, Settings, Stream};

impl Pipeline {
    /// Queues the receipt that is owed for an opt-out, if one is. At most one for each: whoever records the opt-out asks
    /// once, and a crash in between costs the receipt and not the opt-out.
    pub async fn acknowledge(&self, subject: &Subject) {
        let settings = self.settings.load_full();
        let Some(stream) = stream_of(&settings, subject) else { return };
        let country = self.country(stream, &subject.mailbox).await;
        if !is_owed(&settings, stream, country) {
            return;
        }
        // A person whose country nobody knows is written to in the languages of the sender's.
        let spoken = country.or_else(|| establishment(stream));
        let committed = match self.receipt(&settings, stream, subject, wordings(spoken)) {
            Some(batch) => self.spool.commit(batch).await.map(drop).map_err(|error| error.to_string()),
            None => Err("its address does not fit into a header".to_owned()),
        };
        if let Err(error) = committed {
            tracing::error!(%error, message = %subject.message, "an opt-out counts, and its receipt could not be queued");
        }
    }

    /// The country that the person declared, or else the stream's.
    async fn country(&self, stream: &Stream, mailbox: &Mailbox) -> Option<Country> {
        let Law::Applied(law) = &stream.rules.law else { return None };
        let known = self.store.dossier(&[mailbox]).await.unwrap_or_default();
        let declared = known.first().and_then(|known| known.contact.as_ref()).and_then(|contact| contact.country);
        declared.or(law.default_recipient_country)
    }

    fn receipt(&self, settings: &Settings, stream: &Stream, subject: &Subject, wordings: &[Wording]) -> Option<Batch> {
        let now = self.clock.now();
        let id = self.ids.queue_id(now);
        let host = &settings.hostname;
        let subjects: Vec<_> = wordings.iter().map(|(subject, _)| *subject).collect();
        let texts: Vec<_> = wordings.iter().map(|(_, text)| *text).collect();
        let letter = Letter {
            brand: &stream.brand,
            from: &settings.unsubscribe_mailbox,
            to: &subject.mailbox,
            host,
            now,
            kind: Automatic::Replied,
        };
        let (header, body) = letter.compose(&id.to_string(), &subjects.join(" / "), &texts.join("\r\n\r\n"))?;
        let manifest =
            Manifest { smtputf8: subject.mailbox.needs_smtputf8(), ..notice::manifest(now, settings.give_up)? };
        let to = Recipient::new(subject.mailbox.clone());
        Some(Batch::notice(id, to, header, manifest, Body::Memory(body)))
    }
}

/// The stream that the link was for: one of the controller with that list, or else any of the controller. Streams are
/// looked at in the order of their names, so that the answer is always the same.
fn stream_of<'a>(settings: &'a Settings, subject: &Subject) -> Option<&'a Stream> {
    let mut of_controller: Vec<&Stream> = settings
        .streams
        .values()
        .map(AsRef::as_ref)
        .filter(|stream| stream.rules.controller == subject.controller)
        .collect();
    of_controller.sort_by(|a, b| a.rules.name.cmp(&b.rules.name));
    let has_list = |stream: &&&Stream| stream.choose_list(subject.list.as_ref()).is_ok();
    of_controller.iter().find(has_list).or_else(|| of_controller.first()).copied()
}

fn establishment(stream: &Stream) -> Option<Country> {
    match &stream.rules.law {
        Law::NotApplied => None,
        Law::Applied(law) => Some(law.establishment),
    }
}

/// The law of the person's country or of the sender's asks for it, or the operator.
fn is_owed(settings: &Settings, stream: &Stream, country: Option<Country>) -> bool {
    let asks = |country| settings.rulebook.after_opt_out(country).acknowledge == Acknowledge::Once;
    match stream.receipts {
        Receipts::Always => true,
        Receipts::Never => false,
        Receipts::AsLawAsks => establishment(stream).is_some_and(|own| asks(Some(own)) || asks(country)),
    }
}

/// What a receipt says in one language: subject, text.
type Wording = (&'static str, &'static str);

const FRENCH: Wording = (
    "Votre désinscription est enregistrée",
    "Votre demande a été enregistrée : vous ne recevrez plus ces messages publicitaires à cette adresse.\r\n\
     Ce message est la seule confirmation. Vous n'avez rien d'autre à faire.",
);
const DUTCH: Wording = (
    "Uw uitschrijving is geregistreerd",
    "Uw verzoek is geregistreerd: u ontvangt deze reclameberichten niet meer op dit adres.\r\n\
     Dit bericht is de enige bevestiging. U hoeft verder niets te doen.",
);
const GERMAN: Wording = (
    "Ihre Abmeldung ist eingetragen",
    "Ihr Wunsch ist eingetragen: Sie erhalten diese Werbung unter dieser Adresse nicht mehr.\r\n\
     Diese Nachricht ist die einzige Bestätigung. Sie brauchen nichts weiter zu tun.",
);
const SPANISH: Wording = (
    "Su baja ha quedado registrada",
    "Su solicitud ha quedado registrada: ya no recibirá estos mensajes publicitarios en esta dirección.\r\n\
     Este mensaje es la única confirmación. No tiene que hacer nada más.",
);
const ITALIAN: Wording = (
    "La sua disiscrizione è registrata",
    "La sua richiesta è registrata: non riceverà più questi messaggi pubblicitari a questo indirizzo.\r\n\
     Questo messaggio è l'unica conferma. Non deve fare altro.",
);
const ENGLISH: Wording = (
    "Your unsubscription is recorded",
    "Your request is recorded: you will no longer receive these marketing messages at this address.\r\n\
     This message is the only confirmation. There is nothing else for you to do.",
);

/// The languages of a country: all official ones, since nobody told us which one the person reads.
fn wordings(country: Option<Country>) -> &'static [Wording] {
    match country.as_ref().map(Country::as_str) {
        Some("BE") => &[FRENCH, DUTCH, GERMAN],
        Some("CH") => &[GERMAN, FRENCH, ITALIAN],
        Some("LU") => &[FRENCH, GERMAN],
        Some("CA") => &[ENGLISH, FRENCH],
        Some("FR" | "MC") => &[FRENCH],
        Some("NL") => &[DUTCH],
        Some("DE" | "AT" | "LI") => &[GERMAN],
        Some("ES") => &[SPANISH],
        Some("IT") => &[ITALIAN],
        Some(_) | None => &[ENGLISH],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_country_is_written_to_in_english() {
        assert_eq!(wordings(None), [ENGLISH]);
        assert_eq!(wordings(Country::parse("SE").ok()), [ENGLISH]);
        assert_eq!(wordings(Country::parse("BE").ok()), [FRENCH, DUTCH, GERMAN]);
    }
}
