//! Talks to a running server's API.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

const JSON: &str = "application/json";

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
    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        self.server.trim_end_matches('/')
    }

    /// Sends a request and reads the JSON answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.url());
        json(self.send(method, path, JSON, body).await?, &url).await
    }

    /// Sends a request for an answer of this media type; its body is still to be read.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<Response<Incoming>> {
        let url = format!("{}{path}", self.url());
        send(method, &url, self.token().as_deref(), accept, body).await
    }

    fn token(&self) -> Option<String> {
        let stored = || std::fs::read_to_string(self.data.join(crate::keys::ADMIN_TOKEN_FILE)).ok();
        self.token.clone().or_else(stored).map(|token| token.trim().to_owned())
    }
}

/// Sends a request that says nothing of who asks, and reads the JSON answer.
pub async fn call<T: DeserializeOwned>(
    method: Method,
    url: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<T> {
    json(send(method, url, None, JSON, body).await?, url).await
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>, url: &str) -> anyhow::Result<T> {
    let body = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&body).with_context(|| format!("{url} answered with other JSON"))
}

async fn send(
    method: Method,
    url: &str,
    token: Option<&str>,
    accept: &str,
    body: Option<&serde_json::Value>,
) -> anyhow::Result<Response<Incoming>> {
    let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT, accept);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let payload = match body {
        Some(json) => {
            request = request.header(header::CONTENT_TYPE, JSON);
            Bytes::from(json.to_string())
        }
        None => Bytes::new(),
    };
    let request = request.body(Full::new(payload)).context("not a usable address of a server")?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.with_context(|| format!("cannot reach {url}"))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.into_body().collect().await?.to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("{url} answered {status}: {}", problem["detail"].as_str().unwrap_or("no reason"));
    }
    Ok(response)
}
