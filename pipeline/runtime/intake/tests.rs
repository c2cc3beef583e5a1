//! The promises of the intake, without a data plane.

use std::time::Duration;

use records::PacketBody;

use super::*;

const LIMITS: IntakeLimits = IntakeLimits { unread_bytes_max: 1000, retained_bytes_max: 2000 };

fn packet(stream: StreamId, size: usize) -> Packet {
    let data = vec![0; size].into();
    Packet { stream, offset: 0, arrival_us: 0, body: PacketBody::Audio { timestamp_ms: 0, data } }
}

fn read_offsets(intake: &Intake<Packet>, fuel: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    intake.read(0, &ShardTable::even(1), fuel, |p| offsets.push(p.offset));
    offsets
}

#[tokio::test]
async fn replays_what_was_not_acknowledged() {
    let intake = Intake::new("test", LIMITS);
    let stream = StreamId::generate();
    let writer = intake.writer(stream);
    for _ in 0..4 {
        writer.push(packet(stream, 10)).await.unwrap();
    }
    assert_eq!(read_offsets(&intake, usize::MAX), [0, 1, 2, 3]);
    intake.ack(stream, 2);
    intake.rewind(|_| 0);
    assert_eq!(read_offsets(&intake, usize::MAX), [2, 3]);
    assert_eq!(intake.unread_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_waits_until_it_is_read() {
    let intake = Intake::new("test", LIMITS);
    let stream = StreamId::generate();
    let writer = intake.writer(stream);
    writer.push(packet(stream, 2000)).await.unwrap();
    let full = tokio::time::timeout(Duration::from_secs(1), writer.push(packet(stream, 1)));
    assert!(full.await.is_err());
    read_offsets(&intake, usize::MAX);
    writer.push(packet(stream, 1)).await.unwrap();
}

#[tokio::test]
async fn retention_is_bounded() {
    let intake = Intake::new("test", LIMITS);
    let stream = StreamId::generate();
    let writer = intake.writer(stream);
    for _ in 0..10 {
        writer.push(packet(stream, 800)).await.unwrap();
        read_offsets(&intake, usize::MAX);
    }
    intake.rewind(|_| 0);
    assert_eq!(read_offsets(&intake, usize::MAX), [8, 9]);
}

#[tokio::test]
async fn streams_take_turns() {
    let intake = Intake::new("test", LIMITS);
    // Same lane, so that they share one queue.
    let one = StreamId::generate();
    let other = std::iter::repeat_with(StreamId::generate)
        .find(|s| s.shard().0 % 64 == one.shard().0 % 64)
        .unwrap();
    for _ in 0..3 {
        for stream in [one, other] {
            intake.writer(stream).push_now(packet(stream, 100)).unwrap();
        }
    }
    let mut seen = Vec::new();
    while intake.read(0, &ShardTable::even(1), 1, |p| seen.push(p.stream)) {}
    assert_eq!(seen.iter().filter(|s| **s == one).count(), 3);
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_closed_stream_is_forgotten_once_acknowledged() {
    let intake = Intake::new("test", LIMITS);
    let stream = StreamId::generate();
    let writer = intake.writer(stream);
    writer.push(packet(stream, 10)).await.unwrap();
    writer.close();
    assert!(writer.push(packet(stream, 10)).await.is_err());
    assert_eq!(read_offsets(&intake, usize::MAX), [0]);
    intake.ack(stream, 1);
    assert!(intake.shared.streams.read().is_empty());
}
