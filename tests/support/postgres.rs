//! PostgreSQL's wire protocol by the byte, for what no client of it would do.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::seconds;
use super::server::TOKEN;

/// A message of the wire protocol; the first ones have no kind.
pub fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a length");
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    message
}

/// The startup message.
pub fn greeting() -> Vec<u8> {
    let parameters = b"user\0x\0database\0millstream\0\0";
    message(None, &[&196_608_u32.to_be_bytes()[..], parameters].concat())
}

/// The right password.
pub fn password() -> Vec<u8> {
    message(Some(b'p'), format!("{TOKEN}\0").as_bytes())
}

/// A connection, message by message.
pub struct Wire {
    pub stream: TcpStream,
    /// What cancels its query, to be sent by another connection.
    pub cancel: Vec<u8>,
}

impl Wire {
    /// Connects and logs in.
    pub async fn open(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(&[greeting(), password()].concat()).await.expect("sent");
        let mut wire = Self { stream, cancel: Vec::new() };
        let greeted = wire.until(b'Z').await;
        // BackendKeyData: its number and secret.
        let at = greeted.windows(5).position(|five| five == [b'K', 0, 0, 0, 12]);
        let key = &greeted[at.expect("a key") + 5..][..8];
        wire.cancel = message(None, &[&80_877_102_u32.to_be_bytes()[..], key].concat());
        wire
    }

    /// Sends a query.
    pub async fn query(&mut self, sql: &str) {
        let query = message(Some(b'Q'), format!("{sql}\0").as_bytes());
        self.stream.write_all(&query).await.expect("sent");
    }

    /// Reads up to a message of this kind, and gives all that came.
    pub async fn until(&mut self, kind: u8) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).await.expect("a message");
            let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
            let mut body = vec![0; usize::try_from(length).expect("a length") - 4];
            self.stream.read_exact(&mut body).await.expect("a message");
            all.extend(head);
            all.extend(body);
            if head[0] == kind {
                return all;
            }
        }
    }
}

/// Sends bytes and reads until the server closes.
pub async fn say(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may close before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    // It may also close before it read all, which the system tells as an error.
    let read = tokio::time::timeout(seconds(20), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes");
    answer
}
