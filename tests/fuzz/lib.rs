//! What is fuzzed: each function takes any bytes and may not panic, hang or
//! hold more memory than it promises. `tests/it/corpus.rs` runs the corpora
//! through the same functions, so they stay true without a fuzzer.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use ::chat::ws::{Incoming, Limits, Parser, Violation};
use futures_util::FutureExt;
use moderate::{
    LinkPolicy, Person, Relation, Room, Rules, RulesConfig, Said, ServerLimit, Standing, Verdict,
};
use operators::demux::{DemuxConfig, Demuxed, Demuxer};
use operators::segment::{SegmentConfig, Segmenter};
use records::{MessageId, Packet, PacketBody, StreamId, UserId};
use sinks::hls::{HlsConfig, NoCold, Origin};
use sources::chat::{CLIENT_TEXT_BYTES_MAX, ClientText};
use sources::rtmp::amf::{self, AmfLimits};
use sources::rtmp::chunk::{ChunkLimits, ChunkReader};

/// A peer's bytes after the handshake, in pieces: the first byte says how long they are.
pub fn chunk(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let limits = ChunkLimits::default();
    let mut reader = ChunkReader::new(limits);
    for piece in bytes.chunks(usize::from(*step).max(1)) {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(message)) => assert!(message.payload.len() <= limits.message_bytes_max),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(reader.held_bytes() <= 2 * limits.unfinished_bytes_max);
    }
}

/// A command or metadata message. What can be read can be written and read again.
pub fn amf(data: &[u8]) {
    let limits = AmfLimits::default();
    let Ok(values) = amf::decode(data, &limits) else { return };
    let mut written = Vec::new();
    values.iter().for_each(|value| amf::encode(value, &mut written));
    let again = amf::decode(&written, &limits).expect("what we write can be read");
    assert_eq!(format!("{values:?}"), format!("{again:?}"));
}

/// A publisher's tags, through demuxer and segmenter. Each is `kind, timestamp
/// step in ms, length (two bytes), body`.
pub fn demux(mut data: &[u8]) {
    let stream = StreamId("01900000-0000-7000-8000-000000000000".parse().expect("a UUID"));
    let mut demuxer = Demuxer::new(stream, Arc::new(DemuxConfig::default()), None);
    let mut segmenter = Segmenter::new(stream, Arc::new(SegmentConfig::default()));
    let (mut offset, mut clock_us, mut timestamp_ms) = (0, 1_700_000_000_000_000, 0i64);
    let mut demuxed = Vec::new();
    let mut media = Vec::new();
    let mut push = |body, clock_us| {
        demuxer.push(Packet { stream, offset, arrival_us: clock_us, body }, &mut demuxed);
        offset += 1;
        for out in demuxed.drain(..) {
            if let Demuxed::Frame(frame) = out {
                segmenter.push(frame, &mut media);
            }
        }
        media.clear();
    };
    push(PacketBody::Start { session: 1 }, clock_us);
    while let [kind, step, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, after) = rest.split_at(length);
        data = after;
        timestamp_ms += i64::from(*step as i8);
        clock_us += u64::from(*step) * 1000;
        let body = bytes::Bytes::copy_from_slice(body);
        push(
            match kind % 8 {
                0..=2 => PacketBody::Video { timestamp_ms, data: body },
                3 | 4 => PacketBody::Audio { timestamp_ms, data: body },
                5 => PacketBody::Data { timestamp_ms, data: body },
                6 => PacketBody::Idle,
                _ => PacketBody::Stop,
            },
            clock_us,
        );
    }
    push(PacketBody::End, clock_us);
}

/// A viewer's request: path, then a question mark and the query.
pub fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(p, q)| (p, Some(q)));
    let origin = Origin::new(HlsConfig::default(), Arc::new(NoCold));
    let stream = StreamId("01900000-0000-7000-8000-000000000000".parse().expect("a UUID"));
    origin.open(stream, None);
    let headers = http::HeaderMap::new();
    // Held requests stay pending without a runtime's clock: an answer at once is a refusal.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let method = http::Method::GET;
    if let Some(response) = origin.respond(stream, path, query, &headers, &method).now_or_never() {
        assert!(response.status().is_client_error(), "nothing has been published");
        assert!(response.headers().contains_key("access-control-allow-origin"));
    }
}

/// A viewer's bytes on chat's socket; the first one says in which pieces they come as well. Texts
/// among them are said in a room, and so is all of it, lest each has to be masked to get there.
pub fn chat(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first() else { return };
    let whole = heard([bytes]);
    assert_eq!(whole, heard(bytes.chunks(1)), "byte by byte");
    assert_eq!(whole, heard(pieces(bytes, *seed)), "in pieces");
    let mut talk = Talk::new();
    for incoming in &whole.0 {
        if let Incoming::Text(text) = incoming {
            talk.hear(text);
        }
    }
    talk.hear(&String::from_utf8_lossy(bytes));
}

/// What comes of bytes that a socket gives in pieces, and what was wrong with them.
fn heard<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Incoming<'static>>, Option<Violation>) {
    let limits = Limits { message_bytes_max: CLIENT_TEXT_BYTES_MAX };
    let (mut parser, mut all) = (Parser::default(), Vec::new());
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        while !rest.is_empty() {
            let used = match parser.next(rest, limits) {
                Ok((used, None)) => used,
                Ok((_, Some(Incoming::Close(reason)))) => {
                    all.push(Incoming::Close(reason));
                    return (all, None);
                }
                Ok((used, Some(incoming))) => {
                    all.push(kept(incoming));
                    used
                }
                Err(violation) => return (all, Some(violation)),
            };
            assert!(used > 0, "it goes on");
            rest = &mut rest[used..];
        }
    }
    (all, None)
}

fn kept(incoming: Incoming<'_>) -> Incoming<'static> {
    let bytes_max = CLIENT_TEXT_BYTES_MAX as usize;
    match incoming {
        Incoming::Text(text) => {
            assert!(text.len() <= bytes_max);
            Incoming::Text(Cow::Owned(text.into_owned()))
        }
        Incoming::Binary(bytes) => {
            assert!(bytes.len() <= bytes_max);
            Incoming::Binary(Cow::Owned(bytes.into_owned()))
        }
        Incoming::Ping(bytes) => {
            assert!(bytes.len() <= 125);
            Incoming::Ping(Cow::Owned(bytes.into_owned()))
        }
        Incoming::Pong => Incoming::Pong,
        Incoming::Close(reason) => Incoming::Close(reason),
    }
}

/// Pieces of one to 32 bytes, the same for the same seed.
fn pieces(mut bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut pieces, mut state) = (Vec::new(), seed);
    while !bytes.is_empty() {
        state = state.wrapping_mul(181).wrapping_add(97);
        let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(state >> 3) + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The rules that servers have at first, with some of each kind that they may have.
static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let rules = Rules::compile(RulesConfig {
        blocked_words: vec!["spam".into(), "bad*".into()],
        blocked_patterns: vec!["(a|b)+c".into()],
        links: LinkPolicy::Only(vec!["example.org".into()]),
        emotes: vec![("wave".into(), "wave".into())],
        ..RulesConfig::default()
    });
    Arc::new(rules.expect("rules that can be used"))
});

/// A room in which somebody says something once a minute, which no limit minds.
struct Talk {
    room: Room,
    limit: ServerLimit,
    now_us: u64,
}

impl Talk {
    fn new() -> Self {
        let stream = StreamId("01900000-0000-7000-8000-000000000000".parse().expect("a UUID"));
        let room = Room::new(stream, Arc::clone(&RULES));
        Self { room, limit: ServerLimit::new(1_000_000), now_us: 1_700_000_000_000_000 }
    }

    /// A client's text, which is said as it is as well.
    fn hear(&mut self, text: &str) {
        if let Ok(ClientText::Say { message, client_id }) = ClientText::parse(text) {
            self.say(message, client_id);
        }
        self.say(text.to_owned(), None);
    }

    fn say(&mut self, text: String, client_id: Option<String>) {
        self.now_us += 61_000_000;
        let message_id = MessageId("01900000-0000-7000-8000-000000000001".parse().expect("a UUID"));
        let user_id = UserId("01900000-0000-7000-8000-000000000002".parse().expect("a UUID"));
        let from = Person {
            user_id,
            name: "ann".into(),
            standing: Standing::Viewer,
            relation: Relation::default(),
        };
        let next = self.room.next_seq();
        let said = Said { message_id, from, text, client_id };
        match self.room.push(said, self.now_us, &self.limit) {
            Verdict::Accepted(message) => {
                let chars = message.text.chars().count();
                assert!((1..=500).contains(&chars), "{chars} characters");
                assert_eq!((message.seq, self.room.next_seq()), (next, next + 1));
                let is_within = |from: u16, to: u16| from < to && usize::from(to) <= chars;
                assert!(message.emotes.iter().all(|emote| is_within(emote.start, emote.end)));
            }
            Verdict::Known(receipt) => assert!(receipt.seq < next),
            Verdict::Refused(refusal) => {
                assert!([400, 403, 429].contains(&refusal.status()), "{refusal}");
                assert_eq!(refusal.retry_after_s().is_some(), refusal.status() == 429, "{refusal}");
            }
        }
    }
}
