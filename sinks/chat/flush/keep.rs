//! Pings, and who doesn't answer them.

use std::time::Duration;

use super::connection::Phase;
use super::handler::Left;
use super::turn::{BEAT, Loop};
use crate::ws::{CloseCode, CloseReason, Opcode, frame};

/// A viewer is looked at every so many beats, another share of them at each.
const SHARES: u32 = 10;

impl Loop {
    /// Looks at a tenth of the viewers: pings those whose time has come, ends those who kept
    /// silent, drops those who don't end.
    pub fn look_after_viewers(&mut self) {
        let (ping, pong) = (beats(self.config.ping), beats(self.config.pong));
        let beat = self.beat;
        let (mut asked, mut silent, mut over) = (Vec::new(), Vec::new(), Vec::new());
        let share = (beat % SHARES) as usize;
        for key in (share..self.connections.capacity()).step_by(SHARES as usize) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let since = beat - connection.pinged_at;
            match connection.phase {
                Phase::Closing { until } if beat >= until => over.push(key),
                Phase::Closing { .. } => {}
                Phase::Open if connection.is_asked && since >= pong => silent.push(key),
                Phase::Open if !connection.is_asked && since >= ping => {
                    connection.pinged_at = beat;
                    connection.is_asked = true;
                    asked.push(key);
                }
                Phase::Open => {}
            }
        }
        let ping = frame(Opcode::Ping, b"");
        for key in asked {
            self.put(key, &ping);
        }
        let reason = CloseReason::new(CloseCode::GOING_AWAY, "no answer to a ping");
        for key in silent {
            self.end_with(key, &reason.payload(), &Left::Silent);
        }
        for key in over {
            self.gone(key, &Left::Gone);
        }
    }
}

fn beats(duration: Duration) -> u32 {
    duration.div_duration_f32(BEAT).ceil().max(1.0) as u32
}
