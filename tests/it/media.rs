//! PROTOCOLS §4, the rows about media: whatever the publisher does, viewers get
//! lawful playlists with the media in them, or a discontinuity where it broke.
//! Rows that are pains of other servers too are in `pains`. The publisher here
//! sends no metadata unless a test says so.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use clients::publish::{Tag, Track};
use http::StatusCode;
use serde_json::json;
use sources::rtmp::amf::{encode, object};
use sources::rtmp::chunk::kind;
use tokio::process::Command;
use tokio::time::sleep;

use crate::support::eventually;
use crate::support::feed::{Feed, clip, long_gop_clip};
use crate::support::player::{Player, assert_clean, assert_lawful, discontinuities};
use crate::support::process::Program;
use crate::support::scene::{begin, finish, seconds, server, server_with};

#[tokio::test(flavor = "multi_thread")]
async fn jumps_forward_and_back_are_discontinuities() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "jumps").await;
    for first_ms in [0, 500_000, 20_000] {
        Feed { first_ms, length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    }
    let report = finish(publisher, player).await;
    assert_clean(&report);
    let source = server.media(&stream, "source").await;
    let audio = server.media(&stream, "audio").await;
    assert_eq!(discontinuities(&source).len(), 2);
    assert_eq!(discontinuities(&source), discontinuities(&audio), "at one instant");
    assert!((source.duration() - 9.0).abs() < 0.2, "{} s", source.duration());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_lies_is_survived() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "lies").await;
    let mut payload = Vec::new();
    let lies = object([
        ("width", 1.0.into()),
        ("height", 1.0.into()),
        ("framerate", f64::NAN.into()),
        ("videocodecid", 7.0.into()),
        ("duration", f64::INFINITY.into()),
    ]);
    for value in ["@setDataFrame".into(), "onMetaData".into(), lies] {
        encode(&value, &mut payload);
    }
    publisher.message(4, 1, kind::DATA, 0, payload.into()).await;
    Feed { length: seconds(4), ..Feed::default() }.run(&mut publisher).await;
    assert_clean(&finish(publisher, player).await);
    let variant = server.multivariant(&stream).await.variants.remove(0);
    assert_eq!(variant.resolution, Some((640, 360)));
    assert_eq!(variant.frame_rate, Some(25.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_starts_late_joins_at_a_keyframe() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "late sound").await;
    let silent = Feed { length: seconds(3), audio: false, ..Feed::default() };
    let next = silent.run(&mut publisher).await;
    Feed { first_ms: next, skip: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    assert_clean(&finish(publisher, player).await);
    let source = server.media(&stream, "source").await;
    let audio = server.media(&stream, "audio").await;
    assert_eq!(discontinuities(&source).len(), 1);
    assert!((source.duration() - 8.0).abs() < 0.2, "{} s", source.duration());
    assert!((audio.duration() - 5.0).abs() < 1.2, "{} s", audio.duration());
    assert!(server.multivariant(&stream).await.media.iter().any(|m| m.kind == "AUDIO"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_start_late_join_at_a_keyframe() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "late pictures").await;
    let blind = Feed { length: seconds(3), video: false, ..Feed::default() };
    let next = blind.run(&mut publisher).await;
    Feed { first_ms: next, skip: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    assert_clean(&finish(publisher, player).await);
    let source = server.media(&stream, "source").await;
    let audio = server.media(&stream, "audio").await;
    assert_eq!(discontinuities(&audio).len(), 1);
    assert!((audio.duration() - 8.0).abs() < 0.2, "{} s", audio.duration());
    assert!((source.duration() - 5.0).abs() < 1.2, "{} s", source.duration());
}

/// One track stops after three seconds, the other goes on.
async fn a_track_stops(video: bool, going_on: &str) {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "half").await;
    let next = Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let half =
        Feed { first_ms: next, skip: seconds(3), video: !video, audio: video, ..Feed::default() };
    half.run_bare(&mut publisher).await;
    let mut report = finish(publisher, player).await;
    // Nobody knows that a track has stopped before it has been missed for a while,
    // so the segment in which it stopped is shorter than its siblings.
    report.violation_counts.remove("bis 6.2.4 renditions in step within one part");
    report.violation_counts.remove("bis 6.2.4 the same dates in all renditions");
    assert_clean(&report);
    let playlist = server.media(&stream, going_on).await;
    assert!((playlist.duration() - 8.0).abs() < 0.3, "{} s", playlist.duration());
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_go_on_when_the_sound_stops() {
    a_track_stops(false, "source").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_goes_on_when_the_pictures_stop() {
    a_track_stops(true, "audio").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_keyframes_are_encoded_anew() {
    let server = server_with(&[("transcode.enabled", "true")]).await;
    let clip = long_gop_clip();
    let (stream, mut publisher, player) = begin(&server, "rare keyframes").await;
    Feed { clip, length: seconds(8), ..Feed::default() }.run(&mut publisher).await;
    let mut report = finish(publisher, player).await;
    // Whoever fetched the multivariant playlist before can't know the encoder's profile.
    report.violation_counts.remove("bis 4.4.6.2 CODECS names what the sample entry says");
    assert_clean(&report);
    let source = server.media(&stream, "source").await;
    assert!((source.duration() - 8.0).abs() < 0.3, "{} s", source.duration());
    assert!(source.segments.len() >= 6, "{} segments", source.segments.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_keyframes_without_encoders_make_long_segments() {
    let server = server().await;
    let clip = long_gop_clip();
    let (stream, mut publisher, player) = begin(&server, "rare keyframes").await;
    Feed { clip, length: seconds(13), ..Feed::default() }.run(&mut publisher).await;
    let mut report = finish(publisher, player).await;
    // What can't be helped: the target duration may never change (bis 4.4.3.1),
    // and whoever waits for the next entry of the I-frame playlist waits in vain.
    report.violation_counts.remove("bis 4.4.3.1 EXTINF rounds to at most the target duration");
    report.http_errors.remove(&503);
    assert_clean(&report);
    let source = server.media(&stream, "source").await;
    assert!((source.duration() - 13.0).abs() < 0.3, "{} s", source.duration());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_keyframe_waits_for_one() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "in the middle").await;
    let feed = Feed { skip: Duration::from_millis(400), ..Feed::default() };
    feed.run(&mut publisher).await;
    let report = finish(publisher, player).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    let source = server.media(&stream, "source").await;
    assert!((source.duration() - 4.4).abs() < 0.2, "{} s", source.duration());
}

/// A picture with so many bytes of filler in a NAL unit behind it.
fn padded(tag: &Tag, bytes: usize) -> Tag {
    let mut body = BytesMut::from(&tag.body[..]);
    body.put_u32(bytes as u32 + 2);
    body.put_u8(12);
    body.put_bytes(0xff, bytes);
    body.put_u8(0x80);
    Tag { body: body.freeze(), ..tag.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bitrate_spike_harms_no_other_stream() {
    let server = server().await;
    let (_, mut calm, watching_calm) = begin(&server, "calm").await;
    let (stream, mut wild, watching_wild) = begin(&server, "wild").await;
    let calm_feed = async {
        Feed { length: seconds(6), ..Feed::default() }.run(&mut calm).await;
    };
    let wild_feed = async {
        let feed = Feed { length: seconds(2), ..Feed::default() };
        feed.headers(&mut wild).await;
        let began = tokio::time::Instant::now();
        for tag in clip().tags.iter().filter(|tag| tag.dts_ns < 5_000_000_000) {
            let due = Duration::from_nanos(tag.dts_ns as u64);
            tokio::time::sleep_until(began + due).await;
            let spikes = tag.track == Track::Video && (2..3).contains(&due.as_secs());
            let tag = if spikes { padded(tag, 50_000) } else { tag.clone() };
            feed.tag(&mut wild, due.as_millis() as u32, &tag).await;
        }
    };
    tokio::join!(calm_feed, wild_feed);
    for (publisher, player) in [(calm, watching_calm), (wild, watching_wild)] {
        let report = finish(publisher, player).await;
        assert_clean(&report);
        assert_eq!(report.discontinuities, 0);
    }
    let spike = server.segment(&stream, "source", 2).await.body.len();
    assert!(spike > 1_000_000, "the spike is there: {spike} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starved_publisher_is_waited_for() {
    let server = server().await;
    let stream = server.create("starved").await;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(crate::support::clip());
    command.args(["-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast"]);
    command.args(["-g", "25", "-c:a", "aac", "-ac", "2", "-f", "flv", &stream.ingest]);
    let ffmpeg = Program::start(&mut command);
    let player = Player::start(&stream);
    let listed = async || server.media(&stream, "source").await.next_msn();
    eventually("second segment", async || (listed().await >= 2).then_some(())).await;
    ffmpeg.signal("STOP");
    sleep(seconds(4)).await;
    let before = listed().await;
    ffmpeg.signal("CONT");
    eventually("segment after the starvation", async || {
        (listed().await >= before + 3).then_some(())
    })
    .await;
    ffmpeg.signal("INT");
    let report = player.ended().await;
    assert_lawful(&report);
    assert!(report.http_errors.is_empty(), "{report}");
    assert_eq!(server.cluster().await["unplanned_ends"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_every_playlist_and_the_process_well() {
    let mut server = server().await;
    let (stream, mut publisher, player) = begin(&server, "to the end").await;
    Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let (succeeded, report) = tokio::join!(server.restart("INT"), player.ended());
    assert!(succeeded, "exit code 0");
    assert!(report.violation_counts.is_empty(), "{report}");
    assert_eq!(report.ended, 2, "both playlists ended:\n{report}");
    server.state(&stream, "STREAM_COMPLETE").await;
    let playlist = server.media(&stream, "source").await;
    assert!(playlist.end_list, "it can still be watched, from disk");
    let last = playlist.segments.last().expect("segments").head.msn;
    assert_eq!(server.segment(&stream, "source", last).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_comes_from_disk_as_it_was() {
    let settings = [("hls.dvr", "1m"), ("hls.window_segments", "6"), ("hls.hot_segments", "1")];
    let server = server_with(&settings).await;
    let (stream, mut publisher, player) = begin(&server, "long memory").await;
    let feed = async { Feed { length: seconds(9), ..Feed::default() }.run(&mut publisher).await };
    let fetch_hot = async {
        let mut hot = Vec::new();
        for msn in 0..3 {
            let segment = eventually("segment", async || {
                let answer = server.segment(&stream, "source", msn).await;
                (answer.status == StatusCode::OK).then_some(answer.body)
            });
            hot.push(segment.await);
        }
        hot
    };
    let (_, hot) = tokio::join!(feed, fetch_hot);
    let cold_before = server.metric("millstream_hls_cold_reads_total").await;
    for (msn, hot) in (0..).zip(&hot) {
        let cold = server.segment(&stream, "source", msn).await;
        assert_eq!(cold.status, StatusCode::OK);
        assert!(cold.body == *hot, "segment {msn} differs on disk");
    }
    assert!(server.metric("millstream_hls_cold_reads_total").await >= cold_before + 3.0);
    assert_clean(&finish(publisher, player).await);
    let playlist = server.media(&stream, "source").await;
    assert_eq!(playlist.media_sequence, 0, "all of it is still listed");
    assert!((playlist.duration() - 9.0).abs() < 0.2, "{} s", playlist.duration());
}

#[tokio::test(flavor = "multi_thread")]
async fn unpublishing_ends_the_playlist_and_playback_is_gone() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "short").await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    let playback = format!("/api/streams/{}/playback", stream.id);
    assert_eq!(server.get(&playback).await.status, StatusCode::OK);
    assert_clean(&finish(publisher, player).await);
    server.state(&stream, "STREAM_COMPLETE").await;
    assert!(server.media(&stream, "source").await.end_list);
    assert!(server.media(&stream, "audio").await.end_list);
    assert_eq!(server.get(&playback).await.status, StatusCode::GONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_brings_operators_down_ends_alone() {
    let server = server().await;
    let (_, mut good, watching_good) = begin(&server, "good").await;
    let (stream, mut bad, watching_bad) = begin(&server, "bad").await;
    let good_feed = async { Feed { length: seconds(7), ..Feed::default() }.run(&mut good).await };
    let bad_feed = async {
        Feed { length: seconds(2), ..Feed::default() }.run(&mut bad).await;
        let body = json!({ "stream_id": stream.id, "operator": "demux", "times": 5 });
        let answer = server.admin(http::Method::POST, "/api/cluster/faults", Some(body)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        assert!(bad.is_closed_within(seconds(20)).await, "its publisher is cut off");
    };
    tokio::join!(good_feed, bad_feed);
    server.state(&stream, "STREAM_COMPLETE").await;
    let report = watching_bad.ended().await;
    assert!(report.violation_counts.is_empty(), "{report}");
    let report = finish(good, watching_good).await;
    assert_clean(&report);
    assert_eq!(report.discontinuities, 0);
    assert_eq!(server.cluster().await["unplanned_ends"], 2);
}
