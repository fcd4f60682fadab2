//! A name server that knows `example.` and nothing else, and signs it when it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::net::runtime::{Time, TokioRuntimeProvider};
use hickory_resolver::proto::dnssec::crypto::Ed25519SigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey as _};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SOA, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// Whatever is asked below these names is answered with SERVFAIL.
const BROKEN: [&str; 2] = ["broken.example.", "_tcp.mx.silent.example."];

/// Below a signed `example.` this zone is not signed, and `example.` says so.
const UNSIGNED: &str = "unsigned.example.";
/// This one is not signed either, and `example.` says that it is.
const FORGED: &str = "forged.example.";
/// Answers on one TCP connection that may wait to be sent.
const TCP_QUEUE: usize = 32;
/// How long answers may be kept, in seconds; those below `_mta-sts` may not, because tests change them.
const TTL: u32 = 60;

/// A running name server; it ends with the process of the test.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zones: Arc<Mutex<Arc<Zones>>>,
    key: Option<Vec<u8>>,
}

/// What is served: all zones, and for questions about delegations the one above them.
struct Zones {
    all: Catalog,
    above: Catalog,
}

impl NameServer {
    /// Serves `zone`: lines such as `x.example MX 10 mail.x.example`, `mail.x.example A 127.0.0.1`; the strings of a TXT
    /// stand between `|`.
    pub(crate) fn start(zone: &str) -> Self {
        Self::start_with(zone, None)
    }

    /// The same, signed: but for what stands below `unsigned.example`, and below `forged.example` where somebody has
    /// put answers of theirs in the place of signed ones. Also `_25._tcp.x.example TLSA 3 1 1 0a1b`.
    pub(crate) fn start_signed(zone: &str) -> Self {
        let key = Ed25519SigningKey::generate_pkcs8().unwrap();
        Self::start_with(zone, Some(key.secret_pkcs8_der().to_vec()))
    }

    fn start_with(zone: &str, key: Option<Vec<u8>>) -> Self {
        let zones = Arc::new(Mutex::new(Arc::new(zones(zone, key.as_deref()))));
        let answers = Answers(Arc::clone(&zones));
        let (socket, listener) = sockets();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut server = Server::new(answers);
                server.register_socket(tokio::net::UdpSocket::from_std(socket).unwrap());
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                server.register_listener(listener, Duration::from_secs(30), TCP_QUEUE);
                server.block_until_done().await.unwrap();
            });
        });
        Self { address, zones, key }
    }

    /// The line of a file of trust anchors that a signed zone hangs on.
    pub(crate) fn anchor(&self) -> String {
        let key = DNSKEY::from_key(&signing_key(self.key.as_ref().unwrap()).to_public_key().unwrap());
        format!("example. 60 IN DNSKEY {key}\n")
    }

    /// Serves another zone from now on; what was asked before may be kept for its time.
    pub(crate) fn change(&self, zone: &str) {
        *self.zones.lock().unwrap() = Arc::new(zones(zone, self.key.as_deref()));
    }
}

/// For datagrams and for answers that do not fit one, at one port.
fn sockets() -> (std::net::UdpSocket, std::net::TcpListener) {
    loop {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let Ok(listener) = std::net::TcpListener::bind(socket.local_addr().unwrap()) else { continue };
        socket.set_nonblocking(true).unwrap();
        listener.set_nonblocking(true).unwrap();
        return (socket, listener);
    }
}

fn signing_key(pkcs8: &[u8]) -> Ed25519SigningKey {
    Ed25519SigningKey::from_pkcs8(&PrivatePkcs8KeyDer::from(pkcs8)).unwrap()
}

fn zones(zone: &str, key: Option<&[u8]>) -> Zones {
    let lines = || zone.lines().map(str::trim).filter(|line| !line.is_empty());
    let below = |line: &str, zone: &str| format!("{}.", line.split(' ').next().unwrap()).ends_with(zone);
    let mut all = Catalog::new();
    let mut own: Vec<&str> = lines().collect();
    if key.is_some() {
        for child in [UNSIGNED, FORGED] {
            let of_child: Vec<_> = lines().filter(|line| below(line, child)).collect();
            own.retain(|line| !below(line, child));
            all.upsert(name(child).into(), vec![Arc::new(zone_handler(child, &of_child, None))]);
        }
    }
    let example = Arc::new(zone_handler("example.", &own, key));
    all.upsert(name("example").into(), vec![Arc::clone(&example) as _]);
    let mut above = Catalog::new();
    above.upsert(name("example").into(), vec![example as _]);
    Zones { all, above }
}

fn name(text: &str) -> Name {
    Name::from_str(&format!("{}.", text.trim_end_matches('.'))).unwrap()
}

fn zone_handler(origin: &str, lines: &[&str], key: Option<&[u8]>) -> InMemoryZoneHandler<TokioRuntimeProvider> {
    let proof = key.map(|_| NxProofKind::Nsec);
    let mut handler = InMemoryZoneHandler::empty(name(origin), ZoneType::Primary, AxfrPolicy::Deny, proof);
    let soa = SOA::new(name("ns.example"), name("root.example"), 1, 3600, 600, 86_400, 60);
    handler.upsert_mut(Record::from_rdata(name(origin), TTL, RData::SOA(soa)), 0);
    // Whoever validates looks for the cut between zones.
    handler.upsert_mut(Record::from_rdata(name(origin), TTL, RData::NS(NS(name("ns.example")))), 0);
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let data = match words[1..] {
            ["MX", preference, host] => RData::MX(MX::new(preference.parse().unwrap(), name(host))),
            ["A", address] => RData::A(A(address.parse().unwrap())),
            ["AAAA", address] => RData::AAAA(AAAA(address.parse().unwrap())),
            ["TXT", ..] => {
                let (_, text) = line.split_once(" TXT ").unwrap();
                RData::TXT(TXT::new(text.split('|').map(str::to_owned).collect()))
            }
            ["TLSA", usage, selector, matching, data] => {
                let [usage, selector, matching]: [u8; 3] =
                    [usage, selector, matching].map(|text| text.parse().unwrap());
                let data = (0..data.len()).step_by(2).map(|at| u8::from_str_radix(&data[at..at + 2], 16).unwrap());
                RData::TLSA(TLSA::new(usage.into(), selector.into(), matching.into(), data.collect()))
            }
            ["CNAME", target] => RData::CNAME(CNAME(name(target))),
            _ => panic!("no record: {line}"),
        };
        let ttl = if words[0].starts_with("_mta-sts.") { 0 } else { TTL };
        handler.upsert_mut(Record::from_rdata(name(words[0]), ttl, data), 0);
    }
    if let Some(key) = key {
        sign(&mut handler, key);
    }
    handler
}

fn sign(handler: &mut InMemoryZoneHandler<TokioRuntimeProvider>, key: &[u8]) {
    let mut add = |owner: &str, data| handler.upsert_mut(Record::from_rdata(name(owner), TTL, data), 0);
    for child in [UNSIGNED, FORGED] {
        add(child, RData::NS(NS(name("ns.example"))));
    }
    let ours = DNSKEY::from_key(&signing_key(key).to_public_key().unwrap());
    // Whatever key it is of: the child has none.
    let digest = ours.to_digest(&name(FORGED), DigestType::SHA256).unwrap();
    let tag = ours.calculate_key_tag().unwrap();
    let delegation = DS::new(tag, Algorithm::ED25519, DigestType::SHA256, digest.as_ref().to_vec());
    add(FORGED, RData::DNSSEC(DNSSECRData::DS(delegation)));
    let signer = DnssecSigner::new(ours, Box::new(signing_key(key)), name("example"), Duration::from_hours(24));
    handler.add_zone_signing_key_mut(signer).unwrap();
    handler.secure_zone_mut().unwrap();
}

struct Answers(Arc<Mutex<Arc<Zones>>>);

impl RequestHandler for Answers {
    fn handle_request<'a, 'b, 'c, R: ResponseHandler + 'c, T: Time + 'c>(
        &'a self,
        request: &'b Request,
        mut response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let query = request.request_info().unwrap().query;
        let asked = query.name().to_string();
        if !BROKEN.iter().any(|broken| asked.ends_with(broken)) {
            let zones = Arc::clone(&self.0.lock().unwrap());
            let of_delegation = query.query_type() == RecordType::DS && [UNSIGNED, FORGED].contains(&asked.as_str());
            return Box::pin(async move {
                let catalog = if of_delegation { &zones.above } else { &zones.all };
                catalog.handle_request::<R, T>(request, response_handle).await
            });
        }
        Box::pin(async move {
            let answer = MessageResponseBuilder::from_message_request(request);
            let answer = answer.error_msg(&request.metadata, ResponseCode::ServFail);
            response_handle.send_response(answer).await.unwrap()
        })
    }
}
