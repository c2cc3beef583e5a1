//! A viewer in a chat: `tokio-websockets`, and our own checks of order.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

use super::people::Person;
use super::server::Server;

/// A viewer on a socket.
pub struct Viewer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What the server said first.
    pub welcome: Value,
    /// Messages and acts since, by `seq`; there is no gap in them.
    pub records: Vec<Value>,
    // Answers that nobody asked for yet.
    others: Vec<Value>,
}

impl Viewer {
    /// Joins the room of a stream, with what comes next.
    pub async fn join(server: &Server, stream: &str) -> Self {
        Self::come(server, stream, "").await.expect("it is let in")
    }

    /// Comes back with what it has.
    pub async fn rejoin(server: &Server, stream: &str, epoch: &str, seq: u64) -> Self {
        Self::come(server, stream, &format!("?epoch={epoch}&seq={seq}")).await.expect("let in")
    }

    /// Joins with a query of its own; what the handshake came to.
    pub async fn come(
        server: &Server,
        stream: &str,
        query: &str,
    ) -> Result<Self, tokio_websockets::Error> {
        Self::at(&server.http, stream, query).await
    }

    /// Joins at this address.
    pub async fn at(
        http: &str,
        stream: &str,
        query: &str,
    ) -> Result<Self, tokio_websockets::Error> {
        Self::enter(http, stream, query, None).await
    }

    /// Joins as a program does: the upgrade says who it is.
    pub async fn join_as(server: &Server, stream: &str, query: &str, person: &Person) -> Self {
        Self::enter(&server.http, stream, query, Some(person)).await.expect("it is let in")
    }

    async fn enter(
        http: &str,
        stream: &str,
        query: &str,
        person: Option<&Person>,
    ) -> Result<Self, tokio_websockets::Error> {
        let host = http.replace("http://", "ws://");
        let url = format!("{host}/api/streams/{stream}/chat/subscribe{query}");
        let mut builder = ClientBuilder::new().uri(&url).expect("a URL");
        if let Some(person) = person {
            let bearer = format!("Bearer {}", person.token).parse().expect("a header");
            builder = builder.add_header(http::header::AUTHORIZATION, bearer)?;
        }
        let (socket, _) = builder.connect().await?;
        let mut viewer =
            Self { socket, welcome: Value::Null, records: Vec::new(), others: Vec::new() };
        viewer.welcome = viewer.next().await.expect("a welcome");
        assert_eq!(viewer.welcome["type"], "welcome", "{}", viewer.welcome);
        Ok(viewer)
    }

    /// The room's life.
    pub fn epoch(&self) -> String {
        self.welcome["epoch"].as_str().expect("an epoch").to_owned()
    }

    /// The number of the newest record it has.
    pub fn seq(&self) -> u64 {
        let last = self.records.last().unwrap_or(&self.welcome);
        last["seq"].as_u64().expect("a number")
    }

    /// Texts of the messages it has.
    pub fn texts(&self) -> Vec<&str> {
        self.records.iter().filter_map(|record| record["message"].as_str()).collect()
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next()).await;
            let message = next.expect("something within 20 s")?.ok()?;
            if let Some(text) = message.as_text() {
                return Some(serde_json::from_str(text).expect("JSON"));
            }
            if message.is_close() {
                return None;
            }
        }
    }

    /// The code that the server closes with.
    pub async fn closed(&mut self) -> u16 {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next()).await;
            match next.expect("an end within 20 s") {
                Some(Ok(message)) => {
                    if let Some((code, _)) = message.as_close() {
                        return u16::from(code);
                    }
                }
                _ => return 1006,
            }
        }
    }

    /// Its connection is reset, as by a router that restarts; what it didn't read is lost.
    pub fn cut(self) {
        let MaybeTlsStream::Plain(socket) = self.socket.get_ref();
        socket.set_zero_linger().expect("a socket option");
    }

    fn take(&mut self, text: Value) {
        match text["type"].as_str() {
            Some("message" | "act") => {
                let recovered = self.welcome["recovered"] == true;
                let expected = self.seq() + 1;
                assert!(!recovered || text["seq"] == expected, "{text} where {expected} should be");
                self.records.push(text);
            }
            Some("viewers") => {}
            _ => self.others.push(text),
        }
    }

    /// Reads until it has record `seq`.
    pub async fn until(&mut self, seq: u64) {
        while self.seq() < seq {
            let text = self.next().await.expect("the room goes on");
            self.take(text);
        }
    }

    /// Reads up to the next answer to this viewer alone.
    pub async fn answer(&mut self) -> Value {
        loop {
            if !self.others.is_empty() {
                return self.others.remove(0);
            }
            let text = self.next().await.expect("the connection goes on");
            self.take(text);
        }
    }

    /// Sends a text as it is.
    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.expect("it is sent");
    }

    /// Says who it is.
    pub async fn hello(&mut self, person: &Person) -> Value {
        self.send(&json!({ "type": "hello", "token": person.token }).to_string()).await;
        self.answer().await
    }

    /// Says something, without waiting for what becomes of it.
    pub async fn say(&mut self, message: &str, client_id: &str) {
        let said = json!({ "type": "say", "message": message, "client_id": client_id });
        self.send(&said.to_string()).await;
    }
}
