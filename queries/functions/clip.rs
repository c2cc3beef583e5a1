//! `clip(stream_id, from, to)`: what a clip of that time would hold.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{
    SchemaProvider, Session, TableFunctionArgs, TableFunctionImpl, TableProvider,
};
use datafusion::common::{ScalarValue, plan_datafusion_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableType, cast, col, lit};
use datafusion::physical_plan::ExecutionPlan;
use records::schema::SEGMENTS;

use crate::table::view_schema;

const USAGE: &str = "clip takes a broadcast and two times: clip(stream_id, from, to)";

/// A day, in microseconds.
const DAY_US: i64 = 86_400_000_000;

/// The rows of `segments` that a player of the clip would fetch: those of every
/// rendition that reach into the time from `from` to before `to`, and are stored.
#[derive(Debug)]
pub(super) struct Clip {
    tables: Arc<dyn SchemaProvider>,
}

impl Clip {
    /// Of the segments in `tables`.
    pub(super) fn new(tables: Arc<dyn SchemaProvider>) -> Self {
        Self { tables }
    }
}

impl TableFunctionImpl for Clip {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let [stream, from, to] = args.exprs() else { return plan_err!("{USAGE}") };
        let Expr::Literal(stream, _) = stream else { return plan_err!("{USAGE}") };
        let Some(Some(stream)) = stream.try_as_str() else { return plan_err!("{USAGE}") };
        let (from_us, to_us) = (moment(from)?, moment(to)?);
        if from_us >= to_us {
            return plan_err!("clip ends before it begins");
        }
        let stream = stream.to_owned();
        let tables = Arc::clone(&self.tables);
        let schema = view_schema(&SEGMENTS);
        Ok(Arc::new(ClipTable { tables, schema, stream, from_us, to_us }))
    }
}

/// Microseconds since 1970 of a constant time, or of a text that is one.
fn moment(expr: &Expr) -> Result<i64> {
    let Expr::Literal(value, _) = expr else { return plan_err!("{USAGE}, with constant times") };
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match value.cast_to(&time)? {
        ScalarValue::TimestampMicrosecond(Some(us), _) => Ok(us),
        _ => plan_err!("{USAGE}"),
    }
}

#[derive(Debug)]
struct ClipTable {
    tables: Arc<dyn SchemaProvider>,
    schema: SchemaRef,
    stream: String,
    from_us: i64,
    to_us: i64,
}

#[async_trait]
impl TableProvider for ClipTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let segments = self.tables.table(SEGMENTS.name).await?;
        let segments = segments.ok_or_else(|| plan_datafusion_err!("there are no segments"))?;
        let time = |us| lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())));
        let day = |us: i64| lit(ScalarValue::Date32(Some(us.div_euclid(DAY_US) as i32)));
        let ends_us = cast(col("at"), DataType::Int64) + col("duration_us");
        let plan = LogicalPlanBuilder::scan(SEGMENTS.name, provider_as_source(segments), None)?
            .filter(
                // Days first: they choose the files.
                col("date")
                    .gt_eq(day(self.from_us - DAY_US))
                    .and(col("date").lt_eq(day(self.to_us)))
                    .and(col("stream_id").eq(lit(self.stream.as_str())))
                    .and(col("at").lt(time(self.to_us)))
                    .and(ends_us.gt(lit(self.from_us)))
                    .and(col("uri").is_not_null()),
            )?
            .project(columns(&self.schema, projection))?
            .limit(0, limit)?
            .build()?;
        session.create_physical_plan(&plan).await
    }
}

fn columns(schema: &Schema, projection: Option<&Vec<usize>>) -> Vec<Expr> {
    let named = |index: usize| col(schema.field(index).name().as_str());
    match projection {
        Some(wanted) => wanted.iter().copied().map(named).collect(),
        None => (0..schema.fields().len()).map(named).collect(),
    }
}
