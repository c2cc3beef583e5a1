//! What there is to ask of, for clients that list it.

use arrow::record_batch::RecordBatch;
use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, SqlInfo,
};

use crate::catalog::{CATALOG, Table};

/// All of them are tables to whoever asks.
const TABLE: &str = "TABLE";

/// There is one catalog.
pub(super) fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut catalogs = command.into_builder();
    catalogs.append(CATALOG);
    catalogs.build()
}

/// The schemas that a command asks for.
pub(super) fn schemas(command: CommandGetDbSchemas, tables: &[Table]) -> Result<RecordBatch> {
    let mut names: Vec<_> = tables.iter().map(|table| table.schema).collect();
    names.dedup();
    let mut schemas = command.into_builder();
    for name in names {
        schemas.append(CATALOG, name);
    }
    schemas.build()
}

/// The tables that a command asks for.
pub(super) fn tables(command: CommandGetTables, tables: &[Table]) -> Result<RecordBatch> {
    let mut listed = command.into_builder();
    for Table { schema, name, columns } in tables {
        listed.append(CATALOG, schema, name, TABLE, columns)?;
    }
    listed.build()
}

/// The only kind of table.
pub(super) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut types = command.into_builder();
    types.append(TABLE);
    types.build()
}

/// What this server is and can do.
pub(super) fn about() -> Result<SqlInfoData> {
    let mut about = SqlInfoDataBuilder::new();
    about.append(SqlInfo::FlightSqlServerName, "Millstream");
    about.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    about.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    about.append(SqlInfo::FlightSqlServerReadOnly, true);
    about.append(SqlInfo::FlightSqlServerSql, true);
    about.append(SqlInfo::FlightSqlServerSubstrait, false);
    about.append(SqlInfo::FlightSqlServerCancel, false);
    about.append(SqlInfo::SqlDdlCatalog, false);
    about.append(SqlInfo::SqlDdlSchema, false);
    about.append(SqlInfo::SqlDdlTable, false);
    about.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    about.build()
}
