//! Talks to a running server's API.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

/// Where the server is and how to be let in.
#[derive(Args)]
pub struct Server {
    /// The server's HTTP address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The admin token; without it, the one in the data directory is used.
    #[arg(long, value_name = "TOKEN", env = "MILLSTREAM_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The server's data directory, to find its admin token.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

impl Server {
    /// Sends a request and reads the JSON answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.server.trim_end_matches('/'));
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(token) = self.token() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let payload = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(json.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(payload)).context("not a usable --server address")?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response =
            client.request(request).await.with_context(|| format!("cannot reach {url}"))?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!("{url} answered {status}: {}", problem["detail"].as_str().unwrap_or("no reason"));
        }
        serde_json::from_slice(&body).with_context(|| format!("{url} answered with other JSON"))
    }

    fn token(&self) -> Option<String> {
        let stored = || std::fs::read_to_string(self.data.join(crate::keys::ADMIN_TOKEN_FILE)).ok();
        self.token.clone().or_else(stored).map(|token| token.trim().to_owned())
    }
}
