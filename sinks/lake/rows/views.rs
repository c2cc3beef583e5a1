//! What viewers' players saw.

use log::Record;
use records::View;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, value};

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let view: View = serde_json::from_slice(value(record)?)?;
    let session = view.session.to_string();
    let video = view.video.map(|video| video.to_string());
    let position = view.position_ms.and_then(|ms| i64::try_from(ms).ok());
    rows.push(
        &Common { record, stream: view.stream, at_us: view.at_us },
        &[
            Cell::Text(&session),
            video.as_deref().map_or(Cell::Null, Cell::Text),
            Cell::Text(&view.rendition),
            Cell::Long(view.watched_ms.into()),
            Cell::Long(view.stalls.into()),
            Cell::Long(view.stalled_ms.into()),
            Cell::Long(view.dropped_frames.into()),
            optional(view.latency_ms),
            optional(view.startup_ms),
            position.map_or(Cell::Null, Cell::Long),
        ],
    )
}

fn optional(value: Option<u32>) -> Cell<'static> {
    value.map_or(Cell::Null, |value| Cell::Long(value.into()))
}
