//! A person at a browser, with the link of a message that was really delivered.

use crate::door::send;
use crate::support::browser::Browser;
use crate::support::{Client, Gateway, Spec, Upstream};

const STREAM: &str = "also_lists = [\"events\", \"offers\"]\n";
const SENDER: &str = "[[sender]]\ncontroller = \"acme\"\nname = \"Maison Acme SAS\"\nlogo_text = \"Maison Acme\"\ncolour = \"#7a1f4b\"\n\
contact = \"privacy@acme.example\"\nimprint = \"https://acme.example/mentions\"\n\
[[sender.list]]\nname = \"weekly\"\ntitle = \"La lettre du jeudi\"\nabout = \"Recettes, portraits et nouvelles de la maison\"\n\
[[sender.list]]\nname = \"offers\"\ntitle = \"Offres & ventes privées\"\n\
[[sender.list]]\nname = \"events\"\ntitle = \"Rencontres et ateliers\"\nabout = \"Ce qui se passe près de chez vous\"\n";

fn start(folder: &std::path::Path) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.stream = STREAM.to_owned();
    spec.more = SENDER.to_owned();
    (Gateway::start(folder, &spec), upstream)
}

/// The answer to a message for that list: `250`, or the reason why not.
fn answer(client: &mut Client, list: &str) -> String {
    let message =
        format!("From: News <news@acme.example>\r\nSubject: hello\r\nConsentry-List: {list}\r\n\r\nHello\r\n");
    let (rcpt, end) = client.message("b@acme.example", &["marie@exemple.fr"], message.as_bytes());
    let reply = end.unwrap_or_else(|| rcpt[0].clone());
    let words = reply.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let reason = words.into_iter().find(|word| word.starts_with("SUP_")).unwrap_or(&reply);
    if reply.starts_with("250") { "250".to_owned() } else { reason.to_owned() }
}

#[test]
fn a_person_reads_leaves_chooses_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let url = format!("http://{}{}", gateway.http, send(&gateway, &upstream, "marie@exemple.fr"));
    let mut mail = Client::connect(gateway.smtp);
    let mut browser = Browser::start();

    let page = browser.open(&url, "fr-FR");
    assert!(page.language() == "fr" && page.says("Vos e-mails de Maison Acme SAS"), "{page:?}");
    assert!(page.says("m***@exemple.fr") && page.says("La lettre du jeudi") && !page.says("marie"), "{page:?}");
    assert_eq!(page.on(), ["weekly", "offers", "events"]);
    browser.photograph("overview-fr");
    let page = browser.open(&url, "en-GB");
    assert!(page.language() == "en" && page.says("Your e-mails from Maison Acme SAS"), "{page:?}");
    assert_eq!(
        page.buttons(),
        ["Unsubscribe from “La lettre du jeudi”", "Save my choices", "Stop all marketing from Maison Acme SAS"]
    );
    browser.photograph("overview-en");
    let page = browser.open(&url, "pl-PL");
    assert_eq!(page.language(), "fr", "the ending of the domain, when the browser asks for none of the six");
    assert_eq!(browser.follow("Deutsch").language(), "de");

    browser.open(&url, "fr-FR");
    let page = browser.press("Me désabonner de");
    assert!(
        page.says("C’est fait") && page.says("ne recevra plus les e-mails de la liste « La lettre du jeudi »"),
        "{page:?}"
    );
    browser.photograph("left-list");
    assert_eq!(
        (answer(&mut mail, "weekly"), answer(&mut mail, "offers")),
        ("SUP_UNSUBSCRIBE".to_owned(), "250".to_owned())
    );

    let page = browser.press("Me réabonner à");
    assert!(page.says("peut à nouveau recevoir la liste"), "{page:?}");
    assert_eq!(answer(&mut mail, "weekly"), "250");

    let page = browser.follow("Voir tous les choix");
    assert_eq!(page.on(), ["weekly", "offers", "events"]);
    browser.turn("Offres");
    let page = browser.press("Enregistrer mes choix");
    assert!(page.says("Vos choix sont enregistrés"), "{page:?}");
    assert_eq!(
        (answer(&mut mail, "offers"), answer(&mut mail, "events")),
        ("SUP_UNSUBSCRIBE".to_owned(), "250".to_owned())
    );
    assert_eq!(browser.open(&url, "fr-FR").on(), ["weekly", "events"]);
    browser.turn("Offres");
    browser.press("Enregistrer mes choix");
    assert_eq!(answer(&mut mail, "offers"), "250");

    browser.open(&url, "fr-FR");
    let page = browser.press("Arrêter toute la prospection");
    assert!(page.says("ne recevra plus de prospection de Maison Acme SAS"), "{page:?}");
    browser.photograph("left-all");
    for list in ["weekly", "offers", "events"] {
        assert_eq!(answer(&mut mail, list), "SUP_OBJECTION");
    }
    let page = browser.open(&url, "fr-FR");
    assert_eq!(page.buttons(), ["Recevoir à nouveau la prospection de Maison Acme SAS"]);
    browser.photograph("overview-left");
    browser.press("Recevoir à nouveau");
    assert_eq!((answer(&mut mail, "weekly"), answer(&mut mail, "offers")), ("250".to_owned(), "250".to_owned()));

    // No, yes, and no again: the second no counts.
    browser.open(&url, "fr-FR");
    browser.press("Me désabonner de");
    assert_eq!(answer(&mut mail, "weekly"), "SUP_UNSUBSCRIBE");
    assert_eq!(gateway.events("ConsentAdded").len(), 3);
    let proof = gateway.run(&["consent", "history", "marie@exemple.fr"]);
    let proof = String::from_utf8_lossy(&proof.stdout).into_owned();
    assert!(proof.contains("unsubscribe-page/1/fr") && proof.contains("127.0.0.1"), "{proof}");
}

#[test]
fn everything_can_be_done_by_keyboard_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let url = format!("http://{}{}", gateway.http, send(&gateway, &upstream, "marie@exemple.fr"));
    let mut browser = Browser::start();
    browser.open(&url, "en-GB");
    assert!(browser.keys(&["Tab"]).focus().starts_with("Unsubscribe from"));
    assert_eq!(browser.keys(&["Tab", "Tab", "Space"]).on(), ["weekly", "events"]);
    assert_eq!(browser.keys(&["Tab", "Tab"]).focus(), "Save my choices");
    assert!(browser.keys(&["Tab"]).focus().starts_with("Stop all"));
    assert!(browser.submit("Enter").says("gets no more marketing from Maison Acme SAS"));
}

#[test]
fn pages_for_nobody_are_as_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, _upstream) = start(folder.path());
    let mut browser = Browser::start();
    let page = browser.open(&format!("http://{}/u/nonsense", gateway.http), "de-DE");
    assert!(page.says("Dieser Link ist hier nicht bekannt"), "{page:?}");
    browser.photograph("unknown");
}
