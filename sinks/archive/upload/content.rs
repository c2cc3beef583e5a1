//! The bytes of a segment that was just written, kept for its first upload.
//!
//! Enters: pieces that the live window holds as well. Leaves: a payload of the
//! same pieces. Held: no more than the room has, counted in bytes of media; each
//! gives its share back when it is dropped. Never here: copying them, or waiting
//! for room: without it the file is read back.
//!
//! What this costs in memory: pieces are slices of what a socket was read into,
//! which holds little else, and the live window holds them for longer than a
//! store that keeps up lets them wait. So it is hardly anything as a rule, and
//! not much more than the room when the window let go of them before: it joins
//! those that a viewer asks for.
//!
//! Why they aren't joined here: a picture of 4 KiB or more is a piece of its
//! own, and what is smaller shares one (`operators/segment/chunk.rs`). hyper
//! passes 16 pieces to one system call, so a segment of 2.6 Mbit/s takes some
//! five calls, where one buffer takes two. That is less than the copy would
//! cost, let alone fresh pages for it, which the kernel clears. Over HTTPS the
//! bytes are copied once in either case: by the encryption.

use std::sync::Arc;

use object_store::PutPayload;
use records::Pieces;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
pub(super) struct Content {
    pieces: Vec<Pieces>,
    /// Given back with the last use of the pieces.
    _room: OwnedSemaphorePermit,
}

impl Content {
    /// Keeps `pieces` if there are any and if `room` has a permit for each byte.
    pub(super) fn keep(room: &Arc<Semaphore>, pieces: &[Pieces]) -> Option<Self> {
        let bytes: usize = pieces.iter().map(Pieces::len).sum();
        let permits = u32::try_from(bytes).ok().filter(|permits| *permits > 0)?;
        let room = Arc::clone(room).try_acquire_many_owned(permits).ok()?;
        Some(Self { pieces: pieces.to_vec(), _room: room })
    }

    /// All of it, shared.
    pub(super) fn payload(&self) -> PutPayload {
        self.pieces.iter().flat_map(Pieces::iter).cloned().collect()
    }
}
