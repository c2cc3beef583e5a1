//! What a query can name: the lake's tables, and descriptions of them.
//!
//! `millstream.public.*` are the tables of `records::schema`, opened when a query
//! names them and then fixed, so that two mentions in one query see the same
//! rows. `millstream.meta.*` describes them. There is nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

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
use crate::lake::Lake;

/// The catalog's name.
pub(crate) const CATALOG: &str = "millstream";
/// The tables' schema: PostgreSQL's default, so that its clients look there.
pub(crate) const SCHEMA: &str = "public";
/// The descriptions' schema.
const META: &str = "meta";

/// The lake's tables for one query.
pub(crate) fn tables(lake: &Arc<Lake>) -> Arc<dyn SchemaProvider> {
    Arc::new(Moment { lake: Arc::clone(lake), opened: Mutex::default() })
}

/// The catalog for one query.
pub(crate) fn catalogs(
    tables: Arc<dyn SchemaProvider>,
    meta: &Arc<dyn SchemaProvider>,
) -> Result<Arc<dyn CatalogProviderList>> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, tables)?;
    catalog.register_schema(META, Arc::clone(meta))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.into(), Arc::new(catalog));
    Ok(Arc::new(list))
}

/// The tables as they are when a query first names them.
struct Moment {
    lake: Arc<Lake>,
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
        let mut opened = self.opened.lock().await;
        if let Some(table) = opened.get(name) {
            return Ok(Some(Arc::clone(table)));
        }
        let table = self.lake.open(name).await.map_err(Error::boxed)?;
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
