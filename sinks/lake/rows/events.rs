//! What happened to streams.

use std::borrow::Cow;

use log::Record;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, stream, value};

/// A [`records::StreamEvent`] whose texts stay where they are, its detail as it is written.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    at_us: u64,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
}

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let event: Event<'_> = serde_json::from_slice(value(record)?)?;
    let detail = event.detail.map_or("{}", RawValue::get);
    if !detail.starts_with('{') {
        return Err(NoRow::Unknown("its detail isn't an object".into()));
    }
    rows.push(
        &Common { record, stream: stream(record)?, at_us: event.at_us },
        &[Cell::Text(&event.kind), if detail == "{}" { Cell::Null } else { Cell::Text(detail) }],
    )
}
