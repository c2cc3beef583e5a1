//! Deaths that tests order: between two steps of the lake's commits.
//!
//! Enters: where to die. Held: that, until it is reached. Never here: anything
//! without `debug.faults`.

use std::sync::Arc;

use lake::{Fault, Faults, Table};
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};

/// Where the process is to die.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// By whose commit.
    pub table: Table,
    /// Between which steps.
    pub at: Fault,
    /// At the how manieth time; 1 is the next.
    pub times: u32,
}

/// The death that was ordered last, if any.
#[derive(Default)]
pub struct LakeFaults(Mutex<Option<Death>>);

impl LakeFaults {
    /// What the lake calls between its steps.
    #[must_use]
    pub fn hook(self: &Arc<Self>) -> Faults {
        let faults = Arc::clone(self);
        Faults::new(move |table, at| faults.reach(table, at))
    }

    /// Orders a death, instead of the one before.
    pub fn order(&self, death: Death) {
        *self.0.lock() = Some(death);
    }

    fn reach(&self, table: Table, at: Fault) {
        let mut ordered = self.0.lock();
        let Some(death) = ordered.as_mut().filter(|d| d.table == table && d.at == at) else {
            return;
        };
        death.times = death.times.saturating_sub(1);
        if death.times == 0 {
            die();
        }
    }
}

/// As if the kernel ended it: nothing is flushed or closed.
fn die() {
    if kill_process(getpid(), Signal::KILL).is_ok() {
        // It comes at once, but not before this thread goes on.
        loop {
            std::thread::park();
        }
    }
}
