//! One connection: moves bytes, asks the gate, pushes packets.
//!
//! Enters: a socket after its handshake. Leaves: packets and replies. Held: a
//! read buffer, unfinished messages, the claim on the stream. All decisions
//! are the [`Session`]'s; here is what takes time: reading, writing, waiting
//! for the gate and for room in the data plane, and every deadline.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use records::{Packet, PacketBody};
use runtime::wall_us;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::chunk::{ChunkReader, ChunkWriter};
use super::config::RtmpConfig;
use super::end::End;
use super::gate::{Admission, Departure, Gate, Order, Refusal};
use super::key::Address;
use super::meters::RtmpMeters;
use super::publication::Publication;
use super::session::{Action, Session};

/// What all connections share.
pub(super) struct Shared<G> {
    pub(super) gate: Arc<G>,
    pub(super) config: Arc<RtmpConfig>,
    pub(super) meters: Arc<RtmpMeters>,
    /// Becomes true when the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

pub(super) struct Connection<'a, G: Gate, S> {
    io: S,
    peer: SocketAddr,
    shared: &'a Shared<G>,
    stopping: watch::Receiver<bool>,
    reader: ChunkReader,
    writer: ChunkWriter,
    session: Session,
    // Replies not written yet; emptied after every read.
    out: BytesMut,
    publication: Option<Publication<G>>,
    // Kept from read to read: to begin and end waiting for it costs more than
    // reading a small packet.
    interruption: Interruption,
    last_byte: Instant,
    // Counts while nothing is published.
    publish_by: Instant,
}

impl<'a, G: Gate, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, G, S> {
    /// A connection whose handshake is done; `beyond` is what was read after it.
    pub(super) fn new(io: S, peer: SocketAddr, beyond: &[u8], shared: &'a Shared<G>) -> Self {
        let config = &shared.config;
        let mut reader = ChunkReader::new(config.chunk);
        reader.push(beyond);
        Self {
            io,
            peer,
            stopping: shared.stopping.clone(),
            shared,
            reader,
            writer: ChunkWriter::new(),
            session: Session::new(config.amf, config.ack_window_bytes),
            out: BytesMut::new(),
            publication: None,
            interruption: interruption(None, shared.stopping.clone()),
            last_byte: Instant::now(),
            publish_by: Instant::now() + config.publish_timeout,
        }
    }

    /// Serves the publisher until something ends it, then says goodbye.
    pub(super) async fn run(mut self) -> End {
        let Err(end) = self.converse().await;
        if let Some(publication) = self.publication.take() {
            publication.end(Departure::Lost { reason: end.to_string() });
        }
        self.close(&end).await;
        end
    }

    async fn converse(&mut self) -> Result<Infallible, End> {
        let mut actions = Vec::new();
        let mut watchdog = pin!(sleep_until(self.deadline()));
        self.messages(&mut actions).await?;
        loop {
            let buffer = self.reader.buffer();
            let read = tokio::select! {
                biased;
                // First, since most often there is something: a peer that
                // sends without end is interrupted by the task's budget.
                read = self.io.read_buf(buffer) => read?,
                interrupted = &mut self.interruption => {
                    self.interrupted(interrupted)?;
                    self.flush().await?;
                    continue;
                }
                () = &mut watchdog => {
                    self.check_deadlines()?;
                    let deadline = self.deadline();
                    watchdog.as_mut().reset(deadline);
                    continue;
                }
            };
            if read == 0 {
                return Err(End::Closed);
            }
            self.shared.meters.received_bytes_total.fetch_add(read as u64, Ordering::Relaxed);
            self.session.count(read, &mut actions);
            self.messages(&mut actions).await?;
            // Now, not before: waiting for room was no silence of the peer's.
            self.last_byte = Instant::now();
        }
    }

    /// Takes every whole message that has been read, then answers.
    async fn messages(&mut self, actions: &mut Vec<Action>) -> Result<(), End> {
        let arrival_us = wall_us();
        self.perform(actions, arrival_us).await?;
        while let Some(message) = self.reader.next()? {
            let outcome = self.session.receive(message, actions);
            self.perform(actions, arrival_us).await?;
            outcome?;
        }
        self.flush().await
    }

    async fn perform(&mut self, actions: &mut Vec<Action>, arrival_us: u64) -> Result<(), End> {
        for action in actions.drain(..) {
            match action {
                Action::Send(message) => self.writer.write(&message, &mut self.out),
                Action::SetChunkSize(size) => self.writer.set_chunk_size(size, &mut self.out),
                Action::Push(body) => self.push(body, arrival_us).await?,
                Action::Admit(address) => self.admit(address).await?,
                Action::DataDropped(error) => {
                    debug!(%error, "data message left out");
                    self.shared.meters.data_dropped_total.fetch_add(1, Ordering::Relaxed);
                }
                Action::Leave => {
                    self.publish_by = Instant::now() + self.shared.config.publish_timeout;
                    if let Some(publication) = self.publication.take() {
                        self.interruption = interruption(None, self.stopping.clone());
                        publication.end(Departure::Clean);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands one packet over; waits for room, yet not deaf to orders.
    async fn push(&mut self, body: PacketBody, arrival_us: u64) -> Result<(), End> {
        let Some(publication) = &mut self.publication else {
            return Ok(());
        };
        let Admission { stream, writer, .. } = &publication.admission;
        let packet = Packet { stream: *stream, offset: 0, arrival_us, body };
        self.shared.meters.packets_total.fetch_add(1, Ordering::Relaxed);
        if writer.has_room() {
            return writer.push_now(packet).map_err(|_| End::StreamClosed);
        }
        let writer = writer.clone();
        let mut pushed = pin!(writer.push(packet));
        loop {
            tokio::select! {
                biased;
                pushed = &mut pushed => return pushed.map_err(|_| End::StreamClosed),
                interrupted = &mut self.interruption => self.interrupted(interrupted)?,
            }
        }
    }

    async fn admit(&mut self, Address { app, key }: Address) -> Result<(), End> {
        let Shared { gate, config, meters, .. } = self.shared;
        let answer = tokio::select! {
            asked = timeout(config.admission_timeout, gate.admit(&app, &key, self.peer)) => asked,
            () = stopped(&mut self.stopping) => return Err(End::ShuttingDown),
        };
        let answer =
            answer.unwrap_or_else(|_| Err(Refusal::Unavailable("no decision in time".into())));
        let mut actions = Vec::new();
        let outcome = match answer {
            Ok(admission) => {
                let who = (self.peer, app.as_str(), self.session.client());
                let (gate, meters) = (Arc::clone(gate), Arc::clone(meters));
                let orders = Some(admission.orders.clone());
                self.interruption = interruption(orders, self.stopping.clone());
                self.publication = Some(Publication::begin(admission, gate, meters, who));
                self.session.admitted(&mut actions);
                Ok(())
            }
            Err(refusal) => {
                meters.refused_total.add(refusal.label());
                self.session.refused(&refusal, &mut actions);
                Err(End::Refused(refusal))
            }
        };
        self.say(actions);
        outcome
    }

    /// Obeys, and waits for what comes next.
    fn interrupted(&mut self, (order, orders): Interrupted) -> Result<(), End> {
        self.interruption = interruption(orders, self.stopping.clone());
        self.obey(&order?)
    }

    /// Tells the peer what the gate wants.
    fn obey(&mut self, order: &Order) -> Result<(), End> {
        let mut actions = Vec::new();
        self.session.order(order, &mut actions);
        self.say(actions);
        match order {
            Order::Close { reason, .. } => Err(End::Ordered { reason: Arc::clone(reason) }),
            Order::Serve | Order::Reconnect { .. } => Ok(()),
        }
    }

    /// Puts into words what takes no waiting.
    fn say(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Send(message) = action {
                self.writer.write(&message, &mut self.out);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        if !self.out.is_empty() {
            let patience = self.shared.config.idle_timeout;
            timeout(patience, write(&mut self.io, &mut self.out))
                .await
                .map_err(|_| End::NotReading)??;
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let idle = self.last_byte + self.shared.config.idle_timeout;
        if self.publication.is_some() { idle } else { idle.min(self.publish_by) }
    }

    fn check_deadlines(&self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.last_byte + self.shared.config.idle_timeout {
            return Err(End::Idle);
        }
        if self.publication.is_none() && now >= self.publish_by {
            return Err(End::NotPublishing);
        }
        Ok(())
    }

    /// Delivers the last words. What the peer still sends is read and thrown
    /// away meanwhile: closing on unread bytes resets the connection, and the
    /// peer would lose the very message that tells it why.
    async fn close(&mut self, end: &End) {
        let order = |reason: &str, may_return| Order::Close { reason: reason.into(), may_return };
        let last_word = match end {
            End::ShuttingDown => order("the server is shutting down", true),
            End::StreamClosed => order("this stream has ended", false),
            _ => Order::Serve,
        };
        let mut actions = Vec::new();
        self.session.order(&last_word, &mut actions);
        self.say(actions);
        if self.out.is_empty() || matches!(end, End::Closed | End::Io(_) | End::NotReading) {
            return;
        }
        let linger = async {
            write(&mut self.io, &mut self.out).await?;
            self.io.shutdown().await?;
            let mut scrap = [0; 1024];
            while self.io.read(&mut scrap).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        // Whether it worked no longer matters to anybody.
        let _ = timeout(self.shared.config.linger_timeout, linger).await;
    }
}

/// What interrupts, and where the next order comes from.
type Interrupted = (Result<Order, End>, Option<watch::Receiver<Order>>);
type Interruption = Pin<Box<dyn Future<Output = Interrupted> + Send>>;

/// Waits for what may interrupt reading and pushing: the gate's next order, or
/// the server's end.
fn interruption(
    mut orders: Option<watch::Receiver<Order>>,
    mut stopping: watch::Receiver<bool>,
) -> Interruption {
    Box::pin(async move {
        let order = async {
            if let Some(orders) = &mut orders
                && orders.changed().await.is_ok()
            {
                return orders.borrow_and_update().clone();
            }
            // Nobody publishes, or the gate has nothing more to say.
            std::future::pending().await
        };
        let order = tokio::select! {
            order = order => Ok(order),
            () = stopped(&mut stopping) => Err(End::ShuttingDown),
        };
        (order, orders)
    })
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the listener's task is gone, which is as good.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn write(io: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> std::io::Result<()> {
    io.write_all(out).await?;
    out.clear();
    io.flush().await
}
