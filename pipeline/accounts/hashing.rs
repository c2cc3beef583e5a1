//! The slow hash of passwords, on threads of its own.
//!
//! ```text
//! log-in, sign-up ──► queue (bounded) ──► so many threads, nice ──► argon2id
//! ```
//!
//! Enters: passwords in the clear. Leaves: PHC strings, or whether one matches.
//! Held: what waits; a password is overwritten when it is dropped. Ends: the
//! threads, with the last handle; what waits, when its caller goes away. Never:
//! more memory than `at_once` × 19 MiB, however many log in; a core taken from
//! live video, which the scheduler serves first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::password::{Password, PasswordHash};

/// Niceness of the threads: about a tenth of a busy core's time beside normal ones.
const NICENESS: i32 = 10;

/// How dear a hashing is, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashConfig {
    /// Memory of one hashing, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashings at once, at least 1; each takes a core for tens of milliseconds.
    pub at_once: usize,
    /// Those that may wait beside; more are refused with [`HashError::Busy`].
    pub waiting_max: usize,
}

impl Default for HashConfig {
    /// OWASP's first choice for argon2id with one lane: 19 MiB, two passes.
    fn default() -> Self {
        Self { memory_kib: 19 << 10, passes: 2, at_once: 2, waiting_max: 64 }
    }
}

/// Why a password wasn't hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many want to log in; a retry helps.
    #[error("too many log-ins at once; try again shortly")]
    Busy,
    /// The operator's: the settings can't be used.
    #[error("the settings of password hashing can't be used: {0}")]
    Config(argon2::Error),
    /// Ours, or the machine's: no memory, no random numbers.
    #[error("a password couldn't be hashed: {0}")]
    Failed(password_hash::Error),
    /// The machine's: no thread can be started.
    #[error("cannot start a thread for password hashing: {0}")]
    Thread(std::io::Error),
    /// Ours: the thread died, or the server stops.
    #[error("the hashing of a password was interrupted")]
    Interrupted,
}

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// Hashes passwords, so many at once.
pub(crate) struct Hasher {
    argon: Argon2<'static>,
    jobs: SyncSender<Job>,
    // Compared with when there is nothing to compare with, so that it takes as long.
    decoy: PasswordHash,
    done: Arc<AtomicU64>,
}

impl Hasher {
    /// Starts the threads and hashes once, which takes a moment.
    pub(crate) fn new(config: HashConfig) -> Result<Self, HashError> {
        let params =
            Params::new(config.memory_kib, config.passes, 1, None).map_err(HashError::Config)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut nobodys = [0u8; 32];
        getrandom::fill(&mut nobodys)
            .map_err(|_| HashError::Failed(password_hash::Error::Crypto))?;
        let decoy = hash_with(&argon, &nobodys)?;
        let (jobs, queue) = mpsc::sync_channel(config.waiting_max.max(1));
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..config.at_once.max(1) {
            let (argon, queue) = (argon.clone(), Arc::clone(&queue));
            let builder = thread::Builder::new().name("passwords".into());
            builder.spawn(move || work(&argon, &queue)).map_err(HashError::Thread)?;
        }
        Ok(Self { argon, jobs, decoy, done: Arc::default() })
    }

    /// Hashings since the start.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Whether `hash` was made with other settings than those of now.
    pub(crate) fn is_outdated(&self, hash: &PasswordHash) -> bool {
        let params = Phc::new(&hash.0).ok().and_then(|phc| Params::try_from(&phc).ok());
        let now = self.argon.params();
        params.is_none_or(|of| (of.m_cost(), of.t_cost()) != (now.m_cost(), now.t_cost()))
    }

    pub(crate) async fn hash(&self, password: &Password) -> Result<PasswordHash, HashError> {
        let password = password.clone();
        self.run(move |argon| hash_with(argon, password.bytes().unwrap_or_default())).await
    }

    /// Whether `hash` is of `password`. Without a hash the answer is no, after as much work.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        hash: Option<&PasswordHash>,
    ) -> Result<bool, HashError> {
        let is_real = hash.is_some() && password.bytes().is_some();
        let (hash, password) = (hash.unwrap_or(&self.decoy).clone(), password.clone());
        self.run(move |argon| {
            let phc = Phc::new(&hash.0)
                .map_err(|_| HashError::Failed(password_hash::Error::EncodingInvalid))?;
            match argon.verify_password(password.bytes().unwrap_or_default(), &phc) {
                Ok(()) => Ok(is_real),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(HashError::Failed(error)),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, HashError> {
        self.submit(work)?.await.map_err(|_| HashError::Interrupted)?
    }

    /// Queues some work, if there is room.
    fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, HashError>>, HashError> {
        let (answer, answered) = oneshot::channel();
        let done = Arc::clone(&self.done);
        let job: Job = Box::new(move |argon| {
            // Whoever waited may have gone.
            if !answer.is_closed() {
                done.fetch_add(1, Ordering::Relaxed);
                let _ = answer.send(work(argon));
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => Ok(answered),
            Err(mpsc::TrySendError::Full(_)) => Err(HashError::Busy),
            Err(mpsc::TrySendError::Disconnected(_)) => Err(HashError::Interrupted),
        }
    }
}

/// A thread: one job after the other until the hasher is dropped.
fn work(argon: &Argon2<'static>, queue: &Mutex<Receiver<Job>>) {
    // On Linux the priority of process 0 is the calling thread's own.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "threads that hash passwords keep the normal priority");
    }
    loop {
        // The lock is held while waiting, not while working.
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        job(argon);
    }
}

fn hash_with(argon: &Argon2<'_>, password: &[u8]) -> Result<PasswordHash, HashError> {
    let phc = argon.hash_password(password).map_err(HashError::Failed)?;
    Ok(PasswordHash(phc.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashConfig = HashConfig { memory_kib: 8, passes: 1, at_once: 2, waiting_max: 1 };

    #[tokio::test]
    async fn hashes_are_argon2id_as_owasp_wants_them() {
        let hasher = Hasher::new(HashConfig::default()).unwrap();
        let password = Password::new("correct horse");
        let hash = hasher.hash(&password).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(hasher.verify(&password, Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&Password::new("correct hors"), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(&password, None).await.unwrap());
        assert_eq!(hasher.done(), 4);
        assert_ne!(hash, hasher.hash(&password).await.unwrap(), "salted");
        assert!(!hasher.is_outdated(&hash));
        assert!(Hasher::new(CHEAP).unwrap().is_outdated(&hash));
        assert!(!format!("{hash:?} {password:?}").contains("horse"));
    }

    #[tokio::test]
    async fn composed_and_decomposed_accents_are_one_password() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let hash = hasher.hash(&Password::new("caf\u{e9} au lait")).await.unwrap();
        assert!(hasher.verify(&Password::new("cafe\u{301} au lait"), Some(&hash)).await.unwrap());
    }

    /// An endless password costs what another costs, and is nobody's.
    #[tokio::test]
    async fn too_long_a_password_matches_nothing() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let empty = hasher.hash(&Password::new("")).await.unwrap();
        assert!(!hasher.verify(&Password::new("x".repeat(1 << 20)), Some(&empty)).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_the_queue_is_busy() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let (gate, wait) = mpsc::sync_channel::<()>(0);
        let wait = Arc::new(Mutex::new(wait));
        let submit = || {
            let wait = Arc::clone(&wait);
            hasher.submit(move |_| wait.lock().recv().map_err(|_| HashError::Busy))
        };
        let mut held = Vec::new();
        for begun in 1..=2 {
            held.push(submit().unwrap());
            while hasher.done() < begun {
                tokio::task::yield_now().await;
            }
        }
        held.push(submit().unwrap());
        assert!(matches!(hasher.hash(&Password::new("x")).await, Err(HashError::Busy)));
        let opened =
            tokio::task::spawn_blocking(move || (0..3).for_each(|_| gate.send(()).unwrap()));
        opened.await.unwrap();
        for answer in held {
            answer.await.unwrap().unwrap();
        }
        assert!(hasher.hash(&Password::new("x")).await.is_ok());
    }

    #[tokio::test]
    async fn who_has_gone_away_costs_no_hashing() {
        let hasher = Hasher::new(HashConfig { at_once: 1, waiting_max: 4, ..CHEAP }).unwrap();
        let (gate, wait) = mpsc::sync_channel::<()>(0);
        let first = hasher.submit(move |_| wait.recv().map_err(|_| HashError::Busy)).unwrap();
        while hasher.done() == 0 {
            tokio::task::yield_now().await;
        }
        drop(hasher.submit(|_| Ok(())).unwrap());
        tokio::task::spawn_blocking(move || gate.send(()).unwrap()).await.unwrap();
        first.await.unwrap().unwrap();
        hasher.hash(&Password::new("x")).await.unwrap();
        assert_eq!(hasher.done(), 2);
    }

    #[tokio::test]
    async fn its_threads_are_nice() {
        let hasher = Hasher::new(CHEAP).unwrap();
        let niceness = hasher.submit(|_| Ok(rustix::process::getpriority_process(None).unwrap()));
        assert!(niceness.unwrap().await.unwrap().unwrap() >= NICENESS);
    }
}
