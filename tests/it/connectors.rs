//! The pages `docs/howto/connect-*.md`: what stands in them is run, or says that it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::gateway::free_port;
use crate::support::{Authority, Gateway, Spec, Upstream, eventually};

/// The password of every credential, and its SHA-256.
const PASSWORD: &str = "open sesame";
const SESAME: &str = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";
/// Sends one message as Mautic does, by the settings that stand before it.
const SYMFONY: &str = "require 'Symfony/Component/Mailer/autoload.php';\n\
                       $transport = Symfony\\Component\\Mailer\\Transport::fromDsn($settings['mailer_dsn']);\n\
                       $email = (new Symfony\\Component\\Mime\\Email())->from($settings['mailer_from_email'])\n\
                       ->to('ann@customer.example')->subject('hello')->text('Hello');\n\
                       (new Symfony\\Component\\Mailer\\Mailer($transport))->send($email);\n";
/// What WordPress does with a plugin, as far as mail goes.
const WORDPRESS_BEFORE: &str = "<?php\nrequire 'libphp-phpmailer/autoload.php';\n$hooks = [];\n\
                                define('CONSENTRY_PASSWORD', getenv('CONSENTRY_PASSWORD'));\n\
                                function add_action($name, $hook) { global $hooks; $hooks[$name] = $hook; }\n\
                                function add_filter($name, $hook) { add_action($name, $hook); }\n";
const WORDPRESS_BEHIND: &str = "$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);\n\
                                $mail->setFrom($hooks['wp_mail_from']('wordpress@localhost'), 'WordPress', false);\n\
                                $mail->addAddress('ann@customer.example');\n$mail->Subject = 'hello';\n$mail->Body = 'Hello';\n\
                                $hooks['phpmailer_init']($mail);\n$mail->send();\n";

/// A block of a page.
struct Block {
    language: String,
    text: String,
    is_untested: bool,
}

fn pages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/howto");
    let mut pages: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| name(path).starts_with("connect-"))
        .collect();
    pages.sort();
    pages
}

fn name(page: &Path) -> &str {
    page.file_stem().unwrap().to_str().unwrap()
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut blocks, mut before) = (Vec::new(), "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let is_untested = before.starts_with("*Untested:");
            blocks.push(Block { language: language.to_owned(), text: inside.join("\n"), is_untested });
        } else if !line.is_empty() {
            before = line;
        }
    }
    blocks
}

/// A gateway with the streams and credentials of a page and a certificate, that knows nobody by address.
fn gateway(folder: &Path, upstream: &Upstream, settings: &str) -> Gateway {
    Authority::new(folder).issue("gate", "localhost");
    let mut spec = Spec::new(upstream.address);
    spec.smtp =
        format!("listen_tls = [\"{}\"]\n[[smtp.tls]]\ncertificate = \"gate.pem\"\nkey = \"gate.key\"\n", free_port());
    spec.more = settings.replace("\"...\"", &format!("\"{SESAME}\""));
    Gateway::configure(folder, &spec);
    let file = folder.join("consentry.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("127.0.0.0/8", "203.0.113.9");
    std::fs::write(&file, text).unwrap();
    Gateway::restart_there(folder)
}

/// How a block is run: by which program, and with what around it.
fn program(page: &str, block: &Block) -> Option<(&'static str, String)> {
    let text = &block.text;
    match (page, block.language.as_str()) {
        (_, "python") => Some(("python3", text.clone())),
        (_, "js") => Some(("node", text.clone())),
        ("connect-mautic", "php") => {
            let settings = text.replace("PASSWORD", "open%20sesame");
            Some(("php", format!("<?php\n$settings = [\n{settings}\n];\n{SYMFONY}")))
        }
        ("connect-wordpress", "php") => {
            let plugin = text.strip_prefix("<?php\n").unwrap();
            Some(("php", format!("{WORDPRESS_BEFORE}{plugin}\n{WORDPRESS_BEHIND}")))
        }
        (_, "php") => Some(("php", text.replace("vendor/autoload.php", "libphp-phpmailer/autoload.php"))),
        _ => None,
    }
}

/// Runs a block against the gateway, which it knows by the name in its certificate.
fn run(gateway: &Gateway, (program, text): (&str, String)) -> String {
    let text = text.replace("gate.example.org", "localhost").replace("587", &gateway.smtp.port().to_string());
    let script = gateway.folder.join("script");
    std::fs::write(&script, text).unwrap();
    let ca = gateway.folder.join("ca.pem");
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules");
    let mut command = Command::new(program);
    if program == "php" {
        command.arg("-d").arg(format!("openssl.cafile={}", ca.display()));
    }
    let output = command
        .arg(&script)
        .envs([("SSL_CERT_FILE", &ca), ("NODE_EXTRA_CA_CERTS", &ca), ("NODE_PATH", &libraries)])
        .env("CONSENTRY_PASSWORD", PASSWORD)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {said}");
    said
}

#[test]
fn every_block_is_run_or_says_that_it_is_not() {
    let pages = pages();
    let named: Vec<_> = pages.iter().map(|page| name(page)).collect();
    assert_eq!(
        named,
        [
            "connect-dolibarr",
            "connect-listmonk",
            "connect-mautic",
            "connect-odoo",
            "connect-web-form",
            "connect-wordpress"
        ]
    );
    for page in &pages {
        let blocks = blocks(page);
        assert_eq!(blocks.iter().filter(|block| block.language == "toml").count(), 1, "{}", page.display());
        for block in &blocks {
            let is_run = block.language == "toml" || program(name(page), block).is_some();
            assert!(is_run != block.is_untested, "{}: {}\n{}", page.display(), block.language, block.text);
        }
    }
}

#[test]
fn what_the_pages_say_sends_and_is_told_who_must_not_be_written_to() {
    for page in pages() {
        let blocks = blocks(&page);
        let settings: String =
            blocks.iter().filter(|block| block.language == "toml").map(|block| &*block.text).collect();
        let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
        let gateway = gateway(folder.path(), &upstream, &settings);
        let programs: Vec<_> = blocks.iter().filter_map(|block| program(name(&page), block)).collect();
        for program in &programs {
            run(&gateway, program.clone());
        }
        eventually("every message", || (upstream.received().len() == programs.len()).then_some(()));
        for message in upstream.received().iter() {
            assert_eq!(message.to, ["ann@customer.example"], "{}", page.display());
            assert!(message.fields("From")[0].contains("@acme.example"), "{}", page.display());
            assert!(message.fields("Received")[0].contains(" with ESMTPSA "), "{:?}", message.fields("Received"));
            let is_marketing = !page.ends_with("connect-wordpress.md");
            assert_eq!(!message.fields("List-Unsubscribe").is_empty(), is_marketing, "{}", page.display());
        }
        if name(&page) != "connect-web-form" {
            continue;
        }
        assert!(gateway.run(&["suppress", "add", "ann@customer.example", "--reason", "unsubscribe"]).status.success());
        for program in &programs {
            let said = run(&gateway, program.clone());
            assert!(said.contains("not sent:") && said.contains("SUP_UNSUBSCRIBE"), "{}: {said}", program.0);
        }
    }
}
