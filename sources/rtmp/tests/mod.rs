//! The source as a whole, on loopback sockets. Here: a gate, a server and a
//! peer that speaks chunks, badly if told to.

mod encoders;
mod peers;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use records::{Packet, PacketBody, StreamId};
use runtime::{Intake, IntakeLimits, ShardTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::amf::{AmfLimits, Value, decode, encode, object};
use super::chunk::{ChunkReader, ChunkWriter, Message, kind};
use super::*;

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
            Arc::new(Lanes::start().unwrap()),
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
            // Between two looks: an intake's and the meters' changes can't be waited for.
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
