//! Prepared statements: their text, columns and parameters. The text is planned
//! anew at each execution, so that its answer is never older than the question.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::{
    PG_OID_ALIAS_KEY, arrow_schema_to_pg_fields, into_pg_type, pg_type_for_alias_kind,
};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::api::stmt::QueryParser;
use pgwire::api::{ClientInfo, Type};
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;

use super::Postgres;
use super::acts::Act;
use super::failure::{failure, refused};
use super::ways::Ways;
use crate::Session;

/// One prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) act: Act,
    // None: it has no rows, or they depend on more than the statement.
    pub(super) columns: Option<SchemaRef>,
    parameters: Vec<Parameter>,
}

impl Prepared {
    /// What a cursor with these columns stands for.
    pub(super) fn of_cursor(columns: SchemaRef) -> Self {
        Self { act: Act::Mark("CURSOR"), columns: Some(columns), parameters: Vec::new() }
    }
}

/// A parameter's type as far as the statement tells.
#[derive(Debug, Default)]
struct Parameter {
    arrow: Option<DataType>,
    // If it isn't what `arrow` becomes by itself.
    wire: Option<Type>,
}

impl Parameter {
    fn of(field: Option<FieldRef>) -> Self {
        let alias = field.as_ref().and_then(|field| field.metadata().get(PG_OID_ALIAS_KEY));
        let arrow = field.as_ref().map(|field| field.data_type().clone());
        // Names of the other aliases come as texts.
        let wire = alias.filter(|_| arrow == Some(DataType::Int32));
        let wire = wire.and_then(|kind| pg_type_for_alias_kind(kind));
        Self { arrow, wire }
    }

    fn wire(&self) -> PgWireResult<Type> {
        match (&self.wire, &self.arrow) {
            (Some(wire), _) => Ok(wire.clone()),
            (None, Some(arrow)) => into_pg_type(arrow),
            (None, None) => Ok(Type::UNKNOWN),
        }
    }
}

/// The values that a portal binds.
pub(super) fn values(portal: &Portal<Arc<Prepared>>) -> PgWireResult<Option<ParamValues>> {
    let parameters = &portal.statement.statement.parameters;
    if portal.parameter_len() != parameters.len() {
        let message = format!(
            "{} values were given for {} parameters",
            portal.parameter_len(),
            parameters.len()
        );
        return Err(refused("08P01", message));
    }
    if parameters.is_empty() {
        return Ok(None);
    }
    let arrow: Vec<_> = parameters.iter().map(|parameter| parameter.arrow.as_ref()).collect();
    let wire = parameters.iter().map(Parameter::wire).collect::<PgWireResult<Vec<_>>>()?;
    let wire: Vec<_> = wire.iter().map(Some).collect();
    deserialize_parameters_with_server_types(portal, &arrow, &wire).map(Some)
}

/// The columns as PostgreSQL describes them.
pub(super) fn fields(
    columns: &SchemaRef,
    format: &Format,
    options: Option<Arc<FormatOptions>>,
) -> PgWireResult<Vec<FieldInfo>> {
    if let Format::Individual(codes) = format
        && codes.len() != columns.fields().len()
    {
        return Err(refused("08P01", "there are not as many formats as columns"));
    }
    arrow_schema_to_pg_fields(columns, format, options)
}

/// The one column of SHOW.
pub(super) fn shown(name: &str) -> FieldInfo {
    FieldInfo::new(name.to_owned(), None, None, Type::TEXT, FieldFormat::Text)
}

/// Prepares statements.
pub(super) struct Preparer {
    session: Session,
    ways: Arc<Ways>,
}

impl Preparer {
    pub(super) fn new(server: &Postgres) -> Self {
        Self { session: server.session.clone(), ways: Arc::clone(&server.ways) }
    }
}

#[async_trait]
impl QueryParser for Preparer {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        _: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut acts = self.ways.read(sql).map_err(|error| failure(&error))?;
        let Some(act) = acts.pop() else { return Ok(None) };
        if !acts.is_empty() {
            return Err(refused("42601", "only one statement can be prepared at a time"));
        }
        let (columns, parameters) = match act.question() {
            Some(question) => {
                let plan = self.session.plan(question, Some(&self.ways.dialect)).await;
                let plan = plan.map_err(|error| failure(&error))?;
                let parameters = Session::parameters(&plan).map_err(|error| failure(&error))?;
                let parameters = parameters.into_iter().map(Parameter::of).collect();
                let is_asked = matches!(act, Act::Ask(_));
                (is_asked.then(|| Session::columns(&plan)), parameters)
            }
            None => (None, Vec::new()),
        };
        Ok(Some(Arc::new(Prepared { act, columns, parameters })))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        statement.parameters.iter().map(Parameter::wire).collect()
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match (&statement.columns, &statement.act) {
            (Some(columns), _) => fields(columns, format.unwrap_or(&Format::UnifiedText), None),
            (None, Act::Show(name)) => Ok(vec![shown(name)]),
            (None, _) => Ok(Vec::new()),
        }
    }
}
