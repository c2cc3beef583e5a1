//! A user: what is stored, what is shown, and what one may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use records::UserId;
use serde::{Deserialize, Serialize};

use crate::email::Email;
use crate::password::PasswordHash;

/// Roles that one user may have; they travel in every token, whose size this bounds.
pub const ROLES_MAX: usize = 64;

/// What somebody may do. As text (in records, tokens and answers): `viewer`,
/// `streamer`, `analyst`, `admin`, and `moderator:` with the channel's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// Watch and write in chats. Everybody has it.
    Viewer,
    /// Broadcast in a channel of one's own.
    Streamer,
    /// Moderate the chat of a channel, which is named by its streamer.
    Moderator(UserId),
    /// Ask SQL.
    Analyst,
    /// Everything.
    Admin,
}

/// The text is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a role: {0:?} (viewer, streamer, analyst, admin, or moderator:CHANNEL)")]
pub struct ParseRoleError(String);

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseRoleError(text.chars().take(64).collect());
        match text {
            "viewer" => Ok(Self::Viewer),
            "streamer" => Ok(Self::Streamer),
            "analyst" => Ok(Self::Analyst),
            "admin" => Ok(Self::Admin),
            _ => {
                let channel = text.strip_prefix("moderator:").ok_or_else(unknown)?;
                channel.parse().map(Self::Moderator).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Viewer => f.write_str("viewer"),
            Self::Streamer => f.write_str("streamer"),
            Self::Moderator(channel) => write!(f, "moderator:{channel}"),
            Self::Analyst => f.write_str("analyst"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = ParseRoleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.to_string()
    }
}

/// Who somebody is at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct External {
    /// The provider's `iss`.
    pub issuer: String,
    /// The provider's `sub`: never given to another user there (OIDC Core 8).
    pub subject: String,
}

/// A user as stored: the value of `user/{id}` in the topic `catalog`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub user_id: UserId,
    /// As its owner wrote it; see [`crate::Name`].
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// None: logs in at an identity provider only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Without [`Role::Viewer`], which goes without saying.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
    pub created_at_us: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Sessions that began before are over.
    #[serde(default)]
    pub sessions_valid_from_us: u64,
}

impl Entry {
    pub(crate) fn roles(&self) -> BTreeSet<Role> {
        let mut roles = self.roles.clone();
        roles.insert(Role::Viewer);
        roles
    }

    pub(crate) fn shown(&self) -> User {
        User {
            user_id: self.user_id,
            name: self.name.clone(),
            email: self.email.clone(),
            roles: self.roles(),
            created_at_us: self.created_at_us,
            disabled: self.disabled,
            external: self.external.clone(),
        }
    }
}

/// A user as others may know it. The e-mail address is for the user and admins.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Which one.
    pub user_id: UserId,
    /// As its owner wrote it.
    pub name: String,
    /// None for some who log in at an identity provider.
    pub email: Option<Email>,
    /// What it may do; [`Role::Viewer`] at least.
    pub roles: BTreeSet<Role>,
    /// When it signed up, in microseconds since 1970.
    pub created_at_us: u64,
    /// It may not log in, and its sessions are over.
    pub disabled: bool,
    /// Who it is at an identity provider, if it came from there.
    pub external: Option<External>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_texts() {
        let channel = UserId::at(1_700_000_000_000_000);
        for role in
            [Role::Viewer, Role::Streamer, Role::Moderator(channel), Role::Analyst, Role::Admin]
        {
            assert_eq!(role.to_string().parse(), Ok(role));
            let json = serde_json::to_string(&role).unwrap();
            assert_eq!(serde_json::from_str::<Role>(&json).unwrap(), role);
        }
        for text in ["", "root", "moderator", "moderator:", "moderator:x", "Admin"] {
            assert!(text.parse::<Role>().is_err(), "{text}");
        }
        assert_eq!(channel.0.get_timestamp().unwrap().to_unix(), (1_700_000_000, 0));
    }
}
