//! What a query can name: the lake's tables, and descriptions of them.
//!
//! `millstream.public.*` are the tables of `records::schema`, opened when a query
//! names them and then fixed, so that two mentions in one query see the same
//! rows. `millstream.meta.*` describes them. There is nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use records::schema::TABLES;
use tokio::sync::Mutex;

use crate::Error;
use crate::lake::{self, Lake};
use crate::views::plain_schema;

/// The catalog's name.
pub(crate) const CATALOG: &str = "millstream";
/// The tables' schema: PostgreSQL's default, so that its clients look there.
pub(crate) const SCHEMA: &str = "public";
/// The descriptions' schema.
const META: &str = "meta";

/// A table as it is listed.
pub(crate) struct Table {
    pub schema: &'static str,
    pub name: String,
    pub columns: SchemaRef,
}

/// The schemas that a query sees.
pub(crate) struct Catalog {
    schemas: Vec<(&'static str, Arc<dyn SchemaProvider>)>,
}

impl Catalog {
    /// For one query: the tables as they are when it first names them.
    pub(crate) fn now(lake: &Arc<Lake>, meta: &Arc<dyn SchemaProvider>) -> Self {
        Self::of(Some(Arc::clone(lake)), meta)
    }

    /// Of tables without rows, which reads nothing.
    pub(crate) fn empty(meta: &Arc<dyn SchemaProvider>) -> Self {
        Self::of(None, meta)
    }

    fn of(lake: Option<Arc<Lake>>, meta: &Arc<dyn SchemaProvider>) -> Self {
        let moment = Arc::new(Moment { lake, opened: Mutex::default() });
        Self { schemas: vec![(SCHEMA, moment), (META, Arc::clone(meta))] }
    }

    /// With one more schema.
    pub(crate) fn with(mut self, name: &'static str, schema: &Arc<dyn SchemaProvider>) -> Self {
        self.schemas.push((name, Arc::clone(schema)));
        self
    }

    /// The lake's tables alone.
    pub(crate) fn lake(&self) -> Arc<dyn SchemaProvider> {
        Arc::clone(&self.schemas[0].1)
    }

    /// Every table in it.
    pub(crate) async fn tables(&self) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        for (schema, provider) in &self.schemas {
            for name in provider.table_names() {
                if let Some(table) = provider.table(&name).await? {
                    tables.push(Table { schema, name, columns: plain_schema(&table.schema()) });
                }
            }
        }
        Ok(tables)
    }

    /// As DataFusion wants it.
    pub(crate) fn list(self) -> Result<Arc<dyn CatalogProviderList>> {
        let catalog = MemoryCatalogProvider::new();
        for (name, schema) in self.schemas {
            catalog.register_schema(name, schema)?;
        }
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.into(), Arc::new(catalog));
        Ok(Arc::new(list))
    }
}

/// The tables as they are when a query first names them.
struct Moment {
    // None: they have no rows.
    lake: Option<Arc<Lake>>,
    opened: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for Moment {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(|table| table.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(lake) = &self.lake else {
            return lake::empty(name).map_err(Error::boxed);
        };
        let mut opened = self.opened.lock().await;
        if let Some(table) = opened.get(name) {
            return Ok(Some(Arc::clone(table)));
        }
        let table = lake.open(name).await.map_err(Error::boxed)?;
        if let Some(table) = &table {
            opened.insert(name.to_owned(), Arc::clone(table));
        }
        Ok(table)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        // Without opening it, which a list of names doesn't need.
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.iter().any(|table| table.name == name)
    }
}
