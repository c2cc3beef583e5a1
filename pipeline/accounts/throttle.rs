//! How often one may try: each failure beyond a few doubles the wait.
//!
//! ```text
//! attempt ──admit──► charged as a failure ──succeeded──► the account's failures are forgotten
//!    │                                    ──refund─────► as if it hadn't been
//!    └── still waiting: how long
//! ```
//!
//! Enters: attempts, by account (existing or not, so that the answer tells
//! nothing) and by address (IPv6: by /64, which is what one customer gets).
//! Leaves: whether an attempt may go on. An attempt counts as failed from its
//! beginning, so a thousand at once are not a thousand guesses.
//! Held: tables of a fixed size, 32 bytes an entry, made once: whatever
//! strangers do, memory stays. Never: names or addresses; only keyed hashes.
//!
//! A table is sets of eight; in a full set the newcomer replaces whoever has
//! failed least. To have an account's failures forgotten, somebody would have
//! to fail as often for eight others of its set, without knowing which share it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// Entries that share a place in a table.
const WAYS: usize = 8;

/// How attempts of one kind are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Failures without a wait.
    pub free: u32,
    /// The wait after the first failure beyond; each further one doubles it.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Failures are forgotten this long after the last one's wait.
    pub forget: Duration,
}

/// How log-ins and sign-ups are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleConfig {
    /// Failed log-ins for one account. Anybody can make an account's owner wait
    /// up to `longest`; sessions that exist are not affected.
    pub account: Backoff,
    /// Failed log-ins from one address.
    pub address: Backoff,
    /// Sign-ups from one address, successful ones included.
    pub sign_up: Backoff,
    /// Accounts or addresses remembered, each; rounded up to a power of two.
    /// Three tables of 32 bytes an entry.
    pub entries: usize,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        let backoff = |free, first, longest, forget| Backoff {
            free,
            first: Duration::from_secs(first),
            longest: Duration::from_secs(longest),
            forget: Duration::from_secs(forget),
        };
        Self {
            account: backoff(5, 1, 300, 3600),
            address: backoff(20, 1, 900, 3600),
            sign_up: backoff(10, 30, 3600, 3600),
            entries: 1 << 16,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    // A keyed hash of whom it is about; 64 bits, so two of them don't meet.
    tag: u64,
    until_us: u64,
    last_us: u64,
    failures: u32,
}

struct Table {
    backoff: Backoff,
    sets: Vec<[Slot; WAYS]>,
}

impl Table {
    fn new(backoff: Backoff, entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1).next_power_of_two();
        Self { backoff, sets: vec![[Slot::default(); WAYS]; sets] }
    }

    fn set(&mut self, tag: u64) -> &mut [Slot; WAYS] {
        let at = tag as usize & (self.sets.len() - 1);
        &mut self.sets[at]
    }

    fn find(&mut self, tag: u64) -> Option<&mut Slot> {
        self.set(tag).iter_mut().find(|slot| slot.failures > 0 && slot.tag == tag)
    }

    fn wait_us(&mut self, tag: u64, now_us: u64) -> u64 {
        self.find(tag).map_or(0, |slot| slot.until_us.saturating_sub(now_us))
    }

    /// Counts a failure; until when there is a wait.
    fn charge(&mut self, tag: u64, now_us: u64) -> u64 {
        let Backoff { free, first, longest, forget } = self.backoff;
        let forget_us = forget.as_micros() as u64;
        let is_over = |slot: &Slot| slot.last_us.max(slot.until_us) + forget_us <= now_us;
        let set = self.set(tag);
        let at = set.iter().position(|slot| slot.failures > 0 && slot.tag == tag);
        let at = at.unwrap_or_else(|| {
            let least = |at: &usize| match is_over(&set[*at]) {
                true => (0, 0),
                false => (set[*at].failures, set[*at].last_us),
            };
            (0..WAYS).min_by_key(least).unwrap_or(0)
        });
        let slot = &mut set[at];
        if slot.tag != tag || is_over(slot) {
            *slot = Slot { tag, ..Slot::default() };
        }
        slot.failures = slot.failures.saturating_add(1);
        slot.last_us = now_us;
        if slot.failures > free {
            let doublings = (slot.failures - free - 1).min(31);
            let wait = first.saturating_mul(1 << doublings).min(longest);
            slot.until_us = now_us + wait.as_micros() as u64;
        }
        slot.until_us
    }

    /// Takes a charge back, and the wait that it made if no later one made another.
    fn refund(&mut self, tag: u64, until_us: u64) {
        let Some(slot) = self.find(tag) else { return };
        slot.failures -= 1;
        if slot.until_us == until_us {
            slot.until_us = 0;
        }
    }

    fn clear(&mut self, tag: u64) {
        if let Some(slot) = self.find(tag) {
            *slot = Slot::default();
        }
    }
}

/// An attempt under way, charged to an account and an address.
#[must_use]
pub(crate) struct Ticket {
    account: (u64, u64),
    address: (u64, u64),
}

struct Tables {
    account: Table,
    address: Table,
    sign_up: Table,
}

/// The tables.
pub(crate) struct Throttle {
    // Seeded at random: nobody can aim at a set.
    hash: RandomState,
    tables: Mutex<Tables>,
}

impl Throttle {
    pub(crate) fn new(config: ThrottleConfig) -> Self {
        Self {
            hash: RandomState::new(),
            tables: Mutex::new(Tables {
                account: Table::new(config.account, config.entries),
                address: Table::new(config.address, config.entries),
                sign_up: Table::new(config.sign_up, config.entries),
            }),
        }
    }

    /// Begins an attempt to log in, or says how long to wait.
    pub(crate) fn admit(
        &self,
        account: &str,
        from: IpAddr,
        now_us: u64,
    ) -> Result<Ticket, Duration> {
        let (account, address) = (self.hash.hash_one(account), self.hash.hash_one(network(from)));
        let tables = &mut *self.tables.lock();
        let wait =
            tables.account.wait_us(account, now_us).max(tables.address.wait_us(address, now_us));
        if wait > 0 {
            return Err(Duration::from_micros(wait));
        }
        Ok(Ticket {
            account: (account, tables.account.charge(account, now_us)),
            address: (address, tables.address.charge(address, now_us)),
        })
    }

    /// The attempt succeeded: who knows the password isn't guessing it. The
    /// address keeps its other failures, else one's own account would clear them.
    pub(crate) fn succeeded(&self, ticket: Ticket) {
        let tables = &mut *self.tables.lock();
        tables.account.clear(ticket.account.0);
        tables.address.refund(ticket.address.0, ticket.address.1);
    }

    /// The attempt came to no answer.
    pub(crate) fn refund(&self, ticket: Ticket) {
        let tables = &mut *self.tables.lock();
        tables.account.refund(ticket.account.0, ticket.account.1);
        tables.address.refund(ticket.address.0, ticket.address.1);
    }

    /// Counts a sign-up, or says how long to wait.
    pub(crate) fn sign_up(&self, from: IpAddr, now_us: u64) -> Result<(), Duration> {
        let address = self.hash.hash_one(network(from));
        let table = &mut self.tables.lock().sign_up;
        match table.wait_us(address, now_us) {
            0 => {
                table.charge(address, now_us);
                Ok(())
            }
            wait => Err(Duration::from_micros(wait)),
        }
    }
}

/// What counts as one address.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn throttle() -> Throttle {
        Throttle::new(ThrottleConfig { entries: 1024, ..ThrottleConfig::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn waits_double_and_end() {
        let throttle = throttle();
        let mut now = S;
        for _ in 0..5 {
            let _ = throttle.admit("ann", ip("10.0.0.1"), now).ok().unwrap();
        }
        for expected in [1u64, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            // From anywhere: it is the account's.
            let from = ip(&format!("10.1.0.{}", expected % 250));
            let _ = throttle.admit("ann", from, now).ok().unwrap();
            let wait = throttle.admit("ann", ip("10.2.0.1"), now).err().unwrap();
            assert_eq!(wait, Duration::from_secs(expected));
            assert!(
                throttle.admit("ann", ip("10.2.0.1"), now + wait.as_micros() as u64 - 1).is_err()
            );
            now += wait.as_micros() as u64;
        }
        // An hour after the last wait it is forgotten.
        now += 3600 * S;
        for _ in 0..5 {
            let _ = throttle.admit("ann", ip("10.0.0.1"), now).ok().unwrap();
        }
    }

    #[test]
    fn success_forgets_the_account_and_not_the_address() {
        let throttle = throttle();
        for n in 0..20 {
            let _ = throttle.admit(&format!("user {n}"), ip("10.0.0.1"), S).ok().unwrap();
        }
        // The next one waits, unless it is right.
        let ticket = throttle.admit("ann", ip("10.0.0.1"), S).ok().unwrap();
        assert!(throttle.admit("bob", ip("10.0.0.1"), S).is_err());
        throttle.succeeded(ticket);
        let _ = throttle.admit("bob", ip("10.0.0.1"), S).ok().unwrap();
        assert!(
            throttle.admit("bob", ip("10.0.0.1"), S).is_err(),
            "twenty failures are still there"
        );
    }

    #[test]
    fn attempts_at_once_are_not_more_guesses() {
        let throttle = throttle();
        let admitted = (0..1000).filter(|n| {
            let from = IpAddr::from([10, 0, (n / 250) as u8, (n % 250) as u8]);
            throttle.admit("ann", from, S).is_ok()
        });
        assert_eq!(admitted.count(), 6, "five free ones and the one that begins the wait");
    }

    #[test]
    fn one_customer_is_one_address() {
        let throttle = throttle();
        let admitted = (0..100).filter(|n| {
            throttle.admit(&n.to_string(), ip(&format!("2001:db8:1:2::{n:x}")), S).is_ok()
        });
        assert_eq!(admitted.count(), 21);
        assert!(throttle.admit("x", ip("2001:db8:1:3::1"), S).is_ok());
        assert_eq!(network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn a_flood_of_others_doesnt_free_who_failed_often() {
        let throttle = throttle();
        for _ in 0..6 {
            let _ = throttle.admit("ann", ip("10.0.0.1"), S).ok().unwrap();
        }
        for n in 0..100_000u32 {
            let from = IpAddr::from((n | 0x0b00_0000).to_be_bytes());
            let _ = throttle.admit(&format!("other {n}"), from, S);
        }
        assert!(throttle.admit("ann", ip("10.0.0.9"), S).is_err());
        let tables = throttle.tables.lock();
        assert_eq!(tables.account.sets.len() * WAYS, 1024);
        assert_eq!(std::mem::size_of::<Slot>(), 32);
    }

    #[test]
    fn sign_ups_are_counted_by_address() {
        let throttle = throttle();
        let done = (0..100).filter(|_| throttle.sign_up(ip("10.0.0.1"), S).is_ok()).count();
        assert_eq!(done, 11);
        assert!(throttle.sign_up(ip("10.0.0.2"), S).is_ok());
    }

    #[test]
    fn what_came_to_no_answer_costs_nothing() {
        let throttle = throttle();
        for _ in 0..100 {
            let ticket = throttle.admit("ann", ip("10.0.0.1"), S).ok().unwrap();
            throttle.refund(ticket);
        }
    }
}
