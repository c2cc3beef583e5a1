//! Chat's way out: what a room says reaches everybody in it.
//!
//! ```text
//! Room::publish ─► ring of frames ─┬─► flush loops (one per core) ─► viewers' WebSockets
//!                                  └─► pages ─► long polling, server-sent events
//! hyper's upgraded socket ─► Flushers::join ─► Handler: joined, text, left
//! ```
//!
//! What decides the design: a socket write costs the kernel five microseconds and more,
//! whatever its size. So a message is laid out once, as a frame in its room's ring; a
//! viewer is an offset into it; and each viewer is written to once per window, at once
//! where a room is quiet, up to the latency budget where it is hot.
//!
//! - **Enters**: messages that were accepted, sockets that were upgraded, viewers' bytes.
//! - **Leaves**: frames to viewers; their messages, joins and leaves to a [`Handler`].
//! - **Held**: per room a bounded ring, per viewer about two hundred bytes.
//! - **Ends** with [`Flushers::stop`].
//! - **Never here**: what messages mean, who may say what, durability, HTTP.

//! ```
//! use std::io::Read as _;
//! use std::sync::Arc;
//!
//! use chat::{FlushConfig, Flushers, Handler, Joining, Position, Room, Start, UserTag, Who};
//!
//! struct Polite;
//!
//! impl Handler for Polite {
//!     fn joined(&self, who: Who<'_>, at: &Position) -> Option<String> {
//!         Some(format!("welcome to {}, epoch {}", who.room.name(), at.epoch))
//!     }
//!     fn text(&self, who: Who<'_>, text: &str) {
//!         who.reply(&format!("you said {text}"));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let flushers = Flushers::start(&FlushConfig::default(), Arc::new(Polite))?;
//! let room = Room::new("the room", 1, 0, 1 << 20);
//! let (mut viewer, socket) = std::os::unix::net::UnixStream::pair()?;
//! flushers.join(Joining {
//!     socket: socket.into(),
//!     already_read: Default::default(),
//!     room: room.clone(),
//!     user: UserTag(1),
//!     start: Start::Live,
//! })?;
//! let mut welcome = [0; 2 + 28];
//! viewer.read_exact(&mut welcome)?;
//! assert_eq!(&welcome, b"\x81\x1cwelcome to the room, epoch 1");
//! room.publish(1, "hello, all")?;
//! let mut first = [0; 2 + 10];
//! viewer.read_exact(&mut first)?;
//! assert_eq!(&first, b"\x81\x0ahello, all");
//! # Ok(())
//! # }
//! ```

mod flush;
mod presence;
mod ring;
mod room;
pub mod ws;

pub use flush::{
    ConnectionId, FlushConfig, Flushers, Full, Handler, Joining, Left, SendBy, StartError, Totals,
    Who,
};
pub use presence::{Presence, UserTag, Viewers};
pub use ring::{Behind, Frame, Page, Position, PushError, Start};
pub use room::Room;
