//! Records of the log as rows of a table.
//!
//! Enters: records. Leaves: a batch in the table's schema, rows by the records' keys, as
//! files mostly have them, and in the order of the records of each. Never here: files, or
//! refusing a whole batch for one record that can't be understood.

mod build;
mod chat;
mod events;
mod health;
mod segments;
mod streams;
#[cfg(test)]
mod tests;
mod videos;
mod views;

use std::collections::HashMap;

use arrow::array::RecordBatch;
use log::Record;
use records::StreamId;
use uuid::Uuid;

use crate::{Error, Table};
use build::RowBuilder;

/// Rows, and how many records gave none although they should have.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// In [`records::schema`]'s columns.
    pub rows: RecordBatch,
    /// Records that couldn't be understood.
    pub skipped: u64,
}

/// Why a record gives no row.
#[derive(Debug)]
enum NoRow {
    /// It says nothing about this table.
    NotHere,
    /// It can't be understood.
    Unknown(String),
    /// Ours: the row doesn't fit the schema.
    Misfit(Error),
}

impl From<serde_json::Error> for NoRow {
    fn from(error: serde_json::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

pub(crate) fn decode(table: Table, records: &[Record]) -> Result<Decoded, Error> {
    let append = match table {
        Table::Segments => segments::append,
        Table::Events => events::append,
        Table::StreamHealth => health::append,
        Table::Streams => streams::append,
        Table::Videos => videos::append,
        Table::Views => views::append,
        Table::ChatMessages => chat::message,
        Table::ChatActs => chat::act,
    };
    let mut rows = RowBuilder::new(table, records.len());
    let mut skipped = 0;
    for record in by_key(records) {
        match append(record, &mut rows) {
            Ok(()) | Err(NoRow::NotHere) => {}
            Err(NoRow::Misfit(error)) => return Err(error),
            Err(NoRow::Unknown(reason)) => {
                skipped += 1;
                let (partition, offset) = (record.partition, record.offset);
                tracing::debug!(%table, partition, offset, reason, "record gives no row");
            }
        }
    }
    Ok(Decoded { rows: rows.finish()?, skipped })
}

/// Few keys, many records.
fn by_key(records: &[Record]) -> impl Iterator<Item = &Record> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<(&[u8], Vec<&Record>)> = Vec::new();
    for record in records {
        let place = *places.entry(&record.key).or_insert_with(|| {
            groups.push((&record.key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(record);
    }
    groups.sort_unstable_by_key(|(key, _)| *key);
    groups.into_iter().flat_map(|(_, records)| records)
}

/// The stream that a record's key names by its 16 bytes.
fn stream(record: &Record) -> Result<StreamId, NoRow> {
    let id = Uuid::from_slice(&record.key).map_err(|error| NoRow::Unknown(error.to_string()))?;
    Ok(StreamId(id))
}

/// The record's value; a tombstone has none.
fn value(record: &Record) -> Result<&[u8], NoRow> {
    record.value.as_deref().ok_or(NoRow::NotHere)
}
