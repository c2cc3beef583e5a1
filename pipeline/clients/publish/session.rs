//! One RTMP connection, publisher's side.
//!
//! ```text
//! connect ─► handshake ─► connect · releaseStream · FCPublish · createStream · publish
//!                                   ▼
//!               send … send … (answers read in between) … close
//! ```
//!
//! Enters: messages to send. Leaves: bytes, and the server's refusal as an
//! error with its own words. Held: the batch under way. Never done here:
//! pacing and reconnecting.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use scuffle_amf0::{Amf0Decoder, Amf0Encoder, Amf0Object, Amf0Value};
use sources::rtmp::chunk::{ChunkLimits, ChunkReader, ChunkWriter, Message, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::PublishError;
use super::clip::{Metadata, Track};
use super::url::RtmpUrl;
use crate::net::{Stream, Trust};

/// Chunk payload size that is sent: a large picture in a few dozen chunks, and
/// audio still gets in between soon enough.
const CHUNK_BYTES: u32 = 65_536;
/// How long the server may take over each answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to close after a clean end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Half of the handshake (R 5.2).
const HANDSHAKE_BYTES: usize = 1536;

/// What the server told besides audio and video.
#[derive(Debug, PartialEq)]
enum Answer {
    /// `_result` of a transaction, with its second value.
    Result { transaction: f64, value: Option<f64> },
    /// `onStatus` that isn't an error.
    Status { code: String },
}

/// A connection that may publish.
pub(super) struct Session {
    stream: Stream,
    reader: ChunkReader,
    writer: ChunkWriter,
    out: BytesMut,
    stream_id: u32,
    key: String,
    // For Acknowledgements (R 5.4.3).
    window_bytes: u64,
    received_bytes: u64,
    acknowledged_bytes: u64,
}

impl Session {
    /// Connects and publishes; media may follow.
    pub(super) async fn open(url: &RtmpUrl, trust: &Trust) -> Result<Self, PublishError> {
        let tls = url.tls.then(|| trust.client_config(&[])).transpose();
        let tls = tls.map_err(|e| PublishError::Connection(io::Error::other(e)))?;
        let stream = Stream::connect(&url.host, url.port, tls.as_ref()).await?;
        let mut session = Self {
            stream,
            reader: ChunkReader::new(ChunkLimits::default()),
            writer: ChunkWriter::new(),
            out: BytesMut::with_capacity(16 << 10),
            stream_id: 0,
            key: url.key.clone(),
            window_bytes: u64::MAX,
            received_bytes: 0,
            acknowledged_bytes: 0,
        };
        let opening = session.negotiate(url);
        match tokio::time::timeout(ANSWER_TIMEOUT, opening).await {
            Ok(result) => result.map(|()| session),
            Err(_) => Err(PublishError::Protocol("the server took over 10 s to answer")),
        }
    }

    async fn negotiate(&mut self, url: &RtmpUrl) -> Result<(), PublishError> {
        self.handshake().await?;
        self.writer.set_chunk_size(CHUNK_BYTES, &mut self.out);
        self.command(0, "connect", 1.0, &[connect_object(url)])?;
        self.result_of(1.0).await?;
        let key = self.key.clone();
        self.command(0, "releaseStream", 2.0, &[Amf0Value::Null, text(&key)])?;
        self.command(0, "FCPublish", 3.0, &[Amf0Value::Null, text(&key)])?;
        self.command(0, "createStream", 4.0, &[Amf0Value::Null])?;
        let id = self.result_of(4.0).await?;
        self.stream_id = id
            .filter(|id| (1.0..4e9).contains(id))
            .ok_or(PublishError::Protocol("createStream gave no stream id"))?
            as u32;
        let arguments = [Amf0Value::Null, text(&key), text("live")];
        self.command(self.stream_id, "publish", 5.0, &arguments)?;
        loop {
            if let Answer::Status { code } = self.answer().await?
                && code == "NetStream.Publish.Start"
            {
                return Ok(());
            }
        }
    }

    async fn handshake(&mut self) -> Result<(), PublishError> {
        let mut hello = [0u8; 1 + HANDSHAKE_BYTES];
        hello[0] = 3;
        // Time 0, version 0, then bytes that only have to differ from a peer's (R 5.2.3).
        for (index, byte) in hello[9..].iter_mut().enumerate() {
            *byte = (index as u8).wrapping_mul(151).wrapping_add((index >> 8) as u8);
        }
        self.stream.write_all(&hello).await?;
        let mut answer = [0u8; 1 + 2 * HANDSHAKE_BYTES];
        self.stream.read_exact(&mut answer).await?;
        if answer[0] != 3 {
            return Err(PublishError::Protocol("the server speaks another RTMP version"));
        }
        self.stream.write_all(&answer[1..=HANDSHAKE_BYTES]).await?;
        self.received_bytes = answer.len() as u64;
        Ok(())
    }

    fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        arguments: &[Amf0Value<'_>],
    ) -> Result<(), PublishError> {
        let mut payload = Vec::new();
        let mut encoder = Amf0Encoder::new(&mut payload);
        let unencodable = |_| PublishError::Protocol("a command can't be encoded");
        encoder.encode_string(name).map_err(unencodable)?;
        encoder.encode_number(transaction).map_err(unencodable)?;
        for argument in arguments {
            argument.encode(&mut encoder).map_err(unencodable)?;
        }
        let message = Message {
            chunk_stream: 3,
            stream_id,
            type_id: kind::COMMAND,
            timestamp_ms: 0,
            payload: payload.into(),
        };
        self.writer.write(&message, &mut self.out);
        Ok(())
    }

    async fn result_of(&mut self, expected: f64) -> Result<Option<f64>, PublishError> {
        loop {
            if let Answer::Result { transaction, value } = self.answer().await?
                && transaction == expected
            {
                return Ok(value);
            }
        }
    }

    /// The next answer, after flushing what was asked.
    async fn answer(&mut self) -> Result<Answer, PublishError> {
        loop {
            while let Some(message) = self.reader.next()? {
                if let Some(answer) = self.obey(&message)? {
                    return Ok(answer);
                }
            }
            self.flush().await?;
            self.read().await?;
        }
    }

    /// Appends `onMetaData` to the batch.
    pub(super) fn metadata(&mut self, metadata: &Metadata) -> Result<(), PublishError> {
        let mut fields = Amf0Object::new();
        let mut put = |name: &'static str, value: Option<f64>| {
            if let Some(value) = value {
                fields.insert(name.into(), Amf0Value::Number(value));
            }
        };
        put("width", metadata.width.map(f64::from));
        put("height", metadata.height.map(f64::from));
        put("framerate", metadata.fps);
        put("videocodecid", metadata.video_codec);
        put("audiocodecid", metadata.audio_codec);
        put("audiosamplerate", metadata.sample_rate.map(f64::from));
        put("audiochannels", metadata.channels.map(f64::from));
        fields.insert("encoder".into(), text("Millstream"));
        let mut payload = Vec::new();
        let mut encoder = Amf0Encoder::new(&mut payload);
        let unencodable = |_| PublishError::Protocol("the metadata can't be encoded");
        encoder.encode_string("@setDataFrame").map_err(unencodable)?;
        encoder.encode_string("onMetaData").map_err(unencodable)?;
        encoder.encode_object(&fields).map_err(unencodable)?;
        let message = Message {
            chunk_stream: 5,
            stream_id: self.stream_id,
            type_id: kind::DATA,
            timestamp_ms: 0,
            payload: payload.into(),
        };
        self.writer.write(&message, &mut self.out);
        Ok(())
    }

    /// Appends one tag to the batch.
    pub(super) fn push(&mut self, track: Track, timestamp_ms: u32, body: &Bytes) {
        let (chunk_stream, type_id) = match track {
            Track::Audio => (4, kind::AUDIO),
            Track::Video => (6, kind::VIDEO),
        };
        let message = Message {
            chunk_stream,
            stream_id: self.stream_id,
            type_id,
            timestamp_ms,
            payload: body.clone(),
        };
        self.writer.write(&message, &mut self.out);
    }

    /// Sends the batch. If the server closed, its last words are the error.
    pub(super) async fn flush(&mut self) -> Result<(), PublishError> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        match sent {
            Ok(()) => Ok(self.stream.flush().await?),
            Err(error) => match tokio::time::timeout(CLOSE_TIMEOUT, self.last_words()).await {
                Ok(refused @ PublishError::Refused { .. }) => Err(refused),
                _ => Err(error.into()),
            },
        }
    }

    /// Waits for bytes from the server and obeys what they say; ends with an
    /// error when the server refuses or closes. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<(), PublishError> {
        self.read().await?;
        while let Some(message) = self.reader.next()? {
            self.obey(&message)?;
        }
        Ok(())
    }

    /// Reads until the server closes or refuses.
    async fn last_words(&mut self) -> PublishError {
        loop {
            if let Err(error) = self.receive().await {
                return error;
            }
        }
    }

    async fn read(&mut self) -> Result<(), PublishError> {
        let read = self.stream.read_buf(self.reader.buffer()).await?;
        if read == 0 {
            return Err(PublishError::Closed);
        }
        self.received_bytes += read as u64;
        if self.received_bytes - self.acknowledged_bytes >= self.window_bytes {
            self.acknowledged_bytes = self.received_bytes;
            self.control(kind::ACKNOWLEDGEMENT, &(self.received_bytes as u32).to_be_bytes());
        }
        Ok(())
    }

    fn control(&mut self, type_id: u8, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        let message = Message { chunk_stream: 2, stream_id: 0, type_id, timestamp_ms: 0, payload };
        self.writer.write(&message, &mut self.out);
    }

    fn obey(&mut self, message: &Message) -> Result<Option<Answer>, PublishError> {
        match message.type_id {
            kind::WINDOW_ACK_SIZE => {
                if let Some(bytes) = message.payload.first_chunk() {
                    // Half a window, so that the server never waits for us.
                    self.window_bytes = u64::from(u32::from_be_bytes(*bytes) / 2).max(1);
                }
                Ok(None)
            }
            kind::USER_CONTROL => {
                // Ping request (6) is answered by its own payload as type 7.
                if let Some([0, 6, rest @ ..]) = message.payload.get(..) {
                    let pong = [&[0, 7], rest].concat();
                    self.control(kind::USER_CONTROL, &pong);
                }
                Ok(None)
            }
            kind::COMMAND => interpret(&message.payload),
            kind::COMMAND_AMF3 => interpret(message.payload.get(1..).unwrap_or_default()),
            _ => Ok(None),
        }
    }

    /// Ends the broadcast cleanly (R 7.2; PROTOCOLS §3) and waits a moment for
    /// the server to close.
    pub(super) async fn close(mut self) -> Result<(), PublishError> {
        let key = self.key.clone();
        self.command(0, "FCUnpublish", 6.0, &[Amf0Value::Null, text(&key)])?;
        let id = Amf0Value::Number(f64::from(self.stream_id));
        self.command(0, "deleteStream", 7.0, &[Amf0Value::Null, id])?;
        self.flush().await?;
        self.stream.shutdown().await?;
        // Closing is what is wanted, so how it comes about doesn't matter.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.last_words()).await;
        Ok(())
    }
}

fn text(value: &str) -> Amf0Value<'static> {
    Amf0Value::String(value.to_owned().into())
}

fn connect_object(url: &RtmpUrl) -> Amf0Value<'static> {
    let codecs = ["av01", "hvc1", "avc1", "Opus", "mp4a"].map(text).to_vec();
    let fields = [
        ("app", text(&url.app)),
        ("type", text("nonprivate")),
        ("flashVer", text("FMLE/3.0 (compatible; Millstream)")),
        ("tcUrl", text(&url.tc_url())),
        ("fourCcList", Amf0Value::Array(codecs.into())),
    ];
    Amf0Value::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Reads a command of the server's; an error level becomes an error.
fn interpret(payload: &[u8]) -> Result<Option<Answer>, PublishError> {
    let undecodable = |_| PublishError::Protocol("the server sent a command that can't be decoded");
    let mut decoder = Amf0Decoder::from_slice(payload);
    let name = decoder.decode_string().map_err(undecodable)?;
    let transaction = decoder.decode_number().unwrap_or(0.0);
    let arguments = decoder.decode_all().unwrap_or_default();
    let info = arguments.iter().rev().find_map(|value| match value {
        Amf0Value::Object(fields) => Some(fields),
        _ => None,
    });
    let field = |wanted: &str| {
        let found = info.iter().flat_map(|fields| fields.iter());
        let found = found.filter(|(name, _)| name.as_str() == wanted);
        found.map(|(_, value)| value).find_map(string).unwrap_or_default()
    };
    match name.as_str() {
        "_error" => refusal(field("code"), field("description")),
        "onStatus" if field("level") == "error" => refusal(field("code"), field("description")),
        "onStatus" => Ok(Some(Answer::Status { code: field("code") })),
        "_result" => {
            let value = arguments.iter().rev().find_map(|value| match value {
                Amf0Value::Number(number) => Some(*number),
                _ => None,
            });
            Ok(Some(Answer::Result { transaction, value }))
        }
        _ => Ok(None),
    }
}

fn string(value: &Amf0Value<'_>) -> Option<String> {
    match value {
        Amf0Value::String(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn refusal(code: String, description: String) -> Result<Option<Answer>, PublishError> {
    Err(PublishError::Refused { code, description })
}
