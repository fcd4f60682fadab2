//! An authoritative name server on loopback.

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::Arc;

use hickory_server::Server;
use hickory_server::proto::rr::rdata::{A, AAAA, MX, TXT};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;

/// Answers until it is dropped.
pub(crate) struct Authority {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

fn name(text: &str) -> Name {
    Name::from_str(&format!("{}.", text.trim_end_matches('.'))).unwrap()
}

/// One record, as `NAME TYPE VALUE`; the strings of a TXT stand between `|`.
fn record(line: &str) -> Record {
    let (owner, rest) = line.split_once(' ').unwrap();
    let (kind, value) = rest.split_once(' ').unwrap();
    let data = match kind {
        "TXT" => RData::TXT(TXT::new(value.split('|').map(str::to_owned).collect())),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap();
            RData::MX(MX::new(preference.parse().unwrap(), name(host)))
        }
        "A" => RData::A(A(value.parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(value.parse().unwrap())),
        other => panic!("{other}"),
    };
    Record::from_rdata(name(owner), 60, data)
}

impl Authority {
    /// Serves these records of the zone `example`, whatever else is asked does not exist.
    pub(crate) fn start(records: &[String]) -> Self {
        let mut zone = InMemoryZoneHandler::<hickory_server::net::runtime::TokioRuntimeProvider>::empty(
            name("example"),
            ZoneType::Primary,
            AxfrPolicy::Deny,
        );
        let soa =
            hickory_server::proto::rr::rdata::SOA::new(name("ns.example"), name("root.example"), 1, 60, 60, 60, 60);
        zone.upsert_mut(Record::from_rdata(name("example"), 60, RData::SOA(soa)), 1);
        for line in records {
            zone.upsert_mut(record(line), 1);
        }
        let mut catalog = Catalog::new();
        catalog.upsert(LowerName::from(name("example")), vec![Arc::new(zone)]);
        let runtime = Runtime::new().unwrap();
        let address = runtime.block_on(async {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            let mut server = Server::new(catalog);
            server.register_socket(socket);
            tokio::spawn(async move { server.block_until_done().await });
            address
        });
        Self { address, _runtime: runtime }
    }
}
