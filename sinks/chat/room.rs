//! A room: its ring, who is in it, and whom to tell of news.
//!
//! ```text
//! publish ─► ring ─┬─► loops that have viewers here: one word each, until they looked
//!                  └─► watch: long polling and server-sent events
//! ```
//!
//! - **Enters**: messages in order. **Leaves**: windows of frames, pages for polling.
//! - **Held**: the ring. **Ends** with [`Room::close`]: viewers are closed, and who comes
//!   later too.
//! - **Never here**: waiting for a viewer. The lock is held for a copy of a window.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::flush::Inbox;
use crate::presence::Presence;
use crate::ring::{Behind, Mark, Page, Position, PushError, Ring, Start};
use crate::ws::CloseReason;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One room of this process.
#[derive(Debug)]
pub struct Room {
    /// Different for each room ever made in this process.
    id: u64,
    name: String,
    state: Mutex<State>,
    head: watch::Sender<u64>,
    presence: Presence,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    listeners: Vec<Listener>,
    closed: Option<CloseReason>,
}

/// A loop that has viewers here.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub inbox: Arc<Inbox>,
    /// Told, and it hasn't looked yet.
    pub is_told: Arc<AtomicBool>,
}

/// What a loop looks at before it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub tail: u64,
    pub head: u64,
    pub pushed: u64,
    /// The greatest number up to the head.
    pub last: u64,
}

impl Room {
    /// A room whose life is `epoch` and in which messages up to `last` were given out before;
    /// `ring_bytes` is the most that is held. Push what the log still has first, and those
    /// who come back after a restart (with the same epoch) are given it.
    pub fn new(name: impl Into<String>, epoch: u64, last: u64, ring_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            state: Mutex::new(State {
                ring: Ring::new(epoch, last, ring_bytes),
                listeners: Vec::new(),
                closed: None,
            }),
            head: watch::Sender::new(0),
            presence: Presence::default(),
        })
    }

    /// What the caller called it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Who is here.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Gives message `seq` to everybody. Returns once it is in the ring; waits for no viewer.
    pub fn publish(&self, seq: u64, text: &str) -> Result<(), PushError> {
        self.put(|ring| ring.push(seq, text))
    }

    /// Gives a text without a number to everybody: a count, a notice. Whoever comes back
    /// later isn't given it.
    pub fn notice(&self, text: &str) -> Result<(), PushError> {
        self.put(|ring| ring.notice(text))
    }

    fn put(&self, push: impl FnOnce(&mut Ring) -> Result<(), PushError>) -> Result<(), PushError> {
        let mut state = self.state.lock();
        push(&mut state.ring)?;
        self.head.send_replace(state.ring.head());
        for listener in &state.listeners {
            if !listener.is_told.swap(true, Ordering::AcqRel) {
                listener.inbox.tell(self.id);
            }
        }
        Ok(())
    }

    /// Ends the room: everybody in it is closed so.
    pub fn close(&self, reason: CloseReason) {
        let mut state = self.state.lock();
        for listener in &state.listeners {
            listener.inbox.end(self.id, reason.clone());
        }
        state.closed = Some(reason);
    }

    /// Where a reader that starts so stands.
    pub fn seek(&self, start: Start) -> Position {
        self.state.lock().ring.seek(start)
    }

    /// Frames for a polling reader, from `offset` (of [`Room::seek`] or [`Page::next`]) on:
    /// whole ones up to `bytes_max`, at least one if there is one.
    pub fn page(&self, offset: u64, bytes_max: usize) -> Result<Page, Behind> {
        self.state.lock().ring.page(offset, bytes_max)
    }

    /// The head's offset as it changes, for readers that wait.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The room's life: what its numbers belong to.
    pub fn epoch(&self) -> u64 {
        self.state.lock().ring.epoch()
    }

    /// The greatest number so far.
    pub fn last(&self) -> u64 {
        self.state.lock().ring.last()
    }

    pub(crate) fn listen(&self, listener: Listener) -> Option<CloseReason> {
        let mut state = self.state.lock();
        state.listeners.push(listener);
        state.closed.clone()
    }

    pub(crate) fn forget(&self, is_told: &Arc<AtomicBool>) {
        self.state.lock().listeners.retain(|listener| !Arc::ptr_eq(&listener.is_told, is_told));
    }

    /// Why it ended, if it has.
    pub fn closed(&self) -> Option<CloseReason> {
        self.state.lock().closed.clone()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        bounds(&self.state.lock().ring)
    }

    /// Looks, and appends all from where `from` says after that look, and where its frames end;
    /// None appends nothing.
    pub(crate) fn window(
        &self,
        to: &mut Vec<u8>,
        marks: &mut Vec<Mark>,
        from: impl FnOnce(Bounds) -> Option<u64>,
    ) -> Bounds {
        let state = self.state.lock();
        let bounds = bounds(&state.ring);
        if let Some(from) = from(bounds) {
            // `from` has just been shown the bounds.
            let _held = state.ring.copy(from, to, marks);
        }
        bounds
    }
}

fn bounds(ring: &Ring) -> Bounds {
    Bounds { tail: ring.tail(), head: ring.head(), pushed: ring.pushed(), last: ring.last() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::CloseCode;

    /// Long polling and server-sent events read so.
    async fn poll(room: &Room, start: Start, until: u64) -> Result<Vec<String>, Behind> {
        let mut news = room.watch();
        let mut at = room.seek(start).offset;
        let mut got = Vec::new();
        loop {
            let page = room.page(at, 100)?;
            at = page.next;
            for frame in &page.frames {
                got.push(String::from_utf8_lossy(&frame.payload).into_owned());
            }
            if page.seq >= until {
                return Ok(got);
            }
            if page.frames.is_empty() && news.changed().await.is_err() {
                return Ok(got);
            }
        }
    }

    #[tokio::test]
    async fn polling_readers_get_all_in_order() {
        let room = Room::new("room", 1, 0, 1 << 16);
        room.publish(1, "before").unwrap();
        let reader = tokio::spawn({
            let room = room.clone();
            async move { poll(&room, Start::After { epoch: 1, seq: 0 }, 300).await }
        });
        for seq in 2..=300 {
            room.publish(seq, &format!("message {seq}")).unwrap();
            if seq % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut expected = vec!["before".to_owned()];
        expected.extend((2..=300).map(|seq| format!("message {seq}")));
        assert_eq!(reader.await.unwrap().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_polling_reader_that_is_late_is_told() {
        let room = Room::new("room", 1, 0, 4096);
        let at = room.seek(Start::Live).offset;
        for seq in 1..=100 {
            room.publish(seq, &"x".repeat(100)).unwrap();
        }
        assert_eq!(room.page(at, 1000), Err(Behind));
        let position = room.seek(Start::After { epoch: 1, seq: 100 });
        assert!(position.recovered && room.page(position.offset, 1000).unwrap().frames.is_empty());
    }

    #[test]
    fn an_ended_room_says_so() {
        let room = Room::new("room", 1, 0, 4096);
        assert_eq!(room.closed(), None);
        let reason = CloseReason::new(CloseCode::GOING_AWAY, "over");
        room.close(reason.clone());
        assert_eq!(room.closed(), Some(reason));
    }
}
