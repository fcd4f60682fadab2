//! A name server that knows `example.` and nothing else.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use hickory_resolver::net::runtime::{Time, TokioRuntimeProvider};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType};

/// Whatever is asked below this name is answered with SERVFAIL.
const BROKEN: &str = "broken.example.";

/// How long answers may be kept, in seconds; those below `_mta-sts` may not, because tests change them.
const TTL: u32 = 60;

/// A running name server; it ends with the process of the test.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    catalog: Arc<Mutex<Arc<Catalog>>>,
}

impl NameServer {
    /// Serves `zone`: lines such as `x.example MX 10 mail.x.example`, `mail.x.example A 127.0.0.1`; the strings of a TXT
    /// stand between `|`.
    pub(crate) fn start(zone: &str) -> Self {
        let catalog = Arc::new(Mutex::new(Arc::new(catalog(zone))));
        let answers = Answers(Arc::clone(&catalog));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut server = Server::new(answers);
                server.register_socket(tokio::net::UdpSocket::from_std(socket).unwrap());
                server.block_until_done().await.unwrap();
            });
        });
        Self { address, catalog }
    }

    /// Serves another zone from now on; what was asked before may be kept for its time.
    pub(crate) fn change(&self, zone: &str) {
        *self.catalog.lock().unwrap() = Arc::new(catalog(zone));
    }
}

fn catalog(zone: &str) -> Catalog {
    let mut catalog = Catalog::new();
    catalog.upsert(name("example").into(), vec![Arc::new(zone_handler(zone))]);
    catalog
}

fn name(text: &str) -> Name {
    Name::from_str(&format!("{}.", text.trim_end_matches('.'))).unwrap()
}

fn zone_handler(zone: &str) -> InMemoryZoneHandler<TokioRuntimeProvider> {
    let mut handler = InMemoryZoneHandler::empty(name("example"), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(name("ns.example"), name("root.example"), 1, 3600, 600, 86_400, 60);
    handler.upsert_mut(Record::from_rdata(name("example"), 60, RData::SOA(soa)), 0);
    for line in zone.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        let data = match words[1..] {
            ["MX", preference, host] => RData::MX(MX::new(preference.parse().unwrap(), name(host))),
            ["A", address] => RData::A(A(address.parse().unwrap())),
            ["AAAA", address] => RData::AAAA(AAAA(address.parse().unwrap())),
            ["TXT", ..] => {
                let (_, text) = line.split_once(" TXT ").unwrap();
                RData::TXT(TXT::new(text.split('|').map(str::to_owned).collect()))
            }
            ["CNAME", target] => RData::CNAME(CNAME(name(target))),
            _ => panic!("no record: {line}"),
        };
        let ttl = if words[0].starts_with("_mta-sts.") { 0 } else { TTL };
        handler.upsert_mut(Record::from_rdata(name(words[0]), ttl, data), 0);
    }
    handler
}

struct Answers(Arc<Mutex<Arc<Catalog>>>);

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
        let asked = request.request_info().unwrap().query.name().to_string();
        if !asked.ends_with(BROKEN) {
            let catalog = Arc::clone(&self.0.lock().unwrap());
            return Box::pin(async move { catalog.handle_request::<R, T>(request, response_handle).await });
        }
        Box::pin(async move {
            let answer = MessageResponseBuilder::from_message_request(request);
            let answer = answer.error_msg(&request.metadata, ResponseCode::ServFail);
            response_handle.send_response(answer).await.unwrap()
        })
    }
}
