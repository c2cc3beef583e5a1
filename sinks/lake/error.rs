//! What can go wrong, whose fault it is and what helps.

use std::io::ErrorKind;
use std::path::PathBuf;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;

use crate::Table;

/// Why the lake isn't written or read. What is live goes on all the same, and
/// what was to be written stays in the log until an attempt succeeds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: the root can't be used. A retry does not help.
    #[error("cannot use {root} as lake: {reason}; set lake.root to a folder of this machine")]
    Root {
        /// As given.
        root: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator's: a table's folder can't be made or swept. A retry helps once it can.
    #[error(
        "cannot use the lake's folder {path}: {source}; let the server's user write there, or set lake.root to another folder"
    )]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Storage's, or another program's that changed the table; the remedy says which.
    #[error("cannot {action} the lake's table {table} in {path}: {source}; {remedy}")]
    Delta {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Which table.
        table: Table,
        /// Its folder.
        path: PathBuf,
        /// What the operator can do.
        remedy: &'static str,
        /// Why not; names the file.
        source: Box<DeltaTableError>,
    },
    /// Another program's: a column isn't as it has to be. A retry does not help.
    #[error(
        "column {column} of the lake's table {table} in {path} is {found}, not {wanted}; move that folder away, and the table is made anew from the log"
    )]
    Column {
        /// Which table.
        table: Table,
        /// Its folder.
        path: PathBuf,
        /// Which column.
        column: String,
        /// Its type there.
        found: String,
        /// Its type here.
        wanted: String,
    },
    /// The operator's: lake and log don't belong together. A retry does not help.
    #[error(
        "the lake's table {table} in {path} has partition {partition} of the log up to offset {position}, which ends at {end}: they do not belong together; bring back the log, or set lake.root to another folder"
    )]
    Ahead {
        /// Which table.
        table: Table,
        /// Its folder.
        path: PathBuf,
        /// Which partition.
        partition: u16,
        /// The next offset according to the lake.
        position: u64,
        /// The next offset according to the log.
        end: u64,
    },
    /// Storage's, most likely: the lake wasn't written for so long that what is
    /// missing in it is too much to be read from the log by a query. A retry
    /// helps once the lake is written again.
    #[error(
        "the lake's table {table} is more than {records} records behind the log; /metrics and the server's log say why it is not written"
    )]
    Behind {
        /// Which table.
        table: Table,
        /// How many were read before giving up.
        records: usize,
    },
    /// The caller's, whose version of the table is too old. A retry with the newest helps.
    #[error(
        "the log no longer has offset {position} of partition {partition}, which table {table} should continue from; look at the table's newest version"
    )]
    Trimmed {
        /// Which table.
        table: Table,
        /// Which partition.
        partition: u16,
        /// The offset.
        position: u64,
    },
    /// The log's; see there whether a retry helps.
    #[error("the lake cannot read the log: {0}")]
    Log(#[from] log::Error),
    /// Ours: rows that don't fit their table.
    #[error("rows of the lake's table {table} do not fit it: {detail}")]
    Rows {
        /// Which table.
        table: Table,
        /// How they differ.
        detail: String,
    },
    /// The machine's: no thread.
    #[error("cannot start the lake's threads: {0}")]
    Threads(#[source] std::io::Error),
}

impl Error {
    /// A failure of Delta at `path`, with what helps against it.
    pub(crate) fn delta(
        action: &'static str,
        table: Table,
        path: PathBuf,
        source: DeltaTableError,
    ) -> Self {
        let remedy = remedy(&source);
        Self::Delta { action, table, path, remedy, source: Box::new(source) }
    }
}

fn remedy(error: &DeltaTableError) -> &'static str {
    match io_kind(error) {
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            return "let the server's user write there";
        }
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => return "make room on that disk",
        _ => {}
    }
    if is_newer(error) {
        return "a newer program upgraded the table: update Millstream, or set lake.root to another folder";
    }
    "bring that file back from a backup, or move the table's folder away: it is then made anew from the log"
}

/// Whether the table asks for what this version doesn't know.
fn is_newer(error: &DeltaTableError) -> bool {
    if let DeltaTableError::Transaction { source } = error {
        return matches!(
            source,
            TransactionError::UnsupportedTableFeatures(_)
                | TransactionError::TableFeaturesRequired(_)
        );
    }
    // The kernel says it in words only.
    let text = error.to_string().to_lowercase();
    text.contains("unsupported") || text.contains("not supported") || text.contains("protocol")
}

fn io_kind(error: &DeltaTableError) -> Option<ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}
