//! Sends viewers back what they say, for suites that check how WebSockets are spoken.
//!
//! Enters: texts and bytes, by the loops and the parser that rooms have. Leaves: the same, to
//! whoever sent them. Held: a loop and a room of its own, since its limits are those that
//! suites need, not chat's. Ends with the server. Never here: streams, people, what is allowed.

use std::sync::Arc;

use chat::ws::CloseReason;
use chat::{FlushConfig, Flushers, Handler, Room, StartError, Who};

/// Longest message: Autobahn's have 16 MiB.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// What may wait for somebody who sends before it reads.
const PENDING_BYTES_MAX: usize = 128 << 20;

/// The least there is: nothing is ever said in the room.
const RING_BYTES: usize = 4096;

/// See the module.
pub struct Echo {
    room: Arc<Room>,
    flushers: Arc<Flushers>,
}

impl Echo {
    /// Starts its loop.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn start() -> Result<Self, StartError> {
        let config = FlushConfig {
            loops: 1,
            takes_binary: true,
            message_bytes_max: MESSAGE_BYTES_MAX,
            pending_bytes_max: PENDING_BYTES_MAX,
            ..FlushConfig::default()
        };
        let flushers = Arc::new(Flushers::start(&config, Arc::new(BySender))?);
        Ok(Self { room: Room::new("echo", 0, 0, RING_BYTES), flushers })
    }

    /// The room of all who join.
    #[must_use]
    pub fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Its loop.
    #[must_use]
    pub fn flushers(&self) -> Arc<Flushers> {
        Arc::clone(&self.flushers)
    }

    /// Sends everybody away.
    pub fn close(&self, reason: CloseReason) {
        self.room.close(reason);
    }
}

/// Answers whoever says something with just that.
struct BySender;

impl Handler for BySender {
    fn text(&self, who: Who<'_>, text: &str) {
        who.reply(text);
    }

    fn binary(&self, who: Who<'_>, bytes: &[u8]) {
        who.reply_binary(bytes);
    }
}
