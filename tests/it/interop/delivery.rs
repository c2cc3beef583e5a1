//! What an HTTP client sees of delivery: headers, ranges, errors, pages.

use std::collections::HashMap;

use tokio::process::Command;

use super::{AAC, FFMPEG, H264, output, publish, server};
use crate::support::eventually;

/// An answer as curl shows it.
struct Shown {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Shown {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Runs curl; redirects would show, since they aren't followed.
async fn curl(options: &[&str], url: &str) -> Shown {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "-D", "-"]).args(options).arg(url);
    let (text, _) = output(&mut command).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    Shown {
        status: status.parse().expect("a number"),
        headers: headers.map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect(),
        body: body.to_owned(),
    }
}

/// PROTOCOLS §1, "Cache lifetimes", with a target duration of 2 s.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_how_long_it_may_be_kept() {
    let server = server(&[]).await;
    let stream = server.create("cached").await;
    let mut publisher = publish(FFMPEG, H264, AAC, 30, &stream.ingest);
    let path = format!("/live/{}", stream.id);
    eventually("two segments", async || {
        let playlist = server.get(&format!("{path}/source/index.m3u8")).await.text();
        (playlist.matches("#EXTINF").count() >= 2).then_some(())
    })
    .await;
    const PLAYLIST: &str = "application/vnd.apple.mpegurl";
    const PROBLEM: &str = "application/problem+json";
    const MEDIA: &str = "video/iso.segment";
    for (name, status, kind, cache) in [
        ("index.m3u8", 200, PLAYLIST, "max-age=1"),
        ("source/index.m3u8", 200, PLAYLIST, "max-age=1"),
        ("audio/index.m3u8", 200, PLAYLIST, "max-age=1"),
        ("source/iframes.m3u8", 200, PLAYLIST, "max-age=1"),
        ("source/index.m3u8?_HLS_msn=1&_HLS_part=0", 200, PLAYLIST, "max-age=12"),
        ("source/init-0.mp4", 200, "video/mp4", "max-age=12, immutable"),
        ("source/0.m4s", 200, MEDIA, "max-age=12, immutable"),
        ("source/0.1.m4s", 200, MEDIA, "max-age=12, immutable"),
        ("source/900.m4s", 404, PROBLEM, "max-age=2"),
        ("source/index.m3u8?_HLS_part=1", 400, PROBLEM, "max-age=8"),
        ("source/index.m3u8?_HLS_msn=900", 400, PROBLEM, "max-age=8"),
        ("360p/index.m3u8", 404, PROBLEM, "max-age=2"),
        ("nonsense", 404, PROBLEM, "max-age=2"),
    ] {
        let url = format!("{}{path}/{name}", server.http);
        let shown = curl(&["-o", "/dev/null"], &url).await;
        assert_eq!((name, shown.status), (name, status));
        assert_eq!((name, shown.header("content-type")), (name, kind));
        assert_eq!((name, shown.header("cache-control")), (name, cache));
        assert_eq!(shown.header("access-control-allow-origin"), "*", "{name}");
        assert_eq!(shown.header("location"), "", "{name}: redirects cost a round trip each");
    }
    publisher.signal("INT");
    publisher.wait(std::time::Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn playlists_are_compressed_and_media_comes_in_ranges() {
    let server = server(&[]).await;
    let stream = server.create("ranges").await;
    let mut publisher = publish(FFMPEG, H264, AAC, 3, &stream.ingest);
    publisher.wait(std::time::Duration::from_secs(20)).await;
    server.state(&stream, "STREAM_COMPLETE").await;
    let url = |name: &str| format!("{}/live/{}/{name}", server.http, stream.id);

    let plain = curl(&[], &url("source/index.m3u8")).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "accept-encoding");
    let packed = curl(&["--compressed"], &url("source/index.m3u8")).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.body, plain.body);
    let sizes = [&packed, &plain].map(|s| s.header("content-length").parse::<usize>().unwrap_or(0));
    assert!(sizes[0] > 0 && sizes[0] < sizes[1], "{sizes:?}");
    let media = curl(&["--compressed", "-o", "/dev/null"], &url("source/0.m4s")).await;
    assert_eq!(media.header("content-encoding"), "", "media is compressed already");

    let head = curl(&["-I"], &url("source/0.m4s")).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), media.header("content-length"));
    assert_eq!(head.header("accept-ranges"), "bytes");
    let length: u64 = media.header("content-length").parse().expect("a length");
    for (range, status, content_range) in [
        ("4-7", 206, format!("bytes 4-7/{length}")),
        ("-8", 206, format!("bytes {}-{}/{length}", length - 8, length - 1)),
        ("99999999-", 416, format!("bytes */{length}")),
    ] {
        let part = curl(&["-r", range, "-o", "/dev/null"], &url("source/0.m4s")).await;
        assert_eq!((range, part.status), (range, status));
        assert_eq!(part.header("content-range"), content_range);
        assert_eq!(part.header("access-control-allow-origin"), "*", "{range}");
    }
    let styp_or_moof = curl(&["-r", "4-7"], &url("source/0.m4s")).await.body;
    assert!(["styp", "moof", "prft"].contains(&&*styp_or_moof), "{styp_or_moof}");

    let preflight =
        curl(&["-X", "OPTIONS", "-H", "Origin: http://elsewhere.example"], &url("index.m3u8"))
            .await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").contains("GET"));
    assert!(preflight.header("access-control-allow-headers").contains("range"));
    let wrong = curl(&["-X", "POST"], &url("index.m3u8")).await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.header("access-control-allow-origin"), "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_with_a_policy_and_unknown_files_do_not_come() {
    let server = server(&[]).await;
    let stream = server.create("page").await;
    for page in ["/".to_owned(), format!("/watch/{}", stream.id), "/watch/whatever".to_owned()] {
        let shown = curl(&[], &format!("{}{page}", server.http)).await;
        assert_eq!(shown.status, 200, "{page}: {}", shown.body);
        assert!(shown.header("content-type").starts_with("text/html"), "{page}");
        assert_eq!(shown.header("cache-control"), "no-cache", "{page}");
        let policy = shown.header("content-security-policy");
        assert!(policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for asset in shown.body.split(['"', '\'']).filter(|word| word.starts_with("/assets/")) {
            let asset = curl(&["-o", "/dev/null"], &format!("{}{asset}", server.http)).await;
            assert_eq!(asset.status, 200);
            assert!(asset.header("cache-control").contains("immutable"));
        }
    }
    for missing in ["/assets/none.js", "/none", "/watch", "/../Cargo.toml", "/api/none"] {
        let shown = curl(&["--path-as-is"], &format!("{}{missing}", server.http)).await;
        assert_eq!((missing, shown.status), (missing, 404));
        assert_eq!(shown.header("content-type"), "application/problem+json", "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thumbnail_is_a_jpeg_of_what_is_on() {
    let server = server(&[]).await;
    let stream = server.create("picture").await;
    let publisher = publish(FFMPEG, H264, AAC, 30, &stream.ingest);
    let path = format!("/api/streams/{}/thumbnail.jpg", stream.id);
    let picture = eventually("thumbnail", async || {
        let answer = server.get(&path).await;
        answer.status.is_success().then_some(answer)
    })
    .await;
    assert_eq!(picture.headers["content-type"], "image/jpeg");
    let mut probe = Command::new("ffprobe");
    let url = format!("{}{path}", server.http);
    probe.args([
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name,width,height",
        "-of",
        "csv=p=0",
        &url,
    ]);
    let (found, errors) = output(&mut probe).await;
    assert_eq!((found.trim(), &*errors), ("mjpeg,320,180", ""));
    let listed = server.get("/api/streams").await.json();
    let shown = listed["streams"][0]["thumbnail_url"].as_str().expect("a link");
    assert!(shown.ends_with(&path), "{shown}");
    drop(publisher);
}
