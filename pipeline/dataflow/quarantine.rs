//! Streams whose records bring generations down.
//!
//! Enters: one strike per panic blamed on a stream. Leaves: the streams that
//! struck out, to be closed by the I/O plane. Held: recent strikes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use records::StreamId;
use tokio::sync::mpsc::Sender;

/// Two panics within this time, and the stream is out. Longer than a replay
/// needs to come back to the same record, shorter than an unlucky evening.
const MEMORY: Duration = Duration::from_secs(60);

/// A stream that was taken out of the data plane.
#[derive(Clone, Copy, Debug)]
pub struct Quarantined {
    /// The stream.
    pub stream: StreamId,
    /// The operator that panicked on it last.
    pub operator: &'static str,
}

/// Recent panics, by the stream they are blamed on.
#[derive(Default)]
pub struct Strikes {
    last: Mutex<HashMap<StreamId, Instant>>,
}

impl Strikes {
    /// Notes a panic blamed on `stream`; true if it is the second within a minute.
    pub fn is_second(&self, stream: StreamId) -> bool {
        let mut last = self.last.lock();
        last.retain(|_, at| at.elapsed() < MEMORY);
        let is_second = last.insert(stream, Instant::now()).is_some();
        if is_second {
            last.remove(&stream);
        }
        is_second
    }
}

/// Counts strikes and reports who is out.
pub struct Quarantine {
    strikes: Strikes,
    out: Sender<Quarantined>,
}

impl Quarantine {
    /// Reports to `out`.
    #[must_use]
    pub fn new(out: Sender<Quarantined>) -> Self {
        Self { strikes: Strikes::default(), out }
    }

    /// Notes a panic blamed on `stream`; true if it is the second within a minute.
    pub fn strike(&self, stream: StreamId, operator: &'static str) -> bool {
        let is_second = self.strikes.is_second(stream);
        if is_second {
            tracing::error!(%stream, operator, "stream quarantined: its records panicked twice");
            // The queue holds more than there are streams; if it is full, the
            // stream is closed by its publisher's next write failing.
            let _ = self.out.try_send(Quarantined { stream, operator });
        }
        is_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_strike_is_out() {
        let (out, mut outs) = tokio::sync::mpsc::channel(4);
        let quarantine = Quarantine::new(out);
        let (one, other) = (StreamId::generate(), StreamId::generate());
        assert!(!quarantine.strike(one, "demux"));
        assert!(!quarantine.strike(other, "demux"));
        assert!(quarantine.strike(one, "segment"));
        assert_eq!(outs.try_recv().unwrap().stream, one);
        assert!(!quarantine.strike(one, "demux"), "counted anew");
    }
}
