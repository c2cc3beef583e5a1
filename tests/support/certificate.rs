//! A certificate for this machine, made as an operator would.

use std::path::Path;

use tokio::process::Command;

use super::server::binary;

/// `millstream cert` into `folder`: the paths of the certificate and of its key.
pub async fn certificate(folder: &Path) -> (String, String) {
    let output = Command::new(binary()).arg("cert").current_dir(folder).output().await;
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = |name: &str| folder.join(name).display().to_string();
    (file("cert.pem"), file("key.pem"))
}

/// HTTPS by it, at any port.
pub fn https<'a>(cert: &'a str, key: &'a str) -> [(&'static str, &'a str); 3] {
    [("http.tls.listen", "127.0.0.1:0"), ("http.tls.cert", cert), ("http.tls.key", key)]
}
