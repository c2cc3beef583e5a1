//! Passwords, and the slow hash of them.
//!
//! ```text
//! log-in, sign-up ──► queue (bounded) ──► so many at once, on blocking threads ──► argon2id
//! ```
//!
//! Enters: passwords in the clear. Leaves: PHC strings, or whether one matches.
//! Held: nothing but what waits; a password is overwritten when it is dropped.
//! Ends: what waits when its caller goes away; a hashing that has begun ends by
//! itself and keeps its place until then. Never: more memory than
//! `at_once` × 19 MiB, however many log in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::name::are_alike;

/// The shortest password, in characters (OWASP: at least 8).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// A password in the clear. `Debug` doesn't show it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// What is wrong with a new password; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordProblem {
    /// Too short or too long.
    #[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
    Length,
    /// It is what everybody would try first.
    #[error("a password isn't one's name or e-mail address")]
    Guessable,
}

impl Password {
    /// What somebody typed. Keyboards differ in how they compose an accent, so
    /// it is brought to normal form C (RFC 8265 4.2.1).
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let given = Zeroizing::new(text.into());
        if given.is_ascii() {
            return Self(given);
        }
        // Room for all of it, so that no part of it stays behind in memory on the way.
        let mut normal = Zeroizing::new(String::with_capacity(given.len() * 3));
        normal.extend(given.nfc());
        Self(normal)
    }

    /// Whether it may become the password of somebody called `name`.
    pub(crate) fn check(&self, name: &str, email: Option<&str>) -> Result<(), PasswordProblem> {
        let chars = self.0.chars().take(PASSWORD_CHARS_MAX + 1).count();
        if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
            return Err(PasswordProblem::Length);
        }
        let is_known = |text: &str| are_alike(text, &self.0);
        match is_known(name) || email.is_some_and(is_known) {
            true => Err(PasswordProblem::Guessable),
            false => Ok(()),
        }
    }

    /// None: longer than any that was accepted, so it is nobody's.
    fn bytes(&self) -> Option<&[u8]> {
        (self.0.len() <= 4 * PASSWORD_CHARS_MAX).then_some(self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A hashed password, as a PHC string. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// How dear a hashing is, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashConfig {
    /// Memory of one hashing, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashings at once, at least 1; each takes a core for some 20 ms.
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
#[derive(Clone, Debug, thiserror::Error)]
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
    /// Ours: the thread died, or the server stops.
    #[error("the hashing of a password was interrupted")]
    Interrupted,
}

/// Hashes passwords, so many at once.
pub(crate) struct Hasher {
    argon: Argon2<'static>,
    running: Arc<Semaphore>,
    present: Arc<Semaphore>,
    // Compared with when there is nothing to compare with, so that it takes as long.
    decoy: PasswordHash,
    done: Arc<AtomicU64>,
}

impl Hasher {
    /// Hashes once, which takes a moment.
    pub(crate) fn new(config: HashConfig) -> Result<Self, HashError> {
        let params =
            Params::new(config.memory_kib, config.passes, 1, None).map_err(HashError::Config)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut nobodys = [0u8; 32];
        getrandom::fill(&mut nobodys)
            .map_err(|_| HashError::Failed(password_hash::Error::Crypto))?;
        let decoy = hash_with(&argon, &nobodys)?;
        let at_once = config.at_once.max(1);
        Ok(Self {
            argon,
            running: Arc::new(Semaphore::new(at_once)),
            present: Arc::new(Semaphore::new(at_once + config.waiting_max)),
            decoy,
            done: Arc::default(),
        })
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
        let present = Arc::clone(&self.present).try_acquire_owned().map_err(|_| HashError::Busy)?;
        let running =
            Arc::clone(&self.running).acquire_owned().await.map_err(|_| HashError::Interrupted)?;
        let (argon, done) = (self.argon.clone(), Arc::clone(&self.done));
        let thread = tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that goes away doesn't make room early.
            let _places = (present, running);
            done.fetch_add(1, Ordering::Relaxed);
            work(&argon)
        });
        thread.await.map_err(|_| HashError::Interrupted)?
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
        let hasher = Arc::new(Hasher::new(CHEAP).unwrap());
        let (gate, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let held: Vec<_> = (0..3)
            .map(|_| {
                let (hasher, wait) = (Arc::clone(&hasher), Arc::clone(&wait));
                tokio::spawn(async move {
                    hasher
                        .run(move |_| wait.lock().unwrap().recv().map_err(|_| HashError::Busy))
                        .await
                })
            })
            .collect();
        while hasher.present.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(hasher.hash(&Password::new("x")).await, Err(HashError::Busy)));
        tokio::task::spawn_blocking(move || (0..3).for_each(|_| gate.send(()).unwrap()))
            .await
            .unwrap();
        for task in held {
            task.await.unwrap().unwrap();
        }
        assert!(hasher.hash(&Password::new("x")).await.is_ok());
    }

    #[test]
    fn guessable_passwords_are_refused() {
        let check = |text: &str| Password::new(text).check("Anna_Smith", Some("anna@example.com"));
        assert_eq!(check("1234567"), Err(PasswordProblem::Length));
        assert_eq!(check(&"x".repeat(129)), Err(PasswordProblem::Length));
        assert_eq!(check("ANNA_smith"), Err(PasswordProblem::Guessable));
        assert_eq!(check("Anna@Example.com"), Err(PasswordProblem::Guessable));
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check(&"ü".repeat(128)), Ok(()));
    }
}
