//! Who there is: accounts, log-in, sessions, roles.
//!
//! ```text
//! sign-up, log-in ──► Accounts ──change──► log topic `catalog`, keys `user/{id}`
//!      ▲     │           │ view in memory ◄──latest per key── at boot
//!      │     └─ password ──► argon2id, so many at once
//!      └── token ◄── key ring (DATA/session-keys.json)
//! request ──token──► Session: who it is and may do, now
//! ```
//!
//! Enters: what strangers type, and tokens. Leaves: [`Session`]s. Held: every
//! user, in memory and in the log; no session is held, a token is one. Ends: a
//! token by its time, by log-out everywhere, by a new password, or when its
//! user is disabled; all but the first at once. Never: a password, a hash, a
//! token, a key or an e-mail address in `Debug`, in an error or in a log line;
//! an answer that tells whether a user exists, but for a sign-up's.
//!
//! Bounds: users (`users_max`, some 600 bytes each), hashings at once (19 MiB
//! each), log-ins waiting for one, throttle (three tables of fixed size),
//! providers' keys (64 each), tokens (8 KiB).

mod accounts;
mod clock;
mod email;
mod entries;
mod error;
mod hashing;
mod name;
mod password;
mod session;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod user;

pub use accounts::Accounts;
pub use clock::Clock;
pub use email::{Email, EmailProblem};
pub use error::AccountError;
pub use hashing::{HashConfig, HashError};
pub use name::{NAME_CHARS_MAX, NAME_CHARS_MIN, Name, NameProblem, are_alike};
pub use password::{PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Password, PasswordProblem};
pub use records::UserId;
pub use session::Session;
pub use terms::{AccountsConfig, Caller, Issued, SignUp};
pub use throttle::{Backoff, ThrottleConfig};
pub use token::{
    Fetch, FetchError, Fetched, JWKS_BYTES_MAX, KEYS_FILE, KeyRingError, Provider, PublicKey,
    TOKEN_BYTES_MAX, TokenError,
};
pub use user::{External, ParseRoleError, ROLES_MAX, Role, User};
