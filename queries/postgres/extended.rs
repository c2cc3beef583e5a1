//! Prepared statements and portals: the drivers' way.
//!
//! pgwire's own execution fetches all rows of a portal before it sends the
//! first, and makes room for as many as a client says it will take; so it is
//! done here, row by row.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt};
use pgwire::api::portal::{Portal, PortalExecutionState};
use pgwire::api::query::{
    ExtendedQueryHandler, send_describe_response, send_execution_response,
    send_partial_query_response, send_ready_for_query,
};
use pgwire::api::results::{DescribePortalResponse, DescribeStatementResponse, Response, Tag};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Describe, Execute, Sync as PgSync, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{EmptyQueryResponse, TransactionStatus};

use super::acts::Act;
use super::conversation::{Answer, Conversation, send_done, send_lines};
use super::cursors;
use super::failure::refused;
use super::prepared::{self, Prepared, Preparer};

#[async_trait]
impl ExtendedQueryHandler for Conversation {
    type Statement = Arc<Prepared>;
    type QueryParser = Preparer;

    fn query_parser(&self) -> Arc<Preparer> {
        Arc::clone(&self.preparer)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                let empty = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                return Ok(client.feed(empty).await?);
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            let values = prepared::values(&portal)?;
            let act = &portal.statement.statement.act;
            *state = match self.act(client, act, values, &portal.result_column_format).await? {
                Answer::Rows(rows) => PortalExecutionState::Suspended(rows),
                Answer::Lines(rows, lines) => {
                    send_lines(client, rows, &lines).await?;
                    client.set_state(PgWireConnectionState::ReadyForQuery);
                    return Ok(());
                }
                Answer::Done(tag, status) => {
                    send_done(client, tag, status).await?;
                    client.set_state(PgWireConnectionState::ReadyForQuery);
                    return Ok(());
                }
            };
        }
        if let PortalExecutionState::Suspended(rows) = &mut *state {
            // 0 stands for all.
            let rows_max = usize::try_from(message.max_rows).unwrap_or(0);
            if !send_partial_query_response(client, rows, rows_max).await? {
                *state = PortalExecutionState::Finished;
            }
        } else {
            send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    /// FETCH has the columns of its cursor, which only the client's portals know.
    async fn on_describe<C>(&self, client: &mut C, message: Describe) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let store = client.portal_store();
        let described = match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => match store.get_statement(name) {
                Some(Entry::Value(statement)) => Some(Arc::clone(&statement.statement)),
                _ => None,
            },
            TARGET_TYPE_BYTE_PORTAL => match store.get_portal(name) {
                Some(Entry::Value(portal)) => Some(Arc::clone(&portal.statement.statement)),
                _ => None,
            },
            _ => None,
        };
        let Some(Act::Fetch(cursor, _)) = described.as_deref().map(|prepared| &prepared.act) else {
            return self._on_describe(client, message).await;
        };
        let fields = cursors::fields(&*cursors::find(client, cursor)?)?;
        if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let response = DescribeStatementResponse::new(Vec::new(), fields);
            send_describe_response(client, &response).await
        } else {
            send_describe_response(client, &DescribePortalResponse::new(fields)).await
        }
    }

    /// Outside of a transaction no portal lives longer than this.
    async fn on_sync<C>(&self, client: &mut C, _: PgSync) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if status == TransactionStatus::Transaction {
            client.portal_store().rm_portal(DEFAULT_NAME);
        } else {
            client.portal_store().clear_portals();
        }
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(
        &self,
        _: &mut C,
        _: &Portal<Arc<Prepared>>,
        _: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Prepared>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(refused("XX000", "portals are executed by on_execute"))
    }
}
