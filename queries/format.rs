//! Answers as people and programs want them.
//!
//! Enters: batches. Leaves: bytes, as they come except for a table, whose
//! columns are as wide as their widest cell, and Parquet's row groups.

use std::io::Write;
use std::str::FromStr;

use arrow::buffer::Buffer;
use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, Writer as JsonWriter};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches_with_schema;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Error, Rows};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ruled columns, for eyes.
    Table,
    /// RFC 4180 with a header; null is an empty field.
    Csv,
    /// An array of objects; nulls are there.
    Json,
    /// A Parquet file, zstd.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

/// The name of no format.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no format; there are table, csv, json, parquet and arrow")]
pub struct ParseFormatError(String);

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(name: &str) -> Result<Self, ParseFormatError> {
        match name {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            "arrow" => Ok(Self::Arrow),
            other => Err(ParseFormatError(other.into())),
        }
    }
}

impl Format {
    /// Whether a terminal can show it.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Table | Self::Csv | Self::Json)
    }

    /// Begins an answer with these columns.
    ///
    /// # Errors
    /// `out`'s, or a type that the format doesn't have.
    pub fn begin<W: Write + Send>(
        self,
        schema: &SchemaRef,
        out: W,
    ) -> Result<Writer<W>, ArrowError> {
        Ok(Writer(match self {
            Self::Table => Kind::Table(out, SchemaRef::clone(schema), Vec::new()),
            Self::Csv => Kind::Csv({
                let mut csv = csv::WriterBuilder::new().with_header(true).build(out);
                // The header also without rows.
                csv.write(&RecordBatch::new_empty(SchemaRef::clone(schema)))?;
                Box::new(csv)
            }),
            Self::Json => Kind::Json(WriterBuilder::new().with_explicit_nulls(true).build(out)),
            Self::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                Kind::Parquet(Box::new(ArrowWriter::try_new(
                    out,
                    SchemaRef::clone(schema),
                    Some(properties),
                )?))
            }
            Self::Arrow => Kind::Arrow(Box::new(StreamWriter::try_new(out, schema)?)),
        }))
    }
}

/// An answer being written.
pub struct Writer<W: Write + Send>(Kind<W>);

enum Kind<W: Write + Send> {
    Table(W, SchemaRef, Vec<RecordBatch>),
    Csv(Box<csv::Writer<W>>),
    Json(JsonWriter<W, JsonArray>),
    Parquet(Box<ArrowWriter<W>>),
    Arrow(Box<StreamWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    /// Adds rows.
    ///
    /// # Errors
    /// The output's.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match &mut self.0 {
            Kind::Table(_, _, batches) => batches.push(batch.clone()),
            Kind::Csv(csv) => csv.write(batch)?,
            Kind::Json(json) => json.write(batch)?,
            Kind::Parquet(parquet) => parquet.write(batch)?,
            Kind::Arrow(arrow) => arrow.write(batch)?,
        }
        Ok(())
    }

    /// Writes what is missing and gives the output back.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(self) -> Result<W, ArrowError> {
        match self.0 {
            Kind::Table(mut out, schema, batches) => {
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                writeln!(out, "{}", pretty_format_batches_with_schema(schema, &batches)?)?;
                writeln!(out, "{rows} {}", if rows == 1 { "row" } else { "rows" })?;
                Ok(out)
            }
            Kind::Csv(csv) => Ok(csv.into_inner()),
            Kind::Json(mut json) => {
                json.finish()?;
                let mut out = json.into_inner();
                writeln!(out)?;
                Ok(out)
            }
            Kind::Parquet(parquet) => Ok(parquet.into_inner()?),
            Kind::Arrow(arrow) => arrow.into_inner(),
        }
    }
}

/// The answer as an Arrow IPC stream, a piece for each batch. A query that fails
/// in mid-answer ends it with its error, before the end-of-stream mark.
///
/// # Errors
/// A type that Arrow IPC doesn't have.
pub fn arrow_stream(
    rows: Rows,
) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + 'static, Error> {
    let writer = StreamWriter::try_new(Vec::new(), &rows.schema()).map_err(internal)?;
    Ok(stream::try_unfold(Some((rows, writer)), |state| async {
        let Some((mut rows, mut writer)) = state else {
            return Ok(None);
        };
        let next = rows.next().await.transpose()?;
        let is_last = next.is_none();
        match next {
            Some(batch) => writer.write(&batch).map_err(internal)?,
            None => writer.finish().map_err(internal)?,
        }
        let piece = Bytes::from(std::mem::take(writer.get_mut()));
        Ok(Some((piece, (!is_last).then_some((rows, writer)))))
    }))
}

fn internal(error: ArrowError) -> Error {
    Error::Internal(error.to_string())
}

/// Reads an answer that [`arrow_stream`] wrote, from pieces of any size.
#[derive(Default)]
pub struct ArrowDecoder(StreamDecoder);

impl ArrowDecoder {
    /// The batches that are whole with this piece.
    ///
    /// # Errors
    /// Bytes that aren't Arrow IPC.
    pub fn push(&mut self, piece: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut buffer = Buffer::from(piece);
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            batches.extend(self.0.decode(&mut buffer)?);
        }
        Ok(batches)
    }

    /// The columns, once they are known.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        self.0.schema()
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// It isn't whole.
    pub fn finish(&mut self) -> Result<(), ArrowError> {
        self.0.finish()
    }
}
