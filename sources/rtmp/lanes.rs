//! The threads that read from publishers.
//!
//! Enters: accepted sockets, in turn to each lane. Leaves: when dropped, after
//! which nothing on it runs. Held: one reactor per lane. Never done here:
//! moving a connection to another lane.
//!
//! A publisher sends a small packet every few milliseconds, so what reading a
//! hundred of them costs is mostly going to sleep and waking up. A lane has a
//! thread of its own, whom nobody wakes to share its work, and rests for
//! [`REST`] before it waits: what comes meanwhile is read in one go.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long a packet may lie in the kernel that others come along with it.
const REST: Duration = Duration::from_millis(2);

/// Threads that read; see the module.
pub struct Lanes {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

struct Lane {
    handle: Handle,
    // Its thread ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl Lanes {
    /// One lane for every two processors: the rest of a packet's way takes as
    /// much as its reading.
    ///
    /// # Errors
    /// The system gives no more threads or reactors.
    pub fn start() -> io::Result<Self> {
        let count = (available_parallelism().map_or(1, usize::from) / 2).max(1);
        let lanes = (0..count).map(Lane::start).collect::<io::Result<_>>()?;
        Ok(Self { lanes, next: AtomicUsize::new(0) })
    }

    /// Runs `serve` with the socket on the next lane.
    pub(super) fn spawn<F>(
        &self,
        tasks: &mut JoinSet<()>,
        socket: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(lane) = self.lanes.get(next % self.lanes.len().max(1)) else { return Ok(()) };
        // A socket belongs to the reactor that it was made with.
        let socket = socket.into_std()?;
        let moved = async move {
            match TcpStream::from_std(socket) {
                Ok(socket) => serve(socket).await,
                Err(error) => tracing::warn!(%error, "cannot watch a connection"),
            }
        };
        tasks.spawn_on(moved, &lane.handle);
        Ok(())
    }
}

impl Lane {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(|| std::thread::sleep(REST))
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("rtmp-{number}")).spawn(move || {
            // An error is the sender's being dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, _stop: stop })
    }
}
