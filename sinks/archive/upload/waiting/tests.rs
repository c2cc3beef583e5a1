//! What goes up when, and what is given up.

use bytes::Bytes;
use records::StreamId;

use super::super::mark::TrackMark;
use super::*;

const AUDIO: Rendition = Rendition::Audio;
const SOURCE: Rendition = Rendition::Source;
const SMALL: Rendition = Rendition::Rung(160);
const LARGE: Rendition = Rendition::Rung(720);

fn item(bytes: u64, at_us: u64) -> Item {
    Item { bytes, at_us, is_found: false }
}

fn waiting(uploads: usize) -> Waiting {
    Waiting::new(uploads, Duration::from_secs(3), Duration::from_secs(60))
}

/// Segments `msns` of 10 bytes and one second each.
fn push(waiting: &mut Waiting, stream: StreamId, rendition: Rendition, msns: &[u64], now: Instant) {
    for &msn in msns {
        waiting.list(stream, msn, (msn as i64 + 1) * 1_000_000);
        waiting.push(stream, rendition, Name::Segment(msn), item(10, msn * 1_000_000), now);
    }
}

/// Pieces that count for so many MiB and take one.
fn pieces(mib: usize) -> Vec<Pieces> {
    vec![vec![Bytes::from(vec![0_u8; 1 << 20]); mib].into()]
}

/// A segment whose bytes, so many MiB, are in memory.
fn push_bytes(waiting: &mut Waiting, key: (StreamId, Rendition), msn: u64, mib: usize) {
    push(waiting, key.0, key.1, &[msn], Instant::now());
    waiting.keep_content(key.0, key.1, Name::Segment(msn), &pieces(mib));
}

fn kept_mib(waiting: &Waiting) -> usize {
    (CONTENT_BYTES_MAX - waiting.room.available_permits()) >> 20
}

fn names(tasks: &[Task]) -> Vec<(Option<Rendition>, Option<Name>)> {
    tasks.iter().map(|task| (task.key.1, task.name)).collect()
}

/// All that goes up while every attempt succeeds, in its order.
fn drain(waiting: &mut Waiting, now: Instant) -> Vec<Task> {
    let mut all = Vec::new();
    while let Some(task) = waiting.next(now) {
        waiting.settle(&task, &Outcome::Up, now);
        all.push(task);
    }
    all
}

#[test]
fn a_rendition_goes_up_in_order_and_the_recording_last() {
    let (stream, now) = (StreamId::generate(), Instant::now());
    let mut waiting = waiting(8);
    push(&mut waiting, stream, SOURCE, &[7, 8], now);
    waiting.push(stream, SOURCE, Name::Init(0), item(1, 0), now);
    waiting.recording(stream, item(2, 0), now);
    // A replay, and a scan that found the same.
    push(&mut waiting, stream, SOURCE, &[7], now);
    assert_eq!((waiting.objects, waiting.bytes), (4, 21));

    let first = waiting.next(now).unwrap();
    assert_eq!((first.name, waiting.next(now)), (Some(Name::Init(0)), None), "one at a time");
    assert!(!waiting.settle(&first, &Outcome::Up, now));
    let rest = drain(&mut waiting, now);
    let source = |msn| (Some(SOURCE), Some(Name::Segment(msn)));
    assert_eq!(names(&rest), [source(7), source(8), (None, None)]);
    assert!(waiting.is_whole(stream));
    assert_eq!((waiting.objects, waiting.bytes, waiting.next_turn()), (0, 0, None));
    let (_, mark) = waiting.take_marks().remove(0);
    assert_eq!(mark.tracks[&SOURCE], TrackMark { inits: 1, segments: 9 });
    assert!(mark.recording && waiting.take_marks().is_empty());
}

#[test]
fn a_failure_stops_its_rendition_and_tries_it_again() {
    let (stream, now) = (StreamId::generate(), Instant::now());
    let mut waiting = waiting(8);
    push(&mut waiting, stream, SOURCE, &[0, 1], now);
    push(&mut waiting, stream, AUDIO, &[0], now);
    let first = waiting.next(now).unwrap();
    waiting.settle(&first, &Outcome::Failed, now);
    assert_eq!(waiting.trouble, None, "it was the file's fault");
    let other = waiting.next(now).unwrap();
    assert_ne!(other.key, first.key, "others go on");
    waiting.settle(&other, &Outcome::Up, now);
    assert_eq!(waiting.next(now), None);
    let later = waiting.next_turn().unwrap();
    assert!(later > now && later <= now + PAUSE_MIN);
    assert_eq!(waiting.next(later), Some(first), "the same, in its order");
    waiting.settle(&first, &Outcome::Gone, later);
    assert_eq!(names(&drain(&mut waiting, later)), [(Some(SOURCE), Some(Name::Segment(1)))]);
}

#[test]
fn a_store_that_is_away_is_asked_by_one_and_all_go_on_when_it_is_back() {
    let now = Instant::now();
    let mut waiting = waiting(8);
    for _ in 0..8 {
        push(&mut waiting, StreamId::generate(), SOURCE, &[0, 1, 2], now);
    }
    let all: Vec<_> = std::iter::from_fn(|| waiting.next(now)).collect();
    assert_eq!(all.len(), 8);
    for task in &all {
        waiting.settle(task, &Outcome::Away("503".into()), now);
    }
    assert_eq!(waiting.trouble.as_deref(), Some("503"));
    let mut at = now;
    for _ in 0..40 {
        at = waiting.next_turn().unwrap().max(at);
        let task = waiting.next(at).unwrap();
        assert_eq!((waiting.next(at + PAUSE_MAX), waiting.next_turn()), (None, None), "one asks");
        waiting.settle(&task, &Outcome::Away("503".into()), at);
        let pause = waiting.next_turn().unwrap().saturating_duration_since(at);
        assert!(pause <= PAUSE_MAX);
    }
    at = waiting.next_turn().unwrap().max(at);
    let task = waiting.next(at).unwrap();
    waiting.settle(&task, &Outcome::Up, at);
    assert_eq!(waiting.trouble, None);
    let together = std::iter::from_fn(|| waiting.next(at)).count();
    assert_eq!(together, 2, "whoever waited need wait no longer, and it begins gently");
}

#[test]
fn small_rungs_go_first_and_what_is_live_stays() {
    let (one, other, now) = (StreamId::generate(), StreamId::generate(), Instant::now());
    let mut waiting = waiting(1);
    let msns: Vec<u64> = (0..10).collect();
    for rendition in [AUDIO, SOURCE, SMALL, LARGE] {
        push(&mut waiting, one, rendition, &msns, now);
    }
    // Of a process before, and over long ago.
    let old = (0..2).map(|msn| (LARGE, Name::Segment(msn), item(10, 0))).collect();
    waiting.found(other, Mark::default(), old, None, now);
    assert_eq!(waiting.bytes, 420);
    assert!(waiting.give_up(420, now).is_empty());

    let victims = waiting.give_up(400, now);
    // The last three seconds are listed: 6 to 9 end within them.
    let picked =
        |victims: &[Victim]| victims.iter().map(|v| (v.rendition, v.msn)).collect::<Vec<_>>();
    assert_eq!(picked(&victims), [(SMALL, 0), (SMALL, 1), (SMALL, 2), (SMALL, 3)]);
    assert_eq!(waiting.bytes, 380);
    waiting.given_up(&victims, false, now);
    assert_eq!(waiting.bytes, 420, "they could not be announced");
    let victims = waiting.give_up(340, now);
    let small = (0..6).map(|msn| (SMALL, msn));
    let large = [(LARGE, 0), (LARGE, 0), (LARGE, 1), (LARGE, 1)];
    assert_eq!(
        picked(&victims),
        small.chain(large).collect::<Vec<_>>(),
        "then the next, the oldest first"
    );
    waiting.given_up(&victims, true, now);
    let rest = waiting.give_up(0, now);
    assert_eq!(rest.len(), 4 + 6 + 6, "of each rendition what is listed stays");
    assert!(rest.iter().all(|victim| victim.stream == one && victim.msn < 6));
    assert_eq!(rest[4].rendition, SOURCE, "the sound is the last");
    assert!(waiting.give_up(0, now).is_empty());
    waiting.given_up(&rest, true, now);

    waiting.end(one, now);
    assert!(waiting.give_up(0, now).is_empty(), "listed for a while");
    let later = now + Duration::from_secs(60);
    let last = waiting.give_up(0, later);
    assert_eq!((last.len(), waiting.bytes), (16, 0));
    waiting.recording(one, item(1, 0), later);
    assert_eq!(waiting.next(later), None, "it is made anew first");
    waiting.given_up(&last, true, later);
    let task = waiting.next(later).unwrap();
    assert!(waiting.settle(&task, &Outcome::Up, later));
}

#[test]
fn what_is_under_way_is_not_given_up() {
    let (stream, now) = (StreamId::generate(), Instant::now());
    let mut waiting = waiting(1);
    push(&mut waiting, stream, SMALL, &[0, 1, 2, 3, 4, 5, 6, 7], now);
    let task = waiting.next(now).unwrap();
    let victims = waiting.give_up(0, now);
    assert_eq!(victims.iter().map(|v| v.msn).collect::<Vec<_>>(), [1, 2, 3]);
    waiting.given_up(&victims, true, now);
    waiting.settle(&task, &Outcome::Up, now);
    assert_eq!(drain(&mut waiting, now).len(), 4);
    let (_, mark) = waiting.take_marks().remove(0);
    assert_eq!(mark.tracks[&SMALL].segments, 8);
}

#[test]
fn what_is_forgotten_leaves_nothing_behind() {
    let (stream, now) = (StreamId::generate(), Instant::now());
    let mut waiting = waiting(1);
    push(&mut waiting, stream, SMALL, &[0, 1, 2, 3, 4, 5], now);
    waiting.recording(stream, item(1, 0), now);
    let task = waiting.next(now).unwrap();
    let victims = waiting.give_up(30, now);
    assert!(!victims.is_empty());
    waiting.forget(stream);
    assert!(waiting.is_busy(stream), "until its upload ends");
    waiting.given_up(&victims, true, now);
    assert!(!waiting.settle(&task, &Outcome::Up, now));
    assert!(!waiting.is_busy(stream) && waiting.broadcasts().is_empty());
    assert_eq!((waiting.objects, waiting.bytes, waiting.next(now)), (0, 0, None));
}

#[test]
fn bytes_are_kept_for_one_attempt() {
    let stream = StreamId::generate();
    let mut waiting = waiting(8);
    push_bytes(&mut waiting, (stream, SOURCE), 0, 2);
    let now = Instant::now();
    let task = waiting.next(now).unwrap();
    let content = waiting.take_content(&task).unwrap();
    assert_eq!(content.payload().content_length(), 2 << 20);
    assert_eq!(kept_mib(&waiting), 2, "those under way count");
    drop(content);
    waiting.settle(&task, &Outcome::Failed, now);
    let later = waiting.next_turn().unwrap();
    assert_eq!(waiting.next(later), Some(task));
    assert!(waiting.take_content(&task).is_none(), "its file is read");
    assert_eq!(kept_mib(&waiting), 0);
}

#[test]
fn bytes_are_kept_while_the_store_keeps_up() {
    let (one, other) = (StreamId::generate(), StreamId::generate());
    let mut waiting = waiting(1);
    (0..4).for_each(|msn| push_bytes(&mut waiting, (one, SOURCE), msn, 1));
    push_bytes(&mut waiting, (one, AUDIO), 0, 1);
    assert_eq!(kept_mib(&waiting), 3, "two of a lane, and one of another");

    let now = Instant::now();
    let task = waiting.next(now).unwrap();
    drop(waiting.take_content(&task).unwrap());
    waiting.settle(&task, &Outcome::Away("503".into()), now);
    push_bytes(&mut waiting, (other, SOURCE), 0, 1);
    assert_eq!(kept_mib(&waiting), 0, "nobody knows for how long it is away");

    let later = waiting.next_turn().unwrap().max(now);
    let task = waiting.next(later).unwrap();
    waiting.settle(&task, &Outcome::Up, later);
    push_bytes(&mut waiting, (other, AUDIO), 0, 1);
    assert_eq!(kept_mib(&waiting), 1);
}

#[test]
fn bytes_that_are_kept_are_bounded_and_let_go() {
    let (one, other, now) = (StreamId::generate(), StreamId::generate(), Instant::now());
    let mut waiting = waiting(1);
    push_bytes(&mut waiting, (one, SMALL), 0, 20);
    push_bytes(&mut waiting, (one, SOURCE), 0, 20);
    assert_eq!(kept_mib(&waiting), 20, "it goes up from its file");
    push_bytes(&mut waiting, (other, SOURCE), 0, 12);
    push_bytes(&mut waiting, (other, AUDIO), 0, 1);
    assert_eq!(kept_mib(&waiting), CONTENT_BYTES_MAX >> 20);
    waiting.forget(other);
    assert_eq!(kept_mib(&waiting), 20);
    // No longer listed.
    waiting.list(one, 9, 10_000_000);
    assert_eq!(waiting.give_up(0, now).len(), 2);
    assert_eq!(kept_mib(&waiting), 0);
}
