//! A room's connection to the origin.
//!
//! Enters: the origin's texts. Leaves: the same to the room; who is here, once a second.
//! Held: nothing but the connection. Ends: with the broadcast; with a hole, when the
//! origin no longer holds what we lack; or when nobody was here for a while.
//! Never here: giving up on an origin that is away.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use chat::ws::CloseReason;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_websockets::Message;

use super::going_away;
use super::halls::{Hall, Halls, Hole};
use super::origin::{OriginError, PATIENCE, Wire};
use crate::chat::OVER;

/// How long a room is kept that nobody is in.
const IDLE: Duration = Duration::from_secs(60);

/// How long the origin may be silent: it pings every thirty seconds.
const SILENCE: Duration = Duration::from_secs(75);

/// Between attempts to reach it.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What ended a connection.
enum Cut {
    /// It broke.
    Broken,
    /// There is nothing more to hear.
    Over(CloseReason),
}

/// Keeps the room fed until it ends.
pub async fn keep(halls: Arc<Halls>, hall: Arc<Hall>, wire: Wire) {
    let mut wire = Some(wire);
    let reason = loop {
        if let Some(wire) = wire.take() {
            halls.linked.fetch_add(1, Relaxed);
            let cut = carry(&hall, wire).await;
            halls.linked.fetch_sub(1, Relaxed);
            hall.unlink();
            if let Cut::Over(reason) = cut {
                break reason;
            }
            tracing::info!(stream = %hall.stream, "a chat's link to the origin is cut");
        }
        match again(&halls, &hall).await {
            Ok(next) => wire = Some(next),
            Err(reason) => break reason,
        }
    };
    halls.remove(&hall);
    hall.room.close(reason);
}

/// Takes in what was said up to number `last`.
///
/// # Errors
/// Something is missing, or it takes too long.
pub async fn fill(hall: &Hall, wire: &mut Wire, last: u64) -> Result<(), Hole> {
    let filled = async {
        while hall.room.last() < last {
            let Some(Ok(message)) = wire.next().await else { return Err(Hole) };
            message.as_text().map_or(Ok(()), |text| hall.told(text))?;
        }
        Ok(())
    };
    timeout(PATIENCE, filled).await.map_err(|_| Hole)?
}

/// Carries texts until the connection is cut.
async fn carry(hall: &Hall, mut wire: Wire) -> Cut {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut news = hall.all();
    loop {
        let send = async {
            for text in news.drain(..) {
                wire.feed(Message::text(text)).await?;
            }
            wire.flush().await
        };
        // One that takes nothing any more is as silent as one that says nothing.
        if !matches!(timeout(SILENCE, send).await, Ok(Ok(()))) {
            return Cut::Broken;
        }
        tokio::select! {
            message = wire.next() => {
                let Some(Ok(message)) = message else { return Cut::Broken };
                heard = Instant::now();
                if let Some((code, _)) = message.as_close() {
                    return match u16::from(code) == OVER.0 {
                        true => Cut::Over(over()),
                        false => Cut::Broken,
                    };
                }
                if message.as_text().is_some_and(|text| hall.told(text).is_err()) {
                    return Cut::Over(hole());
                }
            }
            _ = second.tick() => {
                if heard.elapsed() > SILENCE {
                    return Cut::Broken;
                }
                if is_idle(hall) {
                    return Cut::Over(going_away("nobody was here; come back"));
                }
                news = hall.changes();
            }
        }
    }
}

/// Connects once more, with what was said meanwhile.
async fn again(halls: &Halls, hall: &Hall) -> Result<Wire, CloseReason> {
    let mut pause = RETRY_MIN;
    loop {
        // Not all rooms of all gateways at once.
        sleep(pause.mul_f64(0.5 + f64::from(spread()) / 256.0)).await;
        pause = (pause * 2).min(RETRY_MAX);
        if is_idle(hall) {
            return Err(going_away("nobody was here; come back"));
        }
        let (epoch, last) = (hall.room.epoch(), hall.room.last());
        match halls.origin().subscribe(hall.stream, Some((epoch, last))).await {
            Ok((wire, welcome)) => {
                let is_same = welcome.epoch == epoch.to_string() && welcome.recovered;
                return if is_same { Ok(wire) } else { Err(hole()) };
            }
            Err(OriginError::Status(StatusCode::GONE | StatusCode::NOT_FOUND)) => {
                return Err(over());
            }
            Err(error) => tracing::warn!(stream = %hall.stream, %error, "a chat waits"),
        }
    }
}

fn is_idle(hall: &Hall) -> bool {
    hall.empty().is_some_and(|since| since.elapsed() > IDLE)
}

fn over() -> CloseReason {
    CloseReason::new(OVER, "the broadcast is over")
}

fn hole() -> CloseReason {
    going_away("some messages didn't get here; come back to be told which")
}

fn spread() -> u8 {
    // Any number will do.
    uuid::Uuid::now_v7().as_bytes()[15]
}
