//! Both ends of a broadcast as programs: an RTMP publisher and a strict LL-HLS player.
//!
//! ```text
//! Clip ──publish──► rtmp:// … the server … http:// ──watch──► WatchReport
//!                                                    │
//!                              playlist (parser) ────┴──── rules (checker)
//! ```
//!
//! Used by `millstream publish` and `millstream watch`, by tests and by
//! benches. The parser and the checker share no code with the server's
//! renderer and segmenter: they judge from the outside what was sent.

pub mod net;
pub mod playlist;
pub mod publish;
pub mod rules;
pub mod watch;

mod stop;

pub use publish::{Clip, PublishError, PublishOptions, PublishReport, publish};
pub use stop::Stop;
pub use watch::{WatchError, WatchOptions, WatchReport, watch};
