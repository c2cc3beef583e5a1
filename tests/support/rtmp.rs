//! A publisher that speaks chunks and may break every rule: ffmpeg can't.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sources::rtmp::amf::{AmfLimits, Value, decode, encode, object};
use sources::rtmp::chunk::{ChunkLimits, ChunkReader, ChunkWriter, Message, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to the server's RTMP port.
pub struct Rtmp {
    pub socket: TcpStream,
    reader: ChunkReader,
    writer: ChunkWriter,
}

/// How a publish attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Started,
    Refused { code: String, description: String },
    Closed,
}

impl Rtmp {
    /// Connects and shakes hands. `url` is `rtmp://host:port/app`.
    pub async fn connect(url: &str) -> Self {
        let address = url.trim_start_matches("rtmp://").split('/').next().expect("an address");
        let mut socket = TcpStream::connect(address).await.expect("the RTMP port");
        socket.set_nodelay(true).expect("nodelay");
        let mut hello = vec![3];
        hello.resize(1 + 1536, 7);
        hello[1..9].fill(0);
        socket.write_all(&hello).await.expect("C0 and C1");
        let mut answer = vec![0; 1 + 2 * 1536];
        socket.read_exact(&mut answer).await.expect("S0, S1 and S2");
        socket.write_all(&answer[1..1537]).await.expect("C2");
        Self {
            socket,
            reader: ChunkReader::new(ChunkLimits::default()),
            writer: ChunkWriter::new(),
        }
    }

    /// Connects and publishes `key`; panics if that is refused.
    pub async fn publish(url: &str, key: &str) -> Self {
        let mut rtmp = Self::connect(url).await;
        assert_eq!(rtmp.start(key).await, Answer::Started);
        rtmp
    }

    /// Sends `connect`, `createStream` and `publish`, and reads what comes of it.
    pub async fn start(&mut self, key: &str) -> Answer {
        let mut out = BytesMut::new();
        self.writer.set_chunk_size(4096, &mut out);
        self.send_raw(&out).await;
        let app = object([("app", "live".into()), ("tcUrl", "rtmp://127.0.0.1/live".into())]);
        self.command(0, &["connect".into(), 1.0.into(), app]).await;
        self.command(0, &["createStream".into(), 2.0.into(), Value::Null]).await;
        let publish = ["publish".into(), 3.0.into(), Value::Null, key.into(), "live".into()];
        self.command(1, &publish).await;
        self.outcome().await
    }

    async fn outcome(&mut self) -> Answer {
        loop {
            let Some(message) = self.receive().await else { return Answer::Closed };
            if message.type_id != kind::COMMAND {
                continue;
            }
            let values = decode(&message.payload, &AmfLimits::default()).expect("AMF0");
            let status = values.iter().find_map(|v| v.get("code").map(|code| (v, code)));
            let Some((info, code)) = status else { continue };
            let code = code.as_str().unwrap_or_default().to_owned();
            let text = |name| info.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            if code == "NetStream.Publish.Start" {
                return Answer::Started;
            }
            if text("level") == "error" {
                return Answer::Refused { code, description: text("description") };
            }
        }
    }

    /// The next message; none once the server closed.
    pub async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.reader.next().expect("good chunks") {
                return Some(message);
            }
            let read = self.socket.read_buf(self.reader.buffer());
            match tokio::time::timeout(Duration::from_secs(20), read).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return None,
                Err(_) => panic!("the server said nothing for 20 s"),
            }
        }
    }

    /// Whether the server closes the connection within `limit`.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let mut rest = [0; 4096];
        let read_to_end =
            async { while !matches!(self.socket.read(&mut rest).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(limit, read_to_end).await.is_ok()
    }

    /// Sends a command.
    pub async fn command(&mut self, stream_id: u32, values: &[Value]) {
        let mut payload = Vec::new();
        for value in values {
            encode(value, &mut payload);
        }
        self.message(3, stream_id, kind::COMMAND, 0, payload.into()).await;
    }

    /// Sends a video tag.
    pub async fn video(&mut self, timestamp_ms: u32, tag: impl Into<Bytes>) {
        self.message(6, 1, kind::VIDEO, timestamp_ms, tag.into()).await;
    }

    /// Sends an audio tag.
    pub async fn audio(&mut self, timestamp_ms: u32, tag: impl Into<Bytes>) {
        self.message(4, 1, kind::AUDIO, timestamp_ms, tag.into()).await;
    }

    /// Sends any message.
    pub async fn message(
        &mut self,
        chunk_stream: u32,
        stream_id: u32,
        type_id: u8,
        timestamp_ms: u32,
        payload: Bytes,
    ) {
        let mut out = BytesMut::new();
        let message = Message { chunk_stream, stream_id, type_id, timestamp_ms, payload };
        self.writer.write(&message, &mut out);
        self.send_raw(&out).await;
    }

    /// Sends any bytes. A server that closed already is no error here.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Says goodbye properly.
    pub async fn finish(&mut self) {
        self.command(0, &["FCUnpublish".into(), 4.0.into(), Value::Null, "x".into()]).await;
        self.command(0, &["deleteStream".into(), 5.0.into(), Value::Null, 1.0.into()]).await;
    }
}

/// A chunk's first bytes: format, chunk stream, and the header of format 0.
pub fn chunk_header(chunk_stream: u8, length: u32, type_id: u8, stream_id: u32) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(chunk_stream);
    out.put_uint(0, 3);
    out.put_uint(u64::from(length), 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    out
}
