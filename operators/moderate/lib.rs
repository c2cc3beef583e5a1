//! Chat rooms: what is accepted, in which order, and by whom it may be undone.
//!
//! ```text
//! chat source ──Said──► Room::push ──► Verdict ──┬─► Accepted(ChatMessage) ──► fan-out, log `chat`
//!                                                ├─► Known(Receipt): a retry
//!                                                └─► Refused(Refusal): 400, 403, 429
//! moderators ──Order──► Room::act ──► ChatAct ──► fan-out, log `chat`
//! log `chat` ──ChatRecord──► Room::replay          rescale ──bytes──► Room::from_bytes
//! ```
//!
//! - **Enters**: what people say and moderators do, with what they are to the
//!   channel, and the time. **Leaves**: records in the room's one sequence,
//!   `seq` from 1 without gaps; refusals that say what the API must answer.
//! - **Held**, per room, at the default limits and when it is as busy as it may be:
//!   who wrote in the last five minutes (≤ 60,000 × 300 bytes), retries
//!   (≤ 20,000 × 100 bytes), bans (≤ 50,000 × 60 bytes), a minute's counts
//!   (4 KiB): 23 MiB. A quiet room holds 4 KiB. For all rooms together: who wrote
//!   is bounded by the server's limit, ≤ 5 × 1,000,000 × 300 bytes.
//! - **Ends** with the broadcast; [`Room::succeed`] takes bans and mode along.
//! - **Never here**: I/O, the machine's clock, random numbers. The same inputs
//!   give the same verdicts; what was decided is in the records, and a replay
//!   re-reads decisions.
//!
//! Work per message is bounded by its length: at most sixteen forms of a text of
//! 500 characters (each of which Unicode makes 18 at worst) are searched by one
//! automaton, and patterns take time linear in the text times their compiled
//! size (at most 8 MiB). Measured on one core: 5 µs for a short message in
//! English with no lists, 7 µs with 2,000 words and three patterns, 18 and 78 µs
//! in Russian, 0.6 ms for 500 characters made to be hard.
//!
//! ```
//! # use moderate::*; use std::sync::Arc; use uuid::Uuid;
//! let rules = Arc::new(Rules::compile(RulesConfig::default())?);
//! let server = ServerLimit::new(1_000_000);
//! let mut room = Room::new(records::StreamId(Uuid::from_u128(1)), rules);
//! let ann = Person {
//!     user_id: records::UserId(Uuid::from_u128(2)),
//!     name: "ann".into(),
//!     standing: Standing::Viewer,
//!     relation: Relation::default(),
//! };
//! let message_id = records::MessageId(Uuid::from_u128(3));
//! let said = Said { message_id, from: ann, text: "hi".into(), client_id: None };
//! let Verdict::Accepted(message) = room.push(said, 1_790_000_000_000_000, &server) else {
//!     panic!("nothing is wrong with it");
//! };
//! assert_eq!((message.seq, message.text.as_str()), (1, "hi"));
//! # Ok::<(), RulesError>(())
//! ```

mod emotes;
mod judge;
mod links;
mod looks;
mod refusal;
mod retries;
mod room;
mod rules;
mod said;
mod talkers;
#[cfg(test)]
mod tests;
mod text;
mod window;
mod words;

pub use emotes::{CODE_BYTES_MAX, EMOTES_MAX};
pub use links::LinkPolicy;
pub use refusal::Refusal;
pub use room::{ReplayError, Room, StateError};
pub use rules::{Rules, RulesConfig, RulesError};
pub use said::{CLIENT_ID_BYTES_MAX, Order, Person, Receipt, Relation, Said, Standing, Verdict};
pub use window::ServerLimit;
pub use words::{PATTERN_BYTES_MAX, PATTERNS_MAX, WORD_BYTES_MAX, WORDS_MAX};
