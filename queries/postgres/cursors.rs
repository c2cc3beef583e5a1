//! Cursors of SQL's own: DECLARE, FETCH and CLOSE.
//!
//! A cursor is a portal whose execution has begun. It lives until its
//! transaction ends, and its query runs for no longer than any other: whoever
//! fetches later is told that it took too long.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures_util::{StreamExt, stream};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::results::{FieldInfo, QueryResponse};
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::{Entry, MemPortalStore, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::response::TransactionStatus;

use super::failure::refused;
use super::prepared::{self, Prepared};

type Cursor = Portal<Arc<Prepared>>;

/// Whether a cursor of this name can be opened.
pub(super) fn check<C>(client: &C, name: &str) -> PgWireResult<()>
where
    C: ClientInfo + ClientPortalStore,
    C::PortalStore: PortalStore,
{
    if client.transaction_status() != TransactionStatus::Transaction {
        return Err(refused("25P01", "cursors live in transactions only; BEGIN one first"));
    }
    match store(client)?.get_portal(name) {
        Some(_) => Err(refused("42P03", format!("there is a cursor {name:?} already"))),
        None => Ok(()),
    }
}

/// Opens a cursor over rows in text.
pub(super) async fn open<C>(
    client: &C,
    name: &str,
    columns: SchemaRef,
    rows: QueryResponse,
) -> PgWireResult<()>
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    let prepared = Arc::new(Prepared::of_cursor(columns));
    let statement = StoredStatement::new(name.to_owned(), prepared, Vec::new());
    let cursor = Cursor::new_cursor(name.to_owned(), Arc::new(statement));
    cursor.start(rows).await;
    store(client)?.put_portal(Arc::new(cursor));
    Ok(())
}

/// The cursor of this name.
pub(super) fn find<C>(client: &C, name: &str) -> PgWireResult<Arc<Cursor>>
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    match store(client)?.get_portal(name) {
        Some(Entry::Value(cursor)) => Ok(cursor),
        _ => Err(refused("34000", format!("there is no cursor {name:?}"))),
    }
}

/// Closes one, or all.
pub(super) fn close<C>(client: &C, name: Option<&str>) -> PgWireResult<()>
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    match name {
        Some(name) => {
            find(client, name)?;
            store(client)?.rm_portal(name);
        }
        None => store(client)?.clear_portals(),
    }
    Ok(())
}

/// Its columns.
pub(super) fn fields(cursor: &Cursor) -> PgWireResult<Vec<FieldInfo>> {
    match &cursor.statement.statement.columns {
        Some(columns) => prepared::fields(columns, &cursor.result_column_format, None),
        None => Err(refused("34000", format!("{:?} has no rows", cursor.name))),
    }
}

/// Rows of a cursor are written when it is declared, before it is known how they
/// will be fetched.
pub(super) fn check_format(format: &Format) -> PgWireResult<()> {
    let is_binary = match format {
        Format::UnifiedText => false,
        Format::UnifiedBinary => true,
        Format::Individual(codes) => codes.iter().any(|code| *code != 0),
    };
    if is_binary {
        return Err(refused("0A000", "cursors are fetched from in text, not in the binary format"));
    }
    Ok(())
}

/// The next `count` rows, or all that are left.
pub(super) fn fetch(cursor: Arc<Cursor>, count: Option<usize>) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(fields(&cursor)?);
    let rows = stream::unfold(count, move |left| {
        let state = cursor.state();
        async move {
            if left == Some(0) {
                return None;
            }
            // Taken if it fetches from itself.
            let Ok(mut state) = state.try_lock() else {
                return Some((Err(refused("55006", "the cursor is in use")), Some(0)));
            };
            let PortalExecutionState::Suspended(rows) = &mut *state else {
                return None;
            };
            let row = rows.data_rows().next().await;
            if row.is_none() {
                *state = PortalExecutionState::Finished;
            }
            row.map(|row| (row, left.map(|left| left - 1)))
        }
    });
    let mut rows = QueryResponse::new(fields, rows);
    rows.set_command_tag("FETCH");
    Ok(rows)
}

fn store<C>(client: &C) -> PgWireResult<&MemPortalStore<Arc<Prepared>>>
where
    C: ClientPortalStore,
    C::PortalStore: PortalStore,
{
    let store = client.portal_store().as_any().downcast_ref();
    // pgwire's clients have no other.
    store.ok_or_else(|| PgWireError::ApiError("portals of another kind".into()))
}
