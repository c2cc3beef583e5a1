//! Accounts to speak by.
//!
//! Enters: a server and a number. Leaves: tokens. Held: nothing, not even the passwords.

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use runtime::wall_us;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::client;

/// Requests at a time: the server hashes a few passwords at once, and lets some more wait.
const AT_ONCE: usize = 8;
/// Accounts at most: a name holds no more digits.
const PEOPLE_MAX: usize = 99_999;

#[derive(Deserialize)]
struct Session {
    token: String,
}

/// Makes accounts and logs them in; their sessions' tokens.
pub async fn sign_up(base: &str, count: usize) -> anyhow::Result<Vec<String>> {
    ensure!(count <= PEOPLE_MAX, "--sign-up {count}: no more than {PEOPLE_MAX} accounts");
    // By the millisecond, so that another run's are called otherwise.
    let run = wall_us() / 1000;
    stream::iter((0..count).map(|number| person(base, format!("load-{run}-{number}"))))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn person(base: &str, name: String) -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("no randomness for a password")?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let email = format!("{name}@load.example");
    let account = json!({ "name": name, "email": email, "password": password });
    let _user: Value =
        client::call(Method::POST, &format!("{base}/api/users"), Some(&account)).await.context(
            "no account could be made; how many one address may is accounts.sign_ups_address",
        )?;
    let log_in = json!({ "login": name, "password": password });
    let session: Session =
        client::call(Method::POST, &format!("{base}/api/sessions"), Some(&log_in)).await?;
    Ok(session.token)
}
