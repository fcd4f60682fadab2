//! Phrases that a duty is recognised by, in the languages of the packs. They are folded like the words they are looked
//! for in, and are matched from the start of a word: `abmeld` finds `Abmeldung`. One that ends in a blank is a whole
//! word. By first letter, so that most words cost one look.
//!
//! A phrase that is missing makes a duty look unfulfilled, which is the safe side; the operator's own link or text,
//! said in the configuration, is found without any phrase.

/// Asking to receive no more.
pub(super) const fn leaving(first: u8) -> &'static [&'static str] {
    match first {
        ..=b'l' => leaving_to_l(first),
        _ => leaving_from_m(first),
    }
}

const fn leaving_to_l(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &[
            "abbestell",
            "abmeld",
            "abzumelden",
            "afmeld",
            "annulla iscrizione",
            "annulla l iscrizione",
            "annullare l iscrizione",
            "anular la suscripci",
            "anular subscri",
            "anuluj subskrypcj",
            "austragen",
            "avmeld",
            "avregistrera",
            "avprenumer",
            "avsluta prenumer",
            "auszutragen",
        ],
        b'c' => &[
            "cancel your subscription",
            "cancelar a subscri",
            "cancelar a inscri",
            "cancelar inscri",
            "cancelar la suscripci",
            "cancelar mi suscripci",
            "cancelar su suscripci",
            "cancelar subscri",
            "cancelar suscripci",
            "cancelar tu suscripci",
            "cancella iscrizione",
            "cancella l iscrizione",
            "cancellare l iscrizione",
            "cancellarsi",
            "cancellati ",
            "cancellarti",
        ],
        b'd' => &[
            "de baixa",
            "de baja ",
            "dejar de recibir",
            "deixar de receber",
            "desabonn",
            "desanotar",
            "descadastr",
            "desinscri",
            "desubscri",
            "desuscri",
            "disdire",
            "disiscri",
            "désabonn",
            "désinscri",
        ],
        b'f' => &["frameld"],
        b'g' => &["geen e mails meer", "geen mails meer", "geen nieuwsbrie", "geen verdere e mails"],
        b'k' => &[
            "keine e mails mehr",
            "keine newsletter mehr",
            "keine weiteren e mails",
            "keine weiteren mails",
            "keine weiteren newsletter",
            "keine weiteren nachrichten",
            "kein newsletter mehr",
        ],
        b'l' => &["leave this list", "leave the list"],
        _ => &[],
    }
}

const fn leaving_from_m(first: u8) -> &'static [&'static str] {
    match first {
        b'm' => &["meld je af", "meld u af"],
        b'n' => &[
            "ne pas recevoir",
            "ne plus recevoir",
            "ne souhaitez plus",
            "newsletter abbestell",
            "newsletterabmeld",
            "nicht mehr erhalten",
            "nicht länger erhalten",
            "niet langer ontvangen",
            "niet meer ontvangen",
            "no desea recibir",
            "no desea seguir",
            "no longer receive",
            "no longer wish",
            "no longer want",
            "no quiere recibir",
            "no quieres recibir",
            "non desideri più",
            "non ricevere più",
            "non vuoi più",
        ],
        b'o' => &["opt out", "optout"],
        b'p' => &["peru tilau", "peruuta tilau"],
        b'r' => &["remove me", "remove yourself", "rezygnacj", "remover inscri"],
        b's' => &["schrijf je uit", "schrijf u uit", "stop receiving", "säga upp prenumer"],
        b'u' => &["uitschrijv", "uit te schrijven", "unsubscri"],
        b'v' => &["vous opposer"],
        b'w' => &["widerspr", "wypis", "withdraw your consent"],
        b'z' => &["zrezygn"],
        _ => &[],
    }
}

/// Calling itself advertising.
pub(super) const fn advertising(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["advertentie", "advertisement", "advertising", "anzeige "],
        b'c' => &[
            "commercial communication",
            "commercial email",
            "commercial e mail",
            "commercial message",
            "commerciële boodschap",
            "communication commerciale",
            "comunicación comercial",
            "comunicação comercial",
            "comunicazione commerciale",
            "comunicazione promozionale",
        ],
        b'e' => &["email promotionnel", "e mail promotionnel"],
        b'k' => &["kommerzielle"],
        b'm' => &["marketing email", "marketing e mail", "mensaje publicitario", "message commercial"],
        b'o' => &["offre commerciale"],
        b'p' => {
            &["promotional email", "promotional e mail", "promotional message", "pubblicit", "publicidad", "publicit"]
        }
        b'r' => &["reclame ", "reklam"],
        b's' => &["solicitation"],
        b'w' => &["werbe", "werbung"],
        _ => &[],
    }
}

/// Telling where the data comes from (GDPR article 14(2)(f)).
pub(super) const fn source(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["abbiamo ottenuto"],
        b'd' => &["de bron van"],
        b'f' => &["fonte dei dati", "fonte dei suoi dati", "fuente de los datos", "fuente de sus datos"],
        b'h' => &["hemos obtenido", "herkunft der daten", "herkunft ihrer daten"],
        b'i' => &["ihre adresse stammt", "ihre daten stammen", "ihre e mail adresse stammt"],
        b'n' => &["nous avons obtenu", "nous avons collecté", "nous tenons vos"],
        b'o' => {
            &["origen de los datos", "origen de sus datos", "origine dei dati", "origine de vos", "origine des données"]
        }
        b's' => &["source of the data", "source of your", "source de vos", "source des données"],
        b't' => &["tenemos su"],
        b'v' => &[
            "vos coordonnées nous ont",
            "vos coordonnées proviennent",
            "vos données proviennent",
            "votre adresse provient",
        ],
        b'w' => &[
            "we collected your",
            "we got your",
            "we have obtained",
            "we obtained your",
            "we received your",
            "wij hebben uw",
            "wir haben ihre",
        ],
        b'y' => {
            &["your address comes from", "your address was obtained", "your data comes from", "your data come from"]
        }
        _ => &[],
    }
}

/// Telling of the right to object (GDPR article 21(4)).
pub(super) const fn objection(first: u8) -> &'static [&'static str] {
    match first {
        b'b' => &["bezwaar"],
        b'd' => &["derecho de oposición", "diritto di opposizione", "diritto di opporsi", "droit d opposition"],
        b'o' => &["opporre", "opporsi", "opporti", "oponerse", "object to"],
        b'r' => &["recht van bezwaar", "right to object"],
        b'v' => &["vous opposer", "vous y opposer"],
        b'w' => &["widerspr", "widersprech"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown::folded;
    use super::*;

    #[test]
    fn every_phrase_is_folded_and_stands_under_its_first_letter() {
        for first in 0..=u8::MAX {
            for phrase in [leaving(first), advertising(first), source(first), objection(first)].concat() {
                assert_eq!(phrase.as_bytes().first(), Some(&first), "{phrase}");
                assert_eq!(folded(phrase).unwrap().trim(), phrase.trim_end(), "{phrase}");
            }
        }
    }
}
