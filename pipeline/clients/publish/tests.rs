//! The clip against ffprobe, the publisher against ffmpeg and a small server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use scuffle_amf0::{Amf0Decoder, Amf0Encoder, Amf0Object, Amf0Value};
use sources::rtmp::chunk::{ChunkLimits, ChunkReader, ChunkWriter, Message, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::*;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/bigbuckbunny.mp4")
}

async fn ffmpeg(arguments: &[&str]) {
    let status = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).status().await;
    assert!(status.unwrap().success(), "ffmpeg {arguments:?}");
}

/// Two seconds with three B-frames in a row and AAC priming.
async fn b_frames(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    let arguments = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=44100 \
                     -t 2 -c:v libx264 -preset ultrafast -bf 3 -g 30 -pix_fmt yuv420p -c:a aac";
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    arguments.push(path.to_str().unwrap());
    ffmpeg(&arguments).await;
    path
}

#[test]
fn counts_are_those_of_ffprobe() {
    let clip = Clip::open(sample()).unwrap();
    assert_eq!((clip.count(Track::Video), clip.count(Track::Audio)), (132, 249));
    assert_eq!(clip.headers.len(), 2);
    assert_eq!((clip.metadata.width, clip.metadata.height), (Some(1280), Some(720)));
    assert_eq!(clip.metadata.fps, Some(25.0));
    assert_eq!(clip.metadata.channels, Some(6));
    assert!(clip.tags.iter().find(|t| t.track == Track::Video).unwrap().keyframe);
    assert!(clip.tags.windows(2).all(|pair| pair[0].dts_ns <= pair[1].dts_ns));
}

#[test]
fn loops_without_drift() {
    let clip = Clip::open(sample()).unwrap();
    assert_eq!(clip.length, records::MediaTime::new(254_976, 48_000));
    let first = &clip.tags[0];
    // 3,000,000 rounds of 5.312 s.
    assert_eq!(clip.due_ns(3_000_000, first) - clip.due_ns(0, first), 15_936_000_000_000_000);
    let last = clip.tags.iter().rev().find(|t| t.track == Track::Audio).unwrap();
    let audio = clip.tags.iter().find(|t| t.track == Track::Audio).unwrap();
    let step = clip.due_ns(1, audio) - clip.due_ns(0, last);
    assert!((step - 21_333_333).abs() <= 1, "sound goes on after {step} ns");
}

#[tokio::test]
async fn fragments_say_the_same_as_tables() {
    let directory = tempfile::tempdir().unwrap();
    let plain = b_frames(directory.path(), "plain.mp4").await;
    let fragmented = directory.path().join("fragmented.mp4");
    let (from, to) = (plain.to_str().unwrap(), fragmented.to_str().unwrap());
    let flags = "+frag_keyframe+delay_moov+default_base_moof";
    ffmpeg(&["-i", from, "-c", "copy", "-movflags", flags, to]).await;
    let (plain, fragmented) = (Clip::open(plain).unwrap(), Clip::open(&fragmented).unwrap());
    assert_eq!(fragmented.headers, plain.headers);
    for track in [Track::Video, Track::Audio] {
        let of = |clip: &Clip| {
            let own = clip.tags.iter().filter(|tag| tag.track == track);
            own.map(|tag| (tag.dts_ns, tag.keyframe, tag.body.clone())).collect::<Vec<_>>()
        };
        let (want, got) = (of(&plain), of(&fragmented));
        assert_eq!(got.len(), want.len());
        for (want, got) in want.iter().zip(&got) {
            assert!(want.0.abs_diff(got.0) < 1_000_000, "{} ns instead of {}", got.0, want.0);
            assert_eq!((want.1, &want.2), (got.1, &got.2));
        }
    }
    let whole = std::fs::read(directory.path().join("fragmented.mp4")).unwrap();
    let cut = Clip::parse(&whole[..whole.len() - 100]);
    assert!(matches!(cut, Err(ClipError::Damaged(_))), "{cut:?}");
}

#[test]
fn says_what_cannot_be_used() {
    assert!(matches!(Clip::open("/nonexistent"), Err(ClipError::Read { .. })));
    assert!(matches!(Clip::parse(b""), Err(ClipError::NothingUsable)));
    assert!(matches!(Clip::parse(b"FLV\x01"), Err(ClipError::Damaged(_))));
    let whole = std::fs::read(sample()).unwrap();
    assert!(Clip::parse(&whole[..whole.len() / 2]).is_err());
}

#[tokio::test]
async fn b_frames_and_edits_survive() {
    let directory = tempfile::tempdir().unwrap();
    let mp4 = b_frames(directory.path(), "b.mp4").await;
    let clip = Clip::open(&mp4).unwrap();
    assert_eq!(clip.count(Track::Video), 60);
    let offsets: Vec<i32> = clip
        .tags
        .iter()
        .filter(|t| t.track == Track::Video)
        .map(|t| i32::from_be_bytes([0, t.body[2], t.body[3], t.body[4]]))
        .collect();
    assert!(offsets.iter().any(|offset| *offset > 50), "{offsets:?}");
    // Presentation: 60 pictures, 1/30 s apart, each once.
    let mut times: Vec<i64> = clip
        .tags
        .iter()
        .filter(|t| t.track == Track::Video)
        .zip(&offsets)
        .map(|(t, offset)| (t.dts_ns + 500_000) / 1_000_000 + i64::from(*offset))
        .collect();
    times.sort_unstable();
    assert!(times.windows(2).all(|p| (32..=35).contains(&(p[1] - p[0]))), "{times:?}");

    // The same through ffmpeg's FLV muxer, which shifts and rounds on its own.
    let flv = directory.path().join("b.flv");
    ffmpeg(&["-i", mp4.to_str().unwrap(), "-c", "copy", flv.to_str().unwrap()]).await;
    let other = Clip::open(&flv).unwrap();
    assert_eq!(other.count(Track::Video), 60);
    assert_eq!(other.count(Track::Audio), clip.count(Track::Audio));
    let bodies = |clip: &Clip| -> Vec<Bytes> {
        clip.tags.iter().filter(|t| t.track == Track::Video).map(|t| t.body.slice(5..)).collect()
    };
    assert_eq!(bodies(&clip), bodies(&other));
}

/// A server that takes one publisher, or refuses it.
struct Server {
    listener: TcpListener,
    refuse: bool,
}

/// What a publisher did.
#[derive(Default)]
struct Seen {
    commands: Vec<String>,
    key: String,
    audio: Vec<u32>,
    video: Vec<u32>,
    data: usize,
}

impl Server {
    async fn bind(refuse: bool) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtmp://{}/live/key-{{n}}", listener.local_addr().unwrap());
        (Self { listener, refuse }, url)
    }

    async fn accept(&self) -> Seen {
        let (tcp, _) = self.listener.accept().await.unwrap();
        Self::serve(tcp, self.refuse).await
    }

    async fn serve(mut tcp: TcpStream, refuse: bool) -> Seen {
        let mut hello = [0; 1537];
        tcp.read_exact(&mut hello).await.unwrap();
        let mut answer = vec![3u8; 1 + 1536];
        answer.extend_from_slice(&hello[1..]);
        tcp.write_all(&answer).await.unwrap();
        tcp.read_exact(&mut hello[1..]).await.unwrap();

        let mut seen = Seen::default();
        let mut reader = ChunkReader::new(ChunkLimits::default());
        let mut writer = ChunkWriter::new();
        loop {
            while let Some(message) = reader.next().unwrap() {
                match message.type_id {
                    kind::AUDIO => seen.audio.push(message.timestamp_ms),
                    kind::VIDEO => seen.video.push(message.timestamp_ms),
                    kind::DATA => seen.data += 1,
                    kind::COMMAND => {
                        let mut out = BytesMut::new();
                        Self::command(&message.payload, refuse, &mut seen, &mut writer, &mut out);
                        tcp.write_all(&out).await.unwrap();
                        if refuse && seen.commands.last().is_some_and(|c| c == "publish") {
                            return seen;
                        }
                    }
                    _ => {}
                }
            }
            if tcp.read_buf(reader.buffer()).await.unwrap_or(0) == 0 {
                return seen;
            }
        }
    }

    fn command(
        payload: &[u8],
        refuse: bool,
        seen: &mut Seen,
        writer: &mut ChunkWriter,
        out: &mut BytesMut,
    ) {
        let mut decoder = Amf0Decoder::from_slice(payload);
        let name = decoder.decode_string().unwrap().as_str().to_owned();
        let transaction = decoder.decode_number().unwrap();
        if name == "publish" {
            decoder.decode_null().unwrap();
            seen.key = decoder.decode_string().unwrap().as_str().to_owned();
        }
        let mut answer = Vec::new();
        let mut encoder = Amf0Encoder::new(&mut answer);
        match name.as_str() {
            "connect" | "createStream" => {
                encoder.encode_string("_result").unwrap();
                encoder.encode_number(transaction).unwrap();
                encoder.encode_null().unwrap();
                encoder.encode_number(1.0).unwrap();
            }
            "publish" => {
                let (level, code) = if refuse {
                    ("error", "NetStream.Publish.BadName")
                } else {
                    ("status", "NetStream.Publish.Start")
                };
                let text = |t: &'static str| Amf0Value::String(t.into());
                let fields =
                    [("level", level), ("code", code), ("description", "the key is in use")];
                let info: Amf0Object<'_> =
                    fields.into_iter().map(|(name, value)| (name.into(), text(value))).collect();
                encoder.encode_string("onStatus").unwrap();
                encoder.encode_number(0.0).unwrap();
                encoder.encode_null().unwrap();
                encoder.encode_object(&info).unwrap();
            }
            _ => {}
        }
        seen.commands.push(name);
        if !answer.is_empty() {
            let payload = answer.into();
            let message = Message {
                chunk_stream: 3,
                stream_id: 0,
                type_id: kind::COMMAND,
                timestamp_ms: 0,
                payload,
            };
            writer.write(&message, out);
        }
    }
}

#[tokio::test]
async fn publishes_loops_and_ends_cleanly() {
    let (server, url) = Server::bind(false).await;
    let clip = Arc::new(Clip::open(sample()).unwrap());
    let options = PublishOptions {
        looping: true,
        duration: Some(Duration::from_millis(600)),
        speed: 20.0,
        ..PublishOptions::new(url)
    };
    let (report, seen) = tokio::join!(publish(clip, options, Stop::new()), server.accept());
    let report = report.unwrap();
    let copy = &report.copies[0];
    assert_eq!(seen.key, "key-0");
    // One header each is sent before what the report counts.
    assert_eq!(seen.video.len() as u64, copy.video_tags + 1);
    assert_eq!(seen.audio.len() as u64, copy.audio_tags + 1);
    assert!((11_000..14_000).contains(&copy.media_ms), "{}", copy.media_ms);
    assert!(seen.video.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(seen.audio[1..].windows(2).all(|pair| (21..=22).contains(&(pair[1] - pair[0]))));
    assert_eq!(seen.data, 1);
    let commands: Vec<&str> = seen.commands.iter().map(String::as_str).collect();
    assert_eq!(
        commands,
        [
            "connect",
            "releaseStream",
            "FCPublish",
            "createStream",
            "publish",
            "FCUnpublish",
            "deleteStream"
        ]
    );
}

#[tokio::test]
async fn a_refusal_says_why() {
    let (server, url) = Server::bind(true).await;
    let clip = Arc::new(Clip::open(sample()).unwrap());
    let options = PublishOptions { reconnect: true, ..PublishOptions::new(url) };
    let (result, _) = tokio::join!(publish(clip, options, Stop::new()), server.accept());
    match result {
        Err(PublishError::Refused { code, description }) => {
            assert_eq!(code, "NetStream.Publish.BadName");
            assert_eq!(description, "the key is in use");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn comes_back_after_a_lost_connection() {
    let (server, url) = Server::bind(false).await;
    let clip = Arc::new(Clip::open(sample()).unwrap());
    let options = PublishOptions { reconnect: true, looping: true, ..PublishOptions::new(url) };
    let stop = Stop::new();
    let serving = async {
        let (tcp, _) = server.listener.accept().await.unwrap();
        let lost = tokio::time::timeout(Duration::from_millis(200), Server::serve(tcp, false));
        assert!(lost.await.is_err());
        let (tcp, _) = server.listener.accept().await.unwrap();
        let second = Server::serve(tcp, false);
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop.stop();
        };
        tokio::join!(second, stopping).0
    };
    let (report, seen) = tokio::join!(publish(clip, options, stop.clone()), serving);
    assert_eq!(report.unwrap().copies[0].reconnects, 1);
    assert!(seen.video.len() > 2);
}

#[tokio::test]
async fn many_copies_share_a_clip() {
    let (server, url) = Server::bind(false).await;
    let clip = Arc::new(Clip::open(sample()).unwrap());
    let options = PublishOptions {
        copies: 50,
        speed: 4.0,
        duration: Some(Duration::from_millis(500)),
        spread: Duration::from_millis(200),
        ..PublishOptions::new(url)
    };
    let serving = async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (tcp, _) = server.listener.accept().await.unwrap();
            tasks.spawn(Server::serve(tcp, false));
        }
        tasks.join_all().await
    };
    let (report, seen) = tokio::join!(publish(clip, options, Stop::new()), serving);
    let report = report.unwrap();
    assert_eq!(report.failed().count(), 0);
    let sent: u64 = report.copies.iter().map(|c| c.video_tags + 1).sum();
    assert_eq!(seen.iter().map(|s| s.video.len() as u64).sum::<u64>(), sent);
    let mut keys: Vec<&str> = seen.iter().map(|s| s.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50);
}

/// Publishes into ffmpeg as a server; gives the packets it saw of each track.
async fn into_ffmpeg(clip: &Path) -> (usize, usize) {
    // Asked of the system, then handed to ffmpeg, which can't say what it got.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let server = Command::new("ffmpeg")
        .args(["-v", "error", "-listen", "1", "-i", &url, "-c", "copy", "-f", "framecrc", "-"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let clip = Arc::new(Clip::open(clip).unwrap());
    let options = PublishOptions { speed: 4.0, ..PublishOptions::new(url) };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        match publish(Arc::clone(&clip), options.clone(), Stop::new()).await {
            // ffmpeg needs a moment until it listens.
            Err(PublishError::Connection(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => {
                other.unwrap();
                break;
            }
        }
    }
    let output =
        tokio::time::timeout(Duration::from_secs(10), server.wait_with_output()).await.unwrap();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let count = |stream: &str| text.lines().filter(|line| line.starts_with(stream)).count();
    (count("0,"), count("1,"))
}

#[tokio::test]
async fn ffmpeg_receives_every_packet() {
    let directory = tempfile::tempdir().unwrap();
    let b_frames = b_frames(directory.path(), "b.mp4").await;
    let audio = Clip::open(&b_frames).unwrap().count(Track::Audio);
    let (sample, b_frames) = (sample(), b_frames);
    let (one, two) = tokio::join!(into_ffmpeg(&sample), into_ffmpeg(&b_frames));
    assert_eq!(one, (132, 249));
    assert_eq!(two, (60, audio));
}
