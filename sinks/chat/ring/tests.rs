//! The ring against a list that forgets nothing.

use proptest::prelude::*;

use super::*;

fn ring(bytes: usize) -> Ring {
    Ring::new(7, 0, bytes)
}

fn all(ring: &Ring, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    ring.copy(from, &mut bytes, &mut Vec::new()).unwrap();
    bytes
}

#[test]
fn a_window_is_one_run_of_frames() {
    let mut ring = ring(4096);
    ring.push(1, "one").unwrap();
    let behind_one = ring.head();
    ring.push(2, "two").unwrap();
    ring.notice("three").unwrap();
    assert_eq!(all(&ring, behind_one), b"\x81\x03two\x81\x05three");
    assert_eq!(all(&ring, ring.head()), b"");
}

#[test]
fn marks_say_where_frames_end_in_a_copy() {
    let mut ring = ring(4096);
    ring.push(1, "one").unwrap();
    let behind_one = ring.head();
    ring.push(5, "two").unwrap();
    ring.notice("three").unwrap();
    let (mut bytes, mut marks) = (b"before".to_vec(), Vec::new());
    ring.copy(behind_one, &mut bytes, &mut marks).unwrap();
    // A notice has no number: who has it has all up to the message before.
    assert_eq!(marks, [Mark { end: 11, seq: 5 }, Mark { end: 18, seq: 5 }]);
    assert_eq!(bytes.len(), 18);
    ring.copy(ring.head(), &mut bytes, &mut marks).unwrap();
    assert_eq!(marks.len(), 2, "nothing has no mark");
}

#[test]
fn each_length_has_its_header_and_polling_skips_it() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let mut ring = ring(1 << 20);
        let text = "x".repeat(len);
        ring.push(1, &text).unwrap();
        ring.push(2, "after").unwrap();
        let page = ring.page(0, usize::MAX).unwrap();
        assert_eq!(page.frames[0].payload, text.as_bytes(), "{len}");
        assert_eq!(page.frames[1], Frame { seq: Some(2), payload: Bytes::from("after") });
        assert_eq!((page.next, page.seq), (ring.head(), 2));
    }
}

#[test]
fn recovery_gives_what_is_held_and_says_when_it_is_not() {
    let mut ring = ring(4096);
    let text = "x".repeat(100);
    for seq in 1..=100 {
        ring.push(seq, &text).unwrap();
    }
    let held = ring.page(ring.tail(), usize::MAX).unwrap().frames;
    let oldest = held[0].seq.unwrap();
    assert!(oldest > 1, "the ring is full");

    let just = ring.seek(Start::After { epoch: 7, seq: oldest - 1 });
    assert_eq!((just.offset, just.recovered), (ring.tail(), true));
    let lost = ring.seek(Start::After { epoch: 7, seq: oldest - 2 });
    assert_eq!((lost.offset, lost.seq, lost.recovered), (ring.head(), 100, false));
    let newest = ring.seek(Start::After { epoch: 7, seq: 100 });
    assert_eq!((newest.offset, newest.recovered), (ring.head(), true));
    for (epoch, seq) in [(6, 100), (8, 100), (7, 101)] {
        assert!(!ring.seek(Start::After { epoch, seq }).recovered, "{epoch} {seq}");
    }
    assert!(ring.seek(Start::Live).recovered);
    let all = ring.seek(Start::Oldest);
    assert_eq!((all.offset, all.seq, all.recovered), (ring.tail(), oldest - 1, true));
}

#[test]
fn what_was_said_before_the_ring_is_not_held() {
    let ring = Ring::new(7, 40, 4096);
    assert!(ring.seek(Start::After { epoch: 7, seq: 40 }).recovered);
    assert!(!ring.seek(Start::After { epoch: 7, seq: 39 }).recovered);
}

#[test]
fn a_number_comes_once_and_a_text_leaves_room_for_others() {
    let mut ring = ring(4096);
    ring.push(5, "five").unwrap();
    assert_eq!(ring.push(5, "again"), Err(PushError::Number { seq: 5, last: 5 }));
    let long = "x".repeat(1100);
    assert_eq!(ring.push(6, &long), Err(PushError::TooLong { bytes: 1104, max: 1024 }));
    ring.push(6, "six").unwrap();
}

#[test]
fn tiny_frames_are_bounded_in_number() {
    let mut ring = ring(1 << 16);
    for _ in 0..100_000 {
        ring.notice("").unwrap();
    }
    assert!(ring.frames.len() <= (1 << 16) / FRAME_BYTES_MIN);
}

#[test]
fn offsets_outside_are_behind() {
    let mut ring = ring(4096);
    for seq in 1..=200 {
        ring.push(seq, &"y".repeat(100)).unwrap();
    }
    for outside in [ring.tail() - 1, ring.head() + 1] {
        assert_eq!(ring.copy(outside, &mut Vec::new(), &mut Vec::new()), Err(Behind));
    }
    assert_eq!(ring.page(0, 1), Err(Behind));
    assert_eq!(ring.seq_before(0), None);
    let first = ring.page(ring.tail(), 1).unwrap();
    assert_eq!(first.frames.len(), 1);
    assert_eq!(ring.seq_before(first.next), Some(first.seq));
    assert_eq!(ring.seq_before(ring.tail()), Some(first.seq - 1));
}

proptest! {
    /// Whatever is pushed, what is held is the newest part of it, byte for byte.
    #[test]
    fn holds_the_newest(lens in prop::collection::vec((0usize..900, prop::bool::ANY), 1..200)) {
        let mut ring = ring(4096);
        let mut whole: Vec<u8> = Vec::new();
        let mut seqs = Vec::new();
        let mut seq = 0;
        for (index, (len, is_numbered)) in lens.iter().enumerate() {
            let text: String = std::iter::repeat_n((b'a' + (index % 26) as u8) as char, *len).collect();
            if *is_numbered {
                seq += 1;
                ring.push(seq, &text).unwrap();
            } else {
                ring.notice(&text).unwrap();
            }
            let (head, n) = header(*len);
            whole.extend_from_slice(&head[..n]);
            whole.extend_from_slice(text.as_bytes());
            seqs.push((is_numbered.then_some(seq), text));
        }
        prop_assert_eq!(ring.head(), whole.len() as u64);
        prop_assert!(ring.bytes.len() <= 4096);
        prop_assert_eq!(all(&ring, ring.tail()), &whole[ring.tail() as usize..]);
        let page = ring.page(ring.tail(), usize::MAX).unwrap();
        let mut marks = Vec::new();
        ring.copy(ring.tail(), &mut Vec::new(), &mut marks).unwrap();
        prop_assert_eq!(marks.len(), page.frames.len());
        for mark in marks {
            prop_assert_eq!(ring.seq_before(ring.tail() + mark.end as u64), Some(mark.seq));
        }
        let newest = &seqs[seqs.len() - page.frames.len()..];
        for (frame, (seq, text)) in page.frames.iter().zip(newest) {
            prop_assert_eq!(frame.seq, *seq);
            prop_assert_eq!(&frame.payload[..], text.as_bytes());
        }
        // Every number is either recovered without a hole, or said to be lost.
        for after in 0..=seq {
            let position = ring.seek(Start::After { epoch: 7, seq: after });
            let got = ring.page(position.offset, usize::MAX).unwrap().frames;
            let numbers: Vec<u64> = got.iter().filter_map(|frame| frame.seq).collect();
            if position.recovered {
                prop_assert_eq!(numbers, (after + 1..=seq).collect::<Vec<_>>());
            } else {
                prop_assert!(numbers.is_empty());
            }
        }
    }
}
