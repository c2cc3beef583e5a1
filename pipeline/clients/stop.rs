//! Asks programs that run to come to a clean end.

use std::sync::Arc;

use tokio::sync::watch;

/// A request to end that many tasks can wait for. Clones share it; once made
/// it stands.
#[derive(Clone, Debug)]
pub struct Stop {
    flag: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Nobody asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self { flag: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks everybody who waits, now and later, to end.
    pub fn stop(&self) {
        self.flag.send_replace(true);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.flag.borrow()
    }

    /// Waits until somebody asks. Cancel-safe.
    pub async fn stopped(&self) {
        // Fails only without a sender, and `self` is one.
        let _ = self.flag.subscribe().wait_for(|stopped| *stopped).await;
    }
}
