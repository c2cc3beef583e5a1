//! What happened to streams.

use std::borrow::Cow;
use std::collections::BTreeMap;

use log::Record;
use serde::Deserialize;

use super::build::{Cell, Common, RowBuilder};
use super::{NoRow, stream, value};

/// A [`records::StreamEvent`] whose texts stay where they are.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    at_us: u64,
    #[serde(borrow, default)]
    detail: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    let event: Event<'_> = serde_json::from_slice(value(record)?)?;
    let detail = serde_json::to_string(&event.detail)?;
    rows.push(
        &Common { record, stream: stream(record)?, at_us: event.at_us },
        &[
            Cell::Text(&event.kind),
            if event.detail.is_empty() { Cell::Null } else { Cell::Text(&detail) },
        ],
    )
}
