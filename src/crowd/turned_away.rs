//! The end of a connection that there is no place for.

use std::io::{self, Write as _};
use std::net::Shutdown;

use tokio::net::TcpStream;

/// Says `words` to whoever has just connected, as far as that goes without waiting, and ends the connection.
///
/// # Errors
/// The system's: the client has gone, or its line takes nothing.
pub(crate) fn turn_away(stream: TcpStream, words: &[u8]) -> io::Result<()> {
    let mut stream = stream.into_std()?;
    stream.write_all(words)?;
    // A client that has spoken already is reset when the stream is dropped, and would lose the words without the end behind them.
    stream.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn who_is_turned_away_hears_why_whether_they_have_spoken_or_not() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        for request in [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(request).unwrap();
            let (stream, _peer) = listener.accept().await.unwrap();
            turn_away(stream, b"no").unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, b"no");
        }
    }
}
