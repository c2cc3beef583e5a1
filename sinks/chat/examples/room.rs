//! One room behind hyper, for measuring the fan-out alone.
//!
//! `chat_room --rate 100` feeds itself marked messages. It prints its address and ends after
//! `--seconds`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chat::{FlushConfig, Flushers, Handler, Joining, Room, SendBy, Start, UserTag, Who, ws};
use chat_load::Mark;
use clap::Parser;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Messages a second that the room is fed; 0: those that viewers say.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Rooms /0, /1, …, fed in turn.
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 150)]
    bytes: usize,
    #[arg(long, default_value_t = 200)]
    window_ms: u64,
    #[arg(long, default_value_t = 2)]
    loops: usize,
    #[arg(long, default_value_t = 1 << 20)]
    ring_bytes: usize,
    /// `auto`, `send` or `uring`.
    #[arg(long, default_value = "auto")]
    send_by: String,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What viewers say goes to the room.
#[derive(Default)]
struct Relay {
    seq: parking_lot::Mutex<u64>,
}

impl Handler for Relay {
    fn text(&self, who: Who<'_>, text: &str) {
        let mut seq = self.seq.lock();
        if who.room.publish(*seq + 1, text).is_ok() {
            *seq += 1;
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let config = FlushConfig {
        loops: arguments.loops,
        window: Duration::from_millis(arguments.window_ms),
        send_by: match arguments.send_by.as_str() {
            "send" => SendBy::Send,
            "uring" => SendBy::Uring,
            _ => SendBy::Auto,
        },
        ..FlushConfig::default()
    };
    let flushers = Arc::new(Flushers::start(&config, Arc::new(Relay::default()))?);
    let rooms: Arc<[Arc<Room>]> = (0..arguments.rooms.max(1))
        .map(|number| Room::new(number.to_string(), 1, 0, arguments.ring_bytes))
        .collect();
    let listener = listen(arguments.listen)?;
    println!("{} {}", listener.local_addr()?, std::process::id());
    if arguments.rate > 0.0 {
        let rooms = rooms.clone();
        let arguments = arguments.clone();
        std::thread::spawn(move || feed(&rooms, &arguments));
    }
    let serving = tokio::spawn(serve(listener, flushers.clone(), rooms));
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    serving.abort();
    eprintln!("{:?}", flushers.totals());
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into())?)
}

fn feed(rooms: &[Arc<Room>], arguments: &Arguments) {
    let began = Instant::now();
    for (count, room) in rooms.iter().cycle().enumerate() {
        let number = (count / rooms.len()) as u64 + 1;
        let due = began + Duration::from_secs_f64(count as f64 / arguments.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut text = format!("{{\"seq\":{number},\"message\":\"{}", Mark::now(1, number).text());
        while text.len() + 2 < arguments.bytes {
            text.push('x');
        }
        text.push_str("\"}");
        if let Err(error) = room.publish(number, &text) {
            eprintln!("{error}");
            return;
        }
    }
}

async fn serve(listener: TcpListener, flushers: Arc<Flushers>, rooms: Arc<[Arc<Room>]>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (flushers, rooms) = (flushers.clone(), rooms.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (flushers, rooms) = (flushers.clone(), rooms.clone());
                async move { Ok::<_, Infallible>(answer(request, flushers, &rooms)) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is no matter here.
            let _broken = connection.with_upgrades().await;
        });
    }
}

fn answer(
    mut request: Request<Incoming>,
    flushers: Arc<Flushers>,
    rooms: &[Arc<Room>],
) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let accept = ws::accept(request.method(), request.headers());
    let Some(value) = accept.ok().and_then(|accept| accept.parse().ok()) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let number: usize = request.uri().path()[1..].parse().unwrap_or_default();
    let room = rooms[number % rooms.len()].clone();
    let start = start(request.uri().query().unwrap_or_default());
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await?;
        let parts =
            upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| "not a TCP connection")?;
        flushers.join(Joining {
            socket: parts.io.into_inner().into_std()?.into(),
            already_read: parts.read_buf,
            room,
            user: UserTag(u128::from(Mark::now(0, 0).sent_ns)),
            start,
        })?;
        Ok::<_, Failure>(())
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(SEC_WEBSOCKET_ACCEPT, value);
    headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
    response
}

/// `epoch=E&seq=S`: what somebody who comes back has.
fn start(query: &str) -> Start {
    let number = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)?
            .1
            .parse()
            .ok()
    };
    match (number("epoch"), number("seq")) {
        (Some(epoch), Some(seq)) => Start::After { epoch, seq },
        _ => Start::Live,
    }
}
