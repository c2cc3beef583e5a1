//! Announcements of stored segments.

use log::Record;
use records::{MediaTime, Rendition};
use serde::Deserialize;

use super::build::{Cell, Common, RowBuilder, int, long};
use super::{NoRow, stream, value};

/// The archive's announcements, as far as the lake needs them. A test holds
/// this against the archive's own.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Announcement {
    Segment(Segment),
    Track(serde::de::IgnoredAny),
    End,
}

#[derive(Deserialize)]
struct Segment {
    rendition: Rendition,
    msn: u64,
    run: u64,
    start: MediaTime,
    duration: MediaTime,
    wall_us: u64,
    bytes: u64,
    parts: u32,
    #[serde(default)]
    gap: bool,
    #[serde(default)]
    lost: bool,
}

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let segment = match serde_json::from_slice(value(record)?)? {
        Announcement::Segment(segment) => segment,
        Announcement::Track(_) | Announcement::End => return Err(NoRow::NotHere),
    };
    let stream = stream(record)?;
    let rendition = segment.rendition.to_string();
    let uri = format!("{stream}/{rendition}/{}.m4s", segment.msn);
    let has_file = !segment.gap && !segment.lost;
    rows.push(
        &Common { record, stream, at_us: segment.wall_us },
        &[
            Cell::Text(&rendition),
            Cell::Long(long(segment.msn)?),
            Cell::Long(long(segment.run)?),
            Cell::Long(micros(segment.start)),
            Cell::Long(micros(segment.duration)),
            Cell::Long(long(segment.bytes)?),
            Cell::Int(int(segment.parts)?),
            Cell::Flag(segment.gap),
            Cell::Flag(segment.lost),
            if has_file { Cell::Text(&uri) } else { Cell::Null },
        ],
    )
}

/// Off the log, so its timescale may be anything.
fn micros(time: MediaTime) -> i64 {
    MediaTime::new(time.ticks, time.timescale).as_micros()
}
