//! What of a broadcast is in the store already: a file beside its segments,
//! and what a restart finds.
//!
//! Enters: how far each rendition went up. Leaves: the same after a restart,
//! and the files that are beyond. Held: nothing. The file is written every few
//! seconds and not synced: what it misses is looked for in the store, where it
//! is found.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::UNIX_EPOCH;

use records::{Rendition, StreamId};
use serde::{Deserialize, Serialize};

use super::item::{Item, Name};
use crate::archive::files;

/// The file's name.
const FILE: &str = "uploaded.json";

/// How far a rendition went up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrackMark {
    /// Runs below this one have their initialization section in the store.
    pub(super) inits: u64,
    /// Segments below this number are in the store, or nowhere.
    pub(super) segments: u64,
}

/// How far a broadcast went up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Its renditions.
    pub(super) tracks: BTreeMap<Rendition, TrackMark>,
    /// recording.json is in the store: all of it is.
    pub(super) recording: bool,
}

impl Mark {
    /// What is before `name` isn't looked for again, nor is it.
    pub(super) fn pass(&mut self, rendition: Rendition, name: Name) {
        let track = self.tracks.entry(rendition).or_default();
        match name {
            Name::Init(run) => track.inits = track.inits.max(run + 1),
            Name::Segment(msn) => track.segments = track.segments.max(msn + 1),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.recording |= other.recording;
        for (rendition, TrackMark { inits, segments }) in &other.tracks {
            let track = self.tracks.entry(*rendition).or_default();
            track.inits = track.inits.max(*inits);
            track.segments = track.segments.max(*segments);
        }
    }
}

/// A broadcast on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stream: StreamId,
    pub(super) mark: Mark,
    /// Files that may not be in the store.
    pub(super) items: Vec<(Rendition, Name, Item)>,
    /// The same of recording.json.
    pub(super) recording: Option<Item>,
}

/// Writes a mark, unless the broadcast's folder is gone.
///
/// # Errors
/// It can't be written.
pub(super) fn write(root: &Path, stream: StreamId, mark: &Mark) -> io::Result<()> {
    let path = files::stream_folder(root, stream).join(FILE);
    let part = path.with_extension("part");
    let text = serde_json::to_vec(mark).map_err(io::Error::other)?;
    match fs::write(&part, text).and_then(|()| fs::rename(&part, &path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Looks at every broadcast's folder. `only_recorded`: pass over those
/// without a recording. What can't be read is passed over, and logged. Blocks.
pub(super) fn scan(root: &Path, only_recorded: bool) -> Vec<Found> {
    let Ok(folders) = fs::read_dir(root) else { return Vec::new() };
    let mut all = Vec::new();
    for folder in folders.flatten() {
        let name = folder.file_name();
        let Some(stream) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match look(root, stream) {
            Ok(found) => {
                let is_recorded = found.recording.is_some() || found.mark.recording;
                if is_recorded || !only_recorded {
                    all.push(found);
                }
            }
            Err(error) => {
                tracing::warn!(%stream, %error, "what of a broadcast is to go up can't be read");
            }
        }
    }
    all
}

fn look(root: &Path, stream: StreamId) -> io::Result<Found> {
    let folder = files::stream_folder(root, stream);
    let mark: Mark = match fs::read(folder.join(FILE)) {
        // One that a power cut tore is as good as none.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Mark::default(),
    };
    let mut found = Found { stream, mark, items: Vec::new(), recording: None };
    if found.mark.recording {
        return Ok(found);
    }
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == "recording.json" {
            found.recording = Some(item(&entry)?);
        }
        let Ok(rendition) = name.parse::<Rendition>() else { continue };
        let track = found.mark.tracks.get(&rendition).copied().unwrap_or_default();
        for file in fs::read_dir(entry.path())? {
            let file = file?;
            let Some(name) = file.file_name().to_str().and_then(parse) else { continue };
            let is_up = match name {
                Name::Init(run) => run < track.inits,
                Name::Segment(msn) => msn < track.segments,
            };
            if !is_up {
                found.items.push((rendition, name, item(&file)?));
            }
        }
    }
    Ok(found)
}

/// `12.m4s` or `init-3.mp4`.
fn parse(name: &str) -> Option<Name> {
    if let Some(msn) = name.strip_suffix(".m4s") {
        return msn.parse().ok().map(Name::Segment);
    }
    name.strip_prefix("init-")?.strip_suffix(".mp4")?.parse().ok().map(Name::Init)
}

fn item(entry: &fs::DirEntry) -> io::Result<Item> {
    let metadata = entry.metadata()?;
    let at = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Item { bytes: metadata.len(), at_us: at.as_micros() as u64, is_found: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_mark_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let stream = StreamId::generate();
        let folder = root.path().join(stream.to_string());
        let put = |name: &str, bytes: &str| {
            fs::create_dir_all(folder.join("source")).unwrap();
            fs::write(folder.join(name), bytes).unwrap();
        };
        for name in ["source/init-0.mp4", "source/init-1.mp4", "source/7.part"] {
            put(name, "init");
        }
        for msn in [0, 2, 10, 11] {
            put(&format!("source/{msn}.m4s"), "segment");
        }
        put("recording.json", "{}");
        fs::create_dir(root.path().join("lost+found")).unwrap();

        let all = scan(root.path(), false);
        let mut names: Vec<_> = all[0].items.iter().map(|(_, name, _)| *name).collect();
        names.sort_unstable();
        let segments = |msns: &[u64]| msns.iter().map(|msn| Name::Segment(*msn)).collect();
        let everything: Vec<_> =
            [vec![Name::Init(0), Name::Init(1)], segments(&[0, 2, 10, 11])].concat();
        assert_eq!((all.len(), names), (1, everything));

        let tracks = [(Rendition::Source, TrackMark { inits: 2, segments: 10 })].into();
        let mark = Mark { tracks, recording: false };
        write(root.path(), stream, &mark).unwrap();
        let found = scan(root.path(), true).remove(0);
        let mut left: Vec<_> = found.items.iter().map(|(_, name, _)| *name).collect();
        left.sort_unstable();
        assert_eq!((left, found.mark), (segments(&[10, 11]), mark.clone()));
        assert_eq!(found.recording.unwrap().bytes, 2);

        write(root.path(), stream, &Mark { recording: true, ..mark }).unwrap();
        let done = scan(root.path(), false).remove(0);
        assert!(done.items.is_empty() && done.recording.is_none());

        // Torn by a power cut: all of it is looked for again.
        fs::write(folder.join(FILE), "{\"tracks\":").unwrap();
        assert_eq!(scan(root.path(), false)[0].items.len(), 6);
        fs::remove_dir_all(&folder).unwrap();
        write(root.path(), stream, &Mark::default()).unwrap();
        assert!(!folder.exists(), "a mark brings no broadcast back");
    }
}
