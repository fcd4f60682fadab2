//! Campaign tools with an unsubscribe address of their own learn of an opt-out, and nobody else is called.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::gateway::free_port;
use crate::support::tool::{Certified, Tool};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};
use crate::way_through::request;

/// A gateway whose stream may tell tools at `hosts`, in `networks` too.
fn spec(upstream: &Upstream, hosts: &[String], networks: &str) -> Spec {
    let mut spec = Spec::new(upstream.address);
    spec.stream = format!("tell_hosts = {hosts:?}\n");
    spec.more = format!("[tell]\nca_file = \"ca.pem\"\nnetworks = [{networks}]\nfirst = \"1s\"\nlongest = \"1s\"\n");
    spec
}

const LOOPBACK: &str = "\"127.0.0.0/8\", \"::1\"";

fn host(address: SocketAddr) -> String {
    format!("localhost:{}", address.port())
}

/// Sends `to` a message in which the tool has put its own address; gives the path of our link in it.
fn sent(gateway: &Gateway, upstream: &Upstream, to: &str, url: &str) -> String {
    let message = format!(
        "From: News <news@acme.example>\r\nList-Unsubscribe: <{url}>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nSubject: hello\r\n\r\nHello\r\n"
    );
    let end = Client::connect(gateway.smtp).message("b@acme.example", &[to], message.as_bytes()).1.unwrap();
    assert!(end.starts_with("250"), "{end}");
    let link = eventually("delivery", || {
        let received = upstream.received();
        received.iter().find(|message| message.to == [to]).map(|message| message.fields("List-Unsubscribe").remove(0))
    });
    link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned()
}

fn leave(gateway: &Gateway, path: &str) {
    let answer = request(gateway.http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn start(folder: &Path, upstream: &Upstream, hosts: &[String], networks: &str) -> Gateway {
    Gateway::start(folder, &spec(upstream, hosts, networks))
}

#[test]
fn the_tool_is_told_once_and_as_a_mailbox_provider_would() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 202 Accepted");
    let gateway = start(folder.path(), &upstream, &[host(tool.address)], LOOPBACK);
    let ann = sent(&gateway, &upstream, "ann@b.example", &tool.url("/leave?who=ann&list=1"));
    let ben = sent(&gateway, &upstream, "ben@b.example", &tool.url("/leave?who=ben&list=1"));
    assert_eq!(tool.connections(), 0, "called before anybody left");
    leave(&gateway, &ann);
    leave(&gateway, &ann);
    eventually("the first call", || (!tool.asked().is_empty()).then_some(()));
    leave(&gateway, &ann);
    leave(&gateway, &ben);
    eventually("both records", || (gateway.events("ToolTold").len() == 2).then_some(()));
    let asked = tool.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["POST /leave?who=ann&list=1 HTTP/1.1", "POST /leave?who=ben&list=1 HTTP/1.1"]);
    assert_eq!(asked[0].body, "List-Unsubscribe=One-Click");
    assert_eq!(asked[0].field("host"), Some(host(tool.address)));
    assert_eq!(asked[0].field("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked[0].field("content-length").as_deref(), Some("26"));
    for absent in ["cookie", "authorization", "referer", "origin"] {
        assert_eq!(asked[0].field(absent), None, "{absent}");
    }
    let told = &gateway.events("ToolTold")[0];
    assert_eq!(told["evidence"], format!("{}: HTTP 202", host(tool.address)));
    assert!(!told.to_string().contains("who=ann") && told["stream"] == "news", "{told}");
    let audited = gateway.audit().iter().filter(|record| record["type"] == "ToolTold").count();
    assert_eq!(audited, 2);
}

/// None of these is connected to: what is not in the list is not even kept, what leads inside is refused after the name
/// was resolved.
#[test]
fn nobody_inside_is_called_and_nobody_who_was_not_named() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let port = tool.address.port();
    let inside = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        "169.254.169.254".to_owned(),
        "[::ffff:169.254.169.254]".to_owned(),
        "[fd00:ec2::254]".to_owned(),
    ];
    let gateway = start(folder.path(), &upstream, &inside, "");
    for (index, host) in inside.iter().enumerate() {
        let link = sent(&gateway, &upstream, &format!("in{index}@b.example"), &format!("https://{host}/leave"));
        leave(&gateway, &link);
    }
    let unnamed = [
        format!("127.0.0.2:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("127.1:{port}"),
        format!("localhost.:{port}"),
        format!("localhost:{port}@evil.example"),
        "localhost".to_owned(),
    ];
    for (index, host) in unnamed.iter().enumerate() {
        let link = sent(&gateway, &upstream, &format!("out{index}@b.example"), &format!("https://{host}/leave"));
        leave(&gateway, &link);
    }
    let refused = eventually("every notice", || {
        let refused = gateway.events("ToolUnreachable");
        let about = |host: &String| refused.iter().any(|e| e["evidence"].as_str().unwrap().contains(host.as_str()));
        (refused.len() >= inside.len() && about(&inside[0]) && about(&inside[4])).then_some(refused)
    });
    for event in &refused {
        assert!(
            event["evidence"].as_str().unwrap().contains("not public and not within the networks that may be reached"),
            "{event}"
        );
    }
    let messages: std::collections::HashSet<_> = refused.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!((messages.len(), tool.connections()), (inside.len(), 0), "{refused:?}");
    assert!(gateway.events("ToolTold").is_empty());
}

#[test]
fn a_tool_that_was_down_is_told_later_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let down = free_port();
    let mut gateway = start(folder.path(), &upstream, &[host(down)], LOOPBACK);
    let url = |person: &str| format!("https://{}/leave?who={person}", host(down));
    let ann = sent(&gateway, &upstream, "ann@b.example", &url("ann"));
    let ben = sent(&gateway, &upstream, "ben@b.example", &url("ben"));
    gateway.kill();
    let mut gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    leave(&gateway, &ann);
    let failed = eventually("a failed call", || gateway.events("ToolUnreachable").pop());
    assert!(failed["next_attempt"].is_string() && failed["num_attempts"] == 1, "{failed}");
    leave(&gateway, &ben);
    // Right behind the acknowledgement, whatever has become of the call.
    gateway.kill();
    let tool = Tool::start_on(down, &certified, "HTTP/1.1 200 OK");
    let gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    let told = eventually("both calls", || Some(gateway.events("ToolTold")).filter(|told| told.len() == 2));
    assert!(told.iter().any(|told| told["num_attempts"].as_u64().unwrap() > 1), "{told:?}");
    let mut asked: Vec<_> = tool.asked().iter().map(|asked| asked.head.lines().next().unwrap().to_owned()).collect();
    asked.sort();
    assert_eq!(asked, ["POST /leave?who=ann HTTP/1.1", "POST /leave?who=ben HTTP/1.1"]);
}

#[test]
fn a_redirect_is_not_followed_and_a_wrong_certificate_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let elsewhere = Tool::start(&certified, "HTTP/1.1 200 OK");
    let to: &'static str = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}", elsewhere.url("/x")).leak();
    let tool = Tool::start(&certified, to);
    let other = tempfile::tempdir().unwrap();
    let stranger = Tool::start(&Certified::new(other.path()), "HTTP/1.1 200 OK");
    let hosts = [&tool, &elsewhere, &stranger].map(|tool| host(tool.address));
    let gateway = start(folder.path(), &upstream, &hosts, LOOPBACK);
    leave(&gateway, &sent(&gateway, &upstream, "ann@b.example", &tool.url("/leave")));
    let not_told = eventually("the outcome", || gateway.events("ToolNotTold").pop());
    assert!(not_told["evidence"].as_str().unwrap().ends_with("HTTP 307"), "{not_told}");
    assert_eq!((tool.asked().len(), elsewhere.connections()), (1, 0));
    leave(&gateway, &sent(&gateway, &upstream, "ben@b.example", &stranger.url("/leave")));
    let failed = eventually("the refusal", || gateway.events("ToolUnreachable").pop());
    assert!(failed["evidence"].as_str().unwrap().contains("TLS: "), "{failed}");
    assert!(stranger.asked().is_empty());
}

#[test]
fn a_reload_changes_whom_we_may_tell_and_what_waits_is_told_then() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let mut spec = spec(&upstream, &[host(tool.address)], "");
    spec.more = spec.more.replace("\"1s\"", "\"6h\"");
    let gateway = Gateway::start(folder.path(), &spec);
    leave(&gateway, &sent(&gateway, &upstream, "ann@b.example", &tool.url("/leave")));
    eventually("the refusal", || gateway.events("ToolUnreachable").pop());
    let file = folder.path().join("consentry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("networks = []", &format!("networks = [{LOOPBACK}]"))).unwrap();
    gateway.signal("HUP");
    eventually("the call", || gateway.events("ToolTold").pop());
    assert_eq!(tool.asked().len(), 1);
}

/// A URL in a message to two people is one person's, and nobody can say whose.
#[test]
fn a_message_to_several_people_leaves_no_url_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let gateway = start(folder.path(), &upstream, &[host(tool.address)], LOOPBACK);
    let message = format!(
        "From: News <news@acme.example>\r\nList-Unsubscribe: <{}>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nHello\r\n",
        tool.url("/both")
    );
    let both = ["ann@b.example", "ben@b.example"];
    Client::connect(gateway.smtp).message("b@acme.example", &both, message.as_bytes());
    let received = eventually("both copies", || Some(upstream.received().clone()).filter(|all| all.len() == 2));
    for message in received {
        let link = message.fields("List-Unsubscribe").remove(0);
        leave(&gateway, link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0);
    }
    leave(&gateway, &sent(&gateway, &upstream, "eve@b.example", &tool.url("/one")));
    eventually("the one call", || (!tool.asked().is_empty()).then_some(()));
    assert!(tool.asked().iter().all(|asked| asked.head.contains("/one")), "{:?}", tool.asked());
}
