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
