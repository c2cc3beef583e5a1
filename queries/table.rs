//! One table as queries see it: the lake's files and the log's tail together.
//!
//! ```text
//! Delta snapshot ──scan──► columns of the lake ──┐
//!                                                ├─union─► columns of records::schema
//! tail (memory)  ──scan──────────────────────────┘
//! ```
//!
//! Both read the columns of `records::schema`, whatever older files have: a
//! column that the lake lacks is null.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use records::schema::TableSchema;

/// The columns of a table as queries get them: texts as views, which group and join faster.
pub(crate) fn view_schema(table: &TableSchema) -> SchemaRef {
    let schema = table.arrow();
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::clone(field).with_data_type(DataType::Utf8View),
        _ => Field::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A table at one moment.
pub(crate) struct LakeTable {
    name: &'static str,
    schema: SchemaRef,
    // None: not there yet.
    delta: Option<Arc<dyn TableProvider>>,
    tail: MemTable,
    tail_is_empty: bool,
}

impl LakeTable {
    /// The union of both, each row of which is in one of them only.
    pub(crate) fn new(
        table: &TableSchema,
        schema: SchemaRef,
        delta: Option<Arc<dyn TableProvider>>,
        tail: MemTable,
        tail_is_empty: bool,
    ) -> Self {
        Self { name: table.name, schema, delta, tail, tail_is_empty }
    }

    /// The scan of the lake's files, made to have exactly these columns.
    async fn scan_delta(
        &self,
        delta: &dyn TableProvider,
        session: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let lake = delta.schema();
        let present: Vec<usize> = wanted
            .iter()
            .filter_map(|&index| lake.index_of(self.schema.field(index).name()).ok())
            .collect();
        let pushed = self.understood(delta, filters)?;
        // A limit below a filter that stays above would lose rows.
        let limit = limit.filter(|_| filters.is_empty());
        let plan = delta.scan(session, Some(&present), &pushed, limit).await?;
        let found = plan.schema();
        let wanted = Arc::new(self.schema.project(wanted)?);
        if found == wanted {
            return Ok(plan);
        }
        let mut columns = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let expr: Arc<dyn PhysicalExpr> = match found.index_of(field.name()) {
                Ok(at) => {
                    let column = Arc::new(Column::new(field.name(), at));
                    if found.field(at).data_type() == field.data_type() {
                        column
                    } else {
                        Arc::new(CastExpr::new(column, field.data_type().clone(), None))
                    }
                }
                Err(_) => Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)),
            };
            columns.push((expr, field.name().clone()));
        }
        let projected = ProjectionExec::try_new_with_schema_metadata(columns, plan, &wanted)?;
        Ok(Arc::new(projected))
    }

    /// Those of the filters that the lake can use: about columns that it has.
    fn understood(&self, delta: &dyn TableProvider, filters: &[Expr]) -> Result<Vec<Expr>> {
        let lake = delta.schema();
        let has = |filter: &&Expr| {
            filter.column_refs().iter().all(|column| lake.index_of(column.name()).is_ok())
        };
        let known: Vec<&Expr> = filters.iter().filter(has).collect();
        let support = delta.supports_filters_pushdown(&known)?;
        let usable = known.into_iter().zip(support);
        let usable = usable.filter(|(_, s)| *s != TableProviderFilterPushDown::Unsupported);
        Ok(usable.map(|(filter, _)| filter.clone()).collect())
    }
}

impl fmt::Debug for LakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeTable").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // They skip files; rows are filtered above the union, the tail's too.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(delta) = &self.delta else {
            return self.tail.scan(session, projection, &[], limit).await;
        };
        let all;
        let wanted = match projection {
            Some(wanted) => wanted.as_slice(),
            None => {
                all = (0..self.schema.fields().len()).collect::<Vec<_>>();
                &all
            }
        };
        let stored = self.scan_delta(delta.as_ref(), session, wanted, filters, limit).await?;
        if self.tail_is_empty {
            return Ok(stored);
        }
        let fresh = self.tail.scan(session, projection, &[], limit).await?;
        UnionExec::try_new(vec![stored, fresh])
    }
}
