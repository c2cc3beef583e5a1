//! What others want of a loop: the only thing that they and it share, besides rooms.
//!
//! Bounded: joins and replies that find no room are refused, and it is the caller's to say
//! so. A room's news is one word until the loop has looked, so those are bounded by rooms.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use mio::Waker;
use parking_lot::Mutex;

use super::handler::ConnectionId;
use crate::presence::UserTag;
use crate::ring::Start;
use crate::room::Room;
use crate::ws::CloseReason;

/// Joins and commands that may wait, each.
const WAITING_MAX: usize = 65_536;

/// Commands of one turn: each may be a write.
const COMMANDS_PER_TURN: usize = 512;

/// A socket that has become a WebSocket.
#[derive(Debug)]
pub struct Joining {
    /// A connected stream socket: TCP, or one end of a pair whose other end somebody pumps
    /// (TLS, say).
    pub socket: OwnedFd,
    /// What was read behind the request's head (hyper's `Parts::read_buf`).
    pub already_read: Bytes,
    /// Which room it is for.
    pub room: Arc<Room>,
    /// Who it is.
    pub user: UserTag,
    /// Where it begins.
    pub start: Start,
}

/// The loop has too much before it; the room's front should send people to polling, or
/// close with a code that says to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING_MAX} requests wait for the flush loop; try again in a second")]
pub struct Full;

#[derive(Debug)]
pub(crate) enum Command {
    /// A room has news.
    Told(u64),
    /// A room has ended.
    Ended(u64, CloseReason),
    Reply {
        id: ConnectionId,
        /// A whole frame.
        bytes: Bytes,
    },
    Close {
        id: ConnectionId,
        reason: CloseReason,
    },
    /// Closes all sockets of somebody; in one room or in all.
    Kick {
        room: Option<u64>,
        user: UserTag,
        reason: CloseReason,
    },
    Stop(CloseReason),
}

/// One loop's.
#[derive(Debug)]
pub struct Inbox {
    queue: Mutex<Queue>,
    /// Sockets that joined or wait to, for placing new ones.
    load: AtomicUsize,
    is_woken: AtomicBool,
    /// The loop has ended: nobody looks in here again.
    is_over: AtomicBool,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Queue {
    /// Rooms' news and the like, before all else.
    news: Vec<Command>,
    commands: VecDeque<Command>,
    joins: VecDeque<Joining>,
}

impl Inbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            queue: Mutex::default(),
            load: AtomicUsize::new(0),
            is_woken: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            waker,
        }
    }

    pub(crate) fn join(&self, joining: Joining) -> Result<(), Full> {
        {
            let mut queue = self.queue.lock();
            if queue.joins.len() >= WAITING_MAX || self.is_over() {
                return Err(Full);
            }
            queue.joins.push_back(joining);
        }
        self.load.fetch_add(1, Ordering::Relaxed);
        self.wake();
        Ok(())
    }

    pub(crate) fn command(&self, command: Command) -> Result<(), Full> {
        {
            let mut queue = self.queue.lock();
            if queue.commands.len() >= WAITING_MAX || self.is_over() {
                return Err(Full);
            }
            queue.commands.push_back(command);
        }
        self.wake();
        Ok(())
    }

    /// A room has news. Never refused: each room has one word here at a time.
    pub(crate) fn tell(&self, room: u64) {
        self.queue.lock().news.push(Command::Told(room));
        self.wake();
    }

    /// A room has ended. Never refused: each room ends once.
    pub(crate) fn end(&self, room: u64, reason: CloseReason) {
        self.queue.lock().news.push(Command::Ended(room, reason));
        self.wake();
    }

    /// The loop has to stop. Never refused.
    pub(crate) fn stop(&self, reason: CloseReason) {
        self.queue.lock().news.push(Command::Stop(reason));
        self.wake();
    }

    fn wake(&self) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a flush loop can't be woken");
        }
    }

    /// The loop takes what is there, of commands as many as a turn has time for. True if there
    /// are more.
    pub(crate) fn drain(&self, taken: &mut Vec<Command>, joins: &mut VecDeque<Joining>) -> bool {
        self.is_woken.store(false, Ordering::Release);
        let mut queue = self.queue.lock();
        taken.append(&mut queue.news);
        let count = queue.commands.len().min(COMMANDS_PER_TURN);
        taken.extend(queue.commands.drain(..count));
        // Those of before come first, and what waits stays bounded.
        if joins.is_empty() {
            joins.append(&mut queue.joins);
        }
        !queue.commands.is_empty()
    }

    /// The loop has ended, planned or not.
    pub(crate) fn end_for_good(&self) {
        self.is_over.store(true, Ordering::Release);
        let mut queue = self.queue.lock();
        queue.news.clear();
        queue.commands.clear();
        // Closes their sockets: their viewers try again, elsewhere.
        queue.joins.clear();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn gone(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wakes a loop whose poll is `registry`'s.
pub(crate) fn waker(registry: &mio::Registry) -> io::Result<Waker> {
    Waker::new(registry, super::turn::WAKER)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn joining() -> (Joining, UnixStream) {
        let (mine, theirs) = UnixStream::pair().unwrap();
        let room = Room::new("room", 1, 0, 4096);
        let (user, start) = (UserTag(1), Start::Live);
        (Joining { socket: theirs.into(), already_read: Bytes::new(), room, user, start }, mine)
    }

    #[test]
    fn who_waits_for_a_loop_that_ended_is_let_go() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Inbox::new(waker(poll.registry()).unwrap());
        let (first, mut waits) = joining();
        inbox.join(first).unwrap();
        inbox.end_for_good();
        assert_eq!(waits.read(&mut [0]).unwrap(), 0, "its connection is closed");
        assert_eq!(inbox.join(joining().0), Err(Full));
    }

    #[test]
    fn what_waits_is_bounded() {
        let poll = mio::Poll::new().unwrap();
        let inbox = Inbox::new(waker(poll.registry()).unwrap());
        let reply = || Command::Reply { id: ConnectionId::new(0, 1, 1), bytes: Bytes::new() };
        for _ in 0..WAITING_MAX {
            inbox.command(reply()).unwrap();
        }
        assert_eq!(inbox.command(reply()), Err(Full));
        inbox.tell(1);
        let (mut taken, mut joins) = (Vec::new(), VecDeque::new());
        assert!(inbox.drain(&mut taken, &mut joins), "there are more than a turn takes");
        assert_eq!(taken.len(), 1 + COMMANDS_PER_TURN);
        assert!(matches!(taken[0], Command::Told(1)), "news overtake replies");
        inbox.command(reply()).unwrap();
        while inbox.drain(&mut taken, &mut joins) {}
        assert_eq!(taken.len(), 1 + WAITING_MAX + 1);
    }
}
