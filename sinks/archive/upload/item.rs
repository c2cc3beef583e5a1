//! What goes up, and what became of it: plain data.

use records::{Rendition, StreamId};

use crate::hls::Object;

/// What of a rendition waits; init sections come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Init(u64),
    Segment(u64),
}

/// One waiting file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) bytes: u64,
    /// Wall clock of its media, or of its file after a restart.
    pub(super) at_us: u64,
    /// Found on disk at the start: perhaps it is up already.
    pub(super) is_found: bool,
}

/// Which rendition of which broadcast; None: its recording.json.
pub(super) type Key = (StreamId, Option<Rendition>);

/// An upload to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) key: Key,
    pub(super) name: Option<Name>,
    pub(super) item: Item,
}

impl Task {
    pub(super) fn object(&self) -> Object {
        let stream = self.key.0;
        match (self.key.1, self.name) {
            (Some(rendition), Some(Name::Init(run))) => Object::Init { stream, rendition, run },
            (Some(rendition), Some(Name::Segment(msn))) => {
                Object::Segment { stream, rendition, msn }
            }
            _ => Object::Recording { stream },
        }
    }
}

/// How an upload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the store.
    Up,
    /// Its file is gone, so it never will be.
    Gone,
    /// This file failed; others may fare better.
    Failed,
    /// The store failed, for this reason.
    Away(String),
}

/// A segment that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its broadcast.
    pub stream: StreamId,
    /// Its rendition.
    pub rendition: Rendition,
    /// Its media sequence number.
    pub msn: u64,
    /// Length of its file.
    pub bytes: u64,
    pub(super) at_us: u64,
    pub(super) is_found: bool,
}

impl Victim {
    /// What has the least of it goes first.
    pub(super) fn value(&self) -> (u32, u64, u64) {
        (worth(self.rendition), self.at_us, self.msn)
    }
}

/// What is kept longer: without its sound a broadcast is worth little, and
/// without its published picture less than without a rung.
fn worth(rendition: Rendition) -> u32 {
    match rendition {
        Rendition::Rung(height) => u32::from(height),
        Rendition::Source => u32::MAX - 1,
        Rendition::Audio => u32::MAX,
    }
}
