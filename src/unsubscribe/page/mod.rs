//! The pages: plain markup without script or foreign resources, readable on any screen and by any reader.

mod html;
mod style;

use html::Html;

use super::sender::{Colour, Contact, Offer, Sender};

use super::wish::{Choice, DO, NOW, Reach, SHOWN, WAS, Wish};
use crate::locale::{Language, Names, say};
use crate::mail::Mailbox;
use crate::store::Way;

/// A page, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The document.
    pub(super) html: String,
    /// What it is written in.
    pub(super) language: Language,
    /// Its Content-Security-Policy.
    pub(super) policy: String,
}

/// Whom a page is about and how it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// What it is written in.
    pub(super) language: Language,
    /// Who writes.
    pub(super) sender: &'a Sender,
    /// To whom.
    pub(super) mailbox: &'a Mailbox,
    /// On which list, if on one.
    pub(super) list: Option<&'a Offer>,
}

/// How things stand, as the page shows it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// All marketing of the sender.
    pub(super) sender: Way,
    /// The list of the link.
    pub(super) list: Way,
    /// Every list of the sender.
    pub(super) lists: Vec<(Offer, Way)>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Something ended.
    Left(Reach),
    /// Something is allowed again.
    Back(Reach),
    /// Switches were set.
    Chosen,
}

/// How a confirmation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// It is asked.
    Asked,
    /// It was answered with yes.
    Confirmed,
    /// The link is too old.
    Expired,
    /// The person has said no since.
    Left,
}

/// What a page without a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// One answer for every token that is not ours, whatever is wrong with it.
    Unknown,
    /// The wish could not be recorded.
    Later,
    /// Too many requests.
    Often,
    /// The body asks for nothing that is known.
    Unclear,
}

impl Notice {
    const fn ids(self) -> (&'static str, &'static str) {
        match self {
            Self::Unknown => ("unknown-heading", "unknown-text"),
            Self::Later => ("later-heading", "later-text"),
            Self::Often => ("often-heading", "often-text"),
            Self::Unclear => ("unclear-heading", "unclear-text"),
        }
    }
}

/// Says one thing; names nobody.
pub(super) fn notice(notice: Notice, language: Language) -> Page {
    let (heading, text) = notice.ids();
    let names = Names::default();
    let title = say(language, heading, &names);
    layout(language, None, &title, |html| {
        html.raw("<section class=\"card\"><h1>").text(&title).raw("</h1><p>");
        html.text(&say(language, text, &names)).raw("</p></section>");
    })
}

impl Scene<'_> {
    /// Who writes, what can be ended, allowed and chosen. Shown on GET, so it only asks.
    pub(super) fn overview(&self, standing: &Standing) -> Page {
        let title = self.say("heading");
        self.layout(&title, |html| {
            html.raw("<h1>").text(&title).raw("</h1><p class=\"lead\">");
            html.text(&self.say("who")).raw("</p>");
            match standing.sender {
                Way::Open => {
                    self.list_card(html, standing.list);
                    self.choose_card(html, &standing.lists);
                    self.leave_card(html);
                }
                Way::Left => self.sender_left_card(html),
                Way::Shut => {
                    self.text_card(html, "shut");
                    self.leave_card(html);
                }
            }
        })
    }

    /// What was done, with the way back.
    pub(super) fn done(&self, done: Done) -> Page {
        let title = self.say("done-heading");
        let said = match done {
            Done::Left(Reach::List) => "done-list",
            Done::Left(Reach::Sender) => "done-all",
            Done::Back(Reach::List) => "done-list-back",
            Done::Back(Reach::Sender) => "done-all-back",
            Done::Chosen => "done-choices",
        };
        self.layout(&title, |html| {
            html.raw("<section class=\"card done\"><h1><span class=\"tick\" aria-hidden=\"true\">✓</span>");
            html.text(&title).raw("</h1><p>").text(&self.say(said)).raw("</p></section>");
            if let Done::Left(reach) = done {
                html.raw("<section class=\"card\"><h2>").text(&self.say("mistake")).raw("</h2>");
                self.way_back(html, reach);
                html.raw("</section>");
            }
            html.raw("<p><a href=\"?lang=").text(self.language.tag()).raw("\">");
            html.text(&self.say("more")).raw("</a></p>");
        })
    }

    /// A wish that this page cannot fulfil.
    pub(super) fn shut(&self) -> Page {
        let title = self.say("shut-heading");
        self.layout(&title, |html| {
            html.raw("<section class=\"card\"><h1>").text(&title).raw("</h1><p>");
            html.text(&self.say("shut")).raw("</p></section>");
        })
    }

    /// Asks whether the person signed up, or says what became of it.
    pub(super) fn confirmation(&self, question: Question) -> Page {
        let (whole, part) = match question {
            Question::Asked => ("all-notice", "list-notice"),
            Question::Confirmed => ("confirm-done-all", "confirm-done-list"),
            Question::Expired => ("confirm-expired", "confirm-expired"),
            Question::Left => ("confirm-left", "confirm-left"),
        };
        let heading = match question {
            Question::Asked => "confirm-heading",
            Question::Confirmed => "done-heading",
            Question::Expired => "confirm-expired-heading",
            Question::Left => "confirm-left-heading",
        };
        let (title, said) = (self.say(heading), self.say(if self.list.is_some() { part } else { whole }));
        self.layout(&title, |html| {
            html.raw("<section class=\"card\"><h1>").text(&title).raw("</h1><p>").text(&said).raw("</p>");
            if question == Question::Asked {
                self.button(html, &Wish::Confirm, Weight::Main, "confirm-button");
            }
            html.raw("</section>");
        })
    }

    fn list_card(&self, html: &mut Html, way: Way) {
        if self.list.is_none() {
            return;
        }
        html.raw("<section class=\"card\"><h2>").text(&self.say("list-heading")).raw("</h2><p>");
        match way {
            Way::Open => {
                html.text(&self.say("list-open")).raw("</p>");
                self.button(html, &Wish::Leave(Reach::List), Weight::Main, "list-leave");
            }
            Way::Left => {
                html.text(&self.say("list-left")).raw("</p>");
                self.way_back(html, Reach::List);
            }
            Way::Shut => {
                html.text(&self.say("shut")).raw("</p>");
            }
        }
        html.raw("</section>");
    }

    /// Switches for several lists; with one alone the buttons say it all.
    fn choose_card(&self, html: &mut Html, lists: &[(Offer, Way)]) {
        let open: Vec<_> = lists.iter().filter(|(_, way)| *way != Way::Shut).collect();
        if open.len() < 2 {
            return;
        }
        html.raw("<section class=\"card\"><form method=\"post\"><fieldset><legend>");
        html.text(&self.say("choose-heading")).raw("</legend><p class=\"note\">");
        html.text(&self.say("choose-hint")).raw("</p>");
        for (offer, way) in open {
            switch(html, offer, *way);
        }
        html.raw("</fieldset>");
        self.submit(html, &Wish::Choose(Choice::default()), Weight::Quiet, "choose-save");
        html.raw("</form></section>");
    }

    fn leave_card(&self, html: &mut Html) {
        html.raw("<section class=\"card\"><h2>").text(&self.say("all-heading")).raw("</h2><p>");
        html.text(&self.say("all-open")).raw("</p>");
        let weight = if self.list.is_some() { Weight::Quiet } else { Weight::Main };
        self.button(html, &Wish::Leave(Reach::Sender), weight, "all-leave");
        html.raw("</section>");
    }

    fn sender_left_card(&self, html: &mut Html) {
        html.raw("<section class=\"card\"><h2>").text(&self.say("all-heading")).raw("</h2><p>");
        html.text(&self.say("all-left")).raw("</p>");
        self.way_back(html, Reach::Sender);
        html.raw("</section>");
    }

    fn text_card(&self, html: &mut Html, id: &str) {
        html.raw("<section class=\"card\"><p>").text(&self.say(id)).raw("</p></section>");
    }

    /// The button that allows something again, under the words that pressing it means.
    fn way_back(&self, html: &mut Html, reach: Reach) {
        let (notice, label) = match reach {
            Reach::List => ("list-notice", "list-back"),
            Reach::Sender => ("all-notice", "all-back"),
        };
        html.raw("<p class=\"note\">").text(&self.say(notice)).raw("</p>");
        self.button(html, &Wish::ComeBack(reach), Weight::Quiet, label);
    }

    fn button(&self, html: &mut Html, wish: &Wish, weight: Weight, label: &str) {
        html.raw("<form method=\"post\">");
        self.submit(html, wish, weight, label);
        html.raw("</form>");
    }

    fn submit(&self, html: &mut Html, wish: &Wish, weight: Weight, label: &str) {
        html.raw("<button name=\"").raw(DO).raw("\" value=\"").raw(wish.word()).raw("\" class=\"");
        html.raw(weight.class()).raw("\">").text(&self.say(label)).raw("</button>");
    }

    fn say(&self, id: &str) -> String {
        let address = masked(self.mailbox);
        let titles: Vec<_> = self.sender.lists.iter().map(|offer| offer.title.as_str()).collect();
        let lists = if titles.is_empty() { self.sender.name.as_str().to_owned() } else { titles.join(", ") };
        let list = self.list.map_or("", |offer| offer.title.as_str());
        let sender = self.sender.name.as_str();
        say(self.language, id, &Names { sender, address: &address, list, lists: &lists, days: "" })
    }

    fn layout(&self, title: &str, body: impl FnOnce(&mut Html)) -> Page {
        layout(self.language, Some(self.sender), title, body)
    }
}

/// How much a button asks to be pressed.
#[derive(Clone, Copy, Debug)]
enum Weight {
    Main,
    Quiet,
}

impl Weight {
    const fn class(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Quiet => "quiet",
        }
    }
}

fn switch(html: &mut Html, offer: &Offer, way: Way) {
    let name = offer.name.as_str();
    html.raw("<input type=\"hidden\" name=\"").raw(SHOWN).raw("\" value=\"").text(name).raw("\">");
    if way == Way::Open {
        html.raw("<input type=\"hidden\" name=\"").raw(WAS).raw("\" value=\"").text(name).raw("\">");
    }
    html.raw("<label class=\"switch\"><span><b>").text(offer.title.as_str()).raw("</b>");
    if let Some(about) = &offer.about {
        html.raw("<small>").text(about.as_str()).raw("</small>");
    }
    html.raw("</span><input type=\"checkbox\" role=\"switch\" name=\"").raw(NOW).raw("\" value=\"").text(name);
    html.raw(if way == Way::Open { "\" checked></label>" } else { "\"></label>" });
}

fn layout(language: Language, sender: Option<&Sender>, title: &str, body: impl FnOnce(&mut Html)) -> Page {
    let sheet = style::sheet(sender.map_or(Colour::DEFAULT, |sender| sender.colour));
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"").raw(language.tag()).raw("\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"data:,\"><title>");
    html.text(title).raw("</title><style>").style(&sheet).raw("</style></head><body>");
    if let Some(sender) = sender {
        html.raw("<header class=\"band\"><p>").text(sender.logo_text.as_str()).raw("</p></header>");
    }
    html.raw("<main>");
    body(&mut html);
    html.raw("</main>");
    foot(&mut html, language, sender);
    html.raw("</body></html>\n");
    Page { html: html.finish(), language, policy: style::policy(&sheet) }
}

fn foot(html: &mut Html, language: Language, sender: Option<&Sender>) {
    html.raw("<footer>");
    if let Some(sender) = sender {
        html.raw("<p>").text(sender.name.as_str());
        match &sender.contact {
            Some(Contact::Mailbox(mailbox)) => link(html, "mailto:", mailbox.as_str(), language, "contact"),
            Some(Contact::Page(address)) => link(html, "", address.as_str(), language, "contact"),
            None => {}
        }
        if let Some(imprint) = &sender.imprint {
            link(html, "", imprint.as_str(), language, "imprint");
        }
        html.raw("</p>");
    }
    html.raw("<nav aria-label=\"").text(&say(language, "languages", &Names::default())).raw("\"><ul>");
    for other in Language::ALL {
        html.raw("<li><a href=\"?lang=").raw(other.tag()).raw("\" lang=\"").raw(other.tag()).raw("\" hreflang=\"");
        html.raw(other.tag()).raw(if other == language { "\" aria-current=\"true\">" } else { "\">" });
        html.raw(other.name()).raw("</a></li>");
    }
    html.raw("</ul></nav></footer>");
}

fn link(html: &mut Html, scheme: &'static str, to: &str, language: Language, id: &str) {
    html.raw(" · <a rel=\"noreferrer\" href=\"").raw(scheme).text(to).raw("\">");
    html.text(&say(language, id, &Names::default())).raw("</a>");
}

/// The first letter and the domain: whoever got the message forwarded does not learn the address.
fn masked(mailbox: &Mailbox) -> String {
    let first = mailbox.unquoted_local_part().chars().next().unwrap_or('*');
    format!("{first}***@{}", mailbox.domain())
}

#[cfg(test)]
mod tests {
    use super::super::sender::Shown;
    use super::*;
    use crate::mail::ListName;

    fn sender() -> Sender {
        let offer = |name: &str, title: &str| Offer {
            name: ListName::new(name).unwrap(),
            title: Shown::new(title).unwrap(),
            about: Some(Shown::new("<i>what</i>").unwrap()),
        };
        Sender {
            lists: vec![offer("weekly", "<b>Weekly</b>"), offer("offers", "\"Offers\"")],
            ..Sender::named(Shown::new("Acme & <Sons>").unwrap())
        }
    }

    fn pages(language: Language) -> Vec<Page> {
        let (sender, mailbox) = (sender(), Mailbox::parse("\"<b>ob\"@example.org").unwrap());
        let scene = Scene { language, sender: &sender, mailbox: &mailbox, list: sender.lists.first() };
        let bare = Scene { list: None, ..scene };
        let mut pages = vec![scene.shut()];
        for notice in [Notice::Unknown, Notice::Later, Notice::Often, Notice::Unclear] {
            pages.push(super::notice(notice, language));
        }
        for done in [
            Done::Left(Reach::List),
            Done::Left(Reach::Sender),
            Done::Back(Reach::List),
            Done::Back(Reach::Sender),
            Done::Chosen,
        ] {
            pages.push(scene.done(done));
        }
        for question in [Question::Asked, Question::Confirmed, Question::Expired, Question::Left] {
            pages.extend([scene.confirmation(question), bare.confirmation(question)]);
        }
        for way in [Way::Open, Way::Left, Way::Shut] {
            for list in [Way::Open, Way::Left, Way::Shut] {
                let lists = sender.lists.iter().cloned().zip([list, Way::Open]).collect();
                let standing = Standing { sender: way, list, lists };
                pages.extend([scene.overview(&standing), bare.overview(&standing)]);
            }
        }
        pages
    }

    #[test]
    fn no_page_shows_an_address_or_anybodys_markup_or_a_missing_sentence() {
        for page in Language::ALL.into_iter().flat_map(pages) {
            let Page { html, language, policy } = page;
            assert!(
                html.starts_with("<!doctype html>") && html.contains(&format!("<html lang=\"{}\"", language.tag()))
            );
            assert!(!html.contains("<b>ob") && !html.contains("<b>Weekly") && !html.contains("<Sons>"), "{html}");
            assert!(!html.contains("<i>what") && !html.contains("{ $"), "{html}");
            assert!(!html.contains("<script") && !html.contains("style=\"") && !html.contains("src="), "{html}");
            assert!(policy.contains("default-src 'none'") && policy.contains("'sha256-"), "{policy}");
        }
    }

    #[test]
    fn each_standing_offers_what_fits_it() {
        let (sender, mailbox) = (sender(), Mailbox::parse("ann@example.org").unwrap());
        let scene =
            Scene { language: Language::English, sender: &sender, mailbox: &mailbox, list: sender.lists.first() };
        let words = |sender_way: Way, list: Way| {
            let lists = sender.lists.iter().cloned().zip([list, Way::Open]).collect();
            let html = scene.overview(&Standing { sender: sender_way, list, lists }).html;
            assert!(html.contains("a***@example.org") && !html.contains("ann@"), "{html}");
            ["leave-list", "leave-sender", "return-list", "return-sender", "choose"]
                .into_iter()
                .filter(|word| html.contains(&format!("value=\"{word}\"")))
                .collect::<Vec<_>>()
        };
        assert_eq!(words(Way::Open, Way::Open), ["leave-list", "leave-sender", "choose"]);
        assert_eq!(words(Way::Open, Way::Left), ["leave-sender", "return-list", "choose"]);
        assert_eq!(words(Way::Left, Way::Left), ["return-sender"]);
        assert_eq!(words(Way::Shut, Way::Shut), ["leave-sender"]);
        assert_eq!(words(Way::Open, Way::Shut), ["leave-sender"], "one switch alone is none");
    }
}
