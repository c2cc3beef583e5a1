//! The calls.
//!
//! Enters: commands of whoever the gate let in. Leaves: columns, then batches as they
//! come. Held: nothing between calls: a statement and its values travel in the handle.
//! Ends: a query with its call. Never here: who may call; anything that writes.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::logical_expr::LogicalPlan;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::gate::token;
use super::listing;
use super::statement::Statement;
use super::status::status;
use crate::catalog::Table;
use crate::session::Question;
use crate::{Error, Session};

type Batches = <Service as FlightService>::DoGetStream;
type Answered<T> = Result<Response<T>, Status>;

/// Answers calls; cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    session: Session,
    base_url: String,
}

impl Service {
    pub(super) fn new(session: Session, base_url: String) -> Self {
        Self { session, base_url }
    }

    async fn plan(&self, statement: &Statement) -> Result<LogicalPlan, Status> {
        let values = statement.parameters()?;
        let plan = self.session.plan(&statement.text, values.as_ref(), None).await;
        plan.map_err(|error| status(&error))
    }

    async fn columns(&self, statement: &Statement) -> Result<SchemaRef, Status> {
        Ok(columns(&Session::columns(&self.plan(statement).await?)))
    }

    async fn rows(&self, statement: Statement) -> Answered<Batches> {
        let values = statement.parameters()?;
        let base_url = self.base_url.clone();
        let question = Question { text: statement.text, values, base_url, dialect: None };
        let rows = self.session.ask(question).await.map_err(|error| status(&error))?;
        let schema = columns(&rows.schema());
        let sent = Arc::clone(&schema);
        let rows = rows.map(move |batch| {
            let batch = batch.map_err(|error| FlightError::from(status(&error)))?;
            Ok(batch.with_schema(Arc::clone(&sent))?)
        });
        Ok(batches(schema, rows))
    }

    async fn tables(&self) -> Result<Vec<Table>, Status> {
        let (_, catalog) = self.session.base();
        let tables = catalog.tables().await;
        tables.map_err(|error| status(&Error::from(error)))
    }
}

/// An answer's columns as they are announced and sent: clients compare the two,
/// and whether one can be null may be known better when it is computed.
fn columns(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Batches as they are sent.
fn batches(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Response<Batches> {
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    Response::new(encoded.map_err(Status::from).boxed())
}

fn one(batch: Result<RecordBatch, FlightError>) -> Answered<Batches> {
    let batch = batch?;
    Ok(batches(batch.schema(), stream::iter([Ok(batch)])))
}

/// Where the answer to a command is fetched: here, by the command itself.
fn info(
    command: &impl ProstMessageExt,
    columns: &Schema,
    request: Request<FlightDescriptor>,
) -> Answered<FlightInfo> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(columns)
        .map_err(FlightError::from)?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

fn message(columns: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message = IpcMessage::try_from(SchemaAsIpc::new(columns, &options));
    let IpcMessage(message) = message.map_err(FlightError::from)?;
    Ok(message)
}

fn refused<T>(what: &str) -> Result<T, Status> {
    Err(status(&Error::Refused(what.to_owned())))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    /// Whoever comes this far has the token, and gets it to bring along.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answered<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>> {
        let token = token(request.metadata())?;
        let bearer = MetadataValue::try_from(format!("Bearer {token}"));
        let bearer = bearer.map_err(|_| Status::unauthenticated("the token is no header"))?;
        let response = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response = Response::new(stream::iter([Ok(response)]).boxed() as Pin<Box<_>>);
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let statement = Statement::plain(query.query);
        let columns = self.columns(&statement).await?;
        info(&TicketStatementQuery { statement_handle: statement.encode()? }, &columns, request)
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        self.rows(Statement::decode(&ticket.statement_handle)?).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let statement = Statement::plain(query.query);
        let plan = self.plan(&statement).await?;
        let parameters = Session::parameters(&plan).map_err(|error| status(&error))?;
        let parameters = parameters.into_iter().zip(1..).map(|(field, number)| {
            let data_type = field.map_or(DataType::Null, |field| field.data_type().clone());
            Field::new(format!("${number}"), data_type, true)
        });
        let parameters = Schema::new(parameters.collect::<Vec<_>>());
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: statement.encode()?,
            dataset_schema: message(&columns(&Session::columns(&plan)))?,
            parameter_schema: message(&parameters)?,
        })
    }

    /// Nothing was kept of it.
    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// The values go into the handle.
    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let Statement { text, .. } = Statement::decode(&query.prepared_statement_handle)?;
        let data = request.into_inner().map_err(FlightError::from);
        let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
        let mut values = None;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 && values.replace(batch).is_some() {
                return Err(Status::invalid_argument("one row of values is taken at a time"));
            }
        }
        let statement = Statement { text, values };
        statement.parameters()?;
        let handle = statement.encode()?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let statement = Statement::decode(&query.prepared_statement_handle)?;
        let columns = self.columns(&statement).await?;
        info(&query, &columns, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        self.rows(Statement::decode(&query.prepared_statement_handle)?).await
    }

    async fn get_flight_info_catalogs(
        &self,
        command: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        info(&command, &command.into_builder().schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        command: CommandGetCatalogs,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        one(listing::catalogs(command))
    }

    async fn get_flight_info_schemas(
        &self,
        command: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        info(&command, &command.clone().into_builder().schema(), request)
    }

    async fn do_get_schemas(
        &self,
        command: CommandGetDbSchemas,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        one(listing::schemas(command, &self.tables().await?))
    }

    async fn get_flight_info_tables(
        &self,
        command: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        info(&command, &command.clone().into_builder().schema(), request)
    }

    async fn do_get_tables(
        &self,
        command: CommandGetTables,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        one(listing::tables(command, &self.tables().await?))
    }

    async fn get_flight_info_table_types(
        &self,
        command: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        info(&command, &command.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        command: CommandGetTableTypes,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        one(listing::table_types(command))
    }

    async fn get_flight_info_sql_info(
        &self,
        command: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Answered<FlightInfo> {
        let about = listing::about()?;
        info(&command, &command.clone().into_builder(&about).schema(), request)
    }

    async fn do_get_sql_info(
        &self,
        command: CommandGetSqlInfo,
        _: Request<Ticket>,
    ) -> Answered<Batches> {
        one(command.into_builder(&listing::about()?).build())
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        refused("a statement that updates")
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        refused("ingestion")
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        refused("a statement that updates")
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
