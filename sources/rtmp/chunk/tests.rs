//! What must hold for any peer: reading is independent of how bytes arrive,
//! reading undoes writing, and garbage neither panics nor costs memory.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn message(chunk_stream: u32, type_id: u8, timestamp_ms: u32, length: usize) -> Message {
    let payload: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
    Message { chunk_stream, stream_id: 1, type_id, timestamp_ms, payload: payload.into() }
}

fn written(messages: &[Message]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut writer = ChunkWriter::new();
    for message in messages {
        writer.write(message, &mut out);
    }
    out
}

fn read_all(bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(bytes);
    drain(&mut reader)
}

fn drain(reader: &mut ChunkReader) -> Result<Vec<Message>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.next()? {
        messages.push(message);
    }
    Ok(messages)
}

/// Type 0 header with a three-byte timestamp.
fn full_header(out: &mut Vec<u8>, chunk_stream: u8, time: u32, length: u32, type_id: u8) {
    out.put_u8(chunk_stream);
    out.put_uint(u64::from(time), 3);
    out.put_uint(u64::from(length), 3);
    out.put_u8(type_id);
    out.put_u32_le(1);
}

#[test]
fn all_three_sizes_of_basic_header() {
    let messages: Vec<_> =
        [2, 63, 64, 319, 320, 65_599].map(|id| message(id, kind::VIDEO, 5, 300)).into();
    assert_eq!(read_all(&written(&messages)).unwrap(), messages);
}

#[test]
fn timestamps_beyond_24_bits_and_around_the_wrap() {
    // 0xffffff itself already needs the extended field.
    let times = [0xff_fffe, 0xff_ffff, 0x100_0000, 0x100_0028, u32::MAX - 3, 20, 60, 100];
    let messages: Vec<_> = times.map(|t| message(6, kind::VIDEO, t, 1000)).into();
    assert_eq!(read_all(&written(&messages)).unwrap(), messages);
}

#[test]
fn a_delta_wraps_at_32_bits() {
    let mut bytes = Vec::new();
    full_header(&mut bytes, 4, 0xff_ffff, 1, kind::AUDIO);
    bytes.put_u32(u32::MAX - 9);
    bytes.put_u8(0xaa);
    bytes.extend([0x84, 0, 0, 20, 0xbb]);
    let times: Vec<_> = read_all(&bytes).unwrap().iter().map(|m| m.timestamp_ms).collect();
    assert_eq!(times, [u32::MAX - 9, 10]);
}

#[test]
fn type_3_repeats_the_delta_also_after_a_whole_timestamp() {
    let mut bytes = Vec::new();
    full_header(&mut bytes, 4, 20, 1, kind::AUDIO);
    bytes.extend([1, 0xc4, 2, 0x84, 0, 0, 5, 3, 0xc4, 4]);
    let times: Vec<_> = read_all(&bytes).unwrap().iter().map(|m| m.timestamp_ms).collect();
    assert_eq!(times, [20, 40, 45, 50]);
}

#[test]
fn type_3_without_its_extended_timestamp_is_understood() {
    let mut bytes = Vec::new();
    full_header(&mut bytes, 4, 0xff_ffff, 130, kind::VIDEO);
    bytes.put_u32(0x0123_4567);
    bytes.extend([9; 128]);
    bytes.extend([0xc4, 7, 7]);
    // The reader can't tell before it has seen four bytes.
    full_header(&mut bytes, 5, 1, 1, kind::AUDIO);
    bytes.put_u8(1);
    let messages = read_all(&bytes).unwrap();
    assert_eq!(messages[0].payload[126..], [9, 9, 7, 7]);
    assert_eq!(messages.len(), 2);
}

#[test]
fn chunk_size_applies_to_the_next_chunk() {
    let mut out = BytesMut::new();
    let mut writer = ChunkWriter::new();
    let big = message(6, kind::VIDEO, 0, 5000);
    writer.write(&big, &mut out);
    writer.set_chunk_size(4096, &mut out);
    writer.write(&big, &mut out);
    assert_eq!(read_all(&out).unwrap(), [big.clone(), big]);
}

#[test]
fn impossible_chunk_sizes_are_refused() {
    for size in [0, 0x8000_0000, u32::MAX, 0x100_0000] {
        let control = Message {
            chunk_stream: 2,
            stream_id: 0,
            type_id: kind::SET_CHUNK_SIZE,
            timestamp_ms: 0,
            payload: Bytes::copy_from_slice(&size.to_be_bytes()),
        };
        let error = read_all(&written(&[control])).unwrap_err();
        assert_eq!(error, ChunkError::ChunkSize { size, max: 0xff_ffff });
    }
}

#[test]
fn abort_drops_the_unfinished_message_only() {
    let mut bytes = Vec::new();
    full_header(&mut bytes, 4, 10, 200, kind::VIDEO);
    bytes.extend([1; 128]);
    full_header(&mut bytes, 5, 10, 130, kind::AUDIO);
    bytes.extend([2; 128]);
    full_header(&mut bytes, 2, 0, 4, kind::ABORT);
    bytes.put_u32(4);
    bytes.extend([0xc5, 2, 2]);
    full_header(&mut bytes, 4, 20, 1, kind::VIDEO);
    bytes.put_u8(3);
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&bytes);
    let messages = drain(&mut reader).unwrap();
    assert_eq!(
        messages.iter().map(|m| (m.type_id, m.payload.len())).collect::<Vec<_>>(),
        [(kind::AUDIO, 130), (kind::VIDEO, 1)]
    );
}

#[test]
fn greedy_peers_are_refused() {
    let limits = ChunkLimits {
        message_bytes_max: 1000,
        chunk_streams_max: 3,
        unfinished_bytes_max: 1500,
        ..ChunkLimits::default()
    };
    let refused = |bytes: &[u8]| {
        let mut reader = ChunkReader::new(limits);
        reader.push(bytes);
        drain(&mut reader).unwrap_err().label()
    };
    let mut too_long = Vec::new();
    full_header(&mut too_long, 4, 0, 1001, kind::VIDEO);
    assert_eq!(refused(&too_long), "message_too_long");

    let mut too_many = Vec::new();
    for id in 4..8 {
        full_header(&mut too_many, id, 0, 0, kind::VIDEO);
    }
    assert_eq!(refused(&too_many), "chunk_streams");

    let mut unfinished = Vec::new();
    for id in 4..6 {
        full_header(&mut unfinished, id, 0, 900, kind::VIDEO);
        unfinished.extend([0; 128]);
    }
    assert_eq!(refused(&unfinished), "unfinished");

    assert_eq!(refused(&[0xc4]), "chunk_header");
    let mut interrupted = Vec::new();
    full_header(&mut interrupted, 4, 0, 900, kind::VIDEO);
    interrupted.extend([0; 128]);
    full_header(&mut interrupted, 4, 0, 900, kind::VIDEO);
    assert_eq!(refused(&interrupted), "chunk_header");
}

#[test]
fn an_announced_length_costs_nothing_before_its_bytes_come() {
    let mut bytes = Vec::new();
    full_header(&mut bytes, 4, 0, 8 << 20, kind::VIDEO);
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&bytes);
    assert_eq!(reader.next().unwrap(), None);
    assert!(reader.held_bytes() < 32 << 10, "{}", reader.held_bytes());
}

#[test]
fn a_long_message_ends_exactly_full() {
    let long = message(6, kind::VIDEO, 0, 100_000);
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.push(&written(std::slice::from_ref(&long)));
    assert_eq!(reader.next().unwrap(), Some(long));
}

/// One chunk stream's messages, with chunk size changes in between left to the caller.
fn any_messages() -> impl Strategy<Value = Vec<Message>> {
    let types = prop::sample::select(vec![kind::AUDIO, kind::VIDEO, kind::DATA]);
    let one = (types, prop_oneof![any::<u32>(), 0..100_u32], 0..700_usize);
    prop::collection::vec(one, 0..8).prop_map(|parts| {
        parts.into_iter().map(|(type_id, time, len)| message(0, type_id, time, len)).collect()
    })
}

proptest! {
    #[test]
    fn reads_what_was_written_however_interleaved_and_split(
        mut lanes in prop::collection::vec((2..65_600_u32, any_messages()), 1..5),
        chunk_bytes in 1..600_u32,
        order in prop::collection::vec(any::<prop::sample::Index>(), 200),
        splits in prop::collection::vec(1..300_usize, 50),
    ) {
        lanes.sort_by_key(|lane| lane.0);
        lanes.dedup_by_key(|lane| lane.0);
        let mut bytes = BytesMut::new();
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(chunk_bytes, &mut bytes);
        // Each chunk stream's chunks on their own, to be shuffled together.
        let mut chunks: Vec<std::collections::VecDeque<Bytes>> = Vec::new();
        for (id, messages) in &mut lanes {
            let mut own = std::collections::VecDeque::new();
            for message in messages {
                message.chunk_stream = *id;
                let (mut out, mut ends) = (BytesMut::new(), Vec::new());
                writer.write_marked(message, &mut out, |end| ends.push(end));
                let out = out.freeze();
                let starts = std::iter::once(0).chain(ends.iter().copied());
                own.extend(starts.zip(&ends).map(|(from, to)| out.slice(from..*to)));
            }
            chunks.push(own);
        }
        let mut pick = order.iter().cycle();
        while chunks.iter().any(|own| !own.is_empty()) {
            let own = pick.next().unwrap().get(&chunks).clone();
            let lane = chunks.iter().position(|c| *c == own).unwrap();
            if let Some(chunk) = chunks[lane].pop_front() {
                bytes.extend_from_slice(&chunk);
            } else {
                chunks.retain(|c| !c.is_empty());
            }
        }

        let mut reader = ChunkReader::new(ChunkLimits::default());
        let mut read = Vec::new();
        let (mut rest, mut split) = (&bytes[..], splits.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*split.next().unwrap()).min(rest.len()));
            reader.push(now);
            read.extend(drain(&mut reader).unwrap());
            rest = later;
        }
        for (id, messages) in &lanes {
            let got: Vec<_> = read.iter().filter(|m| m.chunk_stream == *id).cloned().collect();
            prop_assert_eq!(&got, messages);
        }
    }

    #[test]
    fn garbage_neither_panics_nor_costs_memory(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(4), Just(0xc4)], 0..4000),
        split in 1..500_usize,
    ) {
        let limits = ChunkLimits {
            message_bytes_max: 2000,
            unfinished_bytes_max: 4000,
            chunk_streams_max: 16,
            ..ChunkLimits::default()
        };
        let mut reader = ChunkReader::new(limits);
        for piece in bytes.chunks(split) {
            reader.push(piece);
            if drain(&mut reader).is_err() {
                break;
            }
            prop_assert!(reader.held_bytes() < 16 << 10, "{}", reader.held_bytes());
        }
    }
}
