//! Who is in a room: sockets, and people who may have several.
//!
//! - **Enters**: a tag when a socket joins (or a video viewer begins), the same tag when
//!   it leaves. **Leaves**: two numbers.
//! - **Held**: one small entry per person, under a lock that is held for one look-up.
//! - **Never here**: names, or a walk over all viewers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Who somebody is, the same on all their sockets: an account's or a session's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserTag(pub u128);

/// How many are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Viewers {
    /// Entries that haven't left.
    pub sockets: usize,
    /// Different people among them.
    pub users: usize,
}

/// A room's count.
#[derive(Debug, Default)]
pub struct Presence {
    users: Mutex<HashMap<UserTag, u32>>,
    sockets: AtomicUsize,
    distinct: AtomicUsize,
}

impl Presence {
    /// One more for `user`; each must leave once.
    pub fn enter(&self, user: UserTag) {
        let mut users = self.users.lock();
        *users.entry(user).or_insert(0) += 1;
        self.distinct.store(users.len(), Ordering::Relaxed);
        self.sockets.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Of somebody who isn't there it changes nothing.
    pub fn leave(&self, user: UserTag) {
        let mut users = self.users.lock();
        let Some(entries) = users.get_mut(&user) else { return };
        *entries -= 1;
        if *entries == 0 {
            users.remove(&user);
            // A raid leaves room for a hundred thousand behind.
            if users.capacity() > 1024 && users.len() < users.capacity() / 8 {
                users.shrink_to_fit();
            }
        }
        self.distinct.store(users.len(), Ordering::Relaxed);
        self.sockets.fetch_sub(1, Ordering::Relaxed);
    }

    /// The numbers now; waits for nobody.
    pub fn viewers(&self) -> Viewers {
        Viewers {
            sockets: self.sockets.load(Ordering::Relaxed),
            users: self.distinct.load(Ordering::Relaxed),
        }
    }

    /// Whether somebody is there.
    pub fn has(&self, user: UserTag) -> bool {
        self.users.lock().contains_key(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_count_once() {
        let presence = Presence::default();
        for user in [1, 2, 1, 1] {
            presence.enter(UserTag(user));
        }
        assert_eq!(presence.viewers(), Viewers { sockets: 4, users: 2 });
        presence.leave(UserTag(1));
        assert!(presence.has(UserTag(1)));
        presence.leave(UserTag(1));
        presence.leave(UserTag(1));
        presence.leave(UserTag(1));
        assert_eq!(presence.viewers(), Viewers { sockets: 1, users: 1 });
        assert!(!presence.has(UserTag(1)));
    }

    #[test]
    fn a_raid_leaves_no_memory_behind() {
        let presence = Presence::default();
        for user in 0..50_000 {
            presence.enter(UserTag(user));
        }
        for user in 10..50_000 {
            presence.leave(UserTag(user));
        }
        assert!(presence.users.lock().capacity() < 2048);
        assert_eq!(presence.viewers(), Viewers { sockets: 10, users: 10 });
    }
}
