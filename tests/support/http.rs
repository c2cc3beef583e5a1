//! A small HTTP client.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// Sends one request on a connection of its own.
pub async fn request(
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Answer {
    let answer = try_request(method, url, token, body).await;
    answer.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// The same to a server that may be killed meanwhile; why there is no answer.
pub async fn try_request(
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Result<Answer, String> {
    send(HttpConnector::new(), method, url, token, body).await
}

/// `POST` without a token, from another address of this machine than usual (127.0.0.2 …).
pub async fn post_from(from: IpAddr, url: &str, body: Value) -> Answer {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(from));
    let answer = send(connector, Method::POST, url, None, Some(body)).await;
    answer.unwrap_or_else(|error| panic!("{url} from {from}: {error}"))
}

async fn send(
    connector: HttpConnector,
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Result<Answer, String> {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let payload = body.map_or_else(Bytes::new, |json| json.to_string().into());
    let request = request
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(payload))
        .expect("a good request");
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await.map_err(|error| error.to_string())?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// `GET`.
pub async fn get(url: &str) -> Answer {
    request(Method::GET, url, None, None).await
}
