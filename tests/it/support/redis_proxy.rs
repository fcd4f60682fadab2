//! What stands between a gateway and its Redis and can be told to lie: replies that a real server gives only on its worst
//! days, or only when it is none.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of the commands that come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// The server gets them, and its answers come back.
    Pass,
    /// Each is answered with these octets, and the server gets none.
    Say(String),
    /// The server gets them, and of its answer one half comes back; then the connection ends.
    Half,
    /// Each is answered with the announcement of a string of a gigabyte, which then comes as fast as it is taken.
    Flood,
    /// Nothing comes back, and the connection stays.
    Silence,
}

/// The gigabyte.
const ANNOUNCED: usize = 1 << 30;
/// Octets that are written at once.
const BLOCK: usize = 64 * 1024;

/// A listener of the test's own on loopback; its threads end with their connections.
pub(crate) struct RedisProxy {
    conduct: Arc<Mutex<Conduct>>,
    /// Where it listens.
    pub(crate) port: u16,
}

impl RedisProxy {
    /// Listens at a free port and passes everything on to the server at `to`.
    pub(crate) fn start(to: u16) -> Self {
        Self::start_at(TcpListener::bind(("127.0.0.1", 0)).unwrap(), to)
    }

    /// As [`RedisProxy::start`], on a listener that is there already.
    pub(crate) fn start_at(listener: TcpListener, to: u16) -> Self {
        let port = listener.local_addr().unwrap().port();
        let conduct = Arc::new(Mutex::new(Conduct::Pass));
        let shared = Arc::clone(&conduct);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Whatever ends a connection here is what the test is about.
                    let _ended = attend(&client, to, &shared);
                    let _gone = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { conduct, port }
    }

    /// Changes what becomes of the next command, on connections that are open too.
    pub(crate) fn behave(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
    }
}

fn attend(mut client: &TcpStream, to: u16, conduct: &Arc<Mutex<Conduct>>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], to)))?;
    server.set_nodelay(true)?;
    answer_back(server.try_clone()?, client.try_clone()?, Arc::clone(conduct));
    let (mut held, mut block) = (Vec::new(), vec![0; BLOCK]);
    loop {
        let len = client.read(&mut block)?;
        if len == 0 {
            return server.shutdown(Shutdown::Both);
        }
        held.extend_from_slice(&block[..len]);
        while let Some(len) = command(&held) {
            let whole: Vec<u8> = held.drain(..len).collect();
            let now = conduct.lock().unwrap().clone();
            match now {
                Conduct::Pass | Conduct::Half => server.write_all(&whole)?,
                Conduct::Say(said) => client.write_all(said.as_bytes())?,
                Conduct::Silence => {}
                Conduct::Flood => {
                    client.write_all(format!("${ANNOUNCED}\r\n").as_bytes())?;
                    for _ in 0..ANNOUNCED / BLOCK {
                        client.write_all(&block)?;
                    }
                }
            }
        }
    }
}

fn answer_back(mut server: TcpStream, mut client: TcpStream, conduct: Arc<Mutex<Conduct>>) {
    std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        while let Ok(len @ 1..) = server.read(&mut block) {
            let is_half = *conduct.lock().unwrap() == Conduct::Half;
            let shown = if is_half { len / 2 } else { len };
            if client.write_all(&block[..shown]).is_err() || is_half {
                break;
            }
        }
        let _gone = client.shutdown(Shutdown::Both);
    });
}

/// The length of the first command, once it is whole: an array of strings, as every client sends.
fn command(octets: &[u8]) -> Option<usize> {
    let (parts, mut at) = number(octets, 0, b'*')?;
    for _ in 0..parts {
        let (len, start) = number(octets, at, b'$')?;
        at = start + len + 2;
    }
    (octets.len() >= at).then_some(at)
}

/// The number on the line at `at`, and where the next line begins.
fn number(octets: &[u8], at: usize, sign: u8) -> Option<(usize, usize)> {
    let rest = octets.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], sign, "not a command: {rest:?}");
    Some((std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap(), at + end + 2))
}
