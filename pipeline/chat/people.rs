//! Who somebody is in a room, and what they say as records.
//!
//! Enters: sessions. Leaves: what the moderator is told. Held: nothing. Never here: what
//! is allowed, but for whether a session still is one.

use std::sync::Arc;

use accounts::{Accounts, Role, Session};
use moderate::{Order, Person, Relation, Said, Standing};
use records::{Act, Badge, MessageId, UserId};
use runtime::wall_us;
use uuid::Uuid;

use super::lane::Lane;
use super::plane::SpokenBody;
use super::wire::Text;
use crate::catalog::Catalog;

/// Whoever holds the admin token, in records.
pub const OPERATOR: UserId = UserId(Uuid::nil());

/// See the module.
#[derive(Clone)]
pub struct People {
    accounts: Accounts,
    catalog: Arc<Catalog>,
}

impl People {
    /// Of these accounts, in rooms of these streams.
    #[must_use]
    pub fn new(accounts: Accounts, catalog: Arc<Catalog>) -> Self {
        Self { accounts, catalog }
    }

    /// The accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Whether somebody who came with this session may still act by it.
    #[must_use]
    pub fn may_still(&self, session: &Session) -> bool {
        session.expires_at_us > wall_us() && self.accounts.is_valid(session)
    }

    /// What a user is in this room, now.
    #[must_use]
    pub fn standing(&self, lane: &Lane, user: UserId) -> Standing {
        if user == OPERATOR {
            return Standing::Admin;
        }
        let Some(known) = self.accounts.get(user) else { return Standing::Viewer };
        let owner = self.catalog.get(lane.stream).and_then(|entry| entry.owner);
        match owner {
            _ if known.roles.contains(&Role::Admin) => Standing::Admin,
            Some(owner) if owner == user => Standing::Streamer,
            Some(owner) if known.roles.contains(&Role::Moderator(owner)) => Standing::Moderator,
            _ => Standing::Viewer,
        }
    }

    /// What a viewer is told of itself.
    #[must_use]
    pub fn you<'a>(&self, lane: &Lane, session: &'a Session) -> Text<'a> {
        let standing = self.standing(lane, session.user_id);
        Text::You {
            user_id: session.user_id,
            name: &session.name,
            roles: session.roles.iter().map(ToString::to_string).collect(),
            badges: badge(standing).into_iter().collect(),
            moderates: standing > Standing::Viewer,
        }
    }

    /// What a user would like to say, and what it is asked by.
    #[must_use]
    pub fn said(
        &self,
        lane: &Lane,
        session: &Session,
        text: String,
        client_id: Option<String>,
    ) -> (MessageId, SpokenBody) {
        let message_id = MessageId(Uuid::now_v7());
        let from = Person {
            user_id: session.user_id,
            name: session.name.clone(),
            standing: self.standing(lane, session.user_id),
            relation: Relation::default(),
        };
        let said = Said { message_id, from, text, client_id };
        (message_id, SpokenBody::Said { said, at_us: wall_us() })
    }

    /// What a moderator would like to do, and what it is asked by.
    #[must_use]
    pub fn ordered(&self, lane: &Lane, by: UserId, act: Act) -> (MessageId, SpokenBody) {
        let act_id = MessageId(Uuid::now_v7());
        let target = match &act {
            Act::Ban { user_id } | Act::TimeOut { user_id, .. } | Act::Unban { user_id } => {
                self.standing(lane, *user_id)
            }
            _ => Standing::Viewer,
        };
        let order = Order { act_id, by, standing: self.standing(lane, by), act, target };
        (act_id, SpokenBody::Ordered { order, at_us: wall_us() })
    }
}

fn badge(standing: Standing) -> Option<Badge> {
    match standing {
        Standing::Viewer => None,
        Standing::Moderator => Some(Badge::Moderator),
        Standing::Streamer => Some(Badge::Streamer),
        Standing::Admin => Some(Badge::Admin),
    }
}
