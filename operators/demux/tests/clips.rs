//! Real clips, muxed to FLV by ffmpeg, message by message.

use std::process::Command;

use super::*;

/// Publishes what `ffmpeg -i clip ARGS -f flv` writes, in real time; none without ffmpeg.
fn publish(args: &[&str]) -> Option<Feed> {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bigbuckbunny.mp4");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i", clip])
        .args(args)
        .args(["-f", "flv", "-flvflags", "no_duration_filesize", "-"])
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut feed = Feed::started();
    let data = Bytes::from(output.stdout);
    // File header and the first back pointer; then tags, each with a back pointer (Adobe FLV 1.0 E.3).
    let mut at = 13;
    while let Some(head) = data.get(at..at + 11) {
        let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        let ms = i64::from(u32::from_be_bytes([head[7], head[4], head[5], head[6]]));
        let body = data.slice(at + 11..at + 11 + size);
        feed.now_ms = feed.now_ms.max(ms as u64);
        match head[0] {
            8 => feed.audio(ms, body),
            9 => feed.video(ms, body),
            _ => feed.body(PacketBody::Data { timestamp_ms: ms, data: body }),
        }
        at += 11 + size + 4;
    }
    feed.check();
    Some(feed)
}

#[test]
fn the_sample_clip_as_it_is() {
    let Some(feed) = publish(&["-c", "copy"]) else { return };
    let run = feed.runs()[0];
    let video = run.video.as_ref().unwrap();
    assert_eq!(video.kind, Kind::Video { width: 1280, height: 720, fps: Some((25, 1)) });
    assert_eq!((video.timescale, video.sample_ticks), (90_000, 3600));
    let audio = run.audio.as_ref().unwrap();
    assert_eq!(audio.kind, Kind::Audio { sample_rate: 48_000, channels: 6 });
    // Its one keyframe in five seconds is too few for segments of four.
    let passthrough: Vec<_> = feed.runs().iter().map(|run| run.passthrough).collect();
    assert_eq!((passthrough, feed.dropped()), (vec![true, false], 0));
    let pictures = feed.samples(Rendition::Source);
    assert!(pictures.windows(2).all(|pair| pair[1].dts - pair[0].dts == 3600));
    let sound = feed.samples(Rendition::Audio);
    assert!(sound.windows(2).all(|pair| pair[1].dts - pair[0].dts == 1024));
}

#[test]
fn hevc_parameters_as_x265_writes_them() {
    let path = std::env::temp_dir().join(format!("millstream-demux-{}.mp4", std::process::id()));
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "quiet",
            "-f",
            "lavfi",
            "-i",
            "color=size=326x182:rate=24000/1001",
            "-frames:v",
            "2",
        ])
        .args([
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none",
            "-y",
        ])
        .arg(&path)
        .status();
    let Ok(data) = std::fs::read(&path) else { return };
    drop(std::fs::remove_file(&path));
    // An ffmpeg without x265.
    let Some(at) = data.windows(4).position(|window| window == b"hvcC") else { return };
    assert!(status.unwrap().success());
    let size = u32::from_be_bytes(data[at - 4..at].try_into().unwrap()) as usize;
    let config = &data[at + 4..at - 4 + size];
    let picture = params::picture(Codec::Hevc, config).unwrap();
    assert_eq!((picture.width, picture.height), (326, 182));

    let mut feed = Feed::started();
    let mut data = b"\x02\x00\x0aonMetaData\x03\x00\x09framerate\x00".to_vec();
    data.extend(23.976f64.to_be_bytes());
    feed.body(PacketBody::Data { timestamp_ms: 0, data: data.into() });
    feed.video(0, [b"\x90hvc1", config].concat());
    feed.asc();
    feed.video(0, b"\x91hvc1\x00\x00\x00\x00\x00\x00\x03\x26\x01\xaf".to_vec());
    feed.video(42, b"\xa3hvc1\x00\x00\x00\x03\x02\x01\xd0".to_vec());
    feed.check();
    let video = feed.runs()[0].video.as_ref().unwrap();
    assert_eq!((video.codec, video.timescale, video.sample_ticks), (Codec::Hevc, 96_000, 4004));
    assert_eq!(
        feed.samples(Rendition::Source)[1].dts,
        feed.samples(Rendition::Source)[0].dts + 4004
    );
}

#[test]
fn b_frames_at_29_97() {
    let args = [
        "-vsync",
        "cfr",
        "-r",
        "30000/1001",
        "-s",
        "320x180",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ];
    let more = ["-bf", "3", "-g", "30", "-c:a", "aac", "-ac", "2"];
    let Some(feed) = publish(&[args.as_slice(), &more].concat()) else { return };
    let run = feed.runs()[0];
    let video = run.video.as_ref().unwrap();
    assert_eq!((video.timescale, video.sample_ticks), (90_000, 3003));
    let pictures = feed.samples(Rendition::Source);
    assert!(pictures.iter().any(|picture| picture.cts > 0));
    assert!(pictures.windows(2).all(|pair| pair[1].dts - pair[0].dts == 3003));
    assert!(pictures.iter().all(|picture| picture.cts % 3003 == 0));
    let cuts = feed.cuts();
    let picture_at_cut =
        |cut: &Cut| pictures.iter().any(|p| p.keyframe && p.dts + i64::from(p.cts) == cut.at.ticks);
    assert!(cuts.len() >= 2 && cuts.iter().all(picture_at_cut));
    assert_eq!(feed.runs().len(), 1);
}
