//! Records of a topic, from positions on.

use arrow::array::RecordBatch;
use log::{Log, Record};

use crate::{Error, Table};

/// Records read at once from a partition.
const PAGE: usize = 1000;

/// Records, and where the next ones begin.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// By partition, each oldest first.
    pub records: Vec<Record>,
    /// By partition, the offset behind the last one of them.
    pub next: Vec<u64>,
    /// There are more.
    pub more: bool,
}

/// What the log holds of a table's topic from `from` on, by turns of the
/// partitions, until `rows_max` records or `bytes_max` bytes are reached.
///
/// # Errors
/// The log can't be read.
pub async fn pull(
    log: &dyn Log,
    table: Table,
    from: &[u64],
    rows_max: usize,
    bytes_max: usize,
) -> Result<Pulled, log::Error> {
    let topic = table.topic();
    let mut pulled = Pulled { next: from.to_vec(), ..Pulled::default() };
    let mut open: Vec<u16> = (0..topic.partitions()).collect();
    let mut bytes = 0;
    while !open.is_empty() {
        let mut still = Vec::new();
        for partition in open {
            if pulled.records.len() >= rows_max || bytes >= bytes_max {
                pulled.more = true;
                return Ok(pulled);
            }
            let Some(next) = pulled.next.get_mut(usize::from(partition)) else { continue };
            let room = PAGE.min(rows_max - pulled.records.len());
            let page = log.read(topic, partition, *next, room).await?;
            let Some(last) = page.last() else { continue };
            *next = last.offset + 1;
            bytes += page.iter().map(weight).sum::<usize>();
            pulled.records.extend(page);
            still.push(partition);
        }
        open = still;
    }
    Ok(pulled)
}

fn weight(record: &Record) -> usize {
    record.key.len() + record.value.as_ref().map_or(0, |value| value.len()) + 64
}

/// The rows that the log has and a [`crate::Snapshot`] with the positions `from`
/// doesn't: together with it each record shows once. At most `rows_max`.
///
/// # Errors
/// [`Error::Log`], [`Error::Rows`].
pub async fn tail(
    log: &dyn Log,
    table: Table,
    from: &[u64],
    rows_max: usize,
) -> Result<Vec<RecordBatch>, Error> {
    let pulled = pull(log, table, from, rows_max, usize::MAX).await?;
    let batches = pulled.records.chunks(8192).map(|records| Ok(table.decode(records)?.rows));
    batches.filter(|rows| !matches!(rows, Ok(rows) if rows.num_rows() == 0)).collect()
}
