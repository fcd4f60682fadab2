//! A real Postfix of its own: configuration, queue and ports in a temporary folder, nothing of an installed one touched.
//! It hands what it takes to an [`Upstream`](super::Upstream). Starting it needs root, as Postfix always does.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::eventually;
use super::gateway::free_port;

/// The only user, and its password.
pub(crate) const USER: &str = "gateway";
pub(crate) const PASSWORD: &str = "correct horse";
/// PLAIN: nobody in particular, as the user, with the password; in base64.
const PLAIN: &str = "AGdhdGV3YXkAY29ycmVjdCBob3JzZQ==";

/// Services that a mail server consists of, beside those that listen.
const SERVICES: &str = "\
    cleanup unix n - n - 0 cleanup\n\
    qmgr unix n - n 300 1 qmgr\n\
    tlsmgr unix - - n 1000? 1 tlsmgr\n\
    rewrite unix - - n - - trivial-rewrite\n\
    bounce unix - - n - 0 bounce\n\
    defer unix - - n - 0 bounce\n\
    trace unix - - n - 0 bounce\n\
    proxymap unix - - n - - proxymap\n\
    smtp unix - - n - - smtp\n\
    relay unix - - n - - smtp\n\
    error unix - - n - - error\n\
    retry unix - - n - - error\n\
    anvil unix - - n - 1 anvil\n\
    scache unix - - n - 1 scache\n\
    postlog unix-dgram n - n - 1 postlogd\n";

/// A running Postfix.
pub(crate) struct Postfix {
    folder: tempfile::TempDir,
    /// STARTTLS and then AUTH, for everywhere.
    pub(crate) submission: u16,
    /// TLS from the first octet and then AUTH, for everywhere.
    pub(crate) submissions: u16,
    /// For `postfix.example` alone, with STARTTLS and without AUTH.
    pub(crate) exchange: u16,
}

impl Postfix {
    /// Starts it; what it takes goes to `next`. Its certificate is for `localhost`.
    pub(crate) fn start(next: SocketAddr) -> Self {
        Self::start_with(next, "")
    }

    /// The same with more lines of its `main.cf`.
    pub(crate) fn start_with(next: SocketAddr, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "spool", "data"] {
            std::fs::create_dir(at.join(name)).unwrap();
        }
        assert!(
            Command::new("chown").arg("postfix").arg(at.join("data")).status().unwrap().success(),
            "Postfix is not installed"
        );
        make_certificate(at);
        serve_passwords(&at.join("auth"));
        let [submission, submissions, exchange] = [(); 3].map(|()| free_port().port());
        let listening = [
            (submission, "-o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes"),
            (submissions, "-o smtpd_sasl_auth_enable=yes -o smtpd_tls_wrappermode=yes"),
            (exchange, ""),
        ];
        let mut services = SERVICES.to_owned();
        for (port, options) in listening {
            writeln!(services, "127.0.0.1:{port} inet n - n - - smtpd {options}").unwrap();
        }
        std::fs::write(at.join("conf/master.cf"), services).unwrap();
        std::fs::write(at.join("conf/main.cf"), main_cf(at, next) + more).unwrap();
        let started =
            Command::new("postfix").arg("-c").arg(at.join("conf")).arg("start").stdout(Stdio::null()).status();
        assert!(started.unwrap().success(), "{}", log(at));
        for port in [submission, submissions, exchange] {
            eventually("Postfix to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        }
        Self { folder, submission, submissions, exchange }
    }

    /// The root that its certificate was issued from.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let conf = self.folder.path().join("conf");
        let _stopped = Command::new("postfix").arg("-c").arg(conf).arg("abort").stderr(Stdio::null()).status();
        if std::thread::panicking() {
            eprintln!("{}", log(self.folder.path()));
        }
    }
}

fn log(at: &Path) -> String {
    std::fs::read_to_string(at.join("spool/log")).unwrap_or_default()
}

fn main_cf(at: &Path, next: SocketAddr) -> String {
    let (at, prefix) = (at.display(), std::env::temp_dir());
    format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/spool\ndata_directory = {at}/data\n\
         command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\n\
         multi_instance_name = postfix-consentry\nmyhostname = relay.example\nrelay_domains = postfix.example\nmydestination =\nalias_maps =\n\
         local_recipient_maps =\nmynetworks =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nrelayhost = [127.0.0.1]:{}\n\
         smtpd_tls_cert_file = {at}/cert.pem\nsmtpd_tls_key_file = {at}/key.pem\nsmtpd_tls_security_level = may\n\
         smtp_tls_security_level = none\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n\
         smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {at}/auth\nsmtpd_tls_received_header = yes\n\
         smtpd_sasl_authenticated_header = yes\nmaillog_file = {at}/spool/log\nmaillog_file_prefixes = {}\n",
        next.port(),
        prefix.display()
    )
}

fn make_certificate(at: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let issued = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, pem) in [("ca.pem", authority.pem()), ("cert.pem", issued.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(at.join(name), pem).unwrap();
    }
}

/// Knows the one password, and says so as Dovecot's authentication server does (its protocol 1.1).
fn serve_passwords(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || judge_passwords(stream));
        }
    });
}

fn judge_passwords(mut stream: UnixStream) -> Option<()> {
    let hello =
        "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n";
    stream.write_all(hello.as_bytes()).ok()?;
    for line in BufReader::new(stream.try_clone().ok()?).lines() {
        let line = line.ok()?;
        let mut words = line.split('\t');
        if words.next() != Some("AUTH") {
            continue;
        }
        let id = words.next()?;
        let right = line.ends_with(&format!("resp={PLAIN}"));
        let verdict = if right { format!("OK\t{id}\tuser={USER}\n") } else { format!("FAIL\t{id}\tuser={USER}\n") };
        stream.write_all(verdict.as_bytes()).ok()?;
    }
    None
}
