//! What can go wrong, whose fault it is and what helps.

use std::time::Duration;

use crate::email::EmailProblem;
use crate::hashing::HashError;
use crate::name::NameProblem;
use crate::password::PasswordProblem;
use crate::token::{KeyRingError, TokenError};

/// Why the accounts didn't do it. Says nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The caller's: not a name.
    #[error(transparent)]
    Name(#[from] NameProblem),
    /// The caller's: not an e-mail address.
    #[error(transparent)]
    Email(#[from] EmailProblem),
    /// The caller's: not to be a password.
    #[error(transparent)]
    Password(#[from] PasswordProblem),
    /// The caller's: somebody has this name, or one that looks like it.
    #[error("this name, or one that looks like it, is taken")]
    NameTaken,
    /// The caller's: somebody has this e-mail address.
    #[error("there is an account with this e-mail address")]
    EmailTaken,
    /// The caller's: no such user, or another password, or disabled; which of them is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// The caller's: too many attempts.
    #[error("too many attempts; try again in {} s", seconds(*.0))]
    Slow(Duration),
    /// The caller's: no such user.
    #[error("there is no such user")]
    Unknown,
    /// The caller's: its session is over.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The caller's: it takes another role.
    #[error("this needs the role {0}")]
    Forbidden(&'static str),
    /// The caller's: more roles than a token can carry.
    #[error("a user has at most {} roles", crate::user::ROLES_MAX)]
    TooManyRoles,
    /// The operator's: as many users as were allowed.
    #[error("there are as many accounts as this server takes")]
    Full,
    /// Passwords are hashed as fast as they can be, or can't be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The operator's: the keys of sessions.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The disk's: what is stored is not a user.
    #[error(
        "the catalog's entry {key} can't be read ({reason}); restore the data directory from a backup"
    )]
    Entry {
        /// Its key in the topic.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The log's; see there whether a retry helps.
    #[error("accounts can't be stored: {0}")]
    Log(#[from] log::Error),
    /// Ours: the task that made the change died.
    #[error("a change of an account was interrupted")]
    Interrupted,
}

impl AccountError {
    /// The HTTP status that says this best.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Name(_) | Self::Email(_) | Self::Password(_) | Self::TooManyRoles => 400,
            Self::Wrong => 401,
            Self::Token(error) => error.status(),
            Self::Forbidden(_) => 403,
            Self::Unknown => 404,
            Self::NameTaken | Self::EmailTaken => 409,
            Self::Slow(_) => 429,
            Self::Full | Self::Hash(HashError::Busy) | Self::Log(_) => 503,
            Self::Hash(_) | Self::Keys(_) | Self::Entry { .. } | Self::Interrupted => 500,
        }
    }

    /// For `Retry-After`: after how many seconds a retry may help, at least 1.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Slow(wait) => Some(seconds(*wait)),
            Self::Hash(HashError::Busy) => Some(1),
            Self::Log(_) => Some(5),
            _ => None,
        }
    }

    /// Whether the text is for the client; others say what our inside is like.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !matches!(
            self,
            Self::Log(_)
                | Self::Entry { .. }
                | Self::Keys(_)
                | Self::Interrupted
                | Self::Hash(
                    HashError::Config(_)
                        | HashError::Thread(_)
                        | HashError::Failed(_)
                        | HashError::Interrupted
                )
        )
    }
}

fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}
