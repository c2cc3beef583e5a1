//! Somebody who has proved who they are.

use std::collections::BTreeSet;

use records::UserId;

use crate::user::{Entry, Role};

/// Who a token's bearer is, and what they may do now. Lasts no longer than
/// [`crate::Accounts::is_valid`] says: whoever keeps one (a socket) asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub user_id: UserId,
    /// What they are called.
    pub name: String,
    /// What they could do when the token was looked at; [`Role::Viewer`] at least.
    pub roles: BTreeSet<Role>,
    /// When the session began, in microseconds since 1970.
    pub issued_at_us: u64,
    /// When it ends at the latest, in microseconds since 1970.
    pub expires_at_us: u64,
}

impl Session {
    pub(crate) fn of(entry: &Entry, issued_at_us: u64, expires_at_us: u64) -> Self {
        Self {
            user_id: entry.user_id,
            name: entry.name.clone(),
            roles: entry.roles(),
            issued_at_us,
            expires_at_us,
        }
    }

    /// Whether they have the role; admins have all of them.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::Admin)
    }

    /// Whether they may moderate the channel: its streamer, its moderators and admins.
    #[must_use]
    pub fn may_moderate(&self, channel: UserId) -> bool {
        let is_own = channel == self.user_id && self.roles.contains(&Role::Streamer);
        is_own || self.has(Role::Moderator(channel))
    }
}
