//! Programs that others wrote: ffmpeg, GStreamer, rtmpdump.

use std::process::Stdio;

use tokio::process::Command;

use super::*;

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bigbuckbunny.mp4");

fn ffmpeg(url: &str, options: &[&str]) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-loglevel", "error", "-i", CLIP, "-c", "copy"])
        .args(options)
        .args(["-f", "flv", url])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn ffmpeg_publishes_and_leaves() {
    let server = Server::start(RtmpConfig::default()).await;
    let output = ffmpeg(&server.url("live/KEY"), &[]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.until("a clean end", |s| s.departures() == [Departure::Clean]).await;

    let packets = server.packets();
    let mut counts = [0; 3];
    let mut last = [i64::MIN; 2];
    for (index, packet) in packets.iter().enumerate() {
        assert_eq!(packet.offset, index as u64);
        match &packet.body {
            PacketBody::Audio { timestamp_ms, .. } => {
                counts[0] += 1;
                assert!(std::mem::replace(&mut last[0], *timestamp_ms) <= *timestamp_ms);
            }
            PacketBody::Video { timestamp_ms, .. } => {
                counts[1] += 1;
                assert!(std::mem::replace(&mut last[1], *timestamp_ms) <= *timestamp_ms);
            }
            PacketBody::Data { data, .. } => {
                counts[2] += 1;
                assert!(data.starts_with(b"\x02\x00\x0aonMetaData"));
            }
            other => panic!("{other:?}"),
        }
    }
    // With them come both configurations and the end-of-sequence tag.
    let expected = pictures_and_sounds().await;
    assert_eq!((counts[1], counts[0]), (expected.0 + 2, expected.1 + 1), "{counts:?}");
    assert!(counts[2] >= 1);
    server.stop().await;
}

/// Coded pictures and blocks of sound in the clip, as ffprobe counts them.
async fn pictures_and_sounds() -> (usize, usize) {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=codec_type", "-of", "csv=p=0", CLIP])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = |name| text.lines().filter(|line| line.starts_with(name)).count();
    (count("video"), count("audio"))
}

#[tokio::test]
async fn ffmpeg_prints_why_it_was_refused() {
    let server = Server::start(RtmpConfig::default()).await;
    for (path, options) in [("live/WRONG", &[][..]), ("WRONG", &[]), ("other/KEY", &[])] {
        let output = ffmpeg(&server.url(path), options).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(text.contains(&Refusal::BadKey.to_string()), "{path}: {text}");
    }
    assert!(server.packets().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_may_put_the_key_elsewhere() {
    let server = Server::start(RtmpConfig::default()).await;
    let url = server.url("live/KEY");
    for (url, options) in [
        (server.url("live/ignored?key=KEY"), &[][..]),
        (url.clone(), &["-rtmp_app", "live/KEY", "-rtmp_playpath", ""]),
    ] {
        let output = ffmpeg(&url, &[&["-t", "0.2"], options].concat()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server.until("its packets", |s| !s.packets().is_empty()).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut first = Peer::dial(&server).await;
    first.publish("KEY").await;
    first.statuses("NetStream.Publish.Start").await;

    let output = ffmpeg(&server.url("live/KEY"), &[]).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&Refusal::InUse.to_string()), "{text}");
    let mut second = Peer::dial(&server).await;
    second.publish("KEY").await;
    let codes = second.statuses("").await;
    assert_eq!(codes.last().unwrap(), "NetStream.Publish.BadName");

    first.send(kind::AUDIO, 0, vec![1]).await;
    server.until("the first one's packet", |s| s.packets().len() == 1).await;
    drop(first);
    server.until("its departure", |s| !s.departures().is_empty()).await;
    assert!(matches!(&server.departures()[0], Departure::Lost { reason } if !reason.is_empty()));
    server.stop().await;
}

/// A certificate for trials.
fn certificate() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.into()], key.into())
        .unwrap();
    Arc::new(config)
}

#[tokio::test]
async fn ffmpeg_publishes_over_tls() {
    let (certificates, tls) = watch::channel(certificate());
    let server = Server::start_with(RtmpConfig::default(), Some(tls), 64 << 20).await;
    let url = server.url("live/KEY").replace("rtmp://", "rtmps://");
    // The second time with a certificate that came while the server ran.
    for _ in 0..2 {
        let output = ffmpeg(&url, &[]).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut taken = 0;
        let all = |server: &Server| {
            taken += server.packets().len();
            taken > 300
        };
        server.until("its packets", all).await;
        certificates.send(certificate()).unwrap();
    }
    // Plain RTMP on the TLS port.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(&[3; 1537]).await.unwrap();
    server.until("a refusal", |s| s.closed("handshake_tls") == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn gstreamer_publishes_and_is_told_why_not() {
    let server = Server::start(RtmpConfig::default()).await;
    for (key, expected) in [("KEY", ""), ("WRONG", "Not authorized")] {
        let output = Command::new("gst-launch-1.0")
            .args(["-q", "filesrc", &format!("location={CLIP}"), "!", "qtdemux", "!", "h264parse"])
            .args(["!", "flvmux", "streamable=true", "!", "rtmp2sink", "sync=false"])
            .arg(format!("location={}", server.url(&format!("live/{key}"))))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), expected.is_empty(), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let pictures = server.packets().into_iter();
    let pictures = pictures.filter(|p| matches!(p.body, PacketBody::Video { .. })).count();
    assert!(pictures > 100, "{pictures}");
    server.stop().await;
}

#[tokio::test]
async fn rtmpdump_is_refused_playback() {
    let server = Server::start(RtmpConfig::default()).await;
    let output = Command::new("rtmpdump")
        .args(["-r", &server.url("live/KEY"), "-o", "/dev/null"])
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("NetStream.Play.Failed"), "{text}");
    assert!(!text.contains("WARNING"), "{text}");
    server.until("its end", |s| s.closed("playback") == 1).await;
    server.stop().await;
}
