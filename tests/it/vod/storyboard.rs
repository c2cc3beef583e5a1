//! Pictures along a video, for the seek bar.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{api, text};
use crate::interop::browser::{script, turn};
use crate::interop::{AAC, FFMPEG, H264, output};
use crate::support::feed::Feed;
use crate::support::process::Program;
use crate::support::rtmp::Rtmp;
use crate::support::scene::{seconds, server, server_with};
use crate::support::server::{Server, Stream};

/// Width and height of a tile of the broadcast below.
const TILE: (usize, usize) = (160, 90);
/// Brightness gained with each two seconds of it, of 255.
const STEP: usize = 40;

/// Publishes 11 s, black at first and brighter every two seconds; its video.
async fn brightening(server: &Server, stream: &Stream) -> Value {
    // Video's own range is 16 to 235.
    let shade = format!("geq=lum='16+floor(T/2)*{STEP}*219/255':cb=128:cr=128");
    let picture = format!("color=c=black:s=320x180:r=25:d=11,{shade}");
    let mut command = Command::new(FFMPEG);
    command.args(["-v", "error", "-re", "-f", "lavfi", "-i", &picture]);
    command.args(["-f", "lavfi", "-i", "sine=d=11"]);
    command.args(H264).args(["-pix_fmt", "yuv420p"]).args(AAC).args(["-f", "flv", &stream.ingest]);
    let mut publisher = Program::start(&mut command);
    assert!(publisher.wait(seconds(40)).await, "{}", publisher.output());
    server.video(stream).await
}

/// A cue: its seconds, the sheet, and the tile's place.
#[derive(Debug, PartialEq)]
struct Cue {
    from_s: f64,
    to_s: f64,
    sheet: String,
    place: [usize; 4],
}

/// Reads a list strictly: the header, then pairs of lines between empty ones.
fn cues(list: &str) -> Vec<Cue> {
    let mut blocks = list.trim_end().split("\n\n");
    assert_eq!(blocks.next(), Some("WEBVTT"), "{list}");
    let time = |text: &str| {
        let parts: Vec<f64> = text.split(':').map(|part| part.parse().expect("a number")).collect();
        let [hours, minutes, seconds] = parts[..] else { panic!("{text}") };
        hours * 3600.0 + minutes * 60.0 + seconds
    };
    let read = |block: &str| {
        let (times, place) = block.split_once('\n').expect("two lines");
        let (from, to) = times.split_once(" --> ").expect("two times");
        let (sheet, place) = place.split_once("#xywh=").expect("a place");
        let numbers = place.split(',').map(|number| number.parse().expect("a number"));
        Cue {
            from_s: time(from),
            to_s: time(to),
            sheet: sheet.to_owned(),
            place: numbers.collect::<Vec<_>>().try_into().expect("four numbers"),
        }
    };
    blocks.map(read).collect()
}

/// A path beside a video's storyboard.
fn beside(video: &Value, name: &str) -> String {
    format!("/vod/{}/{name}", text(video, "video_id"))
}

/// A sheet decoded by ffmpeg: its size, and how bright each pixel is.
async fn decoded(url: &str) -> (usize, usize, Vec<u8>) {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-show_entries", "stream=codec_name,width,height"]);
    probe.args(["-of", "csv=p=0", url]);
    let (found, errors) = output(&mut probe).await;
    assert_eq!(errors, "", "{url}");
    let fields: Vec<_> = found.trim().split(',').collect();
    assert_eq!(fields[0], "mjpeg", "{found}");
    let [width, height] = [1, 2].map(|n| fields[n].parse().expect("a size"));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("luma");
    let mut decode = Command::new(FFMPEG);
    decode.args(["-v", "error", "-i", url, "-vf", "format=gray", "-f", "rawvideo"]).arg(&path);
    output(&mut decode).await;
    let pixels = std::fs::read(path).expect("pixels");
    assert_eq!(pixels.len(), width * height);
    (width, height, pixels)
}

/// How bright the tile of a cue is in the middle.
fn shade(pixels: &[u8], width: usize, cue: &Cue) -> usize {
    let [x, y, w, h] = cue.place;
    usize::from(pixels[(y + h / 2) * width + x + w / 2])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tile_of_each_second_shows_what_is_on_then() {
    let ladder = [("transcode.enabled", "true"), ("transcode.ladder", "120:200")];
    let server = server_with(&ladder).await;
    let stream = server.create("brightening").await;
    let video = brightening(&server, &stream).await;
    let list_url = text(&video, "storyboard_url");
    assert!(list_url.ends_with(&beside(&video, "storyboard.vtt")), "{list_url}");
    let list = crate::support::http::get(list_url).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text());
    assert_eq!(list.headers["content-type"], "text/vtt");
    assert_eq!(list.headers["cache-control"], "public, max-age=31536000, immutable");
    let cues = cues(&list.text());
    let length_s = video["duration_us"].as_f64().expect("a duration") / 1e6;
    let last = cues.last().expect("cues");
    assert_eq!(cues.len(), 6, "{cues:?}");
    assert!((last.to_s - length_s).abs() < 0.001, "{} of {length_s} s", last.to_s);
    assert_eq!(cues[0].from_s, 0.0);
    assert!(cues.windows(2).all(|pair| pair[0].to_s == pair[1].from_s), "no moment without");

    let sheet_path = beside(&video, "storyboard-0.jpg");
    let answer = server.get(&sheet_path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "image/jpeg");
    assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable");
    let again = server.get(&sheet_path).await;
    assert_eq!(again.body, answer.body, "kept");
    let (width, height, pixels) = decoded(&format!("{}{sheet_path}", server.http)).await;
    assert_eq!((width, height), (5 * TILE.0, 2 * TILE.1));
    for (index, cue) in cues.iter().enumerate() {
        assert_eq!(cue.sheet, "storyboard-0.jpg");
        let (x, y) = (index % 5 * TILE.0, index / 5 * TILE.1);
        assert_eq!(cue.place, [x, y, TILE.0, TILE.1]);
        let found = shade(&pixels, width, cue);
        assert!(found.abs_diff(index * STEP) <= 6, "{found} at {} s", cue.from_s);
    }
    for missing in ["storyboard-1.jpg", "storyboard-00.jpg", "storyboard.jpg"] {
        let answer = server.get(&beside(&video, missing)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{missing}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{missing}");
    }
    let put = server.admin(Method::PUT, &sheet_path, None).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);

    // A clip's tiles are those of its own time: from 4 s here, where its first segment begins.
    let body = json!({ "from_ms": 4000, "to_ms": 8000, "title": "the middle of it" });
    let clip = server.admin(Method::POST, &api(&video, "/clips"), Some(body)).await.json();
    let of_clip = self::cues(&server.get(&beside(&clip, "storyboard.vtt")).await.text());
    let clip_sheet = format!("{}{}", server.http, beside(&clip, "storyboard-0.jpg"));
    let (width, _, pixels) = decoded(&clip_sheet).await;
    let shades: Vec<_> = of_clip.iter().map(|cue| shade(&pixels, width, cue)).collect();
    assert_eq!(of_clip.len(), 2, "{of_clip:?}");
    assert!(shades[0].abs_diff(2 * STEP) <= 6 && shades[1].abs_diff(3 * STEP) <= 6, "{shades:?}");

    let hide = json!({ "visibility": "PRIVATE" });
    server.admin(Method::PUT, &api(&video, ""), Some(hide)).await;
    for name in ["storyboard.vtt", "storyboard-0.jpg"] {
        let path = beside(&video, name);
        assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND, "{name}");
        let own = server.admin(Method::GET, &path, None).await;
        assert_eq!(own.status, StatusCode::OK, "{name}");
        assert_eq!(own.headers["cache-control"], "private, max-age=31536000, immutable");
    }
    for gone in [&video, &clip] {
        server.admin(Method::DELETE, &api(gone, ""), None).await;
        for name in ["storyboard.vtt", "storyboard-0.jpg"] {
            let answer = server.admin(Method::GET, &beside(gone, name), None).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_has_no_storyboard() {
    let server = server().await;
    let stream = server.create("on the radio").await;
    let mut publisher = Rtmp::publish(&server.rtmp, &stream.key).await;
    Feed { length: seconds(3), video: false, ..Feed::default() }.run(&mut publisher).await;
    publisher.finish().await;
    let video = server.video(&stream).await;
    assert_eq!(video["storyboard_url"], Value::Null, "{video}");
    for name in ["storyboard.vtt", "storyboard-0.jpg"] {
        let answer = server.get(&beside(&video, name)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_sees_where_it_points() {
    let _turn = turn().await;
    let server = server().await;
    let stream = server.create("pointed at").await;
    let video = brightening(&server, &stream).await;
    let url = format!("{}/videos/{}", server.http, text(&video, "video_id"));
    let report = script("storyboard.mjs", &["--url".into(), url]).await;
    let shown = |way: &str| -> Vec<(f64, String, i64)> {
        let all = report[way].as_array().unwrap_or_else(|| panic!("{way}: {report}"));
        let of = |seen: &Value| {
            let at_s = seen["at_s"].as_f64().expect("a time");
            let shade = seen["shade"].as_i64().unwrap_or_else(|| panic!("no picture: {report}"));
            (at_s, text(seen, "place").to_owned(), shade)
        };
        all.iter().map(of).collect()
    };
    for way in ["mouse", "touch", "keys"] {
        let seen = shown(way);
        assert!(seen.len() >= 3, "{report}");
        for (at_s, place, shade) in &seen {
            // The tile's own time is two seconds, as the picture's is.
            let wanted = (at_s / 2.0).floor() as i64 * STEP as i64;
            assert!((shade - wanted).abs() <= 6, "{way}: {shade} at {at_s} s: {report}");
            assert!(place.starts_with(&format!("0:{:02}", *at_s as u64)), "{way}: {report}");
        }
        let shades: std::collections::BTreeSet<_> = seen.iter().map(|seen| seen.2).collect();
        assert!(shades.len() >= 3, "{way}: {report}");
    }
    assert_eq!(report["hidden_after"], true, "{report}");
    assert_eq!(report["errors"], json!([]), "{report}");
    assert_eq!(report["foreign_requests"], json!([]), "{report}");
}
