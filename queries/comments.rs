//! What tables and columns mean, for SQL: `meta.tables`, `meta.columns`,
//! `meta.queries`, and the comments that DESCRIBE shows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use records::schema::{COMMENT, TABLES};

use crate::named;

/// The schema `meta`.
pub(crate) fn schema() -> Result<Arc<dyn SchemaProvider>> {
    let meta = MemorySchemaProvider::new();
    for (name, batch) in [("tables", tables()?), ("columns", columns()?), ("queries", queries()?)] {
        meta.register_table(name.into(), Arc::new(table(batch)?))?;
    }
    Ok(Arc::new(meta))
}

/// DESCRIBE with comments; every other plan as it is.
pub(crate) fn with_comments(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::DescribeTable(described) = &plan else {
        return Ok(plan);
    };
    let batch = describe(described.schema.as_ref())?;
    LogicalPlanBuilder::scan("describe", provider_as_source(Arc::new(table(batch)?)), None)?.build()
}

fn describe(schema: &Schema) -> Result<RecordBatch> {
    let fields = schema.fields();
    let comments = fields.iter().map(|field| field.metadata().get(COMMENT).map(String::as_str));
    let columns: [(&str, ArrayRef); 4] = [
        ("column_name", texts(fields.iter().map(|field| field.name().as_str()))),
        ("data_type", texts(fields.iter().map(|field| shown(field.data_type())))),
        (
            "is_nullable",
            Arc::new(BooleanArray::from_iter(fields.iter().map(|f| Some(f.is_nullable())))),
        ),
        ("comment", Arc::new(comments.collect::<StringArray>())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// A type as answers have it: views of texts are texts by then.
fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8View => DataType::Utf8.to_string(),
        other => other.to_string(),
    }
}

fn tables() -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 2] = [
        ("table_name", texts(TABLES.iter().map(|table| table.name))),
        ("comment", texts(TABLES.iter().map(|table| table.comment))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn columns() -> Result<RecordBatch> {
    let all = || TABLES.iter().flat_map(|table| table.columns.iter().map(move |c| (table.name, c)));
    let positions =
        TABLES.iter().flat_map(|table| 1..=i32::try_from(table.columns.len()).unwrap_or(i32::MAX));
    let columns: [(&str, ArrayRef); 6] = [
        ("table_name", texts(all().map(|(table, _)| table))),
        ("column_name", texts(all().map(|(_, column)| column.name))),
        ("position", Arc::new(positions.collect::<Int32Array>())),
        ("data_type", texts(all().map(|(_, column)| column.kind.arrow().to_string()))),
        ("is_nullable", Arc::new(BooleanArray::from_iter(all().map(|(_, c)| Some(c.nullable))))),
        ("comment", texts(all().map(|(_, column)| column.comment))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn queries() -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 3] = [
        ("query_name", texts(named::ALL.iter().map(|query| query.name))),
        ("comment", texts(named::ALL.iter().map(|query| query.comment()))),
        ("sql", texts(named::ALL.iter().map(|query| query.sql()))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    // Counted first: an iterator over several tables does not know its length.
    Arc::new(StringArray::from_iter_values(values.collect::<Vec<_>>()))
}

fn table(batch: RecordBatch) -> Result<MemTable> {
    MemTable::try_new(batch.schema(), vec![vec![batch]])
}
