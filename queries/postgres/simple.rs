//! Queries as plain text, several statements at a time: psql's way.

use std::fmt::Debug;

use async_trait::async_trait;
use futures_util::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_query_response, send_ready_for_query};
use pgwire::api::results::Response;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::simplequery::Query;

use super::conversation::{Answer, Conversation, send_done, send_lines};
use super::failure::{failure, refused};

#[async_trait]
impl SimpleQueryHandler for Conversation {
    /// One statement after the other: the next isn't begun before the rows of the one before are sent.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        client.set_state(PgWireConnectionState::QueryInProgress);
        let acts = self.server.ways.read(&query.query).map_err(|error| failure(&error))?;
        if acts.is_empty() {
            client
                .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                .await?;
        }
        for act in &acts {
            match self.act(client, act, None, &Format::UnifiedText).await? {
                Answer::Rows(rows) => send_query_response(client, rows, true).await?,
                Answer::Lines(rows, lines) => send_lines(client, rows, &lines).await?,
                Answer::Done(tag, status) => send_done(client, tag, status).await?,
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(refused("XX000", "queries are answered by on_query"))
    }
}
