//! Streams and their publishers: who may publish, who does, who dropped.
//!
//! ```text
//! RTMP ─admit/release─► registry ─Start · Idle · Stop · End─► packets intake
//! API  ─rotate/delete─►    │  ▲
//!                          ▼  └─ End came out of the data plane, quarantine
//!                       catalog (durable)
//! ```
//!
//! Enters: publishers' comings and goings, API calls, a tick. Leaves: the
//! packets that tell the data plane about presence, and durable states. Held:
//! one entry per stream that is live, and which finished ones can still be
//! watched. A stream ends by a clean unpublish, a
//! reconnect window that runs out, deletion, quarantine or shutdown. Never
//! done here: media.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use operators::demux::Resume;
use parking_lot::Mutex;
use records::{Packet, PacketBody, StreamId, StreamState};
use runtime::{Intake, Writer, wall_us};
use sinks::hls::{Origin, RestoredStream};
use sources::rtmp::{Admission, Departure, Gate, Order, Refusal, StreamKeyText};
use tokio::sync::{Notify, watch};

use crate::catalog::{Catalog, CatalogError, StreamEntry};
use crate::dataflow::{MediaPlane, Quarantined};
use crate::keys::StreamKey;

/// How often presence is looked at, and silent streams told that time passes.
pub const TICK: Duration = Duration::from_millis(500);

/// How long a finished stream stays in memory: those who watch its end do so
/// now, and its last segment is on disk by then.
const COOL_AFTER: Duration = Duration::from_secs(10);

struct Finished {
    stream: StreamId,
    at: Instant,
    // Its bytes have left memory.
    is_cold: bool,
}

struct Live {
    writer: Writer<Packet>,
    session: u32,
    presence: Presence,
    // `writer.written()` at the last tick: unchanged means silence.
    written: u64,
}

enum Presence {
    /// A publisher is connected, and takes orders.
    Here(watch::Sender<Order>),
    /// It dropped; it may come back until the window is over.
    Away(Instant),
    /// `End` is on its way through the data plane.
    Ending,
}

/// The streams that are live, and the way to become one.
pub struct Registry {
    catalog: Arc<Catalog>,
    plane: Arc<MediaPlane>,
    packets: Intake<Packet>,
    origin: Origin,
    reconnect_window: Duration,
    // How long a finished stream can still be watched.
    keep: Duration,
    live: Mutex<HashMap<StreamId, Live>>,
    // Finished streams that viewers can still watch, oldest first.
    finished: Mutex<VecDeque<Finished>>,
    // Signalled whenever a stream left `live`.
    emptied: Notify,
}

impl Registry {
    /// A registry in which nothing is live. A dropped publisher may come back
    /// within `reconnect_window`; a finished stream is forgotten after `keep`.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        plane: Arc<MediaPlane>,
        origin: Origin,
        reconnect_window: Duration,
        keep: Duration,
    ) -> Self {
        Self {
            catalog,
            packets: plane.packets.clone(),
            plane,
            origin,
            reconnect_window,
            keep,
            live: Mutex::default(),
            finished: Mutex::default(),
            emptied: Notify::new(),
        }
    }

    /// The durable side.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Takes up a stream that was live when the process last ended: its
    /// viewers see the old window again, its publisher may reconnect.
    pub async fn restore(
        &self,
        entry: &StreamEntry,
        window: Option<RestoredStream>,
        resume: Option<Resume>,
    ) -> Result<(), CatalogError> {
        let stream = entry.stream_id;
        self.origin.open(stream, window);
        if let Some(resume) = resume {
            self.plane.resume(stream, resume);
        }
        self.catalog.set_state(stream, StreamState::Reconnecting).await?;
        let live = Live {
            writer: self.packets.writer(stream),
            session: entry.sessions,
            presence: Presence::Away(Instant::now()),
            written: 0,
        };
        self.live.lock().insert(stream, live);
        Ok(())
    }

    /// Shows a stream again that ended `ago`, in an earlier process.
    pub fn show_finished(&self, stream: StreamId, window: RestoredStream, ago: Duration) {
        self.origin.open(stream, Some(window));
        let at = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        // Restored from disk, so there is nothing in memory to let go of.
        self.finished.lock().push_back(Finished { stream, at, is_cold: true });
    }

    /// Pushes a record into a live stream; false if it isn't live.
    pub fn push(&self, stream: StreamId, body: PacketBody) -> bool {
        match self.live.lock().get(&stream) {
            Some(live) => push(&live.writer, body),
            None => false,
        }
    }

    /// How many publishers are connected.
    #[must_use]
    pub fn publishers(&self) -> usize {
        let live = self.live.lock();
        live.values().filter(|l| matches!(l.presence, Presence::Here(_))).count()
    }

    /// Gives the stream a new key and cuts off whoever uses the old one.
    ///
    /// # Errors
    /// The log couldn't be written; the old key then still holds.
    pub async fn rotate_key(&self, stream: StreamId) -> Result<StreamKey, CatalogError> {
        let key = self.catalog.rotate_key(stream).await?;
        self.close(stream, "the stream key was replaced", false);
        Ok(key)
    }

    /// Ends the stream for good.
    ///
    /// # Errors
    /// The log couldn't be written; the stream then goes on.
    pub async fn delete(&self, stream: StreamId) -> Result<(), CatalogError> {
        self.catalog.delete(stream).await?;
        self.close(stream, "the stream was deleted", false);
        if !self.end(stream) {
            self.catalog.set_state(stream, StreamState::StreamComplete).await?;
        }
        Ok(())
    }

    /// Called every [`TICK`]: time passes for silent streams, and windows run out.
    pub fn tick(&self) {
        let mut over = Vec::new();
        for (stream, live) in &mut *self.live.lock() {
            if matches!(live.presence, Presence::Away(since) if since.elapsed() >= self.reconnect_window)
            {
                over.push(*stream);
            } else if live.writer.written() == live.written
                && !matches!(live.presence, Presence::Ending)
            {
                push(&live.writer, PacketBody::Idle);
            }
            live.written = live.writer.written();
        }
        for stream in over {
            tracing::info!(%stream, "publisher did not come back");
            self.end(stream);
        }
        self.let_go();
    }

    /// Finished streams leave memory once they are stored, and are forgotten in the end.
    fn let_go(&self) {
        let mut finished = self.finished.lock();
        while finished.front().is_some_and(|oldest| oldest.at.elapsed() >= self.keep) {
            if let Some(oldest) = finished.pop_front() {
                self.origin.remove(oldest.stream);
            }
        }
        for recent in finished.iter_mut().rev().take_while(|recent| !recent.is_cold) {
            if recent.at.elapsed() >= COOL_AFTER {
                self.origin.cool(recent.stream);
                recent.is_cold = true;
            }
        }
    }

    /// The data plane passed on the stream's `End`: it is over.
    pub async fn ended(&self, stream: StreamId) {
        self.plane.forget(stream);
        self.live.lock().remove(&stream);
        let over = Finished { stream, at: Instant::now(), is_cold: false };
        self.finished.lock().push_back(over);
        if let Err(error) = self.catalog.set_state(stream, StreamState::StreamComplete).await {
            tracing::error!(%stream, %error, "the end of a stream could not be made durable");
        }
        tracing::info!(%stream, "stream complete");
        self.emptied.notify_waiters();
    }

    /// The data plane gave the stream up.
    pub async fn quarantined(&self, out: Quarantined) {
        self.close(out.stream, "the stream was ended: its data cannot be processed", false);
        self.origin.end(out.stream);
        self.ended(out.stream).await;
    }

    /// Ends every stream and waits until the data plane has passed that on,
    /// at most `patience`.
    pub async fn end_all(&self, patience: Duration) {
        let streams: Vec<_> = self.live.lock().keys().copied().collect();
        for stream in &streams {
            self.close(*stream, "the server is stopping", true);
            self.end(*stream);
        }
        let emptied = async {
            loop {
                let change = self.emptied.notified();
                if self.live.lock().is_empty() {
                    return;
                }
                change.await;
            }
        };
        if tokio::time::timeout(patience, emptied).await.is_err() {
            let left = self.live.lock().len();
            tracing::warn!(
                left,
                "streams were still ending at shutdown; they resume at the next start"
            );
        }
    }

    /// Pushes `End`; false if the stream isn't live.
    fn end(&self, stream: StreamId) -> bool {
        let mut all = self.live.lock();
        let Some(live) = all.get_mut(&stream) else { return false };
        if !matches!(live.presence, Presence::Ending) {
            live.presence = Presence::Ending;
            push(&live.writer, PacketBody::End);
            live.writer.close();
        }
        true
    }

    /// Tells the publisher, if there is one, why it is cut off.
    fn close(&self, stream: StreamId, reason: &str, may_return: bool) {
        if let Some(Live { presence: Presence::Here(orders), .. }) = self.live.lock().get(&stream) {
            orders.send_replace(Order::Close { reason: reason.into(), may_return });
        }
    }

    /// Claims the stream for a publisher, so that of two at once one wins.
    fn claim(&self, stream: StreamId, sessions: u32) -> Result<Claim<'_>, Refusal> {
        let (orders, ordered) = watch::channel(Order::default());
        let mut all = self.live.lock();
        let is_new = !all.contains_key(&stream);
        let live = all.entry(stream).or_insert_with(|| Live {
            writer: self.packets.writer(stream),
            session: sessions,
            presence: Presence::Away(Instant::now()),
            written: 0,
        });
        match live.presence {
            Presence::Here(_) => Err(Refusal::InUse),
            Presence::Ending => {
                Err(Refusal::Unavailable("the broadcast is just ending; try again".into()))
            }
            Presence::Away(_) => {
                live.presence = Presence::Here(orders);
                live.session += 1;
                let (session, writer) = (live.session, live.writer.clone());
                let admission = Admission { stream, session, writer, orders: ordered };
                Ok(Claim { registry: self, admission: Some(admission), is_new })
            }
        }
    }

    /// The stream that this key may publish to now. A key outlives a
    /// broadcast: after the end of one, it begins the next.
    async fn stream_of(&self, key: &str) -> Result<StreamEntry, Refusal> {
        let unavailable = |error: CatalogError| {
            tracing::error!(%error, "catalog unavailable to a publisher");
            Refusal::Unavailable("the server cannot store streams at the moment".into())
        };
        let stream = self.catalog.by_key(key).ok_or(Refusal::BadKey)?;
        let entry = self.catalog.get(stream).ok_or(Refusal::BadKey)?;
        match entry.state {
            _ if entry.deleted => Err(Refusal::BadKey),
            state if state.is_over() => {
                let next = self.catalog.successor(stream).await.map_err(unavailable)?;
                tracing::info!(%stream, successor = %next.stream_id, "next broadcast of a key");
                Ok(next)
            }
            _ => Ok(entry),
        }
    }
}

/// A stream claimed for a publisher; given back unless it is admitted, also
/// when the publisher vanishes meanwhile and the future is dropped.
struct Claim<'a> {
    registry: &'a Registry,
    admission: Option<Admission>,
    is_new: bool,
}

impl Claim<'_> {
    fn admitted(mut self) -> Option<Admission> {
        self.admission.take()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(admission) = &self.admission {
            let reason = "left before it was admitted".into();
            let departure = Departure::Lost { reason };
            self.registry.release(admission.stream, admission.session, departure);
        }
    }
}

fn push(writer: &Writer<Packet>, body: PacketBody) -> bool {
    let packet = Packet { stream: writer.stream(), offset: 0, arrival_us: wall_us(), body };
    writer.push_now(packet).is_ok()
}

impl Gate for Registry {
    async fn admit(
        &self,
        _app: &str,
        key: &StreamKeyText,
        peer: std::net::SocketAddr,
    ) -> Result<Admission, Refusal> {
        let entry = self.stream_of(key.expose()).await?;
        let stream = entry.stream_id;
        let claim = self.claim(stream, entry.sessions)?;
        let session = claim.admission.as_ref().map_or(0, |a| a.session);
        if claim.is_new {
            self.origin.open(stream, None);
        }
        if let Err(error) = self.catalog.started(stream, session).await {
            tracing::error!(%stream, %error, "a publisher could not be made durable");
            let why = "the server cannot store streams at the moment";
            return Err(Refusal::Unavailable(why.into()));
        }
        let admission = claim.admitted().ok_or(Refusal::InUse)?;
        push(&admission.writer, PacketBody::Start { session });
        tracing::info!(%stream, session, %peer, "publisher connected");
        Ok(admission)
    }

    fn release(&self, stream: StreamId, session: u32, departure: Departure) {
        {
            let mut all = self.live.lock();
            let Some(live) = all.get_mut(&stream) else { return };
            // A late word of an earlier session, or of a stream that is ending anyway.
            if live.session != session || matches!(live.presence, Presence::Ending) {
                return;
            }
            live.presence = Presence::Away(Instant::now());
            push(&live.writer, PacketBody::Stop);
        }
        match departure {
            Departure::Clean => {
                tracing::info!(%stream, session, "publisher finished");
                self.end(stream);
            }
            Departure::Lost { reason } => {
                tracing::info!(%stream, session, reason, "publisher dropped");
                let catalog = Arc::clone(&self.catalog);
                tokio::spawn(async move {
                    if let Err(error) = catalog.dropped(stream, session).await {
                        tracing::error!(%stream, %error, "a dropped publisher could not be made durable");
                    }
                });
            }
        }
    }
}
