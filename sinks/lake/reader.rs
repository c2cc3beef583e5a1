//! Records of a topic, from positions on.

use arrow::array::RecordBatch;
use log::{Log, Record};

use crate::{Error, Lost, Table};

/// Records read at once from a partition.
const PAGE: usize = 1000;

/// Rows of a tail's batch.
const BATCH: usize = 8192;

/// Bytes of a tail's records.
const TAIL_BYTES_MAX: usize = 64 << 20;

/// Records, and where the next ones begin.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// By partition, each oldest first.
    pub records: Vec<Record>,
    /// By partition, the offset behind the last one of them.
    pub next: Vec<u64>,
    /// Records that the log lost meanwhile: `next` is behind them.
    pub lost: Vec<Lost>,
    /// There are more.
    pub more: bool,
}

/// What the log holds now of a table's topic from `from` on, by turns of the
/// partitions, until `rows_max` records or `bytes_max` bytes are reached. What is
/// appended meanwhile is for the next time: it may come faster than it is read.
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
    let mut open = Vec::new();
    for (partition, from) in (0..topic.partitions()).zip(from) {
        let end = log.bounds(topic, partition).await?.end;
        if *from < end {
            open.push((partition, end));
        }
    }
    let from: Vec<_> = open
        .iter()
        .filter_map(|(partition, _)| Some((*partition, *from.get(usize::from(*partition))?)))
        .collect();
    log.prefetch(topic, &from).await?;
    let mut bytes = 0;
    while !open.is_empty() {
        let mut still = Vec::new();
        for (partition, end) in open {
            if pulled.records.len() >= rows_max || bytes >= bytes_max {
                pulled.more = true;
                return Ok(pulled);
            }
            let Some(next) = pulled.next.get_mut(usize::from(partition)) else { continue };
            let room = PAGE.min(rows_max - pulled.records.len());
            let page = log.read(topic, partition, *next, room).await?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { continue };
            if first.offset > *next && !topic.is_compacted() {
                // A shared log has offsets without records; what it trimmed is another matter.
                let start = log.bounds(topic, partition).await?.start.min(first.offset);
                if start > *next {
                    pulled.lost.push(Lost { partition, offsets: *next..start });
                }
            }
            *next = last.offset + 1;
            bytes += page.iter().map(weight).sum::<usize>();
            pulled.records.extend(page);
            if *next < end {
                still.push((partition, end));
            }
        }
        open = still;
    }
    Ok(pulled)
}

fn weight(record: &Record) -> usize {
    record.key.len() + record.value.as_ref().map_or(0, |value| value.len()) + 64
}

/// The rows that the log has and a [`crate::Snapshot`] with the positions `from`
/// doesn't: together with it each record shows once.
///
/// # Errors
/// [`Error::Log`], [`Error::Rows`]; rather than some of the rows,
/// [`Error::Behind`] if there are more than `rows_max` or they take more than
/// 64 MiB, and [`Error::Trimmed`] if the log doesn't have the first of them any more.
pub async fn tail(
    log: &dyn Log,
    table: Table,
    from: &[u64],
    rows_max: usize,
) -> Result<Vec<RecordBatch>, Error> {
    let pulled = pull(log, table, from, rows_max, TAIL_BYTES_MAX).await?;
    if let Some(Lost { partition, offsets }) = pulled.lost.first() {
        return Err(Error::Trimmed { table, partition: *partition, position: offsets.start });
    }
    if pulled.more {
        return Err(Error::Behind { table, records: pulled.records.len() });
    }
    let mut batches = Vec::new();
    for records in pulled.records.chunks(BATCH) {
        let rows = table.decode(records)?.rows;
        if rows.num_rows() > 0 {
            batches.push(rows);
        }
    }
    Ok(batches)
}
