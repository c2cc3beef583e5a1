//! How rows become files.
//!
//! Enters: rows. Leaves: Parquet files of one day each (zstd, with statistics, sorted by
//! stream and time) that no reader sees before they are committed; never committed,
//! they are swept away by vacuum. Never here: commits.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_schema::{ArrowError, SchemaRef};
use deltalake_core::kernel::Add;
use deltalake_core::writer::{DeltaWriter as _, RecordBatchWriter};
use deltalake_core::{DeltaTable, DeltaTableError};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use records::schema::ColumnKind;

use crate::{Error, Root, Table};

/// Rows of a Parquet row group: the unit that a reader skips, and that a merge holds of
/// each file.
pub(crate) const ROW_GROUP_ROWS: usize = 64 << 10;

/// Rows of a page: what a merge holds of each file's columns, decompressed. Readers are as
/// quick with pages of a fifth of the library's length.
const PAGE_ROWS: usize = 4 << 10;

/// Columns of texts that hardly two rows have in common.
const OWN_TEXTS: [&str; 5] = ["detail", "message", "message_id", "session", "uri"];

/// Writes files of one table, as it is.
#[derive(Clone)]
pub(crate) struct Writer {
    pub table: Table,
    /// Where the table lies.
    pub root: Root,
    pub delta: DeltaTable,
    /// The table's own columns, which may be more than ours.
    pub schema: SchemaRef,
}

impl Writer {
    /// One file per day, of rows that come in order.
    pub fn open(&self) -> Result<RecordBatchWriter, DeltaTableError> {
        let writer = RecordBatchWriter::for_table(&self.delta)?;
        Ok(writer.with_writer_properties(properties(self.table)))
    }

    /// One file per day, of rows in any order.
    ///
    /// # Errors
    /// [`Error::Rows`]; [`Error::Delta`] if storage refuses.
    pub async fn write(&self, rows: &RecordBatch) -> Result<Vec<Add>, Error> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let misfit =
            |error: ArrowError| Error::Rows { table: self.table, detail: error.to_string() };
        let failed = |source| Error::delta("write to", self.table, &self.root, source);
        let rows = conform(&sorted(rows).map_err(misfit)?, &self.schema).map_err(misfit)?;
        let mut writer = self.open().map_err(failed)?;
        writer.write(rows).await.map_err(failed)?;
        writer.flush().await.map_err(failed)
    }
}

/// How a file is written: zstd, with statistics, and no dictionary where nearly every
/// row has a value of its own.
fn properties(table: Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS);
    for column in table.schema().columns {
        let path = || ColumnPath::from(column.name);
        let is_number = matches!(column.kind, ColumnKind::Time | ColumnKind::Long);
        if is_number {
            // Numbers and times rise by little from row to row.
            properties = properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
        if is_number || OWN_TEXTS.contains(&column.name) {
            properties = properties.set_column_dictionary_enabled(path(), false);
        }
    }
    properties.build()
}

/// By stream, time and position, so that a file's statistics tell readers to skip it.
fn sorted(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |name| {
        let missing = || ArrowError::SchemaError(format!("no column {name}"));
        rows.column_by_name(name).ok_or_else(missing)
    };
    let streams: &StringArray = column("stream_id")?.as_string();
    let at = column("at")?.as_primitive::<TimestampMicrosecondType>().values();
    let partitions = column("log_partition")?.as_primitive::<Int32Type>().values();
    let offsets = column("log_offset")?.as_primitive::<Int64Type>().values();
    let key = |row: usize| (at[row], partitions[row], offsets[row]);
    // As they come out of the log's records.
    let is_sorted =
        (1..rows.num_rows()).all(|row| match streams.value(row - 1).cmp(streams.value(row)) {
            Ordering::Less => true,
            Ordering::Equal => key(row - 1) <= key(row),
            Ordering::Greater => false,
        });
    if is_sorted && streams.null_count() == 0 {
        return Ok(rows.clone());
    }
    // Few streams, many rows.
    let mut places: HashMap<Option<&str>, usize> = HashMap::new();
    let mut groups: Vec<(Option<&str>, Vec<u32>)> = Vec::new();
    for (stream, row) in streams.iter().zip(0..) {
        let place = *places.entry(stream).or_insert_with(|| {
            groups.push((stream, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    groups.sort_unstable_by_key(|(stream, _)| *stream);
    let mut order = Vec::with_capacity(rows.num_rows());
    for (_, mut group) in groups {
        group.sort_unstable_by_key(|row| key(*row as usize));
        order.append(&mut group);
    }
    take_record_batch(rows, &UInt32Array::from(order))
}

/// The rows with the table's columns, by name; those of a newer program stay null.
pub(crate) fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<ArrayRef>, _>>()?)
}
