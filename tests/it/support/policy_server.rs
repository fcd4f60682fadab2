//! The web server of a domain's MTA-STS policy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use consentry::tls::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exchange::serve;

/// A running server; it ends with the process of the test.
pub(crate) struct PolicyServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<(String, usize)>>,
}

impl PolicyServer {
    /// Answers every request under `certificates` with what it is told to.
    pub(crate) fn start(certificates: Certificates) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&server.shared);
        serve(listener, move |stream| {
            let (acceptor, shared) = (certificates.acceptor(), Arc::clone(&shared));
            async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.ok().filter(|octets| *octets > 0)?;
                }
                let answer = {
                    let mut shared = shared.lock().unwrap();
                    shared.1 += 1;
                    shared.0.clone()
                };
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            }
        });
        server
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answer: &str) {
        answer.clone_into(&mut self.shared.lock().unwrap().0);
    }

    /// From now on this is the policy.
    pub(crate) fn publish(&self, mode: &str, hosts: &[&str]) {
        let hosts = hosts.iter().map(|host| format!("mx: {host}\r\n")).collect::<Vec<_>>().concat();
        let policy = format!("version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: 604800\r\n");
        self.answer(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{policy}",
            policy.len()
        ));
    }

    /// How often it was asked.
    pub(crate) fn requests(&self) -> usize {
        self.shared.lock().unwrap().1
    }
}
