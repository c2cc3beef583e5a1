//! Certificates made, used in a real handshake, renewed and broken.

use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::*;

struct Files {
    _dir: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls/cert.pem"), dir.path().join("tls/key.pem"));
    self_signed(&["localhost".into(), "127.0.0.1".into()], &cert, &key).unwrap();
    Files { _dir: dir, cert, key }
}

const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

fn open(files: &Files) -> Certificate {
    Certificate::load(&files.cert, &files.key, HTTP).unwrap()
}

fn current(certificate: &Certificate) -> Arc<ServerConfig> {
    Arc::clone(&certificate.current.borrow())
}

/// A handshake in memory with a client that trusts only `cert`; the protocol agreed on.
fn handshake(
    server: Arc<ServerConfig>,
    cert: &Path,
    name: &str,
) -> Result<Option<Vec<u8>>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(server.alpn_protocol().map(<[u8]>::to_vec))
}

#[test]
fn a_self_signed_pair_serves_its_names() {
    let files = files();
    let http = open(&files);
    assert_eq!(handshake(current(&http), &files.cert, "localhost"), Ok(Some(b"h2".to_vec())));
    assert_eq!(handshake(current(&http), &files.cert, "127.0.0.1"), Ok(Some(b"h2".to_vec())));
    assert!(handshake(current(&http), &files.cert, "example.org").is_err());
    let rtmp = Certificate::load(&files.cert, &files.key, &[]).unwrap();
    assert_eq!(handshake(current(&rtmp), &files.cert, "localhost"), Ok(None));
}

#[test]
fn the_key_is_private_and_nothing_is_overwritten() {
    let files = files();
    assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    let again = self_signed(&["localhost".into()], &files.cert, &files.key).unwrap_err();
    assert!(matches!(again, TlsError::Exists { .. }), "{again}");
}

#[test]
fn a_renewal_is_used_and_a_broken_one_is_not() {
    let (files, renewed) = (files(), self::files());
    let mut certificate = open(&files);
    assert!(!certificate.poll(), "nothing changed");
    let before = current(&certificate);

    // Half of a renewal: certificate and key don't fit.
    std::fs::copy(&renewed.cert, &files.cert).unwrap();
    assert!(!certificate.poll());
    assert!(Arc::ptr_eq(&before, &current(&certificate)));
    // The other half.
    std::fs::copy(&renewed.key, &files.key).unwrap();
    assert!(certificate.poll());
    handshake(current(&certificate), &renewed.cert, "localhost").unwrap();

    for broken in ["", "no certificate at all", "-----BEGIN CERTIFICATE-----\n!\n"] {
        let before = current(&certificate);
        std::fs::write(&files.cert, broken).unwrap();
        assert!(!certificate.poll());
        assert!(Arc::ptr_eq(&before, &current(&certificate)));
    }
    std::fs::remove_file(&files.cert).unwrap();
    assert!(!certificate.poll());
    std::fs::copy(&renewed.cert, &files.cert).unwrap();
    assert!(certificate.poll(), "it recovers by itself");
}

#[test]
fn what_is_wrong_is_said() {
    let (files, other) = (files(), self::files());
    let error =
        |cert: &Path, key: &Path| Certificate::load(cert, key, HTTP).err().unwrap().to_string();
    assert!(error(&files.cert, &other.key).contains("no usable pair"));
    assert!(error(&files.key, &files.key).contains("holds no certificate"));
    assert!(error(&files.cert, &files.cert).contains("holds no private key"));
    assert!(error(Path::new("/nonexistent.pem"), &files.key).contains("/nonexistent.pem"));
}

#[tokio::test(start_paused = true)]
async fn watching_picks_up_a_renewal() {
    let (files, renewed) = (files(), self::files());
    let mut watched = open(&files).watch();
    let before = Arc::clone(&watched.borrow_and_update());
    std::fs::copy(&renewed.key, &files.key).unwrap();
    std::fs::copy(&renewed.cert, &files.cert).unwrap();
    watched.changed().await.unwrap();
    assert!(!Arc::ptr_eq(&before, &watched.borrow()));
    handshake(Arc::clone(&watched.borrow()), &renewed.cert, "localhost").unwrap();
}
