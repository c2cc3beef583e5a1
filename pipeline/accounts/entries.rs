//! How entries come to be and change: decisions made from the view, without any I/O.

use std::collections::BTreeSet;

use uuid::Uuid;

use records::UserId;

use crate::clock::Clock;
use crate::email::Email;
use crate::error::AccountError;
use crate::name::{NAME_CHARS_MAX, Name};
use crate::store::View;
use crate::token::KeyRingError;
use crate::user::{Entry, ROLES_MAX, Role};

/// The user without any session. The microsecond is past every session that began.
pub(crate) fn ended(entry: &Entry, clock: &Clock) -> Entry {
    let past = clock.now_us().max(entry.sessions_valid_from_us) + 1;
    Entry { sessions_valid_from_us: past, ..entry.clone() }
}

pub(crate) fn with_roles(entry: &Entry, mut roles: BTreeSet<Role>) -> Result<Entry, AccountError> {
    roles.remove(&Role::Viewer);
    match roles.len() > ROLES_MAX {
        true => Err(AccountError::TooManyRoles),
        false => Ok(Entry { roles, ..entry.clone() }),
    }
}

pub(crate) fn fresh(name: String, now_us: u64) -> Entry {
    Entry {
        user_id: UserId::at(now_us),
        name,
        email: None,
        password: None,
        external: None,
        roles: BTreeSet::new(),
        created_at_us: now_us,
        disabled: false,
        sessions_valid_from_us: 0,
    }
}

pub(crate) fn is_free(
    view: &View,
    name: &str,
    email: Option<&Email>,
    users_max: usize,
) -> Result<(), AccountError> {
    if view.len() >= users_max {
        return Err(AccountError::Full);
    }
    if view.is_taken(name) {
        return Err(AccountError::NameTaken);
    }
    match email.is_some_and(|email| view.has_email(&email.key())) {
        true => Err(AccountError::EmailTaken),
        false => Ok(()),
    }
}

/// A free name as near as may be to what somebody would like to be called.
pub(crate) fn free_name(view: &View, wish: Option<&str>) -> String {
    let wish = wish.unwrap_or_default().split('@').next().unwrap_or_default();
    let wish = wish.chars().take(NAME_CHARS_MAX - 5).map(|c| if c == ' ' { '_' } else { c });
    let wish = Name::parse(&wish.collect::<String>());
    let base = wish.map_or_else(|_| "viewer".to_owned(), |name| name.as_str().to_owned());
    let numbered = (2..100).map(|n| format!("{base}-{n}"));
    let mut wishes = std::iter::once(base.clone()).chain(numbered);
    // A hundred namesakes: any name will do.
    wishes.find(|name| !view.is_taken(name)).unwrap_or_else(|| format!("viewer-{:x}", view.len()))
}

pub(crate) fn random_id() -> Result<Uuid, AccountError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| KeyRingError::Random)?;
    Ok(uuid::Builder::from_random_bytes(random).into_uuid())
}
