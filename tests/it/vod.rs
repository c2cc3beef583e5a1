//! Every broadcast becomes a video: whole, of the right length, playable by
//! programs that we did not write, and gone when it is deleted.

mod download;
mod library;
mod replay;
mod storyboard;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clients::playlist::{MediaPlaylist, PlaylistType, parse_media, parse_multivariant};
use clients::publish::Track;
use clients::{PublishOptions, Stop, publish};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::interop::browser::{script, turn};
use crate::interop::{self, AAC, FFMPEG, H264, output};
use crate::support::eventually;
use crate::support::feed::{Feed, clip, small_clip};
use crate::support::player::{Player, assert_clean};
use crate::support::rtmp::Rtmp;
use crate::support::scene::{begin, finish, reconnect_after_gaps, seconds, server, server_with};
use crate::support::server::{Server, Stream};

/// A field that is a text.
fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} in {json}"))
}

fn api(video: &Value, rest: &str) -> String {
    format!("/api/videos/{}{rest}", text(video, "video_id"))
}

/// Where a rendition's media playlist is.
fn rendition_url(server: &Server, video: &Value, rendition: &str) -> String {
    format!("{}/vod/{}/{rendition}/index.m3u8", server.http, text(video, "video_id"))
}

async fn playlist(server: &Server, video: &Value, rendition: &str) -> MediaPlaylist {
    let answer = crate::support::http::get(&rendition_url(server, video, rendition)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let text = answer.text();
    for tag in
        ["EXT-X-PART", "EXT-X-SERVER-CONTROL", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT"]
    {
        assert!(!text.contains(tag), "{tag} in {text}");
    }
    let list = parse_media(&text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    assert!(list.end_list && list.playlist_type == Some(PlaylistType::Vod), "{text}");
    list
}

/// Pictures that ffprobe finds in a playlist or file, demuxed to its end.
async fn pictures(url: &str) -> usize {
    count(url, "v:0").await
}

async fn count(url: &str, track: &str) -> usize {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-count_packets", "-select_streams", track]);
    probe.args(["-show_entries", "stream=nb_read_packets", "-of", "default=nw=1:nk=1", url]);
    let (found, errors) = output(&mut probe).await;
    assert_eq!(errors, "", "{url}");
    let first = found.lines().next().unwrap_or_default();
    first.trim().parse().unwrap_or_else(|e| panic!("{e}: {found}"))
}

/// As long as so many pictures at 25 a second: to less than one of them.
#[track_caller]
fn assert_length(video: &Value, list: &MediaPlaylist, frames: usize) {
    let wanted_s = frames as f64 / 25.0;
    let told_s = video["duration_us"].as_f64().expect("a duration") / 1e6;
    assert!((told_s - wanted_s).abs() < 0.04, "{told_s} s told, {wanted_s} s published");
    let listed_s = list.duration();
    assert!((listed_s - wanted_s).abs() < 0.04, "{listed_s} s listed, {wanted_s} s published");
}

/// Publishes `length` by a publisher of ours, ends it properly; its video.
async fn record(server: &Server, stream: &Stream, length: Duration) -> Value {
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    server.video(stream).await
}

fn media_folder(server: &Server, stream: &Stream) -> PathBuf {
    server.data().join("media").join(&stream.id)
}

// PeerTube 6501 and others: no recording, or one that lacks pictures or says a wrong length.
#[tokio::test(flavor = "multi_thread")]
async fn pain_07_a_broadcast_becomes_a_whole_video_of_the_right_length() {
    let server = server().await;
    let stream = server.create("recorded").await;
    let player = Player::start(&stream);
    let options = PublishOptions::new(&stream.ingest);
    publish(Arc::new(clip().clone()), options, Stop::new()).await.expect("published");
    assert_clean(&player.ended().await);
    let video = server.video(&stream).await;
    let sent = clip().count(Track::Video);
    let source = playlist(&server, &video, "source").await;
    assert_length(&video, &source, sent);
    assert_eq!(pictures(&rendition_url(&server, &video, "source")).await, sent);
    // The first frame of sound is the encoder's priming, before the first picture.
    let sounds = clip().count(Track::Audio) - 1;
    assert_eq!(count(&rendition_url(&server, &video, "audio"), "a:0").await, sounds);
    assert_eq!(text(&video, "title"), "recorded");
    assert_eq!(text(&video, "status"), "ARCHIVED");
    let renditions = video["renditions"].as_array().expect("renditions");
    assert_eq!(renditions[0]["rendition"], "source");
    assert_eq!(renditions[0]["resolution"], json!([640, 360]));
    server.state(&stream, "ARCHIVED").await;
    let playback = server.get(&api(&video, "/playback")).await.json();
    let ladder = crate::support::http::get(text(&playback, "playback_url")).await;
    let ladder = parse_multivariant(&ladder.text()).expect("a multivariant playlist");
    assert_eq!(ladder.variants.iter().filter(|variant| variant.i_frames).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ffmpeg_published_is_played_by_what_others_wrote() {
    let ladder = [("transcode.enabled", "true"), ("transcode.ladder", "120:200")];
    let server = server_with(&ladder).await;
    let stream = server.create("strict").await;
    let mut publisher = interop::publish(FFMPEG, H264, AAC, 6, &stream.ingest);
    assert!(publisher.wait(seconds(40)).await, "{}", publisher.output());
    let video = server.video(&stream).await;
    for rendition in ["source", "120p"] {
        let url = rendition_url(&server, &video, rendition);
        assert_eq!(pictures(&url).await, 150, "{rendition}");
        let list = playlist(&server, &video, rendition).await;
        assert_length(&video, &list, 150);
        assert!(list.segments.iter().all(|s| s.head.pdt_tag_us.is_some()));
    }
    let playback = text(&video, "playback_url").to_owned();
    let iframes = ["source", "120p"]
        .map(|name| rendition_url(&server, &video, name).replace("index.m3u8", "iframes.m3u8"));
    let report = script("strict.mjs", &[&[playback.clone()][..], &iframes].concat()).await;
    assert_eq!(report["ok"], true, "{report}");
    let lists = report["playlists"].as_array().expect("playlists");
    assert_eq!(lists.iter().filter(|list| list["type"] == "media").count(), 5, "{report}");
    // Decoded, not only demuxed: every picture is there and none is broken.
    let mut decode = Command::new(FFMPEG);
    decode.args(["-v", "error", "-i", &playback, "-map", "0:v:0", "-f", "framecrc", "-"]);
    let (frames, errors) = output(&mut decode).await;
    assert_eq!(errors, "");
    assert_eq!(frames.lines().filter(|line| !line.starts_with('#')).count(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_stays_a_discontinuity_and_the_wait_is_left_out() {
    let server = server().await;
    let (stream, mut publisher, player) = begin(&server, "came back").await;
    Feed { length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let mut publisher = reconnect_after_gaps(&server, &stream, publisher).await;
    // Another picture too.
    Feed { clip: small_clip(), length: seconds(3), ..Feed::default() }.run(&mut publisher).await;
    let mut report = finish(publisher, player).await;
    report.violation_counts.remove("bis 4.4.6.2 CODECS names what the sample entry says");
    assert_clean(&report);
    let video = server.video(&stream).await;
    let source = playlist(&server, &video, "source").await;
    let audio = playlist(&server, &video, "audio").await;
    assert_length(&video, &source, 150);
    for list in [&source, &audio] {
        assert!(list.segments.iter().all(|s| !s.head.gap), "nothing but media");
        assert_eq!(list.heads().filter(|head| head.discontinuity).count(), 1);
    }
    let at = |list: &MediaPlaylist| list.heads().position(|head| head.discontinuity);
    assert_eq!(at(&source), at(&audio), "at one instant");
    let maps: Vec<_> = source.heads().filter_map(|head| head.map.clone()).collect();
    assert_ne!(maps.first(), maps.last());
    let behind = at(&source).expect("a discontinuity");
    let wall = |n: usize| source.segments[n].head.pdt_tag_us.expect("a date");
    assert!(wall(behind) - wall(behind - 1) > 2_000_000, "dates show the wait");
    let (_folder, path, length_s) = download::download(&server, &video).await;
    assert!((length_s - 6.0).abs() < 0.1, "{length_s} s in the file");
    // ffmpeg's parser grumbles at the second size; its decoder follows.
    assert_eq!(download::decoded(&path).await.0, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_makes_the_whole_video_when_it_is_back() {
    let mut server = server_with(&[("stream.reconnect_window", "3s")]).await;
    let stream = server.create("killed").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    let feed = Feed { length: seconds(4), ..Feed::default() };
    feed.run(&mut publisher).await;
    // What the kill may cost is the segment that is open.
    let announced = eventually("three segments", async || {
        let list = server.media(&stream, "source").await;
        (list.next_msn() >= 3).then_some(list)
    })
    .await;
    server.restart("KILL").await;
    let video = server.video(&stream).await;
    let source = playlist(&server, &video, "source").await;
    let kept = pictures(&rendition_url(&server, &video, "source")).await;
    assert!(kept >= announced.segments.len().saturating_sub(1) * 25, "{kept} pictures");
    assert_length(&video, &source, kept);
    assert!(source.segments.iter().all(|s| !s.head.gap));

    // And a server that dies between the end and the video makes up for it.
    let stream = server.create("killed at its end").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    server.restart("KILL").await;
    let video = server.video(&stream).await;
    let kept = pictures(&rendition_url(&server, &video, "source")).await;
    assert!(kept >= 25, "{kept} pictures");
    assert_length(&video, &playlist(&server, &video, "source").await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_costs_the_open_segment_and_no_more() {
    let mut server = server().await;
    let stream = server.create("went on").await;
    let mut options = PublishOptions::new(&stream.ingest);
    (options.looping, options.reconnect) = (true, true);
    let stop = Stop::new();
    let publisher = tokio::spawn(publish(Arc::new(clip().clone()), options, stop.clone()));
    let newest = async |server: &Server| server.media(&stream, "source").await.next_msn();
    eventually("fourth segment", async || (newest(&server).await >= 4).then_some(())).await;
    let before = newest(&server).await;
    server.restart("KILL").await;
    let segments = async |server: &Server| {
        let list = server.media(&stream, "source").await;
        list.segments.iter().filter(|s| !s.head.gap && s.head.msn > before + 2).count()
    };
    eventually("new segments", async || (segments(&server).await >= 2).then_some(())).await;
    stop.stop();
    publisher.await.expect("no panic").expect("a publisher that came back");
    let video = server.video(&stream).await;
    let source = playlist(&server, &video, "source").await;
    assert_eq!(source.heads().filter(|head| head.discontinuity).count(), 1, "the kill");
    let first_part = source.heads().take_while(|head| !head.discontinuity).count();
    assert!(first_part as u64 + 1 >= before, "{first_part} of {before} segments");
    let kept = pictures(&rendition_url(&server, &video, "source")).await;
    assert_length(&video, &source, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_outlives_what_live_viewers_may_see() {
    let keep = [("hls.keep", "0s"), ("hls.window_segments", "6")];
    let server = server_with(&keep).await;
    let stream = server.create("kept").await;
    let video = record(&server, &stream, seconds(3)).await;
    let live = format!("/live/{}/source/index.m3u8", stream.id);
    eventually("end of the live address", async || {
        (server.get(&live).await.status == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    assert_eq!(pictures(&rendition_url(&server, &video, "source")).await, 75);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_recording_nothing_is_kept_and_streams_stay_complete() {
    let server = server_with(&[("vod.enabled", "false")]).await;
    let (stream, mut publisher, player) = begin(&server, "unrecorded").await;
    Feed { length: seconds(2), ..Feed::default() }.run(&mut publisher).await;
    finish(publisher, player).await;
    server.state(&stream, "STREAM_COMPLETE").await;
    let json = server.get(&format!("/api/streams/{}", stream.id)).await.json();
    assert_eq!((&json["state"], &json["video"]), (&json!("STREAM_COMPLETE"), &Value::Null));
    assert_eq!(server.get("/api/videos").await.json()["videos"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_seeks_to_twenty_places() {
    let _turn = turn().await;
    let server = server().await;
    let stream = server.create("sought").await;
    let video = record(&server, &stream, seconds(20)).await;
    let page = format!("/videos/{}", text(&video, "video_id"));
    let (url, watch) =
        (format!("{}{page}", server.http), format!("{}/watch/{}", server.http, stream.id));
    let flags = ["--url", &url, "--watch", &watch, "--places", "20"].map(str::to_owned);
    let report = script("seek.mjs", &flags).await;
    let seeks = report["seeks"].as_array().expect("seeks");
    assert_eq!(seeks.len(), 20, "{report}");
    assert!(seeks.iter().all(|seek| seek["shown"] == true), "{report}");
    assert_eq!(report["link"], page, "from the broadcast's own page: {report}");
    let card = json!({ "title": "sought", "href": page, "picture_width": 640 });
    assert_eq!(report["cards"], json!([card]), "{report}");
    let length = report["duration_s"].as_f64().expect("a duration");
    assert!((length - 20.0).abs() < 0.1, "{report}");
    assert_eq!(report["errors"], json!([]), "{report}");
    assert_eq!(report["foreign_requests"], json!([]), "{report}");
}
