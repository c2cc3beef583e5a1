//! Seconds of ingest.

use log::Record;
use records::Health;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, value};

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let health: Health = serde_json::from_slice(value(record)?)?;
    let keyframes = health.keyframe_interval_ms.map(|ms| f64::from(ms) / 1000.0);
    rows.push(
        &Common { record, stream: health.stream, at_us: health.at_us },
        &[
            bits(health.bitrate_kbps),
            bits(health.video_kbps),
            bits(health.audio_kbps),
            Cell::Number(health.fps.into()),
            keyframes.map_or(Cell::Null, Cell::Number),
            health.av_drift_ms.map_or(Cell::Null, Cell::Int),
            Cell::Long(health.dropped.into()),
            Cell::Long(health.discontinuities.into()),
        ],
    )
}

fn bits(kilobits: u32) -> Cell<'static> {
    Cell::Long(i64::from(kilobits) * 1000)
}
