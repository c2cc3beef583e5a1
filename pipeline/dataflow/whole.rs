//! All dataflows of the data plane: each worker of a generation builds all of them.
//!
//! Enters: generations. Leaves: nothing. Held: the two planes. They share workers and
//! fates: a panic in one ends the generation of both, and both replay. Never here: what
//! flows.

use std::sync::Arc;

use runtime::{Culprit, Generation, Graph};
use timely::worker::Worker;

use super::MediaPlane;
use crate::chat::ChatPlane;
use crate::graph;

/// See the module.
pub struct Planes {
    /// From publishers to viewers.
    pub media: Arc<MediaPlane>,
    /// From what is said to everybody in the room.
    pub chat: Arc<ChatPlane>,
}

impl Graph for Planes {
    fn begin(&self, generation: &Generation) {
        self.media.begin(generation);
        self.chat.begin(generation);
    }

    fn build(&self, worker: &mut Worker, generation: &Arc<Generation>) {
        graph::media(worker, generation, &self.media);
        graph::chat(worker, generation, &self.chat);
    }

    fn end(&self) {
        self.media.end();
        self.chat.end();
    }

    fn recover(&self, culprit: Option<Culprit>) {
        let (chats, medias): (Vec<_>, Vec<_>) =
            culprit.into_iter().partition(|culprit| ChatPlane::has(culprit.operator));
        self.media.recover(medias.into_iter().next());
        self.chat.recover(chats.into_iter().next());
    }
}
