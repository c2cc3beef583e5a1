//! Several messages in one (type 22, R 7.1.6).

use bytes::{Buf, Bytes};

use crate::rtmp::chunk::Message;

/// Bytes of a sub-message's header: type, length, timestamp, stream.
const HEADER: usize = 11;
/// Each sub-message ends with its length once more.
const BACK_POINTER: usize = 4;

/// The sub-messages. Their timestamps are moved so that the first has the
/// aggregate's. A truncated rest is left out. Their payloads are copies: a
/// small one that is kept must not keep the whole aggregate in memory.
pub(super) fn split(aggregate: &Message) -> impl Iterator<Item = Message> {
    let mut rest: Bytes = aggregate.payload.clone();
    let mut shift = None;
    let (chunk_stream, stream_id, begin) =
        (aggregate.chunk_stream, aggregate.stream_id, aggregate.timestamp_ms);
    std::iter::from_fn(move || {
        let header: [u8; HEADER] = *rest.first_chunk()?;
        let [type_id, l2, l1, l0, t2, t1, t0, t3, ..] = header;
        let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        rest.advance(HEADER);
        if length > rest.len() {
            return None;
        }
        let payload = Bytes::copy_from_slice(&rest.split_to(length));
        rest.advance(BACK_POINTER.min(rest.len()));
        let timestamp = u32::from_be_bytes([t3, t2, t1, t0]);
        let shift = *shift.get_or_insert(begin.wrapping_sub(timestamp));
        let timestamp_ms = timestamp.wrapping_add(shift);
        Some(Message { chunk_stream, stream_id, type_id, timestamp_ms, payload })
    })
}
