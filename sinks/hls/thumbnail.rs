//! The latest key picture of a stream, cut out of its part.

use bytes::Bytes;
use records::{Pieces, TrackInit};

use super::track::Track;

/// The newest key picture in memory: its track's configuration and the
/// access unit, in the form that its codec says.
pub(super) fn latest_keyframe(track: &Track) -> Option<(TrackInit, Bytes)> {
    let open = track.open.as_ref().map(|o| (o.run, o.iframe_bytes, &o.chunks));
    let closed = track.segments.iter().rev().take(4);
    let closed = closed.map(|s| (s.meta.run, s.meta.iframe_bytes, &s.chunks));
    open.into_iter().chain(closed).find_map(|(run, iframe_bytes, chunks)| {
        let (init, _) = track.init(run)?.live.as_ref()?;
        let sample = first_sample(chunks.first()?, iframe_bytes?)?;
        Some((init.clone(), sample))
    })
}

/// The first sample of a chunk that says where it ends. Every chunk holds one
/// track, so its samples fill `mdat` in order.
pub(super) fn first_sample(chunk: &Pieces, end: u32) -> Option<Bytes> {
    let end = end as usize;
    let mut offset = 0;
    loop {
        let head = chunk.slice(offset..offset + 8)?;
        let size = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
        if &head[4..] == b"mdat" {
            let header = if size == 1 { 16 } else { 8 };
            let start = offset + header;
            return chunk.slice(start..end).filter(|sample| !sample.is_empty());
        }
        if size < 8 {
            return None;
        }
        offset += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_sample_after_moof() {
        let mut chunk = Vec::new();
        chunk.extend(12u32.to_be_bytes());
        chunk.extend(b"moofxxxx");
        chunk.extend(13u32.to_be_bytes());
        chunk.extend(b"mdatkeyde");
        let whole = |bytes: &[u8]| Pieces::from(Bytes::copy_from_slice(bytes));
        assert_eq!(first_sample(&whole(&chunk), 23).as_deref(), Some(&b"key"[..]));
        assert_eq!(first_sample(&whole(&chunk), 99), None);
        assert_eq!(first_sample(&whole(&chunk[..10]), 10), None);
        assert_eq!(first_sample(&whole(&[0; 32]), 20), None);
    }
}
