//! Secrets: stream keys and the admin token.
//!
//! A stream key is 160 random bits, so nobody can guess one and a fast hash
//! suffices to store it: the slow ones (argon2) exist for what people make up.
//! For the same reason a lookup by hash leaks nothing through its timing: to
//! learn bits of a stored hash doesn't help to find 160 bits that hash to it.
//!
//! Never done here: printing. `Debug` of all these types is redacted, and the
//! text leaves a [`StreamKey`] only through [`StreamKey::expose`].

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::config::Secret;

/// Where the data directory keeps an admin token that was made for it.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";

const PREFIX: &str = "ms_";
const RANDOM_BYTES: usize = 20;
/// Crockford's base32: no letter looks like a digit, and a double click selects it whole.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Makes our hashes useless elsewhere and others' useless here.
const CONTEXT: &str = "millstream 2026 stream key v1";

/// What goes wrong with secrets; the machine's fault.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gives no random numbers.
    #[error("cannot get random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
    /// A file with a secret can't be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is there and holds nothing usable.
    #[error("{path} holds no token of at least 16 characters; delete it to have a new one made")]
    Token {
        /// Which file.
        path: PathBuf,
    },
}

/// A publisher's key in the clear: shown once, when it is made.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(String);

impl StreamKey {
    /// A new key: `ms_` and 32 characters.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(format!("{PREFIX}{}", random_text()?)))
    }

    /// The key itself, for the one answer that may hold it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(…)")
    }
}

/// A stream key as it is stored: BLAKE3 in key derivation mode.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of whatever a publisher sent.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(blake3::derive_key(CONTEXT, text.as_bytes()))
    }
}

impl PartialEq for KeyHash {
    /// Takes the same time whether they differ in the first byte or the last.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        blake3::Hash::from(hash.0).to_hex().to_string()
    }
}

impl TryFrom<String> for KeyHash {
    type Error = blake3::HexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

/// The admin token of the data directory: read from [`ADMIN_TOKEN_FILE`], or
/// made and kept there (readable by this user alone) if there is none.
///
/// # Errors
/// [`KeyError`] if the file can't be read, written or used.
pub fn admin_token(data: &Path) -> Result<Secret, KeyError> {
    match kept_admin_token(data) {
        Err(KeyError::File { source, path, .. }) if source.kind() == ErrorKind::NotFound => {
            let token = random_text()?;
            write_private(&path, format!("{token}\n").as_bytes())
                .map_err(|source| KeyError::File { action: "write", path, source })?;
            Ok(Secret(token))
        }
        kept => kept,
    }
}

/// The admin token that a server keeps in this data directory.
///
/// # Errors
/// [`KeyError`] if the file can't be read or used.
pub fn kept_admin_token(data: &Path) -> Result<Secret, KeyError> {
    let path = data.join(ADMIN_TOKEN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 16 => Ok(Secret(text.trim().to_owned())),
        Ok(_) => Err(KeyError::Token { path }),
        Err(source) => Err(KeyError::File { action: "read", path, source }),
    }
}

/// Whether `given` is the secret, in a time that tells nothing about it but its length.
#[must_use]
pub fn matches(secret: &Secret, given: &str) -> bool {
    secret.0.as_bytes().ct_eq(given.as_bytes()).into()
}

/// Writes a file that only this user may read, whole or not at all, replacing what is there.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(fresh);
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
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn random_text() -> Result<String, KeyError> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)?;
    // 20 bytes are exactly 32 groups of 5 bits.
    let mut text = String::with_capacity(RANDOM_BYTES * 8 / 5);
    for chunk in random.chunks(5) {
        let bits = chunk.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for group in (0..8).rev() {
            text.push(char::from(ALPHABET[(bits >> (5 * group) & 31) as usize]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_long_unique_and_plain() {
        let keys: HashSet<String> =
            (0..100).map(|_| StreamKey::generate().unwrap().expose().to_owned()).collect();
        assert_eq!(keys.len(), 100);
        for key in &keys {
            let random = key.strip_prefix("ms_").unwrap();
            assert_eq!(random.len(), 32);
            assert!(random.bytes().all(|byte| ALPHABET.contains(&byte)), "{key}");
        }
        let used: HashSet<u8> = keys.iter().flat_map(|key| key[3..].bytes()).collect();
        assert_eq!(used.len(), 32, "every character occurs");
    }

    #[test]
    fn hashes_are_of_the_whole_key_and_round_trip() {
        let key = StreamKey::generate().unwrap();
        let stored = serde_json::to_string(&key.hash()).unwrap();
        assert!(!stored.contains(key.expose()));
        assert_eq!(serde_json::from_str::<KeyHash>(&stored).unwrap(), key.hash());
        let other = key.expose()[..key.expose().len() - 1].to_owned();
        assert!(KeyHash::of(&other) != key.hash());
        assert!(serde_json::from_str::<KeyHash>("\"abc\"").is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let key = StreamKey::generate().unwrap();
        let printed = format!("{key:?} {:?} {:?}", key.hash(), Secret(key.expose().to_owned()));
        assert!(!printed.contains(&key.expose()[3..]));
        assert!(!printed.contains(&String::from(key.hash())[..8]));
    }

    #[test]
    fn the_admin_token_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let token = admin_token(dir.path()).unwrap();
        assert!(matches(&admin_token(dir.path()).unwrap(), &token.0));
        assert!(!matches(&token, "") && !matches(&token, &token.0[1..]));
        let path = dir.path().join(ADMIN_TOKEN_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(admin_token(dir.path()).unwrap_err().to_string().contains("delete it"));
    }
}
