//! A batch, built row by row against the table's schema.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder,
    Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use log::Record;
use records::StreamId;
use records::schema::ColumnKind;
use uuid::Uuid;

use super::NoRow;
use crate::{Error, Table};

const DAY_US: i64 = 86_400_000_000;

/// One cell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Null,
    Text(&'a str),
    Flag(bool),
    Int(i32),
    Long(i64),
    Number(f64),
    /// Microseconds since 1970.
    Time(i64),
}

enum Builder {
    Text(StringBuilder),
    Flag(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Number(Float64Builder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
}

/// What every row has.
pub(super) struct Common<'a> {
    pub record: &'a Record,
    pub stream: StreamId,
    /// Microseconds since 1970.
    pub at_us: u64,
}

pub(super) struct RowBuilder {
    table: Table,
    columns: Vec<Builder>,
}

impl RowBuilder {
    pub fn new(table: Table, rows: usize) -> Self {
        let column = |kind| match kind {
            ColumnKind::Text => Builder::Text(StringBuilder::with_capacity(rows, rows * 40)),
            ColumnKind::Flag => Builder::Flag(BooleanBuilder::with_capacity(rows)),
            ColumnKind::Int => Builder::Int(Int32Builder::with_capacity(rows)),
            ColumnKind::Long => Builder::Long(Int64Builder::with_capacity(rows)),
            ColumnKind::Number => Builder::Number(Float64Builder::with_capacity(rows)),
            ColumnKind::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            ColumnKind::Time => {
                Builder::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"))
            }
        };
        let columns = table.schema().columns.iter().map(|of| column(of.kind)).collect();
        Self { table, columns }
    }

    /// A row: `date`, `stream_id`, `at`, then `cells`, then where it came from.
    pub fn push(&mut self, common: &Common<'_>, cells: &[Cell<'_>]) -> Result<(), NoRow> {
        let at = long(common.at_us)?;
        let mut stream = Uuid::encode_buffer();
        let stream = common.stream.0.as_hyphenated().encode_lower(&mut stream);
        let day = i32::try_from(at.div_euclid(DAY_US))
            .map_err(|_| NoRow::Unknown("its time is beyond all dates".into()))?;
        let head = [Cell::Int(day), Cell::Text(stream), Cell::Time(at)];
        let tail =
            [Cell::Int(common.record.partition.into()), Cell::Long(long(common.record.offset)?)];
        if head.len() + cells.len() + tail.len() != self.columns.len() {
            return Err(self.misfit("the number of columns"));
        }
        let all = head.iter().chain(cells).chain(&tail);
        let mut wrong = None;
        for (index, (column, cell)) in self.columns.iter_mut().zip(all).enumerate() {
            if !column.append(*cell) {
                wrong = Some(index);
            }
        }
        match wrong.and_then(|index| self.table.schema().columns.get(index)) {
            None => Ok(()),
            Some(column) => Err(self.misfit(column.name)),
        }
    }

    pub fn finish(self) -> Result<RecordBatch, Error> {
        let table = self.table;
        let columns = self.columns.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new(table.schema().arrow(), columns)
            .map_err(|error| Error::Rows { table, detail: error.to_string() })
    }

    fn misfit(&self, what: &str) -> NoRow {
        NoRow::Misfit(Error::Rows { table: self.table, detail: format!("{what} differs") })
    }
}

impl Builder {
    /// False if the cell is of another type than the column; the column grows
    /// all the same, so that all keep one length.
    fn append(&mut self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Text(column), Cell::Text(text)) => column.append_value(text),
            (Self::Flag(column), Cell::Flag(flag)) => column.append_value(flag),
            (Self::Int(column), Cell::Int(number)) => column.append_value(number),
            (Self::Long(column), Cell::Long(number)) => column.append_value(number),
            (Self::Number(column), Cell::Number(number)) => column.append_value(number),
            (Self::Date(column), Cell::Int(day)) => column.append_value(day),
            (Self::Time(column), Cell::Time(at)) => column.append_value(at),
            (column, cell) => {
                column.append_null();
                return matches!(cell, Cell::Null);
            }
        }
        true
    }

    fn append_null(&mut self) {
        match self {
            Self::Text(column) => column.append_null(),
            Self::Flag(column) => column.append_null(),
            Self::Int(column) => column.append_null(),
            Self::Long(column) => column.append_null(),
            Self::Number(column) => column.append_null(),
            Self::Date(column) => column.append_null(),
            Self::Time(column) => column.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        fn array(mut builder: impl ArrayBuilder) -> ArrayRef {
            builder.finish()
        }
        match self {
            Self::Text(column) => array(column),
            Self::Flag(column) => array(column),
            Self::Int(column) => array(column),
            Self::Long(column) => array(column),
            Self::Number(column) => array(column),
            Self::Date(column) => array(column),
            Self::Time(mut column) => Arc::new(column.finish()),
        }
    }
}

/// A count or a time that fits the lake's signed columns.
pub(super) fn long(number: u64) -> Result<i64, NoRow> {
    i64::try_from(number).map_err(|_| NoRow::Unknown(format!("{number} is beyond 63 bits")))
}

/// A small count that fits the lake's signed columns.
pub(super) fn int(number: u32) -> Result<i32, NoRow> {
    i32::try_from(number).map_err(|_| NoRow::Unknown(format!("{number} is beyond 31 bits")))
}
