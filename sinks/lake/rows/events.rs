//! What happened to streams.

use log::Record;
use records::StreamEvent;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, stream, value};

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let event: StreamEvent = serde_json::from_slice(value(record)?)?;
    let detail = serde_json::to_string(&event.detail)?;
    rows.push(
        &Common { record, stream: stream(record)?, at_us: event.at_us },
        &[
            Cell::Text(&event.kind),
            if event.detail.is_empty() { Cell::Null } else { Cell::Text(&detail) },
        ],
    )
}
