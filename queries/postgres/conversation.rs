//! One client's conversation: what it may say once it is in, and what is answered.
//!
//! Enters: acts. Leaves: rows as they come, batch by batch. Held: what cancels the
//! query that runs. Ends: with the connection. Never here: SQL that isn't about the
//! connection, which the session plans and runs.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_pg::datatypes::encode_recordbatch;
use async_trait::async_trait;
use datafusion::common::ParamValues;
use futures_util::future::Either;
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::portal::Format;
use pgwire::api::query::send_execution_response;
use pgwire::api::results::{DataRowEncoder, QueryResponse, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::DataRow;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;
use pgwire::types::format::FormatOptions;
use tokio::sync::watch;
use tokio::time::Instant;

use super::acts::Act;
use super::cancel::{Cancel, Registered};
use super::copy::Lines;
use super::failure::{failure, refused};
use super::prepared::{self, Preparer};
use super::{Postgres, cursors, settings};
use crate::session::Question;
use crate::{Error, Rows};

/// One connection's side of it.
pub(super) struct Conversation {
    pub(super) server: Arc<Postgres>,
    pub(super) preparer: Arc<Preparer>,
    cancel: Cancel,
    // There are too many, so that this one may only cancel another's query.
    is_beyond: bool,
    // Once the password was right.
    admitted: OnceLock<Registered>,
}

/// When a query ends early.
struct Until {
    cancelled: watch::Receiver<()>,
    deadline: Option<Instant>,
}

impl Conversation {
    pub(super) fn new(server: Arc<Postgres>, is_beyond: bool) -> Self {
        let preparer = Arc::new(Preparer::new(&server));
        let cancel = Cancel::new(watch::Sender::new(()));
        Self { server, preparer, cancel, is_beyond, admitted: OnceLock::new() }
    }

    /// Whether there are too many connections for this one to be admitted.
    pub(super) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    pub(super) fn admits(&self, password: &str) -> bool {
        (self.server.admits)(password)
    }

    /// The password was right.
    pub(super) fn admit<C: ClientInfo>(&self, client: &mut C) {
        let (pid, secret) = self.server.names.generate(&*client);
        // Once: afterwards nobody is asked for a password.
        let _ = self.admitted.set(self.server.cancels.register(pid, &secret, &self.cancel));
        client.set_pid_and_secret_key(pid, secret);
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.get().is_some()
    }

    /// Does what a statement says, up to its answer's first row.
    pub(super) async fn act<C>(
        &self,
        client: &mut C,
        act: &Act,
        values: Option<ParamValues>,
        format: &Format,
    ) -> PgWireResult<Answer>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if status == TransactionStatus::Error && !matches!(act, Act::End(_) | Act::Return) {
            let message = "something in this transaction failed; it takes nothing but ROLLBACK";
            return Err(refused("25P02", message));
        }
        let done = |tag| Ok(Answer::Done(Tag::new(tag), status));
        match act {
            Act::Ask(question) => {
                let (_, rows) = self.ask(client, question, values, format).await?;
                Ok(Answer::Rows(rows))
            }
            Act::Copy(question, lines) => {
                let (_, rows) = self.ask(client, question, values, &Format::UnifiedText).await?;
                Ok(Answer::Lines(rows, lines.clone()))
            }
            Act::Declare(name, question) => {
                cursors::check(client, name)?;
                let (columns, rows) =
                    self.ask(client, question, values, &Format::UnifiedText).await?;
                cursors::open(client, name, columns, rows).await?;
                done("DECLARE CURSOR")
            }
            Act::Fetch(name, count) => {
                cursors::check_format(format)?;
                Ok(Answer::Rows(cursors::fetch(cursors::find(client, name)?, *count)?))
            }
            Act::Close(name) => {
                cursors::close(client, name.as_deref())?;
                done("CLOSE CURSOR")
            }
            Act::Set(name, value) => {
                if let Some((name, value)) = settings::set(client, name, value.as_deref())? {
                    let status = ParameterStatus::new(name.to_owned(), value);
                    client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
                }
                done("SET")
            }
            Act::Forget(tag) => {
                settings::reset(client);
                done(tag)
            }
            Act::Show(name) => one_text(name, &settings::show(client, name)).map(Answer::Rows),
            Act::Begin => Ok(Answer::Done(Tag::new("BEGIN"), TransactionStatus::Transaction)),
            Act::Return if status == TransactionStatus::Idle => {
                Err(refused("25P01", "savepoints live in transactions only"))
            }
            Act::Return => Ok(Answer::Done(Tag::new("ROLLBACK"), TransactionStatus::Transaction)),
            Act::End(tag) => {
                // A transaction in which something failed isn't committed.
                let tag = if status == TransactionStatus::Error { "ROLLBACK" } else { tag };
                client.portal_store().clear_portals();
                Ok(Answer::Done(Tag::new(tag), TransactionStatus::Idle))
            }
            Act::Mark(tag) => done(tag),
            Act::Deallocate(name) => {
                // Without a name: what is left goes with the connection.
                if let Some(name) = name {
                    client.portal_store().rm_statement(name);
                }
                done("DEALLOCATE")
            }
        }
    }

    /// The columns of an answer, and its rows as they are to be sent.
    async fn ask<C: ClientInfo>(
        &self,
        client: &C,
        question: &str,
        values: Option<ParamValues>,
        format: &Format,
    ) -> PgWireResult<(SchemaRef, QueryResponse)> {
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        let deadline = settings::timeout(client).map(|limit| Instant::now() + limit);
        let mut until = Until { cancelled: self.cancel.subscribe(), deadline };
        let question = Question {
            text: question.to_owned(),
            values,
            base_url: self.server.base_url.clone(),
            dialect: Some(Arc::clone(&self.server.ways.dialect)),
        };
        let rows = tokio::select! {
            rows = self.server.session.ask(question) => rows.map_err(|error| failure(&error))?,
            early = until.ended() => return Err(early),
        };
        let columns = rows.schema();
        let fields = Arc::new(prepared::fields(&columns, format, Some(options))?);
        let encoded = Arc::clone(&fields);
        let rows = batches(rows, until).flat_map(move |batch| match batch {
            Ok(batch) => {
                Either::Left(stream::iter(encode_recordbatch(Arc::clone(&encoded), batch)))
            }
            Err(error) => Either::Right(stream::iter([Err(error)])),
        });
        Ok((columns, QueryResponse::new(fields, rows)))
    }
}

/// What a statement leads to.
pub(super) enum Answer {
    /// Rows.
    Rows(QueryResponse),
    /// Rows as lines of text.
    Lines(QueryResponse, Lines),
    /// Nothing but that it is done, and what became of the transaction.
    Done(Tag, TransactionStatus),
}

/// Tells that something is done.
pub(super) async fn send_done<C>(
    client: &mut C,
    tag: Tag,
    status: TransactionStatus,
) -> PgWireResult<()>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    client.set_transaction_status(status);
    send_execution_response(client, tag).await
}

/// Sends rows as lines; an error ends them.
pub(super) async fn send_lines<C>(
    client: &mut C,
    mut rows: QueryResponse,
    lines: &Lines,
) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let columns = rows.row_schema();
    // The wire protocol has no room for more columns than this.
    let width = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    let formats = vec![0; columns.len()];
    let begin = CopyOutResponse::new(0, width, formats);
    client.feed(PgWireBackendMessage::CopyOutResponse(begin)).await?;
    if let Some(header) = lines.header(&columns) {
        client.feed(PgWireBackendMessage::CopyData(header)).await?;
    }
    let mut count = 0;
    while let Some(row) = rows.data_rows().next().await {
        client.feed(PgWireBackendMessage::CopyData(lines.row(&row?))).await?;
        count += 1;
    }
    client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    send_execution_response(client, Tag::new("COPY").with_rows(count)).await
}

impl Until {
    /// Why it ends, when it does.
    async fn ended(&mut self) -> PgWireError {
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The other end lives as long as the connection.
            _ = self.cancelled.changed() => PgWireError::QueryCanceled,
            () = late => refused("57014", "canceling statement due to statement timeout"),
        }
    }
}

/// The answer's batches; an error is the last.
fn batches(rows: Rows, until: Until) -> impl Stream<Item = PgWireResult<RecordBatch>> + Send {
    stream::unfold(Some((rows, until)), |state| async move {
        let (mut rows, mut until) = state?;
        let next = tokio::select! {
            next = rows.next() => next?.map_err(|error: Error| failure(&error)),
            early = until.ended() => Err(early),
        };
        let rest = next.is_ok().then_some((rows, until));
        Some((next, rest))
    })
}

fn one_text(name: &str, value: &str) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(vec![prepared::shown(name)]);
    let mut row = DataRowEncoder::new(Arc::clone(&fields));
    row.encode_field(&value)?;
    let row: PgWireResult<DataRow> = Ok(row.take_row());
    Ok(QueryResponse::new(fields, stream::iter([row])))
}

#[async_trait]
impl CancelHandler for Conversation {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.server.cancels.cancel(request.pid, &request.secret_key);
    }
}
