//! What other servers are blamed for (PEERS §3), by number.

use std::sync::Arc;
use std::time::Duration;

use clients::{PublishOptions, Stop, publish};
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::support::feed::{Feed, b_frame_clip, clip, small_clip};
use crate::support::player::{Player, assert_clean, assert_lawful, discontinuities};
use crate::support::rtmp::{Answer, Rtmp};
use crate::support::scene::{
    begin, finish, reconnect, reconnect_after_gaps, reset, seconds, server, server_with,
};
use crate::support::{eventually, resident_mib};

// MediaMTX 2214, PeerTube 6501, Owncast 4073, SRS 1052
#[tokio::test(flavor = "multi_thread")]
async fn pain_01_a_blip_does_not_end_or_split_the_stream() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "blip").await;
    // In the middle of a group of pictures.
    let length = Duration::from_millis(2500);
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    reset(publisher);
    let mut publisher = reconnect(&server, &stream).await;
    Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    server.state(&stream, "STREAM_ACTIVE").await;
    assert_clean(&finish(publisher, player).await);
    let source = server.media(&stream, "source").await;
    let audio = server.media(&stream, "audio").await;
    assert_eq!(source.media_sequence, 0);
    assert_eq!(discontinuities(&source).len(), 1);
    assert_eq!(discontinuities(&source), discontinuities(&audio), "at one instant");
    let shown: f64 = source.segments.iter().filter(|s| !s.head.gap).map(|s| s.duration).sum();
    assert!((shown - 5.5).abs() < 0.2, "{shown} s in one stream");
}

// MediaMTX 2317, 3155; OME 1563
#[tokio::test(flavor = "multi_thread")]
async fn pain_03_parts_keep_their_target_in_every_rendition_also_after_a_resume() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "parts").await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    let mut publisher = reconnect_after_gaps(&server, &stream, publisher).await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    assert_clean(&finish(publisher, player).await);
    for rendition in ["source", "audio"] {
        let playlist = server.media(&stream, rendition).await;
        let target = playlist.part_target.expect("low latency");
        let live: Vec<_> = playlist.parts().filter(|p| !p.part.gap).collect();
        assert!(live.len() >= 10, "{rendition} has {} parts", live.len());
        assert!(live.iter().all(|p| p.part.duration <= target + 0.0005), "{rendition}: {live:?}");
        let newest = live.last().expect("a part");
        assert_eq!(newest.msn + 1, playlist.next_msn(), "nothing stale at the end");
    }
}

// MediaMTX 4892, 5209
#[tokio::test(flavor = "multi_thread")]
async fn pain_06_b_frames_play() {
    let server = server().await;
    let clip = b_frame_clip();
    let (stream, mut publisher, player) = begin(&server, "B-frames").await;
    Feed { clip, length: seconds(5), ..Feed::default() }.run(&mut publisher).await;
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    let source = server.media(&stream, "source").await;
    assert!((source.duration() - 5.0).abs() < 0.2, "{} s", source.duration());
}

// MediaMTX 4892, 5209
#[tokio::test(flavor = "multi_thread")]
async fn pain_06_guessed_decode_times_are_put_in_order() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "guesses").await;
    let feed = Feed::default();
    feed.headers(&mut publisher).await;
    let began = Instant::now();
    for (n, tag) in feed.clip.tags.iter().filter(|t| t.dts_ns < 5_000_000_000).enumerate() {
        let due = Duration::from_nanos(tag.dts_ns as u64);
        sleep_until(began + due).await;
        // Back behind those before it, every few pictures.
        let guessed = due.saturating_sub(Duration::from_millis(if n % 4 == 3 { 60 } else { 0 }));
        feed.tag(&mut publisher, guessed.as_millis() as u32, tag).await;
    }
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    let source = server.media(&stream, "source").await;
    assert!((source.duration() - 5.0).abs() < 0.2, "{} s", source.duration());
}

// SRS 2409, xiu 71
#[tokio::test(flavor = "multi_thread")]
async fn pain_08_timestamps_pass_4_6_hours() {
    wraps_at((1 << 24) - 1500).await;
}

// SRS 2409, xiu 71
#[tokio::test(flavor = "multi_thread")]
async fn pain_08_timestamps_pass_49_days() {
    wraps_at(0u32.wrapping_sub(1500)).await;
}

/// Starts at this timestamp, goes on for five seconds.
async fn wraps_at(first_ms: u32) {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "wrap").await;
    Feed { first_ms, length: seconds(5), ..Feed::default() }.run(&mut publisher).await;
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    let playlist = server.media(&stream, "source").await;
    assert!((playlist.duration() - 5.0).abs() < 0.1, "{} s", playlist.duration());
}

// SRS 3506
#[tokio::test(flavor = "multi_thread")]
async fn pain_09_a_kill_and_restart_continues_the_sequences() {
    let mut server = server().await;
    let stream = server.create("killed").await;
    let mut options = PublishOptions::new(&stream.ingest);
    (options.looping, options.reconnect) = (true, true);
    let stop = Stop::new();
    let publisher = tokio::spawn(publish(Arc::new(clip().clone()), options, stop.clone()));
    let player = Player::start(&stream);
    let before = eventually("fourth segment", async || {
        let playlist = server.media(&stream, "source").await;
        // Not at a cut, which a kill may hide from the log (README, "Limits").
        (playlist.next_msn() >= 4 && playlist.next_part().1 >= 2).then_some(playlist)
    })
    .await;
    let kept = server.segment(&stream, "source", 1).await;
    assert_eq!(kept.status, StatusCode::OK);

    server.restart("KILL").await;
    let after = server.media(&stream, "source").await;
    assert!(after.next_msn() >= before.next_msn(), "sequences rise");
    assert_eq!(after.media_sequence, before.media_sequence, "the old window is there");
    let again = server.segment(&stream, "source", 1).await;
    assert!(again.body == kept.body, "and can be played");
    server.state(&stream, "STREAM_ACTIVE").await;
    eventually("new media", async || {
        let playlist = server.media(&stream, "source").await;
        let newest = playlist.segments.last()?;
        (newest.head.msn > before.next_msn() && !newest.head.gap).then_some(())
    })
    .await;
    stop.stop();
    publisher.await.expect("no panic").expect("a publisher that came back");
    let report = player.ended().await;
    assert_lawful(&report);
    assert!(report.failed_requests > 0, "it was really away");
}

// SRS 1509, MediaMTX 3568, OME 1172
#[tokio::test(flavor = "multi_thread")]
async fn pain_11_vanished_viewers_leave_no_memory_behind() {
    // The lake's first commits grow too, and are not what this is about.
    let settings = [("hls.segment_max", "6s"), ("lake.enabled", "false")];
    let server = server_with(&settings).await;
    let (stream, mut publisher, player) = begin(&server, "crowd").await;
    Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    // Nothing new is made now, so every reload stays blocked.
    server.scale(0).await;
    let (msn, part) = server.media(&stream, "source").await.next_part();
    let address = server.http.trim_start_matches("http://").to_owned();
    let request = format!(
        "GET /live/{}/source/index.m3u8?_HLS_msn={msn}&_HLS_part={part} HTTP/1.1\r\n\
         Host: {address}\r\n\r\n",
        stream.id
    );
    let before = resident_mib(server.pid());
    for _ in 0..2 {
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            let mut viewer = TcpStream::connect(&address).await.expect("a connection");
            viewer.write_all(request.as_bytes()).await.expect("a request");
            crowd.push(viewer);
        }
        let waiting = async || server.metric("millstream_hls_waiting").await;
        eventually("waiting crowd", async || (waiting().await >= 1000.0).then_some(())).await;
        drop(crowd);
        eventually("end of the waiting", async || (waiting().await < 10.0).then_some(())).await;
    }
    let grown = resident_mib(server.pid()).saturating_sub(before);
    assert!(grown < 60, "memory grew by {grown} MiB");
    server.scale(1).await;
    Feed { first_ms: 3000, skip: seconds(3), length: seconds(1), ..Feed::default() }
        .run(&mut publisher)
        .await;
    assert_clean(&finish(publisher, player).await);
}

// nginx-rtmp 1791, Ant 7548
#[tokio::test(flavor = "multi_thread")]
async fn pain_14_keys_stay_secret_and_a_duplicate_is_refused_without_harm() {
    let server = server_with(&[("log.level", "trace")]).await;
    let (stream, mut publisher, player) = begin(&server, "secret").await;
    Feed { length: seconds(1), ..Feed::default() }.run(&mut publisher).await;
    let mut duplicate = Rtmp::connect(&server.rtmp).await;
    let refusal = duplicate.start(&stream.key).await;
    let Answer::Refused { code, description } = refusal else { panic!("{refusal:?}") };
    assert_eq!(code, "NetStream.Publish.BadName");
    Feed { first_ms: 1000, skip: seconds(1), length: seconds(2), ..Feed::default() }
        .run(&mut publisher)
        .await;
    let mut told = vec![description, server.output()];
    for path in ["", "/health", "/playback"] {
        told.push(server.get(&format!("/api/streams/{}{path}", stream.id)).await.text());
    }
    for path in ["/api/streams", "/api/cluster", "/metrics"] {
        told.push(server.get(path).await.text());
    }
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    assert!(!told.iter().any(|text| text.contains(&stream.key)), "the key was told");
}

// nginx-rtmp 642, SRS 2167
#[tokio::test(flavor = "multi_thread")]
async fn pain_16_sound_alone_plays() {
    single_track(false, "audio").await;
}

// nginx-rtmp 642, SRS 2167
#[tokio::test(flavor = "multi_thread")]
async fn pain_16_pictures_alone_play() {
    single_track(true, "source").await;
}

/// Publishes one track only.
async fn single_track(video: bool, rendition: &str) {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "single track").await;
    let feed = Feed { length: seconds(5), video, audio: !video, ..Feed::default() };
    feed.run(&mut publisher).await;
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    let playlist = server.media(&stream, rendition).await;
    assert!((playlist.duration() - 5.0).abs() < 0.2, "{} s", playlist.duration());
}

// OME 1235, nginx-rtmp 890
#[tokio::test(flavor = "multi_thread")]
async fn pain_17_another_resolution_is_a_discontinuity_with_a_new_map() {
    let server = server().await;
    let small = small_clip();
    let (stream, mut publisher, player) = begin(&server, "scenes").await;
    let next = Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let small = Feed { clip: small, first_ms: next, length: seconds(3), ..Feed::default() };
    small.run(&mut publisher).await;
    let mut report = finish(publisher, player).await;
    // Whoever fetched the multivariant playlist before can't know.
    report.violation_counts.remove("bis 4.4.6.2 CODECS names what the sample entry says");
    assert_clean(&report);
    let source = server.media(&stream, "source").await;
    let audio = server.media(&stream, "audio").await;
    assert_eq!(discontinuities(&source).len(), 1);
    assert_eq!(discontinuities(&source), discontinuities(&audio), "at one instant");
    let maps: Vec<_> = source.heads().filter_map(|h| h.map.clone()).collect();
    assert_ne!(maps.first(), maps.last(), "another picture needs another map");
    assert!((source.duration() - 6.0).abs() < 0.2, "{} s", source.duration());
    let variant = server.multivariant(&stream).await.variants.remove(0);
    assert_eq!(variant.resolution, Some((320, 180)));
}
