//! Prepared statements: their text, columns and parameters. The text is planned
//! anew at each execution, so that its answer is never older than the question.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use arrow_pg::datatypes::{
    PG_OID_ALIAS_KEY, arrow_schema_to_pg_fields, into_pg_type, pg_type_for_alias_kind,
};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::ParamValues;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::{ClientInfo, Type};
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;
use uuid::Uuid;

use super::Postgres;
use super::acts::Act;
use super::failure::{failure, refused};
use super::spelling::lists;
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
    fn of(field: Option<FieldRef>, is_list: bool) -> Self {
        let kind = field.as_ref().map(|field| field.data_type().clone());
        if is_list && !matches!(kind, Some(DataType::List(_))) {
            // DataFusion takes it for what it is compared with.
            let item = kind.unwrap_or(DataType::Utf8);
            return Self { arrow: Some(DataType::new_list(item, true)), wire: None };
        }
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
    if let Format::Individual(codes) = &portal.parameter_format
        && codes.len() != parameters.len()
    {
        return Err(refused("08P01", "there are not as many formats as values"));
    }
    let bound = with_known_types(portal)?;
    let arrow: Vec<_> = parameters.iter().map(|parameter| parameter.arrow.as_ref()).collect();
    let wire = parameters.iter().map(Parameter::wire).collect::<PgWireResult<Vec<_>>>()?;
    let wire: Vec<_> = wire.iter().map(Some).collect();
    deserialize_parameters_with_server_types(&bound, &arrow, &wire).map(Some)
}

/// The same values, each of a type that arrow-pg reads: it would take a text of
/// no type that looks like an array for one, and pass over a NULL of no type.
fn with_known_types(portal: &Portal<Arc<Prepared>>) -> PgWireResult<Portal<Arc<Prepared>>> {
    let StoredStatement { id, statement, parameter_types, .. } = &*portal.statement;
    let (mut types, mut formats, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (index, parameter) in statement.parameters.iter().enumerate() {
        let given = parameter_types.get(index).cloned().flatten();
        let mut kind = match given.filter(|given| *given != Type::UNKNOWN) {
            Some(given) => given,
            None => parameter.wire()?,
        };
        if kind == Type::UNKNOWN {
            kind = Type::TEXT;
        }
        let is_binary = portal.parameter_format.is_binary(index);
        let mut value = portal.parameters[index].clone();
        if matches!(kind, Type::UUID | Type::JSON | Type::JSONB) {
            value = value.map(|value| as_text(&kind, value, is_binary)).transpose()?;
            kind = Type::TEXT;
        }
        types.push(Some(kind));
        // Texts are the same in both formats.
        formats.push(i16::from(is_binary));
        values.push(value);
    }
    let stored = StoredStatement::new(id.clone(), Arc::clone(statement), types);
    let mut bound = Portal::new_cursor(portal.name.clone(), Arc::new(stored));
    bound.parameter_format = Format::Individual(formats);
    bound.parameters = values;
    Ok(bound)
}

/// A value of a type that is a text here, as the lake writes it.
fn as_text(kind: &Type, value: Bytes, is_binary: bool) -> PgWireResult<Bytes> {
    match (kind, is_binary) {
        (&Type::UUID, _) => {
            let uuid =
                if is_binary { Uuid::from_slice(&value) } else { Uuid::try_parse_ascii(&value) };
            uuid.map(|uuid| uuid.to_string().into())
                .map_err(|error| refused("22P02", error.to_string()))
        }
        // Its version, and then the text.
        (&Type::JSONB, true) => match value.first() {
            Some(1) => Ok(value.slice(1..)),
            _ => Err(refused("22P03", "only version 1 of JSONB's binary format is known")),
        },
        _ => Ok(value),
    }
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
                let plan = self.session.plan(question, None, Some(&self.ways.dialect)).await;
                let plan = plan.map_err(|error| failure(&error))?;
                let parameters = Session::parameters(&plan).map_err(|error| failure(&error))?;
                let lists = lists(question);
                let parameters = parameters.into_iter().zip(1..).map(|(field, number)| {
                    Parameter::of(field, lists.contains(&format!("${number}")))
                });
                let parameters = parameters.collect();
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
