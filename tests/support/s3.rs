//! A real S3 server for the tests: moto, on a free port, with one bucket in memory.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::process::Command;

use super::http::{Answer, request};
use super::process::Program;
use super::tansu::free_port;
use super::{eventually, root};

/// The bucket.
pub const BUCKET: &str = "broadcasts";

/// The password in [`options`]; a real one could be as long.
pub const SECRET: &str = "not-to-be-shown";

/// A store's options for a server that answers on `port`.
pub fn options(port: u16) -> String {
    format!(
        "endpoint=http://127.0.0.1:{port};allow_http=true;region=us-east-1;\
         access_key_id=test;secret_access_key={SECRET}"
    )
}

/// A running server; killed when dropped.
pub struct S3 {
    program: Program,
    pub port: u16,
}

impl S3 {
    /// Starts on a free port, with an empty bucket.
    pub async fn start() -> Self {
        let packages = packages();
        let port = free_port();
        let mut command = Command::new("python3");
        command
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONPATH", packages)
            .current_dir(root());
        let s3 = Self { program: Program::start(&mut command), port };
        eventually("S3 server", async || TcpStream::connect(("127.0.0.1", port)).ok()).await;
        let made = request(Method::PUT, &s3.url(""), None, None).await;
        assert_eq!(made.status, StatusCode::OK, "{}{}", made.text(), s3.program.output());
        s3
    }

    fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/{BUCKET}{rest}", self.port)
    }

    async fn get(&self, rest: &str) -> Answer {
        // Whoever says who they are may; moto doesn't look at signatures.
        request(Method::GET, &self.url(rest), Some("anybody"), None).await
    }

    /// All names below a prefix.
    pub async fn names(&self, prefix: &str) -> Vec<String> {
        let listed = self.get(&format!("?list-type=2&prefix={prefix}")).await.text();
        assert!(listed.contains("<IsTruncated>false<"), "too many for one page: {listed}");
        let keys = listed.split("<Key>").skip(1);
        keys.map(|rest| rest.split('<').next().unwrap_or_default().to_owned()).collect()
    }

    /// All objects below a prefix, by what follows it.
    pub async fn objects(&self, prefix: &str) -> BTreeMap<String, Bytes> {
        let mut all = BTreeMap::new();
        for name in self.names(prefix).await {
            let found = self.get(&format!("/{name}")).await;
            assert_eq!(found.status, StatusCode::OK, "{name}: {}", found.text());
            all.insert(name[prefix.len()..].to_owned(), found.body);
        }
        all
    }
}

/// Where the Makefile installs it.
fn packages() -> PathBuf {
    let packages = root().join(".cache/python-s3");
    assert!(
        packages.join(".installed").exists(),
        "the S3 server of the tests is not installed: run `make .cache/python-s3/.installed`"
    );
    packages
}
