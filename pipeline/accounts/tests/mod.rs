//! What must hold across forgers, races, floods and restarts.

mod external;
mod forged;
mod life;
mod races;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use log::{Answer, Embedded, Log, NewRecord, Record, Topic};
use tempfile::TempDir;

use crate::*;

/// A Tuesday in 2026, in microseconds.
pub(super) const START_US: u64 = 1_790_000_000_000_000;
pub(super) const S: u64 = 1_000_000;

/// Accounts in a directory, at a time that the test sets.
pub(super) struct Place {
    pub dir: TempDir,
    pub now_us: Arc<AtomicU64>,
    pub config: AccountsConfig,
    pub fetch: Option<Arc<dyn Fetch>>,
}

impl Place {
    pub fn new() -> Self {
        let hash = HashConfig { memory_kib: 8, passes: 1, at_once: 2, waiting_max: 500 };
        Self {
            dir: tempfile::tempdir().unwrap(),
            now_us: Arc::new(AtomicU64::new(START_US)),
            config: AccountsConfig { hash, ..AccountsConfig::default() },
            fetch: None,
        }
    }

    pub async fn open(&self) -> Accounts {
        self.open_at(self.dir.path()).await
    }

    pub async fn open_at(&self, data: &Path) -> Accounts {
        self.open_on(Arc::new(Embedded::open(data).unwrap()), data).await
    }

    pub async fn open_on(&self, log: Arc<dyn Log>, data: &Path) -> Accounts {
        let now_us = Arc::clone(&self.now_us);
        let clock = Clock::new(move || now_us.load(Ordering::SeqCst));
        Accounts::open(log, data, self.config.clone(), clock, self.fetch.clone()).await.unwrap()
    }

    pub fn pass(&self, time: Duration) {
        self.now_us.fetch_add(time.as_micros() as u64, Ordering::SeqCst);
    }
}

/// Some address; each number is another customer's.
pub(super) fn from(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

pub(super) fn said(name: &str) -> SignUp {
    SignUp {
        name: name.into(),
        email: format!("{name}@example.com"),
        password: Password::new(PASSWORD),
    }
}

pub(super) const PASSWORD: &str = "correct horse battery";

pub(super) fn right() -> Password {
    Password::new(PASSWORD)
}

pub(super) fn wrong() -> Password {
    Password::new("incorrect horse")
}

/// A real log whose appends can be made to fail after they were written, as
/// they do when the answer of a broker is lost, and to wait.
pub(super) struct Lossy {
    pub log: Embedded,
    pub loses_answers: AtomicBool,
    /// Whoever holds it makes appends wait.
    pub gate: tokio::sync::Mutex<()>,
    /// Appends that came.
    pub came: AtomicU64,
}

impl Lossy {
    pub fn open(data: &Path) -> Arc<Self> {
        let log = Embedded::open(data).unwrap();
        Arc::new(Self { log, loses_answers: false.into(), gate: ().into(), came: 0.into() })
    }
}

impl Log for Lossy {
    fn append_many(&self, topic: Topic, records: Vec<NewRecord>) -> Answer<'_, Vec<u64>> {
        Box::pin(async move {
            self.came.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.lock().await);
            let offsets = self.log.append_many(topic, records).await?;
            match self.loses_answers.load(Ordering::SeqCst) {
                true => Err(log::Error::Closed),
                false => Ok(offsets),
            }
        })
    }

    fn read(&self, topic: Topic, part: u16, from: u64, max: usize) -> Answer<'_, Vec<Record>> {
        self.log.read(topic, part, from, max)
    }

    fn latest(&self, topic: Topic) -> Answer<'_, Vec<Record>> {
        self.log.latest(topic)
    }

    fn bounds(&self, topic: Topic, partition: u16) -> Answer<'_, std::ops::Range<u64>> {
        self.log.bounds(topic, partition)
    }

    fn trim(&self, topic: Topic, partition: u16, below: u64) -> Answer<'_, ()> {
        self.log.trim(topic, partition, below)
    }

    fn health(&self) -> Result<(), log::Error> {
        self.log.health()
    }
}
