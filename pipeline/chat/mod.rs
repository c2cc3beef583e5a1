//! Chat: from what somebody says to everybody who is in the room.
//!
//! ```text
//! sockets, requests ─► People ─► intake `said` ─► ChatPlane (dataflow: moderate) ─► Desk ─► log
//!        ▲                                                                            │
//!        └──────────────── texts, answers ◄──────── Lane (ring, flush loops) ◄────────┘
//! ```
//!
//! The dataflow decides, the desk makes durable and tells. Nothing is shown before it is
//! durable, so what viewers have, the log has.

mod desk;
mod echo;
mod emotes;
mod lane;
mod past;
mod people;
mod places;
mod plane;
mod senders;
mod settings;
mod sockets;
mod wire;

pub use desk::{Desk, DeskConfig, OVER, RoomError};
pub use echo::Echo;
pub use emotes::{EmoteError, Emotes, Picture};
pub use lane::{Lane, Notes, PlayerTag};
pub use past::PastError;
pub use people::{OPERATOR, People};
pub use places::Places;
pub use plane::{ChatPlane, Heard, HeardBody, Judging, Spoken, SpokenBody};
pub use senders::{Answer, Asker, PATIENCE};
pub use settings::{SettingsError, rules};
pub use sockets::{Guest, Sockets, WAITING_MAX};
pub use wire::{Message, Refused, Text, Told, ToldWelcome, Welcome};

use std::sync::Arc;
use std::time::Duration;

use chat::ws::{CloseCode, CloseReason};
use chat::{FlushConfig, Flushers};
use sources::chat::CLIENT_TEXT_BYTES_MAX;

use crate::config;

/// How often rooms are told how many are in them.
const VIEWERS_EVERY: u64 = 30;

/// The chat of a server.
pub struct Chat {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Rooms.
    pub desk: Arc<Desk>,
    /// Who somebody is in one.
    pub people: People,
    /// Viewers who said who they are.
    pub sockets: Arc<Sockets>,
    /// Viewers' sockets.
    pub flushers: Arc<Flushers>,
    /// Pictures.
    pub emotes: Emotes,
    /// What suites of tests talk with, if it is switched on.
    pub echo: Option<Arc<Echo>>,
}

/// How viewers are written to.
#[must_use]
pub fn flush_config(config: &config::Chat) -> FlushConfig {
    let defaults = FlushConfig::default();
    FlushConfig {
        loops: if config.loops == 0 { defaults.loops } else { config.loops },
        window: config.window,
        message_bytes_max: CLIENT_TEXT_BYTES_MAX,
        ..defaults
    }
}

impl Chat {
    /// Starts the loops that write to viewers.
    ///
    /// # Errors
    /// They don't start.
    pub fn start(
        config: &config::Chat,
        desk: Arc<Desk>,
        people: People,
        emotes: Emotes,
    ) -> Result<Self, chat::StartError> {
        let sockets = Sockets::new(Arc::clone(&desk), people.clone(), config.sockets_max);
        let flushers = Flushers::start(&flush_config(config), Arc::clone(&sockets) as _)?;
        let flushers = Arc::new(flushers);
        desk.answer_by(&flushers);
        sockets.answer_by(&flushers);
        let echo = (config.enabled && config.echo).then(Echo::start).transpose()?.map(Arc::new);
        Ok(Self { enabled: config.enabled, desk, people, sockets, flushers, emotes, echo })
    }

    /// What is to be done now and then, for as long as the server runs.
    pub async fn tend(desk: Arc<Desk>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        for count in 0.. {
            second.tick().await;
            desk.tick();
            if count % VIEWERS_EVERY == 0 {
                desk.tell_viewers();
            }
        }
    }

    /// Sends everybody away, to come back in a while.
    pub fn close(&self) {
        let reason = CloseReason::new(CloseCode::GOING_AWAY, "the server stops; come back");
        for lane in self.desk.rooms() {
            lane.room.close(reason.clone());
        }
        if let Some(echo) = &self.echo {
            echo.close(reason);
        }
    }
}
