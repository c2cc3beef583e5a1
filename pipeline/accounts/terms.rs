//! What callers say to the accounts, and what they are told.

use std::fmt;
use std::time::Duration;

use crate::hashing::HashConfig;
use crate::password::Password;
use crate::session::Session;
use crate::throttle::ThrottleConfig;
use crate::token::Provider;
use crate::user::User;

/// Settings of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsConfig {
    /// `iss` of our tokens; no identity provider's.
    pub issuer: String,
    /// How long a session lasts.
    pub session_life: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How old the key that signs may become; see [`crate::Accounts::maintain`].
    pub rotate_every: Duration,
    /// Accounts that this server takes; some 600 bytes of memory each.
    pub users_max: usize,
    /// How passwords are hashed.
    pub hash: HashConfig,
    /// How attempts are slowed down.
    pub throttle: ThrottleConfig,
    /// Whose tokens are accepted beside ours.
    pub providers: Vec<Provider>,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self {
            issuer: "millstream".into(),
            session_life: Duration::from_secs(7 * 86_400),
            leeway: Duration::from_secs(30),
            rotate_every: Duration::from_secs(30 * 86_400),
            users_max: 1_000_000,
            hash: HashConfig::default(),
            throttle: ThrottleConfig::default(),
            providers: Vec::new(),
        }
    }
}

/// What somebody who signs up says. `Debug` shows the name only.
#[derive(Clone)]
pub struct SignUp {
    /// See [`crate::Name`].
    pub name: String,
    /// See [`crate::Email`].
    pub email: String,
    /// 8 to 128 characters.
    pub password: Password,
}

impl fmt::Debug for SignUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignUp({:?})", self.name)
    }
}

/// A new session. `Debug` doesn't show the token.
#[derive(Clone)]
pub struct Issued {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// Whose it is.
    pub user: User,
    /// When it ends, in microseconds since 1970.
    pub expires_at_us: u64,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({} until {} us)", self.user.user_id, self.expires_at_us)
    }
}

/// Who asks for a change of somebody's account.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Whoever holds the server's admin token.
    Operator,
    /// A user.
    User(&'a Session),
}
