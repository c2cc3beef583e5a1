//! The memory of one query.
//!
//! Operators that can spill share half of it fairly. Merges of what a sort
//! spilled take as much as they can get and make do with less: they get up to
//! three quarters. What can do neither, such as the merge at the top or a
//! join's table, may use whatever is free. With DataFusion's fair pool alone two
//! sorts and their merges fill everything, and the merge that would empty them
//! finds no room.
//!
//! Enters: reservations. Held: their sum. Never here: more than the bound,
//! except for what DataFusion takes without asking.

use std::fmt;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use parking_lot::Mutex;

/// DataFusion's name for the merges of what one thread's sort spilled.
const GREEDY: &str = "ExternalSorterMerge";

#[derive(Debug)]
pub(crate) struct QueryPool {
    bytes_max: usize,
    bytes: Mutex<usize>,
    spillable: FairSpillPool,
}

impl QueryPool {
    /// At most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let spillable = FairSpillPool::new(bytes_max / 2);
        Self { bytes_max, bytes: Mutex::new(0), spillable }
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.spillable.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.spillable.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut bytes = self.bytes.lock();
        if reservation.consumer().can_spill() {
            self.spillable.grow(reservation, additional);
        }
        *bytes += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut bytes = self.bytes.lock();
        if reservation.consumer().can_spill() {
            self.spillable.shrink(reservation, shrink);
        }
        *bytes -= shrink;
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut bytes = self.bytes.lock();
        let consumer = reservation.consumer();
        let bytes_max = match consumer.name().starts_with(GREEDY) {
            true => self.bytes_max / 4 * 3,
            false => self.bytes_max,
        };
        let free = bytes_max.saturating_sub(*bytes);
        if additional > free {
            return Err(resources_datafusion_err!(
                "{} asks for {additional} bytes of the {free} that are free",
                consumer.name()
            ));
        }
        if consumer.can_spill() {
            self.spillable.try_grow(reservation, additional)?;
        }
        *bytes += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        *self.bytes.lock()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({} bytes)", self.bytes_max)
    }
}
