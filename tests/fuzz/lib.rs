//! What is fuzzed: each function takes any bytes and may not panic, hang or
//! hold more memory than it promises. `tests/it/corpus.rs` runs the corpora
//! through the same functions, so they stay true without a fuzzer.

use std::sync::Arc;

use futures_util::FutureExt;
use operators::demux::{DemuxConfig, Demuxed, Demuxer};
use operators::segment::{SegmentConfig, Segmenter};
use records::{Packet, PacketBody, StreamId};
use sinks::hls::{HlsConfig, NoCold, Origin};
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
