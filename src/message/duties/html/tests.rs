//! What is seen of HTML, and what is not.

use proptest::prelude::*;

use super::*;
use crate::message::BodyLink;

fn words(html: &str) -> String {
    let expect = Expected::new();
    let shown = read(&expect, html);
    shown.words().trim().to_owned()
}

#[test]
fn mark_up_is_not_text_and_inline_marks_do_not_part_words() {
    for (html, text) in [
        ("<p>un<b>sub</b>scribe</p>now", "unsubscribe now"),
        ("a<br>b<td>c", "a b c"),
        ("<!-- a --><!-->b<!--->c<!--[if mso]>d<![endif]-->e", "bce"),
        ("<!--[if !mso]><!-->a<!--<![endif]-->", "a"),
        ("<!DOCTYPE html><?xml a?>b</>c</ d>e", "bce"),
        ("<style>a</style><SCRIPT>if (a</b) '</scrip'</Script >b<title>c</title>", "b"),
        ("<a title='>' href=x>a</a>", "a"),
        ("1 < 2 <", "1 2"),
        ("a<!-- b", "a"),
        ("a<style>b", "a"),
        ("a<b", "a"),
        ("a<b c='d>e", "a"),
        ("<p =a =>b", "b"),
        ("<br/>a<img/alt=b>", "a b"),
    ] {
        assert_eq!(words(html), text, "{html}");
    }
}

#[test]
fn entities_are_decoded() {
    for (html, text) in [
        ("d&eacute;sabonn&#233;&#xE9;", "désabonnéé"),
        ("a&nbsp;b&amp;c", "a b c"),
        ("a &unknown; b & c &", "a unknown b c"),
        ("&#x110000;a", "a"),
        ("un&shy;subscribe", "unsubscribe"),
    ] {
        assert_eq!(words(html), text, "{html}");
    }
}

#[test]
fn what_is_hidden_is_not_seen() {
    for (html, text) in [
        ("<div style='display:none'>a<p>b</p></div>c", "c"),
        ("<div hidden>a</div>c", "c"),
        ("<div style=\"font-size:0\">a<span style='font-size:14px'>b</span>d</div>c", "b c"),
        ("<div style=display:none><span style='font-size:14px;display:block'>a</span></div>c", "c"),
        ("<p hidden>a<p>b", "b"),
        ("<div><span hidden>a</div>b", "b"),
        ("<div hidden></x>a", ""),
        ("<div style='display&#58;none'>a</div>b", "b"),
        ("<img alt=a hidden>b<img alt=c>", "b c"),
    ] {
        assert_eq!(words(html), text, "{html}");
    }
}

#[test]
fn a_link_counts_when_there_is_something_to_click() {
    let expect = Expected::new().way_out("https://u.example/").body_link(BodyLink::Replace);
    let said = |html: &str| {
        let shown = read(&expect, html);
        (shown.said().leaving, shown.own_way_out)
    };
    assert_eq!(said("<a href='https://a.example'>Unsubscribe</a>"), (true, false));
    assert_eq!(said("<a href='&#109;ailto:a@b.example'>Se d&eacute;sabonner</a>"), (true, false));
    assert_eq!(said("<a href='https://a.example'><img alt=Abmelden></a>"), (true, false));
    assert_eq!(said("unsubscribe <a href='https://a.example'></a>"), (false, false));
    assert_eq!(said("unsubscribe <a href='#top'>here</a> <a>there</a>"), (false, false));
    assert_eq!(said("<a href='https://u.example/x'>click</a>"), (false, true));
    assert_eq!(said("<a href='{{unsubscribe_url}}'>click</a>"), (false, true));
    assert_eq!(said("<a href='https://u.example/x'></a>"), (false, false));
    assert_eq!(said("<a href='https://u.example/x' style='display:none'>click</a>"), (false, false));
    assert_eq!(said("<a href='https://u.example/x'>click"), (false, true));
}

#[test]
fn pixels_are_hidden_or_tiny_and_individual() {
    let expect = Expected::new();
    let pixel = |html: &str| read(&expect, html).pixel;
    let token = "https://t.example/o?u=62f0c0b5a1b34567890c23";
    for html in [
        format!("<img src='{token}' width=1 height=1>"),
        format!("<img width=\"1px\" src='{token}'>"),
        format!("<IMG style='width:0' SRC='{}'>", token.replace('?', "?a&amp;")),
        format!("<img src='{token}' style='display:none'>"),
        format!("<div hidden><img src='{token}'></div>"),
        format!("<amp-img src='{token}' width=1>"),
    ] {
        assert!(pixel(&html), "{html}");
    }
    for html in [
        format!("<img src='{token}' width=600 height=200>"),
        "<img src='https://t.example/px.gif' width=1 height=1>".to_owned(),
        "<img width=1>".to_owned(),
        format!("<!--<img src='{token}' width=1>-->"),
    ] {
        assert!(!pixel(&html), "{html}");
    }
}

#[test]
fn the_depth_is_checked_at_and_past_the_limit() {
    let expect = Expected::new();
    let nested = |n: usize| read(&expect, &format!("{}a", "<div>".repeat(n))).cut;
    assert!(!nested(ELEMENTS_MAX));
    assert!(nested(ELEMENTS_MAX + 1));
    assert!(!read(&expect, &"<p>a<li>b</li><br>".repeat(10)).cut);
}

#[test]
fn an_entity_is_read_up_to_its_limit() {
    let entity = |n: usize| format!("&#{}65;", "0".repeat(n - "&#65;".len()));
    assert_eq!(decoded(&entity(ENTITY_MAX)).0, "A");
    assert_eq!(decoded(&entity(ENTITY_MAX + 1)).0, "&");
}

proptest! {
    #[test]
    fn any_mark_up_is_read_to_its_end(html in "[<>/!a-cp=\"' &;#x0é-]{0,60}") {
        let expect = Expected::new();
        prop_assert!(!read(&expect, &html).cut);
    }

    #[test]
    fn text_behind_whole_mark_up_is_seen(html in "(<(p|td|b|br|!-- x --|img alt='y')>|</(p|td|b|a)>|&amp;|&lt;|z ){0,20}") {
        let seen = words(&format!("{html} seen"));
        prop_assert!(seen.ends_with("seen"));
    }
}
