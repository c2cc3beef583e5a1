//! Wakes an operator from another thread.
//!
//! Enters: [`Waker::wake`] from the I/O plane. Leaves: one activation of the
//! operator that armed it. Held: a flag that at most one activation is on its
//! way. Ends with its generation; waking a dead one does nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use timely::scheduling::SyncActivator;

/// Activates one operator from any thread, cheaply: a burst of wakes sends
/// one message.
#[derive(Default)]
pub struct Waker {
    // Set once, when the operator is built; before that a wake is remembered by `pending`.
    activator: OnceLock<SyncActivator>,
    // An activation is on its way and not yet taken by `disarm`.
    pending: AtomicBool,
}

impl Waker {
    /// Ties the waker to its operator. The first call wins.
    pub fn bind(&self, activator: SyncActivator) {
        let _ = self.activator.set(activator);
        // A wake that came before the operator existed was kept as `pending`;
        // the operator's first activation (timely makes one) will look anyway.
    }

    /// Schedules the operator unless that is already under way.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Some(activator) = self.activator.get()
        {
            // Fails only when the worker is gone: its successor has a waker of its own.
            let _ = activator.activate();
        }
    }

    /// To be called by the operator *before* it looks at its queue: whatever
    /// arrives later wakes it again, so no wake-up is lost.
    pub fn disarm(&self) {
        self.pending.store(false, Ordering::Release);
    }
}
