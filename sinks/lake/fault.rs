//! Places where a test lets the process die.

use std::fmt;
use std::sync::Arc;

use crate::Table;

/// A place between two steps that must survive being separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Records are read, nothing is written.
    Read,
    /// Files are written, nothing is committed.
    Written,
    /// The commit is durable, nobody knows yet.
    Committed,
}

impl Fault {
    /// The place called `name`: `read`, `written` or `committed`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "written" => Some(Self::Written),
            "committed" => Some(Self::Committed),
            _ => None,
        }
    }
}

type Hook = dyn Fn(Table, Fault) + Send + Sync;

/// What happens at each [`Fault`]: nothing, unless a test says so.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

impl Faults {
    /// Calls `hook` at each of them.
    pub fn new(hook: impl Fn(Table, Fault) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn reach(&self, table: Table, fault: Fault) {
        if let Some(hook) = &self.0 {
            hook(table, fault);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(on)" } else { "Faults(none)" })
    }
}
