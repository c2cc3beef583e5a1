//! How far the log has been acknowledged, written beside the store.
//!
//! The store can't tell a journal that ends in a torn write (normal after a
//! crash, nothing acknowledged is lost) from one that was damaged in the
//! middle: it drops the rest of either in silence. So next to it we note, from
//! time to time and without fsync, where each partition ended. A store that
//! comes back shorter has lost what was acknowledged, and says so instead of
//! giving the same offsets out again. The note may lag behind, never lead.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::store::Store;
use crate::{Error, Topic};

const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Watermark {
    path: PathBuf,
    written: Option<Instant>,
}

impl Watermark {
    pub fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    /// Compares the store with the last note. A missing or unreadable note proves nothing.
    pub fn check(&self, store: &Store) -> Result<(), Error> {
        let noted = std::fs::read_to_string(&self.path).unwrap_or_default();
        // A note cut short by a power loss lacks its last line.
        let Some(noted) = noted.strip_suffix("end\n") else { return Ok(()) };
        for line in noted.lines() {
            let mut fields = line.split(' ');
            let (Some(name), Some(partition), Some(next)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name);
            let (Some(topic), Ok(partition), Ok(next)) = (topic, partition.parse(), next.parse())
            else {
                continue;
            };
            let found = store.bounds(topic, partition).map_or(0, |bounds| bounds.next);
            if found < next {
                return Err(store.corrupt(format!(
                    "partition {topic}/{partition} ends at offset {found}, but {next} records were acknowledged"
                )));
            }
        }
        Ok(())
    }

    /// Writes the note, at most once per [`INTERVAL`] unless `now`.
    pub fn note(&mut self, store: &Store, now: bool) {
        if !now && self.written.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.written = Some(Instant::now());
        let mut text = String::new();
        for ((topic, partition), bounds) in store.all_bounds() {
            if bounds.next > 0 {
                text.push_str(&format!("{topic} {partition} {}\n", bounds.next));
            }
        }
        text.push_str("end\n");
        let fresh = self.path.with_extension("new");
        let written =
            std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.path));
        if let Err(error) = written {
            // Only the check at the next start is weaker.
            tracing::warn!(%error, path = %self.path.display(), "cannot note the log's position");
        }
    }
}
