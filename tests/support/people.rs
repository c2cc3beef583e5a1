//! People with accounts, made as they would make them themselves.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::http::{Answer, request};
use super::server::Server;

/// Everybody's.
pub const PASSWORD: &str = "correct horse battery";

/// Somebody who is logged in.
pub struct Person {
    pub id: String,
    pub token: String,
}

impl Person {
    /// Somebody new, with these roles.
    pub async fn new(server: &Server, name: &str, roles: &[&str]) -> Self {
        let email = format!("{name}@mail.example");
        let said = json!({ "name": name, "email": email, "password": PASSWORD });
        let made = post(server, "/api/users", said).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        let id = text(&made.json(), "user_id");
        if !roles.is_empty() {
            let path = format!("/api/users/{id}/roles");
            let given = server.admin(Method::PUT, &path, Some(json!({ "roles": roles }))).await;
            assert_eq!(given.status, StatusCode::OK, "{}", given.text());
        }
        let said = json!({ "login": name, "password": PASSWORD });
        let begun = post(server, "/api/sessions", said).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text());
        Self { id, token: text(&begun.json(), "token") }
    }

    /// A request of theirs.
    pub async fn call(&self, server: &Server, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("{}{path}", server.http);
        let body = (!body.is_null()).then_some(body);
        request(method, &url, Some(&self.token), body).await
    }
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    request(Method::POST, &format!("{}{path}", server.http), None, Some(body)).await
}

/// A member that is a text.
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}
