//! The records that flow through Millstream, one file per record.
//!
//! Enters: nothing. Leaves: plain data. No tokio, no timely, no I/O: every
//! other crate may depend on this one and this one depends on none of ours.
//!
//! ```text
//! Packet ──demux──► Frame ──transcode──► Frame ──segment──► Media (Track · Part · Segment · End)
//!             └───► Health
//! ```
//!
//! Payloads are [`bytes::Bytes`], so a fork of the graph is a pointer copy. Those
//! of media are ISO boxes; [`mp4`] is what all who write or read them share.

mod chat;
mod event;
mod frame;
mod health;
mod id;
mod media;
pub mod mp4;
mod packet;
mod pieces;
mod rendition;
pub mod schema;
mod time;
mod track;
mod user;
mod view;

pub use chat::{
    Act, Badge, CHAT_VERSION, ChatAct, ChatMessage, ChatRecord, ChatRecordError, EmoteRange,
    MessageId, Mode, SLOW_S_MAX,
};
pub use event::{StreamEvent, StreamState};
pub use frame::{Cut, Frame, FrameBody, Run, Sample};
pub use health::Health;
pub use id::{ParseStreamIdError, SHARDS, Shard, StreamId};
pub use media::{Media, MediaBody, Part, Segment, TrackStart};
pub use packet::{FaultSite, Packet, PacketBody};
pub use pieces::Pieces;
pub use rendition::{ParseRenditionError, Rendition, Rung};
pub use time::MediaTime;
pub use track::{Codec, Kind, TrackInit};
pub use user::UserId;
pub use view::View;
