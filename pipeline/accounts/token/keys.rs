//! The keys that sign sessions.
//!
//! ```text
//! DATA/session-keys.json (0600) ──open──► KeyRing ──sign──► newest key
//!           ▲                               └──verify──► by kid, until its last token is over
//!           └──rotate: written and synced before the new key signs
//! ```
//!
//! Held: a handful of keys. Ends: a key that was replaced, once no token of it
//! can be alive. Never: a private key in `Debug`, in an error or in a log.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header};
use parking_lot::{Mutex, RwLock};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Claims, TokenError};

/// Where the data directory keeps them.
pub const KEYS_FILE: &str = "session-keys.json";

/// What goes wrong with keys; the machine's or its operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The file can't be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error("{path} may be read by others; run chmod 600 {path}, or delete it to end all sessions")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It holds no keys.
    #[error(
        "{path} holds no usable keys; restore it from a backup, or delete it to end all sessions"
    )]
    Content {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("cannot get random numbers from the system")]
    Random,
    /// Ours: a token couldn't be made.
    #[error("cannot sign a session")]
    Sign,
}

/// As stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// Oldest first; the last one signs.
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    created_at_us: u64,
    /// None: the one that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verifies_until_us: Option<u64>,
    /// PKCS#8 in base64.
    private: String,
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

/// A key as others need it to check our tokens: a JWK (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
    x: String,
}

#[derive(Clone)]
struct Key {
    kid: String,
    created_at_us: u64,
    verifies_until_us: Option<u64>,
    private: Arc<Zeroizing<Vec<u8>>>,
    public: DecodingKey,
}

impl Key {
    fn generate(now_us: u64) -> Result<Self, KeyRingError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyRingError::Random)?;
        let private = Zeroizing::new(pkcs8.as_ref().to_vec());
        Self::new(private, now_us, None).ok_or(KeyRingError::Random)
    }

    fn new(
        private: Zeroizing<Vec<u8>>,
        created_at_us: u64,
        verifies_until_us: Option<u64>,
    ) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&private).ok()?;
        let public = pair.public_key().as_ref();
        let digest = ring::digest::digest(&ring::digest::SHA256, public);
        Some(Self {
            kid: URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12]),
            created_at_us,
            verifies_until_us,
            public: DecodingKey::from_ed_der(public),
            private: Arc::new(private),
        })
    }
}

/// The keys.
pub(crate) struct KeyRing {
    path: PathBuf,
    // Oldest first, never empty; the last one signs.
    keys: RwLock<Vec<Key>>,
    // Held by whoever replaces them.
    rotating: Mutex<()>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.read().len())
    }
}

impl KeyRing {
    /// Reads the keys of the data directory, or makes the first one.
    pub(crate) fn open(data: &Path, now_us: u64) -> Result<Self, KeyRingError> {
        super::crypto::install();
        let path = data.join(KEYS_FILE);
        let keys = match read(&path)? {
            Some(keys) => keys,
            None => {
                let keys = vec![Key::generate(now_us)?];
                write(&path, &keys)?;
                keys
            }
        };
        Ok(Self { path, keys: RwLock::new(keys), rotating: Mutex::new(()) })
    }

    /// When the key that signs was made.
    pub(crate) fn newest_at_us(&self) -> u64 {
        self.keys.read().last().map_or(0, |key| key.created_at_us)
    }

    /// A new key signs from now on; the one before verifies for `life` more,
    /// and those that are over go. Syncs a file.
    pub(crate) fn rotate(&self, now_us: u64, life: Duration) -> Result<(), KeyRingError> {
        let _turn = self.rotating.lock();
        let mut keys = self.keys.read().clone();
        for key in &mut keys {
            key.verifies_until_us.get_or_insert(now_us + life.as_micros() as u64);
        }
        keys.retain(|key| key.verifies_until_us.is_some_and(|until| until > now_us));
        keys.push(Key::generate(now_us)?);
        write(&self.path, &keys)?;
        *self.keys.write() = keys;
        Ok(())
    }

    /// What others may know of the keys whose tokens can be alive.
    pub(crate) fn published(&self, now_us: u64) -> Vec<PublicKey> {
        let keys = self.keys.read();
        let alive = keys.iter().filter(|key| key.verifies_until_us.is_none_or(|u| now_us < u));
        let published = alive.filter_map(|key| {
            // Ours are raw points; there are no others.
            let DecodingKeyKind::SecretOrDer(point) = key.public.kind() else { return None };
            let (kid, x) = (key.kid.clone(), URL_SAFE_NO_PAD.encode(point));
            Some(PublicKey { kty: "OKP", crv: "Ed25519", alg: "EdDSA", r#use: "sig", kid, x })
        });
        published.collect()
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, KeyRingError> {
        let key = self.keys.read().last().cloned().ok_or(KeyRingError::Sign)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let private = EncodingKey::from_ed_der(&key.private);
        jsonwebtoken::encode(&header, claims, &private).map_err(|_| KeyRingError::Sign)
    }

    /// The claims of a token that a key of ours signed and whose time it is.
    pub(crate) fn verify(
        &self,
        token: &str,
        issuer: &str,
        now_us: u64,
        leeway_s: u64,
    ) -> Result<Claims, TokenError> {
        let header = super::header(token)?;
        let kid = header.kid.ok_or(TokenError::Invalid)?;
        let is_alive =
            |key: &&Key| key.verifies_until_us.is_none_or(|u| now_us < u + leeway_s * 1_000_000);
        let key = self.keys.read().iter().filter(is_alive).find(|key| key.kid == kid).cloned();
        let key = key.ok_or(TokenError::Invalid)?;
        let claims: Claims = super::signed(token, &key.public, Algorithm::EdDSA)?;
        if claims.iss != issuer {
            return Err(TokenError::Invalid);
        }
        super::check_times(claims.exp, claims.nbf, claims.iat, now_us, leeway_s)?;
        Ok(claims)
    }
}

fn read(path: &Path) -> Result<Option<Vec<Key>>, KeyRingError> {
    let failed = |source| KeyRingError::File { action: "read", path: path.into(), source };
    let text = match std::fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyRingError::Open { path: path.into() });
    }
    let keys =
        parse(&text).filter(|keys| keys.last().is_some_and(|key| key.verifies_until_us.is_none()));
    keys.map(Some).ok_or_else(|| KeyRingError::Content { path: path.into() })
}

fn parse(text: &[u8]) -> Option<Vec<Key>> {
    let stored: Stored = serde_json::from_slice(text).ok()?;
    if stored.version != 1 {
        return None;
    }
    let key = |stored: StoredKey| {
        let private = Zeroizing::new(STANDARD.decode(stored.private.as_bytes()).ok()?);
        let key = Key::new(private, stored.created_at_us, stored.verifies_until_us)?;
        (key.kid == stored.kid).then_some(key)
    };
    stored.keys.into_iter().map(key).collect()
}

/// Writes the file, whole or not at all, readable by this user alone, durable when this returns.
fn write(path: &Path, keys: &[Key]) -> Result<(), KeyRingError> {
    let keys = keys.iter().map(|key| StoredKey {
        kid: key.kid.clone(),
        created_at_us: key.created_at_us,
        verifies_until_us: key.verifies_until_us,
        private: STANDARD.encode(&**key.private),
    });
    let stored = Stored { version: 1, keys: keys.collect() };
    let text = serde_json::to_vec_pretty(&stored).map_err(|_| KeyRingError::Sign)?;
    replace(path, &Zeroizing::new(text)).map_err(|source| KeyRingError::File {
        action: "write",
        path: path.into(),
        source,
    })
}

fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("json.new");
    // `mode` applies to a new file only: one left by a crash could be open to others.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_private_and_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = KeyRing::open(dir.path(), 1).unwrap();
        let path = dir.path().join(KEYS_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let kid = first.keys.read()[0].kid.clone();
        first.rotate(5, Duration::from_micros(10)).unwrap();
        let again = KeyRing::open(dir.path(), 9).unwrap();
        let kids =
            |ring: &KeyRing| ring.keys.read().iter().map(|k| k.kid.clone()).collect::<Vec<_>>();
        assert_eq!(kids(&again), kids(&first));
        assert_eq!((kids(&again)[0].as_str(), again.newest_at_us()), (kid.as_str(), 5));
        // What is over goes with the next rotation.
        again.rotate(15, Duration::from_micros(10)).unwrap();
        assert!(!kids(&again).contains(&kid) && kids(&again).len() == 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside");
        let printed = format!("{again:?}");
        let stored = std::fs::read_to_string(&path).unwrap();
        assert!(stored.contains("private") && printed == "KeyRing(2 keys)");
    }

    #[test]
    fn what_is_published_is_public() {
        let dir = tempfile::tempdir().unwrap();
        let ring = KeyRing::open(dir.path(), 1).unwrap();
        ring.rotate(5, Duration::from_micros(10)).unwrap();
        let published = ring.published(14);
        assert_eq!(published.len(), 2);
        let newest = ring.keys.read().last().cloned().unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(&newest.private).unwrap();
        let expected = serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": newest.kid,
            "x": URL_SAFE_NO_PAD.encode(pair.public_key()),
        });
        assert_eq!(serde_json::to_value(&published[1]).unwrap(), expected);
        assert_eq!(ring.published(15), published[1..], "the first one's time is over");
    }

    #[test]
    fn a_file_that_cant_be_used_is_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEYS_FILE);
        drop(KeyRing::open(dir.path(), 1).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyRing::open(dir.path(), 1).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        for content in ["", "{}", "{\"version\":1,\"keys\":[]}", "{\"version\":2,\"keys\":[]}"] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = KeyRing::open(dir.path(), 1).unwrap_err();
            assert!(matches!(error, KeyRingError::Content { .. }), "{content}: {error}");
        }
    }
}
