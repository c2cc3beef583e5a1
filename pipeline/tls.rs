//! TLS for HTTPS and RTMPS: certificates from files that may change.
//!
//! ```text
//! cert.pem, key.pem ──poll──► Certificate ──watch()──► each new connection
//! ```
//!
//! Enters: PEM files. Leaves: a [`ServerConfig`] per connection. Held: the last
//! pair that was good. A renewal that is broken or half-written leaves the old
//! pair in use and is tried again when either file changes. Never done here:
//! accepting connections.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::watch;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(2);

/// How long a self-signed certificate is valid.
const SELF_SIGNED_FOR: Duration = Duration::from_secs(365 * 86_400);

/// Why there is no TLS; the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file holds no such thing in PEM.
    #[error("{path} holds no {what} in PEM ({reason}); it should have a line -----BEGIN {}-----", what.to_uppercase())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// They don't fit together, or are of a kind that isn't supported.
    #[error("{cert} and {key} are no usable pair: {source}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// A file that must not be overwritten.
    #[error("{path} exists already; remove it or name another file")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Ours, or a name that no certificate can hold.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The library's: it has no ciphers.
    #[error("cannot encrypt: {0}")]
    Client(#[from] rustls::Error),
}

/// How we encrypt as a client: towards those whom this machine trusts, as read now.
///
/// # Errors
/// [`TlsError::Client`].
pub fn trusted() -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        tracing::warn!("this machine trusts no certificates: nobody can be asked over TLS");
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(tls))
}

/// What tells a changed file from the same one.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A listener's certificate, as fresh as its files.
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    // Names for ALPN, most wanted first; none for RTMP.
    protocols: Vec<Vec<u8>>,
    current: watch::Sender<Arc<ServerConfig>>,
    // Of the files when they were last read, good or not.
    seen: (Stamp, Stamp),
}

impl Certificate {
    /// Reads the pair, which must be good to begin with. `protocols` are the
    /// names to agree on by ALPN, most wanted first: `h2` and `http/1.1` for
    /// HTTP, none for RTMP, which has no name.
    ///
    /// # Errors
    /// [`TlsError::File`], [`TlsError::Pem`], [`TlsError::Pair`].
    pub fn load(cert: &Path, key: &Path, protocols: &[&[u8]]) -> Result<Self, TlsError> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        // Stamped before they are read: a change in between is seen at the next poll.
        let seen = (stamp(cert), stamp(key));
        let current = watch::Sender::new(Arc::new(read(cert, key, &protocols)?));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), protocols, current, seen })
    }

    /// What connections should use from now on: the receiver's latest value.
    /// A task of the runtime looks at the files for as long as a receiver is left.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn watch(self) -> watch::Receiver<Arc<ServerConfig>> {
        let receiver = self.current.subscribe();
        tokio::spawn(self.follow());
        receiver
    }

    async fn follow(mut self) {
        while !self.current.is_closed() {
            tokio::time::sleep(POLL).await;
            // Reads files, perhaps over a network.
            match tokio::task::spawn_blocking(move || (self.poll(), self).1).await {
                Ok(this) => self = this,
                Err(error) => {
                    tracing::error!(%error, "certificates are no longer looked at");
                    return;
                }
            }
        }
    }

    /// Reads the files again if they changed. True: a new pair is in use.
    fn poll(&mut self) -> bool {
        let now = (stamp(&self.cert), stamp(&self.key));
        if std::mem::replace(&mut self.seen, now) == now {
            return false;
        }
        match read(&self.cert, &self.key, &self.protocols) {
            Ok(fresh) => {
                self.current.send_replace(Arc::new(fresh));
                tracing::info!(cert = %self.cert.display(), "certificate replaced");
                true
            }
            Err(error) => {
                tracing::error!(%error, "new certificate is unusable; the old one stays in use");
                false
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    // Inode and time: a rename into place, an edit, and a symbolic link that moves on.
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn read(cert: &Path, key: &Path, protocols: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let load = |path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })
    };
    let pem =
        |path: &Path, what, reason: String| TlsError::Pem { path: path.to_owned(), what, reason };
    let chain = CertificateDer::pem_slice_iter(&load(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem(cert, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(pem(cert, "certificate", "found none".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&load(key)?)
        .map_err(|error| pem(key, "private key", error.to_string()))?;
    let pair = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(pair)?;
    config.alpn_protocols = protocols.to_vec();
    Ok(config)
}

/// Writes a self-signed certificate for `names` (host names and IP addresses)
/// and its key, valid for a year. For trials: browsers ask before they trust it.
/// The key is readable by this user alone; existing files stay as they are.
///
/// # Errors
/// [`TlsError::Exists`], [`TlsError::File`], [`TlsError::Make`].
pub fn self_signed(names: &[String], cert: &Path, key: &Path) -> Result<(), TlsError> {
    for path in [cert, key] {
        if path.exists() {
            return Err(TlsError::Exists { path: path.to_owned() });
        }
    }
    let mut params = rcgen::CertificateParams::new(names.to_vec())?;
    let now = SystemTime::now();
    // A day early, for clients whose clock is behind.
    params.not_before = (now - Duration::from_secs(86_400)).into();
    params.not_after = (now + SELF_SIGNED_FOR).into();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Millstream trial certificate");
    let pair = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    let fail = |action, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { action, path, source }
    };
    for path in [cert, key] {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail("create the directory of", path))?;
        }
    }
    crate::keys::write_private(key, pair.serialize_pem().as_bytes()).map_err(fail("write", key))?;
    std::fs::write(cert, made.pem()).map_err(fail("write", cert))
}

#[cfg(test)]
mod tests;
