//! Broadcasts, out of the catalog. Its key hashes stay there.

use log::Record;
use records::{StreamId, StreamState};
use serde::Deserialize;

use super::build::{Cell, Common, RowBuilder, int, long};
use super::{NoRow, value};

/// Other entities share the topic.
const KEY_PREFIX: &[u8] = b"stream/";

/// The catalog's entry, as far as the lake shows it. What isn't here stays out
/// of the lake: the hash of the stream's key above all.
#[derive(Deserialize)]
struct Entry {
    stream_id: StreamId,
    title: String,
    category: String,
    state: StreamState,
    created_at_us: u64,
    started_at_us: Option<u64>,
    ended_at_us: Option<u64>,
    sessions: u32,
    successor: Option<StreamId>,
    predecessor: Option<StreamId>,
    deleted: bool,
}

pub(super) fn append(record: &Record, rows: &mut RowBuilder) -> Result<(), NoRow> {
    if !record.key.starts_with(KEY_PREFIX) {
        return Err(NoRow::NotHere);
    }
    let entry: Entry = serde_json::from_slice(value(record)?)?;
    let at_us = [entry.started_at_us, entry.ended_at_us]
        .into_iter()
        .flatten()
        .fold(entry.created_at_us, u64::max);
    let state = entry.state.to_string();
    let [predecessor, successor] =
        [entry.predecessor, entry.successor].map(|id| id.map(|id| id.to_string()));
    rows.push(
        &Common { record, stream: entry.stream_id, at_us },
        &[
            Cell::Text(&state),
            Cell::Text(&entry.title),
            Cell::Text(&entry.category),
            Cell::Time(long(entry.created_at_us)?),
            time(entry.started_at_us)?,
            time(entry.ended_at_us)?,
            Cell::Int(int(entry.sessions)?),
            predecessor.as_deref().map_or(Cell::Null, Cell::Text),
            successor.as_deref().map_or(Cell::Null, Cell::Text),
            Cell::Flag(entry.deleted),
        ],
    )
}

fn time(at_us: Option<u64>) -> Result<Cell<'static>, NoRow> {
    at_us.map_or(Ok(Cell::Null), |at_us| Ok(Cell::Time(long(at_us)?)))
}
