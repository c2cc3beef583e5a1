//! The loops that own viewers' sockets.
//!
//! ```text
//! join(socket, room) ─► inbox ─┐                        ┌─► Handler: joined, text, left
//! reply, close, kick ──────────┼─► loop (one per core) ─┤
//! Room::publish: “news” ───────┘   epoll · turns        └─► sockets: one write per window
//! ```
//!
//! A loop's turn: what the inbox holds, some hundreds of replies at most; what sockets have
//! to say, for up to twice `INPUT_BUDGET`; joins for up to `JOINS_BUDGET`; then visits that
//! are due, for up to `VISITS_BUDGET`. What is left waits for the next turn, so neither hot
//! rooms nor joins nor floods starve the others.
//!
//! - **Enters**: sockets that have become WebSockets, replies, rooms' news. **Leaves**:
//!   frames to viewers, their messages to the [`Handler`].
//! - **Held**: per viewer an offset and the parser's state; bytes only for those whose
//!   socket is full, at most [`FlushConfig::pending_bytes_max`].
//! - **Ends** with [`Flushers::stop`]: viewers are closed, the threads joined.
//! - **Never here**: what messages mean; waiting for a viewer; a task or timer per viewer.

mod connection;
mod fan_out;
mod handler;
mod inbox;
mod incoming;
mod joins;
mod keep;
mod leave;
mod members;
mod outlet;
mod pace;
#[cfg(test)]
mod scene;
mod stats;
mod turn;
#[cfg(target_os = "linux")]
mod uring;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

pub use handler::{ConnectionId, Handler, Left, Who};
pub use inbox::{Full, Inbox, Joining};
pub use outlet::SendBy;
pub use stats::{Stats, Totals};

use crate::presence::UserTag;
use crate::room::Room;
use crate::ws::{CloseCode, CloseReason, Opcode, frame};
use inbox::Command;
use turn::Loop;

/// How long what viewers send may hold up a turn; as long again for those whose turn it was
/// before and who had more.
const INPUT_BUDGET: Duration = Duration::from_millis(2);
/// How long joins may hold up a turn in which visits are due.
const JOINS_BUDGET: Duration = Duration::from_millis(2);
/// How long visits may hold up a turn.
const VISITS_BUDGET: Duration = Duration::from_millis(5);

/// Settings of the loops.
#[derive(Clone, Debug)]
pub struct FlushConfig {
    /// How many loops; at most 256. One per core.
    pub loops: usize,
    /// How long a hot room's messages may be gathered. Zero: each is written at once.
    pub window: Duration,
    /// How windows are handed to the kernel.
    pub send_by: SendBy,
    /// Bytes of one message from a viewer; longer ones end the connection with 1009.
    pub message_bytes_max: u64,
    /// Whether messages of bytes are taken; otherwise they end the connection with 1003.
    pub takes_binary: bool,
    /// Replies and the like that may wait for a viewer's socket, in bytes.
    pub pending_bytes_max: usize,
    /// What the kernel may hold for one viewer beyond what is on its way, in bytes
    /// (TCP_NOTSENT_LOWAT), so that slow viewers don't fill the machine's memory.
    pub unsent_bytes_max: u32,
    /// How often a viewer is pinged.
    pub ping: Duration,
    /// How long it may take to answer, by a pong or anything else.
    pub pong: Duration,
    /// How long a viewer may take to end a connection that was closed.
    pub linger: Duration,
}

impl Default for FlushConfig {
    fn default() -> Self {
        Self {
            loops: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256)),
            window: Duration::from_millis(200),
            send_by: SendBy::Auto,
            message_bytes_max: 16 * 1024,
            takes_binary: false,
            pending_bytes_max: 256 * 1024,
            unsent_bytes_max: 128 * 1024,
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
            linger: Duration::from_secs(5),
        }
    }
}

/// Why the loops don't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration's fault.
    #[error("{0} flush loops; give 1 to 256")]
    Loops(usize),
    /// The system's.
    #[error("flush loop {index} doesn't start: {source}")]
    System {
        /// Which.
        index: usize,
        /// What it said.
        source: io::Error,
    },
}

/// All loops of this process. Dropping it stops them like [`Flushers::stop`].
#[derive(Debug)]
pub struct Flushers {
    inboxes: Vec<Arc<Inbox>>,
    stats: Vec<Arc<Stats>>,
    /// Empty once they were stopped.
    threads: Mutex<Vec<JoinHandle<()>>>,
    unsent_bytes_max: u32,
}

impl Flushers {
    /// Starts the threads `flush-0`, `flush-1`, …
    pub fn start(config: &FlushConfig, handler: Arc<dyn Handler>) -> Result<Self, StartError> {
        if config.loops == 0 || config.loops > 256 {
            return Err(StartError::Loops(config.loops));
        }
        let mut flushers = Self {
            inboxes: Vec::new(),
            stats: Vec::new(),
            threads: Mutex::default(),
            unsent_bytes_max: config.unsent_bytes_max,
        };
        for index in 0..config.loops {
            flushers
                .start_loop(index, config, handler.clone())
                .map_err(|source| StartError::System { index, source })?;
        }
        Ok(flushers)
    }

    fn start_loop(
        &mut self,
        index: usize,
        config: &FlushConfig,
        handler: Arc<dyn Handler>,
    ) -> io::Result<()> {
        let poll = mio::Poll::new()?;
        let inbox = Arc::new(Inbox::new(inbox::waker(poll.registry())?));
        let stats = Arc::new(Stats::default());
        let (started, is_started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("flush-{index}")).spawn({
            let (config, inbox, stats) = (config.clone(), inbox.clone(), stats.clone());
            // Made in its thread, since io_uring belongs to the thread that made it.
            move || match Loop::new(index, config, poll, inbox, stats, handler) {
                Ok(mut own) => {
                    let _gone = started.send(Ok(()));
                    let run = std::panic::AssertUnwindSafe(|| own.run());
                    if std::panic::catch_unwind(run).is_err() {
                        tracing::error!(index, "a flush loop panicked; its viewers are closed");
                    }
                    own.abandon();
                }
                Err(error) => {
                    let _gone = started.send(Err(error));
                }
            }
        })?;
        is_started.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")))?;
        self.inboxes.push(inbox);
        self.stats.push(stats);
        self.threads.get_mut().push(thread);
        Ok(())
    }

    /// Hands a socket over. Its viewer gets the handler's greeting, then what `start` asks
    /// for, then what comes. On [`Full`] the socket is closed.
    pub fn join(&self, joining: Joining) -> Result<(), Full> {
        // Here, so that the loop needn't.
        self.set_up(&joining.socket);
        let inboxes = self.inboxes.iter().filter(|inbox| !inbox.is_over());
        inboxes.min_by_key(|inbox| inbox.load()).ok_or(Full)?.join(joining)
    }

    /// Sets a viewer's TCP connection up: a window is whole and mustn't wait for another, and
    /// what the kernel holds for slow viewers is bounded. For whoever pumps one to the other end
    /// of a pair; sockets that are given to [`Flushers::join`] are set up there.
    pub fn set_up(&self, socket: &impl AsFd) {
        // Fails on what isn't TCP, which needs neither.
        let socket = socket2::SockRef::from(socket);
        let _not_tcp = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        let _not_tcp = socket.set_tcp_notsent_lowat(self.unsent_bytes_max);
    }

    /// Sends a text to one viewer: an acknowledgement, a refusal. Nothing happens if it left.
    pub fn reply(&self, id: ConnectionId, text: &str) -> Result<(), Full> {
        let bytes = Bytes::from(frame(Opcode::Text, text.as_bytes()));
        self.command(id, Command::Reply { id, bytes })
    }

    /// Closes one viewer's connection.
    pub fn close(&self, id: ConnectionId, reason: CloseReason) -> Result<(), Full> {
        self.command(id, Command::Close { id, reason })
    }

    fn command(&self, id: ConnectionId, command: Command) -> Result<(), Full> {
        // An identifier of another process's names nobody.
        self.inboxes.get(id.loop_index()).map_or(Ok(()), |inbox| inbox.command(command))
    }

    /// Closes all sockets of somebody, in `room` or everywhere.
    pub fn kick(
        &self,
        room: Option<&Room>,
        user: UserTag,
        reason: &CloseReason,
    ) -> Result<(), Full> {
        for inbox in &self.inboxes {
            let room = room.map(Room::id);
            inbox.command(Command::Kick { room, user, reason: reason.clone() })?;
        }
        Ok(())
    }

    /// What the loops did and hold, in all.
    pub fn totals(&self) -> Totals {
        self.stats.iter().map(|stats| stats.totals()).fold(Totals::default(), Totals::add)
    }

    /// Closes every viewer with `reason`, those who wait to join included, waits up to the
    /// linger time until they are gone, and ends the threads. Whoever comes later finds it
    /// [`Full`].
    pub fn stop(&self, reason: &CloseReason) {
        for inbox in &self.inboxes {
            inbox.stop(reason.clone());
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let own = std::thread::current().id();
        for thread in threads {
            // The last to let go may be a handler, in a loop: that one ends by itself.
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a flush loop panicked");
            }
        }
    }
}

impl Drop for Flushers {
    fn drop(&mut self) {
        self.stop(&CloseReason::new(CloseCode::GOING_AWAY, "the server stops"));
    }
}
