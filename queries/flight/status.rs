//! Errors as gRPC's clients know them.

use tonic::Status;

use crate::Error;

/// The call failed; the connection goes on.
pub(super) fn status(error: &Error) -> Status {
    let text = error.to_string();
    match error {
        Error::Refused(_) => Status::permission_denied(text),
        Error::Sql(_) | Error::TooLong { .. } | Error::TooDeep { .. } => {
            Status::invalid_argument(text)
        }
        Error::TooManyRows { .. } | Error::TooLarge { .. } => Status::resource_exhausted(text),
        Error::TimedOut(_) => Status::deadline_exceeded(text),
        Error::Busy | Error::Start(_) | Error::Closed => Status::unavailable(text),
        Error::Lake { .. } | Error::Storage { .. } => {
            tracing::error!(%error, "a query can't read the lake");
            Status::unavailable(text)
        }
        Error::Internal(_) => {
            tracing::error!(%error, "a query failed");
            Status::internal(text)
        }
    }
}
