//! The LL-HLS origin: what viewers fetch.
//!
//! ```text
//! Media ──apply──► Origin ──┬─ stream ──┬─ track (audio)   segments · open parts · waiters
//!                           │           ├─ track (source)
//! request ──respond──►      │           └─ track (480p)
//!          ◄─ response ─────┘                 │
//!                                             └── bytes older than the hot window: Cold
//! ```
//!
//! - **Enters**: `Media` in order per rendition (repeats are ignored, so a
//!   replay is harmless), and requests as `http` types.
//! - **Leaves**: responses whose bodies share the parts' `Bytes`.
//! - **Held**: per rendition the listed segments' metadata, the bytes of the
//!   newest few, and the playlist text of the current version, once somebody
//!   asked for it.
//! - **Ends**: a stream with [`Origin::remove`]; a waiting request with what it
//!   waits for, the stream's end, or three target durations.
//! - **Never here**: rendering that nobody asked for, a socket, a file, an
//!   HTTP server's types.
//!
//! What is over is played by [`vod`], from the same files.
//!
//! Rules are cited as `bis` (draft-pantos-hls-rfc8216bis) and `A` (Apple's HLS
//! Authoring Specification).

mod body;
mod cold;
mod config;
mod multivariant;
mod origin;
mod playlist;
mod problem;
mod reply;
mod restored;
mod route;
mod serve;
mod stats;
mod stream;
mod text;
mod thumbnail;
mod track;
pub mod vod;

#[cfg(test)]
mod checker;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub use body::{HlsBody, InFile};
pub use cold::{Cold, ColdError, ColdRead, NoCold, Object, Opened};
pub use config::{HlsConfig, HlsConfigError};
pub use origin::Origin;
pub use problem::problem;
pub use reply::{Range, accepts_gzip, parse_range};
pub use restored::{RestoredStream, RestoredTrack, Resume, SegmentMeta, Shape};
pub use stats::{LatencyHistogram, OriginMetrics, StreamSnapshot, TrackSnapshot};
