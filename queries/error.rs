//! What can go wrong with a query, and whose fault it is.

use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// What DataFusion says when a query's temporary files reach their bound.
const SPILL_FULL: &str = "used disk space during the spilling process has exceeded";

/// Why a query gave no answer, or stopped giving one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault: SQL that could change or reach something.
    #[error("{0} is not allowed: only SELECT, EXPLAIN, SHOW and DESCRIBE are")]
    Refused(String),
    /// The caller's fault: SQL that can't be understood or computed.
    #[error("{0}")]
    Sql(String),
    /// The caller's fault: the text is too long.
    #[error("the query has {bytes} bytes; at most {bytes_max} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The caller's fault: planning takes longer than its size says.
    #[error(
        "the query nests {what} more than {depth_max} deep; use IN (…), VALUES or fewer of them"
    )]
    TooDeep {
        /// Of what there is too much.
        what: &'static str,
        /// The bound.
        depth_max: usize,
    },
    /// The caller's fault: more rows than allowed.
    #[error("the answer has more than {rows_max} rows; add LIMIT, WHERE or GROUP BY")]
    TooManyRows {
        /// The bound.
        rows_max: u64,
    },
    /// The caller's fault: more memory or temporary files than allowed.
    #[error(
        "the query needs more than its {memory_bytes_max} bytes of memory and {spill_bytes_max} of temporary files; \
         narrow it down by date, or sort and group less ({cause})"
    )]
    TooLarge {
        /// Memory that it may use.
        memory_bytes_max: usize,
        /// Temporary files that it may use.
        spill_bytes_max: u64,
        /// What asked for more.
        cause: String,
    },
    /// The caller's fault: takes too long.
    #[error("the query took longer than {} s; narrow it down by date or stream", .0.as_secs_f64())]
    TimedOut(Duration),
    /// Nobody's fault; a retry helps: too many queries at once.
    #[error("too many queries are running; try again shortly")]
    Busy,
    /// The storage's fault: the lake can't be read.
    #[error("table {table} in {root} can't be read: {cause}")]
    Lake {
        /// Which table.
        table: String,
        /// Where the lake is.
        root: String,
        /// What the storage said, with the file if it is one file's fault.
        cause: String,
    },
    /// The storage's fault: data of a table can't be read in mid-query.
    #[error("the lake in {root} can't be read: {cause}")]
    Storage {
        /// Where the lake is.
        root: String,
        /// What the storage said.
        cause: String,
    },
    /// Our fault.
    #[error("the query failed: {0}")]
    Internal(String),
    /// The machine's fault: no thread or directory could be had.
    #[error("queries can't be started: {0}")]
    Start(Arc<std::io::Error>),
    /// The session ended meanwhile.
    #[error("the server is stopping")]
    Closed,
}

impl Error {
    /// Whether another query would fare better, in contrast to another time or server.
    #[must_use]
    pub fn is_callers_fault(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Sql(_)
            | Self::TooLong { .. }
            | Self::TooDeep { .. }
            | Self::TooManyRows { .. }
            | Self::TooLarge { .. }
            | Self::TimedOut(_) => true,
            Self::Busy
            | Self::Lake { .. }
            | Self::Storage { .. }
            | Self::Internal(_)
            | Self::Start(_)
            | Self::Closed => false,
        }
    }

    /// Carries it through DataFusion.
    pub(crate) fn boxed(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let root = error.find_root();
        if let DataFusionError::External(cause) = root
            && let Some(ours) = cause.downcast_ref::<Self>()
        {
            return ours.clone();
        }
        let text = root.strip_backtrace();
        match root {
            DataFusionError::ObjectStore(_)
            | DataFusionError::ParquetError(_)
            | DataFusionError::IoError(_)
            | DataFusionError::External(_) => storage(&text),
            DataFusionError::ArrowError(cause, _) => match **cause {
                // DataFusion has no kind of error for this.
                ArrowError::IoError(ref cause, _) if cause.contains(SPILL_FULL) => {
                    Self::TooLarge { memory_bytes_max: 0, spill_bytes_max: 0, cause: cause.clone() }
                }
                ArrowError::IoError(..)
                | ArrowError::ParquetError(_)
                | ArrowError::ExternalError(_) => storage(&text),
                _ => Self::Sql(text),
            },
            // The bounds are put in by whoever knows them.
            DataFusionError::ResourcesExhausted(cause) => {
                Self::TooLarge { memory_bytes_max: 0, spill_bytes_max: 0, cause: cause.clone() }
            }
            DataFusionError::Internal(_) => Self::Internal(text),
            _ => Self::Sql(text),
        }
    }
}

/// Where the lake is is put in by whoever knows it.
fn storage(text: &str) -> Error {
    Error::Storage { root: String::new(), cause: store::one_line(text) }
}
