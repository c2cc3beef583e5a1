//! What was accepted lately under senders' own names, so that a retry is known.

use std::collections::{HashMap, VecDeque};

use records::UserId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::said::Receipt;

/// The newest messages that have a `client_id`: 100 bytes each, no more than
/// the server's rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Uuid, Receipt)>", into = "Vec<(Uuid, Receipt)>")]
pub(crate) struct Retries {
    known: HashMap<Uuid, Receipt>,
    // By age.
    order: VecDeque<(Uuid, u64)>,
}

impl Retries {
    pub(crate) fn find(
        &self,
        user: UserId,
        client_id: &str,
        keep_us: u64,
        now_us: u64,
    ) -> Option<Receipt> {
        let receipt = self.known.get(&key(user, client_id))?;
        (receipt.sent_at_us + keep_us > now_us).then_some(*receipt)
    }

    pub(crate) fn add(
        &mut self,
        user: UserId,
        client_id: &str,
        receipt: Receipt,
        keep_us: u64,
        max: usize,
    ) {
        let now_us = receipt.sent_at_us;
        let is_over = |at: &u64| at + keep_us <= now_us;
        while let Some((key, at)) = self.order.front()
            && (is_over(at) || self.order.len() >= max.max(1))
        {
            self.known.remove(key);
            self.order.pop_front();
        }
        let key = key(user, client_id);
        if max > 0 && self.known.insert(key, receipt).is_none() {
            self.order.push_back((key, now_us));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

/// 128 bits that nobody finds twice: one user's names don't meet another's.
fn key(user: UserId, client_id: &str) -> Uuid {
    let mut hash = blake3::Hasher::new();
    hash.update(user.0.as_bytes()).update(client_id.as_bytes());
    let mut key = [0; 16];
    hash.finalize_xof().fill(&mut key);
    Uuid::from_bytes(key)
}

impl From<Vec<(Uuid, Receipt)>> for Retries {
    fn from(entries: Vec<(Uuid, Receipt)>) -> Self {
        let order = entries.iter().map(|(key, receipt)| (*key, receipt.sent_at_us)).collect();
        Self { known: entries.into_iter().collect(), order }
    }
}

impl From<Retries> for Vec<(Uuid, Receipt)> {
    fn from(retries: Retries) -> Self {
        let Retries { known, order } = retries;
        order
            .iter()
            .filter_map(|(key, _)| known.get_key_value(key))
            .map(|(k, r)| (*k, *r))
            .collect()
    }
}
