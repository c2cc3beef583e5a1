//! The real binary as the front of a server's chat.

use tokio::process::Command;

use super::chat::Viewer;
use super::eventually;
use super::http::{Answer, get};
use super::process::Program;
use super::server::{Server, TOKEN, binary};

/// A running gateway; killed when dropped.
pub struct Gateway {
    program: Program,
    pub http: String,
}

impl Gateway {
    /// Starts one before this server.
    pub async fn before(origin: &Server) -> Self {
        Self::with(origin, TOKEN, &[]).await
    }

    /// Starts one that shows this token, with settings of its own.
    pub async fn with(origin: &Server, token: &str, settings: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["gateway", "--http", "127.0.0.1:0", "--origin", &origin.http])
            .env("MILLSTREAM_ADMIN_TOKEN", token)
            .env_remove("RUST_BACKTRACE");
        for setting in settings {
            command.args(["--set", setting]);
        }
        let program = Program::start(&mut command);
        let http = eventually("address in the gateway's output", async || {
            let output = program.output();
            assert!(!output.contains("millstream: "), "{output}");
            let line = output.lines().find_map(|line| line.trim().strip_prefix("chat"))?;
            Some(line.trim().trim_end_matches('/').to_owned())
        })
        .await;
        Self { program, http }
    }

    /// Ends it by a signal.
    pub fn signal(&self, name: &str) {
        self.program.signal(name);
    }

    /// `GET` below its address.
    pub async fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.http)).await
    }

    /// A viewer here.
    pub async fn join(&self, stream: &str, query: &str) -> Viewer {
        Viewer::at(&self.http, stream, query).await.expect("it is let in")
    }
}
