//! What can go wrong, whose fault it is and what helps.

use std::io::ErrorKind;
use std::path::PathBuf;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;

use crate::{Root, Table};

/// Why the lake isn't written or read. What is live goes on all the same, and
/// what was to be written stays in the log until an attempt succeeds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    #[error(
        "cannot {action} the lake's table {table} in {root}: {}; {remedy}",
        said(.source)
    )]
    Delta {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Which table.
        table: Table,
        /// Where it lies.
        root: Root,
        /// What the operator can do.
        remedy: &'static str,
        /// Why not; names the file.
        source: Box<DeltaTableError>,
    },
    /// Storage's: it answers late or not at all. What waits for it goes on waiting,
    /// or is tried again.
    #[error(
        "the lake's table {table} in {root} has been waiting for its storage for {seconds} s; it goes on once that answers"
    )]
    Slow {
        /// Which table.
        table: Table,
        /// Where it lies.
        root: Root,
        /// For how long.
        seconds: u64,
    },
    /// Another program's: a column isn't as it has to be. A retry does not help.
    #[error(
        "column {column} of the lake's table {table} in {root} is {found}, not {wanted}; move all that is there away, and the table is made anew from the log"
    )]
    Column {
        /// Which table.
        table: Table,
        /// Where it lies.
        root: Root,
        /// Which column.
        column: String,
        /// Its type there.
        found: String,
        /// Its type here.
        wanted: String,
    },
    /// The operator's: lake and log don't belong together. A retry does not help.
    #[error(
        "the lake's table {table} in {root} has partition {partition} of the log up to offset {position}, which ends at {end}: they do not belong together; bring back the log, or set lake.root to another place"
    )]
    Ahead {
        /// Which table.
        table: Table,
        /// Where it lies.
        root: Root,
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
    /// A failure of Delta at `root`, with what helps against it.
    pub(crate) fn delta(
        action: &'static str,
        table: Table,
        root: &Root,
        source: DeltaTableError,
    ) -> Self {
        let remedy = remedy(&source);
        Self::Delta { action, table, root: root.clone(), remedy, source: Box::new(source) }
    }
}

fn said(error: &DeltaTableError) -> String {
    store::one_line(&error.to_string())
}

fn remedy(error: &DeltaTableError) -> &'static str {
    match io_kind(error) {
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            return "let the server's user write there";
        }
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => return "make room on that disk",
        _ => {}
    }
    let text = error.to_string();
    if let Some(remedy) = remedy_of_store(&text) {
        return remedy;
    }
    if is_newer(error, &text) {
        return "a newer program upgraded the table: update Millstream, or set lake.root to another place";
    }
    "bring that file back from a backup, or move all of the table away: it is then made anew from the log"
}

/// What helps where a store failed or refused: Delta keeps its errors as words only.
fn remedy_of_store(text: &str) -> Option<&'static str> {
    if text.contains("NoSuchBucket") {
        return Some("make that bucket, or set lake.root to another one");
    }
    let is_missing = text.contains("404 Not Found") || text.contains("NoSuchKey");
    if is_missing || !text.contains("Error performing ") {
        return None;
    }
    if text.contains("403 Forbidden") || text.contains("401 Unauthorized") {
        return Some(
            "let the credentials in lake.options or in the environment read and write there",
        );
    }
    Some("it goes on once the store answers; if it never did, see lake.options")
}

/// Whether the table asks for what this version doesn't know.
fn is_newer(error: &DeltaTableError, text: &str) -> bool {
    if let DeltaTableError::Transaction { source } = error {
        return matches!(
            source,
            TransactionError::UnsupportedTableFeatures(_)
                | TransactionError::TableFeaturesRequired(_)
        );
    }
    // The kernel says it in words only.
    let text = text.to_lowercase();
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
