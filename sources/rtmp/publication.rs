//! One admission, from the gate's yes to the publisher's departure.
//!
//! Enters: an [`Admission`]. Leaves: exactly one [`Gate::release`], also when
//! the connection's task panics or is dropped. Held: the claim on the stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::info;

use super::gate::{Admission, Departure, Gate};
use super::meters::RtmpMeters;

pub(super) struct Publication<G: Gate> {
    pub(super) admission: Admission,
    gate: Arc<G>,
    meters: Arc<RtmpMeters>,
    began: Instant,
    departure: Departure,
}

impl<G: Gate> Publication<G> {
    pub(super) fn begin(
        admission: Admission,
        gate: Arc<G>,
        meters: Arc<RtmpMeters>,
        (peer, app, client): (SocketAddr, &str, &str),
    ) -> Self {
        let Admission { stream, session, .. } = admission;
        info!(%stream, session, %peer, app, client, "publishing");
        meters.publishers_open.fetch_add(1, Ordering::Relaxed);
        // Overwritten unless the task dies on the way.
        let departure = Departure::Lost { reason: "the connection's task ended".into() };
        Self { admission, gate, meters, began: Instant::now(), departure }
    }

    /// The publisher left.
    pub(super) fn end(mut self, departure: Departure) {
        self.departure = departure;
    }
}

impl<G: Gate> Drop for Publication<G> {
    fn drop(&mut self) {
        let Admission { stream, session, .. } = self.admission;
        let departure = std::mem::replace(&mut self.departure, Departure::Clean);
        let seconds = self.began.elapsed().as_secs();
        let reason = match &departure {
            Departure::Clean => "said goodbye",
            Departure::Lost { reason } => reason,
        };
        info!(%stream, session, seconds, reason, "publisher left");
        self.meters.publishers_open.fetch_sub(1, Ordering::Relaxed);
        self.gate.release(stream, session, departure);
    }
}
