//! Errors as PostgreSQL's clients know them: by SQLSTATE.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::Error;

/// The statement failed; the connection goes on.
pub(super) fn failure(error: &Error) -> PgWireError {
    let state = match error {
        // read_only_sql_transaction
        Error::Refused(_) => "25006",
        // syntax_error_or_access_rule_violation
        Error::Sql(_) => "42000",
        // statement_too_complex
        Error::TooDeep { .. } => "54001",
        // program_limit_exceeded
        Error::TooLong { .. } | Error::TooManyRows { .. } => "54000",
        // out_of_memory
        Error::TooLarge { .. } => "53200",
        // query_canceled, as with statement_timeout
        Error::TimedOut(_) => "57014",
        // insufficient_resources
        Error::Busy | Error::Start(_) => "53000",
        // io_error
        Error::Lake { .. } | Error::Storage { .. } => {
            tracing::error!(%error, "a query can't read the lake");
            "58030"
        }
        // admin_shutdown
        Error::Closed => "57P01",
        Error::Internal(_) => {
            tracing::error!(%error, "a query failed");
            "XX000"
        }
    };
    refused(state, error.to_string())
}

/// The statement can't be done; the connection goes on.
pub(super) fn refused(state: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), state.into(), message.into())))
}

/// The connection ends.
pub(super) fn fatal(state: &str, message: &str) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), state.into(), message.into())))
}
