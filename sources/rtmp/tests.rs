//! The source as a whole, on loopback sockets: real encoders, and peers that misbehave.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use records::{Packet, PacketBody, StreamId};
use runtime::{Intake, IntakeLimits, ShardTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::amf::{AmfLimits, Value, decode, encode, object};
use super::chunk::{ChunkReader, ChunkWriter, Message, kind};
use super::*;

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bigbuckbunny.mp4");

/// Admits `live/KEY`, one publisher at a time.
struct TestGate {
    intake: Intake<Packet>,
    stream: StreamId,
    orders: watch::Sender<Order>,
    state: Mutex<GateState>,
}

#[derive(Default)]
struct GateState {
    sessions: u32,
    publishing: HashSet<u32>,
    departures: Vec<Departure>,
}

impl Gate for TestGate {
    async fn admit(
        &self,
        app: &str,
        key: &StreamKeyText,
        _peer: SocketAddr,
    ) -> Result<Admission, Refusal> {
        if (app, key.expose()) != ("live", "KEY") {
            return Err(Refusal::BadKey);
        }
        let mut state = self.state.lock();
        if !state.publishing.is_empty() {
            return Err(Refusal::InUse);
        }
        state.sessions += 1;
        let session = state.sessions;
        state.publishing.insert(session);
        let (stream, writer) = (self.stream, self.intake.writer(self.stream));
        Ok(Admission { stream, session, writer, orders: self.orders.subscribe() })
    }

    fn release(&self, _stream: StreamId, session: u32, departure: Departure) {
        let mut state = self.state.lock();
        assert!(state.publishing.remove(&session), "released twice");
        state.departures.push(departure);
    }
}

struct Server {
    address: SocketAddr,
    gate: Arc<TestGate>,
    meters: Arc<RtmpMeters>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(config: RtmpConfig) -> Self {
        Self::start_with(config, None, 64 << 20).await
    }

    async fn start_with(config: RtmpConfig, tls: Option<TlsConfig>, unread: usize) -> Self {
        let limits = IntakeLimits { unread_bytes_max: unread, retained_bytes_max: 1 << 20 };
        let gate = Arc::new(TestGate {
            intake: Intake::new("test", limits),
            stream: StreamId::generate(),
            orders: watch::Sender::new(Order::Serve),
            state: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let meters = Arc::new(RtmpMeters::default());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(
            listener,
            tls,
            Arc::clone(&gate),
            Arc::new(config),
            Arc::clone(&meters),
            async {
                let _ = stopped.await;
            },
        ));
        Self { address, gate, meters, stop: Some(stop), task }
    }

    fn url(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address)
    }

    /// Everything published so far that wasn't read before.
    fn packets(&self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let table = ShardTable::even(1);
        while self.gate.intake.read(0, &table, usize::MAX, |p| packets.push(p)) {}
        packets
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain: {what}");
    }

    fn closed(&self, label: &str) -> u64 {
        self.meters.closed_total.read().find(|(name, _)| *name == label).unwrap().1
    }

    fn departures(&self) -> Vec<Departure> {
        self.gate.state.lock().departures.clone()
    }

    async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }
}

/// A publisher that speaks chunks, badly if told to.
struct Peer {
    socket: TcpStream,
    reader: ChunkReader,
    writer: ChunkWriter,
}

impl Peer {
    async fn dial(server: &Server) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let mut hello = vec![3];
        hello.resize(1 + 2 * 1536, 0);
        socket.write_all(&hello).await.unwrap();
        let mut reply = vec![0; 1 + 2 * 1536];
        socket.read_exact(&mut reply).await.unwrap();
        let reader = ChunkReader::new(Default::default());
        Self { socket, reader, writer: ChunkWriter::new() }
    }

    async fn send(&mut self, type_id: u8, timestamp_ms: u32, payload: Vec<u8>) {
        let message = Message {
            chunk_stream: 4,
            stream_id: 1,
            type_id,
            timestamp_ms,
            payload: payload.into(),
        };
        let mut out = bytes::BytesMut::new();
        self.writer.write(&message, &mut out);
        self.socket.write_all(&out).await.unwrap();
    }

    async fn command(&mut self, name: &str, args: &[Value]) {
        let mut payload = Vec::new();
        encode(&name.into(), &mut payload);
        encode(&1.0.into(), &mut payload);
        args.iter().for_each(|value| encode(value, &mut payload));
        self.send(kind::COMMAND, 0, payload).await;
    }

    async fn publish(&mut self, key: &str) {
        self.command("connect", &[object([("app", "live".into())])]).await;
        self.command("createStream", &[Value::Null]).await;
        self.command("publish", &[Value::Null, key.into(), "live".into()]).await;
    }

    /// Codes of statuses, up to `last` or the end of the connection.
    async fn statuses(&mut self, last: &str) -> Vec<String> {
        let mut codes = Vec::new();
        let all = async {
            loop {
                while let Some(message) = self.reader.next().unwrap() {
                    if message.type_id != kind::COMMAND {
                        continue;
                    }
                    let values = decode(&message.payload, &AmfLimits::default()).unwrap();
                    let code = values.last().unwrap().get("code").and_then(Value::as_str);
                    codes.extend(code.map(String::from));
                    if codes.last().is_some_and(|code| code == last) {
                        return;
                    }
                }
                match self.socket.read_buf(self.reader.buffer()).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), all).await.expect("the server is silent");
        codes
    }
}

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
        assert!(!server.packets().is_empty());
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

#[tokio::test]
async fn an_order_closes_with_its_reason() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let close = Order::Close { reason: "deleted".into(), may_return: false };
    server.gate.orders.send(close).unwrap();
    // It still sends: the reason must reach it all the same.
    peer.send(kind::VIDEO, 0, vec![0; 100_000]).await;
    assert_eq!(peer.statuses("").await, ["NetStream.Publish.Denied"]);
    assert_eq!(
        server.departures(),
        [Departure::Lost { reason: "closed by the server: deleted".into() }]
    );
    server.stop().await;
}

#[tokio::test]
async fn shutdown_tells_publishers_that_they_may_return() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(peer.statuses("").await, ["NetConnection.Connect.Closed"]);
    drop(peer);
    stopping.await.unwrap();
}

#[tokio::test]
async fn silence_and_slowness_have_an_end() {
    let short = Duration::from_millis(200);
    let config = RtmpConfig {
        handshake_timeout: short,
        publish_timeout: 2 * short,
        idle_timeout: 3 * short,
        ..RtmpConfig::default()
    };
    let server = Server::start(config).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&[3, 0, 0]).await.unwrap();
    let mut idle = Peer::dial(&server).await;
    idle.publish("KEY").await;
    let mut undecided = Peer::dial(&server).await;
    undecided.command("connect", &[object([("app", "live".into())])]).await;
    for label in ["handshake_slow", "not_publishing", "idle"] {
        server.until(label, |s| s.closed(label) == 1).await;
    }
    assert!(matches!(&server.departures()[..], [Departure::Lost { .. }]));
    server.stop().await;
}

#[tokio::test]
async fn misbehaving_peers_are_closed_and_counted() {
    let server = Server::start(RtmpConfig::default()).await;
    let mut http = TcpStream::connect(server.address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(http.read(&mut [0; 16]).await.unwrap_or(0), 0);

    for (label, type_id, payload) in [
        ("chunk_size", kind::SET_CHUNK_SIZE, vec![0, 0, 0, 0]),
        ("chunk_size", kind::SET_CHUNK_SIZE, vec![0x80, 0, 0, 0]),
        ("amf", kind::COMMAND, [3, 0, 1, b'a'].repeat(1000)),
    ] {
        let before = server.closed(label);
        let mut peer = Peer::dial(&server).await;
        peer.send(type_id, 0, payload).await;
        assert!(peer.statuses("").await.is_empty());
        server.until(label, |s| s.closed(label) == before + 1).await;
    }
    // 16 MB announced.
    let mut huge = Peer::dial(&server).await;
    huge.socket.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]).await.unwrap();
    server.until("huge", |s| s.closed("message_too_long") == 1).await;
    // 65 thousand chunk streams.
    let mut many = Peer::dial(&server).await;
    let mut bytes = Vec::new();
    for id in 0..=u16::MAX {
        bytes.push(1);
        bytes.extend(id.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    }
    let _ = many.socket.write_all(&bytes).await;
    server.until("many", |s| s.closed("chunk_streams") == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_full_stream_is_not_read() {
    let server = Server::start_with(RtmpConfig::default(), None, 64 << 10).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    let flood = tokio::spawn(async move {
        for time in 0..2000 {
            peer.send(kind::VIDEO, time, vec![0; 16 << 10]).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.gate.intake.unread_bytes() < 128 << 10);
    assert!(!flood.is_finished());
    let mut times = Vec::new();
    server
        .until("all packets", |s| {
            times.extend(s.packets().iter().map(|p| match p.body {
                PacketBody::Video { timestamp_ms, .. } => timestamp_ms,
                _ => -1,
            }));
            times.len() == 2000
        })
        .await;
    assert!(times.iter().copied().eq(0..2000));
    flood.await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn an_order_is_obeyed_while_waiting_for_room() {
    let server = Server::start_with(RtmpConfig::default(), None, 1).await;
    let mut peer = Peer::dial(&server).await;
    peer.publish("KEY").await;
    peer.statuses("NetStream.Publish.Start").await;
    for time in 0..3 {
        peer.send(kind::VIDEO, time, vec![0; 100]).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let close = Order::Close { reason: "new key".into(), may_return: false };
    server.gate.orders.send(close).unwrap();
    assert_eq!(peer.statuses("").await, ["NetStream.Publish.Denied"]);
    server.stop().await;
}

/// A certificate for trials; the second value is its name for `ffmpeg`.
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
        assert!(server.packets().len() > 300);
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
