//! Recordings and clips, out of the catalog.

use log::Record;
use records::{Rendition, StreamId};
use serde::Deserialize;
use uuid::Uuid;

use super::build::{Cell, Common, RowBuilder, long};
use super::{NoRow, value};

/// Other entities share the topic.
const KEY_PREFIX: &[u8] = b"video/";

/// The catalogue's entry, as far as the lake shows it.
#[derive(Deserialize)]
struct Entry {
    video_id: Uuid,
    stream_id: StreamId,
    clip: Option<Clip>,
    title: String,
    category: String,
    created_at_us: u64,
    /// Older logs don't have it.
    #[serde(default)]
    changed_at_us: u64,
    started_at_us: u64,
    ended_at_us: u64,
    duration_us: u64,
    bytes: u64,
    renditions: Vec<Of>,
    status: String,
    visibility: String,
    /// Nor this.
    #[serde(default = "hot")]
    tier: String,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct Clip {
    video_id: Uuid,
    from_us: i64,
    to_us: i64,
}

#[derive(Deserialize)]
struct Of {
    rendition: Rendition,
}

fn hot() -> String {
    "HOT".into()
}

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    if !record.key.starts_with(KEY_PREFIX) {
        return Err(NoRow::NotHere);
    }
    let entry: Entry = serde_json::from_slice(value(record)?)?;
    let [video, clip_of] = [Some(entry.video_id), entry.clip.as_ref().map(|clip| clip.video_id)]
        .map(|id| id.map(|id| id.as_hyphenated().to_string()));
    let names: Vec<_> = entry.renditions.iter().map(|of| of.rendition.to_string()).collect();
    let renditions = names.join(",");
    let at_us = |which: fn(&Clip) -> i64| {
        entry.clip.as_ref().map_or(Cell::Null, |clip| Cell::Long(which(clip)))
    };
    rows.push(
        &Common {
            record,
            stream: entry.stream_id,
            at_us: entry.changed_at_us.max(entry.created_at_us),
        },
        &[
            Cell::Text(video.as_deref().unwrap_or_default()),
            Cell::Text(&entry.title),
            Cell::Text(&entry.category),
            clip_of.as_deref().map_or(Cell::Null, Cell::Text),
            at_us(|clip| clip.from_us),
            at_us(|clip| clip.to_us),
            Cell::Time(long(entry.created_at_us)?),
            Cell::Time(long(entry.started_at_us)?),
            Cell::Time(long(entry.ended_at_us)?),
            Cell::Long(long(entry.duration_us)?),
            Cell::Long(long(entry.bytes)?),
            Cell::Text(&renditions),
            Cell::Text(&entry.status),
            Cell::Text(&entry.visibility),
            Cell::Text(&entry.tier),
            Cell::Flag(entry.deleted),
        ],
    )
}
