//! A person at a real browser: headless Chromium, driven by `tests/clients/person_browser.mjs`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A running browser. Every command checks that the console is silent and that axe-core finds nothing.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

/// What is on the screen.
#[derive(Debug)]
pub(crate) struct Screen(Value);

impl Browser {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/person_browser.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs; tests/run installs it");
        let reports = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { commands: child.stdin.take().unwrap(), reports, child }
    }

    /// Opens a page as somebody whose browser speaks `locale`.
    pub(crate) fn open(&mut self, url: &str, locale: &str) -> Screen {
        self.act(&json!({"do": "open", "url": url, "locale": locale}))
    }

    /// Presses the button whose label contains `button`.
    pub(crate) fn press(&mut self, button: &str) -> Screen {
        self.act(&json!({"do": "press", "button": button}))
    }

    /// Follows a link.
    pub(crate) fn follow(&mut self, link: &str) -> Screen {
        self.act(&json!({"do": "follow", "link": link}))
    }

    /// Turns a switch.
    pub(crate) fn turn(&mut self, switch: &str) -> Screen {
        self.act(&json!({"do": "turn", "switch": switch}))
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &[&str]) -> Screen {
        self.act(&json!({"do": "type", "keys": keys}))
    }

    /// Presses a key that sends a form.
    pub(crate) fn submit(&mut self, key: &str) -> Screen {
        self.act(&json!({"do": "submit", "key": key}))
    }

    /// Takes pictures of the page in light and dark, wide and as narrow as a phone, and checks each of them.
    pub(crate) fn photograph(&mut self, name: &str) {
        for (scheme, width) in [("light", 1000), ("dark", 1000), ("light", 360), ("dark", 320)] {
            let shot = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/door/{name}-{scheme}-{width}.png"));
            let screen = self.act(&json!({"do": "look", "scheme": scheme, "width": width, "shot": shot}));
            assert_eq!(screen.0["overflow"], false, "{name}: wider than {width}");
        }
    }

    fn act(&mut self, command: &Value) -> Screen {
        writeln!(self.commands, "{command}").unwrap();
        let line = self.reports.next().unwrap_or_else(|| panic!("the browser ended at {command}")).unwrap();
        let screen: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(screen["violations"], json!([]), "axe-core at {command}");
        assert_eq!(screen["complaints"], json!([]), "the console at {command}");
        assert!(screen["checks"].as_u64().unwrap() > 10, "axe-core checked next to nothing: {screen}");
        Screen(screen)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Screen {
    /// Whether these words are on it.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.0["text"].as_str().unwrap().contains(words)
    }

    /// Labels of its buttons.
    pub(crate) fn buttons(&self) -> Vec<&str> {
        strings(&self.0["buttons"])
    }

    /// Lists that are switched on.
    pub(crate) fn on(&self) -> Vec<&str> {
        strings(&self.0["on"])
    }

    /// The language that it declares.
    pub(crate) fn language(&self) -> &str {
        self.0["language"].as_str().unwrap()
    }

    /// What has the keyboard.
    pub(crate) fn focus(&self) -> &str {
        self.0["focus"].as_str().unwrap()
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}
