//! Deaths that tests order: between two steps of the lake's commits, or of what is
//! done to old recordings.
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

/// Between which steps of what is done to an old recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is durable which renditions go.
    ThinDecided,
    /// The event is told.
    ThinTold,
    /// Nobody is shown them any more.
    ThinShown,
    /// Their files are gone.
    ThinCleared,
    /// Before each object that goes to the cold store.
    ColdCopying,
    /// All of it is there.
    ColdCopied,
    /// It is durable that it is there.
    ColdDecided,
    /// Videos say so.
    ColdShown,
    /// The warm copy is gone.
    ColdCleared,
    /// Before each object that comes back.
    FetchCopying,
    /// All of it is back.
    FetchCopied,
    /// It is durable that it is back.
    FetchDecided,
}

impl Step {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 12] = [
        ("thin-decided", Self::ThinDecided),
        ("thin-told", Self::ThinTold),
        ("thin-shown", Self::ThinShown),
        ("thin-cleared", Self::ThinCleared),
        ("cold-copying", Self::ColdCopying),
        ("cold-copied", Self::ColdCopied),
        ("cold-decided", Self::ColdDecided),
        ("cold-shown", Self::ColdShown),
        ("cold-cleared", Self::ColdCleared),
        ("fetch-copying", Self::FetchCopying),
        ("fetch-copied", Self::FetchCopied),
        ("fetch-decided", Self::FetchDecided),
    ];

    /// The step of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(of, _)| *of == name).map(|(_, step)| *step)
    }
}

/// The death within those steps that was ordered last, if any, and at the how
/// manieth time.
#[derive(Default)]
pub struct StepFaults(Mutex<Option<(Step, u32)>>);

impl StepFaults {
    /// Orders a death, instead of the one before; `times` 1 is the next.
    pub fn order(&self, at: Step, times: u32) {
        *self.0.lock() = Some((at, times));
    }

    /// Called between the steps.
    pub fn reach(&self, step: Step) {
        let mut ordered = self.0.lock();
        let Some((_, times)) = ordered.as_mut().filter(|(at, _)| *at == step) else { return };
        *times = times.saturating_sub(1);
        if *times == 0 {
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
